"""`waterscape sample RUN --traverse`: what a generator makes of all its numbers, evenly, not by chance.

Of four numbers all combinations of five values each, 625 pictures on one sheet. The values are the middles of five
parts of the normal distribution that are equally probable, so each picture stands for as many new ones. Of any model a
second sheet follows each slider (a number, or one of the directions in which pictures differ most) from end to end.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.metrics.latent_use import share_used, total_effects
from waterscape.pages.explore.sliders import REACH, STEPS, Sliders
from waterscape.pages.samples import marks
from waterscape.randomness import Draw, hash64
from waterscape.sheet import coloured, save_png, sheet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.models import Trained

PARTS = 5
"""Values of each number on the full sheet."""
VALUES = [NormalDist().inv_cdf((part + 0.5) / PARTS) for part in range(PARTS)]
FULL = 4
"""Numbers of a generator that has a full sheet."""
LARGEST = 72  # pixels a side of a picture on the full sheet
SHOWN = 128  # of one along a slider
EXCHANGED = 32  # pictures in which a slider's place is exchanged for another


def traverse(trained: Trained, out: Path, classes: Sequence[str] = ()) -> list[Path]:
    """Write `traversal.png` (of four numbers), `traversal-axes.png` and `traversal.json`; of the first class, or these.

    Raises `UserError` for a model that makes no pictures of numbers, and for a class that it does not know.
    """
    recipe = trained.recipe
    if not recipe.can("generate") and not recipe.can("decode"):
        raise UserError(f"{trained.run} is a run of {trained.model}, which makes no pictures of numbers to go through")
    kinds = trained.kinds(len(classes), classes).tolist() if classes else [0]
    sliders = Sliders(trained)
    out.mkdir(parents=True, exist_ok=True)
    facts = marks(trained)
    told = f"SYNTHETIC: {trained.model}:{trained.preset}, {trained.images} images"
    effects = {kind: _effects(sliders, kind) for kind in kinds}
    about = {_class(trained, kind) or "all": _described(sliders, effects[kind]) for kind in kinds}
    written = []
    if sliders.numbers == FULL:
        save_png(full_sheet(sliders, kinds[0], told), out / "traversal.png", **facts)
        written.append(out / "traversal.png")
    save_png(_axes_sheet(trained, sliders, effects, told), out / "traversal-axes.png", **facts)
    body = {**facts, "values": VALUES if sliders.numbers == FULL else [], "reach": REACH, "classes": about}
    write_text(out / "traversal.json", json.dumps(body, indent=1) + "\n")
    return [*written, out / "traversal-axes.png", out / "traversal.json"]


def full_sheet(sliders: Sliders, kind: int, told: str) -> Image.Image:
    """All combinations of four numbers: the first two say which block, the last two where within it."""
    values = " ".join(f"{value:+.2f}" for value in VALUES)
    rows, scale = {}, 1
    for first in VALUES:
        blocks = []
        for second in VALUES:
            places = [(first, second, third, fourth) for third, fourth in itertools.product(VALUES, VALUES)]
            pictures = _small(coloured(sliders.pictures(None, places, kind)))
            scale = max(1, LARGEST // max(pictures.shape[1:3]))
            blocks.append(_block(pictures))
        rows[f"number 1:\n{first:+.2f}"] = np.stack(blocks)
    title = f"{told}. Blocks: number 1 down, 2 across; within each: 3 down, 4 across ({values})"
    return sheet(rows, title=title, columns=PARTS, scale=scale)


def _axes_sheet(
    trained: Trained, sliders: Sliders, effects: Mapping[int, NDArray[np.float64]], told: str
) -> Image.Image:
    """Each slider from end to end; all else as it is in the new picture of number 0.

    (In the middle, where all numbers are 0, a generator that normalises its layers is at its worst.)
    """
    here = sliders.places(0)
    rows, scale = {}, 1
    for kind, shares in effects.items():
        for axis, (name, share) in enumerate(zip(sliders.names, shares, strict=True)):
            word = f"{_class(trained, kind)}\n" if len(effects) > 1 else ""
            pictures = sliders.along(0, here, axis, kind)
            scale = max(1, SHOWN // max(pictures.shape[1:3]))
            rows[f"{word}{name}\n{share:.0%} of change"] = pictures
    of = f" of {_class(trained, next(iter(effects)))}" if trained.classes and len(effects) == 1 else ""
    title = f"{told}. A new picture{of} along each slider, {-REACH:g} to {REACH:g} standard deviations"
    return sheet(rows, title=title, columns=STEPS, scale=scale)


def _effects(sliders: Sliders, kind: int) -> NDArray[np.float64]:
    """Each slider's share of the pictures' change."""
    drawn = Draw(hash64(0, "traversal"), torch.arange(2 * EXCHANGED)).normal("places", sliders.count)
    one, other = drawn.chunk(2)

    def made(places: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(sliders.pictures(None, places.tolist(), kind))

    found = total_effects(made, one, other, sliders.count)
    shares: NDArray[np.float64] = (found / found.sum().clamp(min=1e-30)).numpy()
    return shares


def _described(sliders: Sliders, shares: NDArray[np.float64]) -> dict[str, Any]:
    effects = dict(zip(sliders.names, [round(float(share), 4) for share in shares], strict=True))
    return {"share_of_change": effects, "share_used": round(share_used(torch.from_numpy(shares)), 4)}


def _class(trained: Trained, kind: int) -> str:
    return trained.classes[kind] if trained.classes else ""


def _small(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures (N H W 3) no larger than the sheet has room for."""
    side = max(pictures.shape[1:3])
    if side <= LARGEST:
        return pictures
    height, width = (max(1, round(length * LARGEST / side)) for length in pictures.shape[1:3])
    resized = [Image.fromarray(picture).resize((width, height), Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized])


def _block(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """25 pictures (H W 3) as one, five in a row."""
    rows = pictures.reshape(PARTS, PARTS, *pictures.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
