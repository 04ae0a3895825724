"""Known noise put on a label, to count what a correction makes of it. What it makes is synthetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from waterscape.randomness import Draw, hash64
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("random", "edges", "bodies")


@dataclass(frozen=True)
class Noise:
    """How a label is spoiled."""

    kind: str
    """random: any pixel; edges: all water is moved in one direction; bodies: the smallest ones are left out."""
    share: float
    """The part that is flipped: of all pixels for random, of the pixels of water for edges and bodies."""

    def __str__(self) -> str:
        return f"{self.kind} {self.share:.0%}" if self.share >= 0.01 else f"{self.kind} {self.share:.1%}"

    def spoil(self, label: NDArray[np.uint8], seed: int, number: int) -> NDArray[np.uint8]:
        """The label (H W) of tile `number` with noise: what is UNKNOWN stays so. A pure function of its arguments."""
        draw = Draw(hash64(seed, "noise", self.kind), torch.tensor([number]))
        spoiled = {"random": _random, "edges": _moved, "bodies": _without_bodies}[self.kind](label, self.share, draw)
        return np.where(label == UNKNOWN, UNKNOWN, spoiled).astype(np.uint8)


def _random(label: NDArray[np.uint8], share: float, draw: Draw) -> NDArray[np.uint8]:
    chosen = draw.uniform("flip", *label.shape)[0].numpy() < share
    return np.where(chosen, np.where(label == WATER, LAND, WATER), label).astype(np.uint8)


def _moved(label: NDArray[np.uint8], share: float, draw: Draw) -> NDArray[np.uint8]:
    """All water moved along a drawn direction, as far as flips the share (or first flips more), a tile long at most."""
    angle = 2 * math.pi * float(draw.uniform("direction")[0])
    wanted = share * np.count_nonzero(label == WATER)
    moved = label
    for distance in range(1, max(label.shape)):
        if np.count_nonzero((moved != label) & (label != UNKNOWN) & (moved != UNKNOWN)) >= wanted:
            break
        shift = round(distance * math.sin(angle)), round(distance * math.cos(angle))
        rows, columns = (
            np.clip(np.arange(size) - step, 0, size - 1) for size, step in zip(label.shape, shift, strict=True)
        )
        moved = label[np.ix_(rows, columns)]
    return np.where(moved == UNKNOWN, label, moved)


def _without_bodies(label: NDArray[np.uint8], share: float, draw: Draw) -> NDArray[np.uint8]:
    """The smallest bodies (of eight neighbours) made land, as long as they are no more than the share of the water."""
    del draw  # which bodies are small is no chance
    bodies, count = ndimage.label(label == WATER, np.ones((3, 3)))
    areas = np.bincount(bodies.ravel(), minlength=count + 1)[1:]
    order = np.argsort(areas, kind="stable")
    gone = order[np.cumsum(areas[order]) <= share * areas.sum()] + 1
    return np.where(np.isin(bodies, gone), LAND, label).astype(np.uint8)
