"""Label-noise correction by one network for all tiles of a set, cross-validated by place.

A network that learns from many tiles what their labels have in common cannot learn the mistakes of one of them by heart
and judges each tile by the others: no tile is judged by a network that was taught its place. Where it contradicts a
label strongly enough, the label is changed; high ground, where snow and shadows pass for water, is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from waterscape.errors import UserError
from waterscape.labels.features import FEATURES, HIGHEST_METRES, PATCH, Patches, low_ground
from waterscape.labels.learner import fresh_network
from waterscape.randomness import hash64, permutation
from waterscape.sources.landsat.bands import LAND, WATER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from waterscape.nn.pixel_network import PixelNetwork

ASKED = 8192  # patches whose mean tells what is usual


@dataclass(frozen=True)
class Pooled:
    """How the networks learn, and when a label gives way."""

    folds: int = 4
    """Networks, each taught without a quarter of the places and asked about these alone."""
    patches: int = 64_000
    """Most patches of each class that a network is taught: bounds memory, 1.4 kB each."""
    steps: int = 500
    """Of the optimizer."""
    batch: int = 256
    """Patches in one step, half of them water."""
    rate: float = 2e-3
    """Adam's learning rate, which falls to zero in a straight line."""
    add: float = 0.5
    """Land becomes water where that is more probable than this, were there as much water as land."""
    confident: bool = False
    """Let cleanlab's confident learning decide which labels give way, instead of what `relabel` does."""


def folds_of(groups: Sequence[str], folds: int, seed: int) -> list[int]:
    """The fold of each tile: those of one group (place) are in one, and each fold has as many groups as another.

    Raises:
        UserError: there are fewer than two groups, so that nothing can be judged by anything else.
    """
    names = sorted(set(groups), key=lambda name: (hash64(seed, "fold", name), name))
    if len(names) < 2:
        raise UserError("all tiles are of one place, so that none can be judged by others: say --recipe fast")
    place = {name: number % min(folds, len(names)) for number, name in enumerate(names)}
    return [place[name] for name in groups]


def gather_classes(
    tiles: Iterable[tuple[int, NDArray[np.float32], NDArray[np.uint8]]], count: int, most: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Patches (N 7 7 7) of water and of land, equally many of each of `count` tiles as far as they have them.

    `tiles`: number, features (H W 7) and label (H W). Raises `UserError` where a class is nowhere.
    """
    found: dict[int, list[NDArray[np.float32]]] = {WATER: [], LAND: []}
    quota = max(1, most // max(count, 1))
    for number, features, label in tiles:
        patches = Patches(features)
        for kind in (WATER, LAND):
            pixels = np.flatnonzero((label == kind) & patches.known & low_ground(features))
            chosen = permutation(len(pixels), seed, "patches", number, kind)[:quota]
            found[kind].append(patches.gather(pixels[np.sort(chosen)]))
    empty = np.zeros((0, len(FEATURES), PATCH, PATCH), np.float32)
    water, land = (np.concatenate([empty, *found[kind]]) for kind in (WATER, LAND))
    if not len(water) or not len(land):
        lack = "land" if len(water) else "water"
        raise UserError(f"the tiles of all places but one part have no {lack} to learn below {HIGHEST_METRES:.0f} m")
    return water, land


def teach_network(water: NDArray[np.float32], land: NDArray[np.float32], how: Pooled, seed: int) -> PixelNetwork:
    """A network taught on patches of both classes, half of each batch of one."""
    network = fresh_network(seed)
    optimizer = torch.optim.Adam(network.parameters(), how.rate)
    half = max(1, how.batch // 2)
    classes = torch.arange(2).repeat_interleave(half)
    turns = zip(_in_turn(len(water), half, seed, "water"), _in_turn(len(land), half, seed, "land"), strict=True)
    network.train()
    for step, (of_water, of_land) in zip(range(how.steps), turns, strict=False):
        for settings in optimizer.param_groups:
            settings["lr"] = how.rate * (1 - step / how.steps)
        scores = network(torch.from_numpy(np.concatenate([water[of_water], land[of_land]])))[:, :, 0, 0]
        loss = functional.cross_entropy(scores, classes)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network


@torch.no_grad()
def usual_land(network: PixelNetwork, land: NDArray[np.float32]) -> float:
    """How probable land is, on average, of patches (N 7 7 7) that are labelled so: the noisier labels are, the less."""
    network.eval()
    some = torch.from_numpy(land[:: max(1, len(land) // ASKED)])
    return float(torch.softmax(network(some), 1)[:, 1].mean())


def relabel(
    given: NDArray[np.uint8], probability: NDArray[np.float32], add: float, land_usual: float
) -> NDArray[np.uint8]:
    """The label (H W) where land of more than `add` is water, and what is more probably land than usual land is land.

    The latter is confident learning's threshold (Northcutt 2021): it adapts to how noisy labels are. Labels of water
    from clear views miss more than they invent, so what is to be added need only be more probable than not. What is
    UNKNOWN, or has no probability (NaN), stays as it is.
    """
    label = np.where((given == LAND) & (probability > add), WATER, given)
    return np.where((given == WATER) & (1 - probability > land_usual), LAND, label).astype(np.uint8)


def _in_turn(length: int, count: int, seed: int, name: str) -> Iterator[NDArray[np.int64]]:
    """The next `count` of `length` patches, again and again, in an order shuffled anew for each pass over them."""
    waiting, passes = np.zeros(0, np.int64), 0
    while True:
        while len(waiting) < count:
            waiting = np.concatenate([waiting, permutation(length, seed, name, passes)])
            passes += 1
        yield waiting[:count]
        waiting = waiting[count:]
