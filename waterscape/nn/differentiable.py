"""Differentiable augmentation of whatever a discriminator sees, true or made (Zhao 2020, arXiv:2006.10738).

A discriminator that sees few pictures learns them by heart. Here it never sees one twice alike, and the generator,
whose gradient flows back through the same operations, does not learn to make augmented pictures. The operations and
their strengths are the source's; the parameters come from a `Draw`, each sample's own, so they are the same on any
number of processes. Pictures are N C H W, in −1..1, and may leave that range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from waterscape.randomness import Draw

Kind = Literal["colour", "translation", "cutout"]

SHIFT = 1 / 8
"""The farthest translation, as a share of the picture's side."""
CUT = 1 / 2
"""The side of the square that is cut out, as a share of the picture's."""


def augmented(images: Tensor, draw: Draw, stream: str, kinds: Sequence[Kind]) -> Tensor:
    """The pictures after each of the kinds, in the order colour, translation, cutout; `stream` names the purpose."""
    if "colour" in kinds:
        images = recoloured(images, *draw.uniform(f"{stream}: colour", 3).unbind(1))
    if "translation" in kinds:
        images = shifted(images, *_places(draw, f"{stream}: translation", SHIFT, images))
    if "cutout" in kinds:
        images = cut_out(images, draw.uniform(f"{stream}: cutout", 2))
    return images


def recoloured(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Brightness −½ … ½ added, saturation times 0 … 2, contrast times ½ … 1½, for draws (N each) of 0 … 1."""
    brightness, saturation, contrast = (value[:, None, None, None] for value in (brightness, saturation, contrast))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    level = images.mean((1, 2, 3), keepdim=True)
    return level + (images - level) * (0.5 + contrast)


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each picture moved by whole pixels (N each, int64), zeros where nothing was."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    there = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None, :]
    moved = images.gather(2, rows.clamp(0, height - 1)[:, None, :, None].expand_as(images))
    moved = moved.gather(3, columns.clamp(0, width - 1)[:, None, None, :].expand_as(images))
    return moved * there


def cut_out(images: Tensor, middle: Tensor) -> Tensor:
    """A square of each picture made zero; its middle (N 2, 0 … 1) may lie anywhere in the picture."""
    keep = [
        (torch.arange(side, device=images.device) - (place * side)[:, None]).abs() >= CUT / 2 * side
        for side, place in zip(images.shape[2:], middle.unbind(1), strict=True)
    ]
    return images * (keep[0][:, None, :, None] | keep[1][:, None, None, :])


def mirrored(images: Tensor, draw: Draw) -> Tensor:
    """Each picture as it is or mirrored left to right: a landscape has an upright, but no left."""
    mirror = draw.integers("mirrored", 2).to(torch.bool)[:, None, None, None]
    return torch.where(mirror, images.flip(3), images)


def _places(draw: Draw, stream: str, share: float, images: Tensor) -> tuple[Tensor, Tensor]:
    """Whole pixels down and to the right (N each), up to that share of the side either way."""
    most = [int(side * share + 0.5) for side in images.shape[2:]]
    down, right = (draw.integers(f"{stream} {axis}", 2 * far + 1) - far for axis, far in zip("yx", most, strict=True))
    return down, right
