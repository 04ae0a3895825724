"""Label-noise correction of one tile by three rounds: teach a fresh network, keep as water what it is sure of, again.

Each round draws as many pixels of land as of water, teaches a network that has seen nothing else, and asks it about the
whole tile. Water is then what the network is sure of and what looks like the rest of it: most of its features are
within three standard deviations of those of the pixels that the network is sure of. The last round's label is what the
network thinks more probable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.labels.features import HIGHEST_METRES, Patches, low_ground
from waterscape.labels.learner import fresh_network, teach, water_probability
from waterscape.randomness import hash64, permutation
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEVIATIONS = 3.0
"""A feature is usual within so many standard deviations of the mean of the pixels that are surely water."""
USUAL = 5
"""Water has more features than this that are usual."""


@dataclass(frozen=True)
class Rounds:
    """How much each round learns."""

    epochs: tuple[int, ...] = (30, 5, 5)
    """Passes over the drawn pixels, for each round."""
    batch: int = 16
    """Pixels in one step."""
    rate: float = 1e-5
    """Adam's learning rate."""
    sure: float = 0.95
    """Water must be more probable than this, in all rounds but the last."""


@dataclass(frozen=True)
class Corrected:
    """What became of a tile's label."""

    label: NDArray[np.uint8]
    """H W: WATER, LAND, or UNKNOWN where it was so before."""
    left: str = ""
    """Why the tile was left as it was; empty where it was not."""


def correct_tile(features: NDArray[np.float32], given: NDArray[np.uint8], rounds: Rounds, seed: int) -> Corrected:
    """The label after all rounds, of a tile's features (H W 7) and the label that was given (H W).

    A pixel with nodata within three pixels keeps what it was given, and so does one whose label is not known. A pure
    function of its arguments, on one machine and with one thread.
    """
    patches = Patches(features)
    judged = patches.known & (given != UNKNOWN)
    taught = judged & low_ground(features)
    label = given
    probability = np.zeros(given.shape, np.float32)
    if not judged.any():
        return Corrected(given, "nothing is known")
    if not taught.any():
        return Corrected(given, f"all above {HIGHEST_METRES:.0f} m")
    for number, epochs in enumerate(rounds.epochs, 1):
        pixels = balanced_draw(label, taught, hash64(seed, "draw", number))
        water = label.ravel()[pixels] == WATER
        if water.all() or not water.any():
            return Corrected(given, _lack(number, water=bool(water.any())))
        network = fresh_network(seed, number)
        teach(
            network,
            patches,
            pixels,
            water,
            epochs=epochs,
            batch=rounds.batch,
            rate=rounds.rate,
            seed=hash64(seed, "teach", number),
        )
        probability = water_probability(network, patches)
        if number < len(rounds.epochs):
            label = np.where(surely_water(probability, features, judged, rounds.sure), WATER, LAND).astype(np.uint8)
    last = np.where(probability > 0.5, WATER, LAND).astype(np.uint8)
    return Corrected(np.where(judged, last, given))


def balanced_draw(label: NDArray[np.uint8], taught: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Numbers of pixels, sorted: all water and as many pixels of land, or all land where there is less."""
    water = np.flatnonzero((label == WATER) & taught)
    land = np.flatnonzero((label == LAND) & taught)
    drawn = land[permutation(len(land), seed)[: len(water)]]
    return np.sort(np.concatenate([water, drawn]))


def surely_water(
    probability: NDArray[np.float32], features: NDArray[np.float32], judged: NDArray[np.bool_], sure: float
) -> NDArray[np.bool_]:
    """Where water is more probable than `sure` and more than `USUAL` features are those of such pixels (H W)."""
    certain = judged & (np.nan_to_num(probability) > sure)
    if not certain.any():
        return certain
    mean, deviation = features[certain].mean(0, np.float64), features[certain].std(0, np.float64)
    usual = np.abs(features - mean) <= DEVIATIONS * deviation
    kept: NDArray[np.bool_] = certain & (usual.sum(-1) > USUAL)
    return kept


def _lack(number: int, *, water: bool) -> str:
    if number > 1:
        return "nothing but water is left" if water else "nothing is surely water"
    return "no land" if water else "no water"
