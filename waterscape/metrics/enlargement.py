"""What enlarged occurrence is worth: PSNR, SSIM, the shoreline's place, and how much water there is.

Sums over pictures, and figures of their means, so that pictures may come in batches. Simple ways of enlarging are
measured beside the network, since only the comparison says anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.metrics.reconstruction import reconstruction_errors
from waterscape.nn.conserving import conserved, reduced, repeated

WATER = 0.5
"""Water is what was wet in at least so large a share of its observations; the shoreline runs around it."""


def bicubic(low: Tensor, factor: int) -> Tensor:
    """The usual enlargement (Keys 1981, doi:10.1109/TASSP.1981.1163711): N C H W, in 0..1 → N C fH fW, in 0..1.

    With the source's a = −½, which keeps slopes as they are, as Pillow has it. Torch has it with `antialias` alone
    (which changes nothing else where pictures grow) and takes −¾ without.
    """
    return F.interpolate(low, scale_factor=factor, mode="bicubic", antialias=True).clamp(0, 1)


def simple_ways(low: Tensor, factor: int) -> dict[str, Tensor]:
    """What needs no training: N C H W, in 0..1 → by name N C fH fW. The last one reduces to its input, as ours does."""
    smooth = bicubic(low, factor)
    return {"nearest": repeated(low, factor), "bicubic": smooth, "bicubic conserved": conserved(smooth, low)}


def shoreline_length(water: Tensor) -> Tensor:
    """Length of the shores of pictures of water (N 1 H W, bool), in pixels: N.

    The sides between a wet and a dry pixel, times π/4: a line of any direction crosses 4/π times its length in sides of
    pixels on the mean (Cauchy & Crofton).
    """
    down = (water[:, :, 1:] != water[:, :, :-1]).flatten(1).sum(1)
    right = (water[..., 1:] != water[..., :-1]).flatten(1).sum(1)
    return math.pi / 4 * (down + right)


def sums(made: Tensor, true: Tensor, low: Tensor) -> dict[str, Tensor]:
    """Sums over pictures of what `figures` wants; `made` and `true` are N 1 fH fW, `low` is N 1 H W, all in 0..1."""
    made, true, low = made.float(), true.float(), low.float()
    errors = reconstruction_errors(made, true)
    wet, truly_wet = made >= WATER, true >= WATER
    found = {name: errors[name] for name in ("PSNR", "SSIM")} | {
        "displaced area": (wet != truly_wet).flatten(1).sum(1),
        "shoreline": shoreline_length(truly_wet),
        "water": true.mean((1, 2, 3)),
        "water error": (made.mean((1, 2, 3)) - true.mean((1, 2, 3))).abs(),
        "wet pixels": truly_wet.flatten(1).sum(1),
        "wet pixels error": (wet.flatten(1).sum(1) - truly_wet.flatten(1).sum(1)).abs(),
        "reduced": (reduced(made, made.shape[2] // low.shape[2]) - low).abs().mean((1, 2, 3)),
    }
    return {name: value.to(torch.float64).sum() for name, value in found.items()}


def figures(means: Mapping[str, float]) -> dict[str, float]:
    """What people are told.

    Shoreline error: the area between the made shoreline and the true one, for each pixel of the true one's length, thus
    how many pixels it is displaced on the mean; a body that is missing or made up counts with its whole area. Water
    error: of the expected area of water (the mean occurrence) of each picture, in percent of all the water there is;
    likewise of the area within the shoreline. Reduction error: of the picture reduced to its input's size, in percent
    of occurrence for each pixel.
    """
    return {
        "PSNR": means["PSNR"],
        "SSIM": means["SSIM"],
        "shoreline error in pixels": means["displaced area"] / (means["shoreline"] or math.inf),
        "water error in percent": 100 * means["water error"] / (means["water"] or math.inf),
        "wet area error in percent": 100 * means["wet pixels error"] / (means["wet pixels"] or math.inf),
        "reduction error in percent": 100 * means["reduced"],
    }
