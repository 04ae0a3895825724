"""Correct the labels of a whole set, tile by tile on several processes; each result is kept when it is done."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from waterscape.labels.confident import doubted
from waterscape.labels.features import HIGHEST_METRES, Patches, low_ground, seven_features
from waterscape.labels.kept import keep, kept
from waterscape.labels.labelled_set import Tile, opened
from waterscape.labels.learner import fresh_network, water_probability
from waterscape.labels.pooled import Pooled, folds_of, gather_classes, relabel, teach_network, usual_land
from waterscape.labels.procedure import Corrected, Rounds, correct_tile
from waterscape.randomness import hash64
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER
from waterscape.sources.parallel import progress
from waterscape.training.torch_threads import torch_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.labels.noise import Noise
    from waterscape.sources.parallel import Workers

RECIPES: dict[str, Rounds | Pooled] = {
    "literal": Rounds(),
    "fast": Rounds(epochs=(6, 2, 2), batch=256, rate=1e-3),
    "recommended": Pooled(),
    "confident": Pooled(confident=True),
}


@dataclass(frozen=True)
class Work:
    """What is done to all tiles of a set; it travels to every process."""

    data: str
    """The set."""
    recipe: Rounds | Pooled
    """How labels are corrected."""
    seed: int
    """Of networks, draws and noise."""
    directory: Path
    """Where results are kept."""
    noise: Noise | None = None
    """Put on the labels before."""

    def label(self, tile: Tile) -> NDArray[np.uint8]:
        """The label that is to be corrected (H W)."""
        return tile.given if self.noise is None else self.noise.spoil(tile.given, self.seed, tile.number)

    def path(self, kind: str, number: int) -> Path:
        """Where a result is kept."""
        return self.directory / kind / f"{number:06d}.npz"


@dataclass(frozen=True)
class Result:
    """What became of one tile's label."""

    number: int
    """The tile's place in the set."""
    label: NDArray[np.uint8]
    """H W, corrected."""
    left: str
    """Why it was left as it was; empty where it was not."""
    seconds: float
    """That the correction took."""


def correct_set(work: Work, numbers: Sequence[int], workers: Workers, name: str) -> list[Result]:
    """Correct the labels of the tiles `numbers`, but for what was done before; results are in their order.

    The same on any number of processes. Raises `UserError`.
    """
    run = _Run(work, numbers, workers, name)
    if isinstance(work.recipe, Rounds):
        run.each("label", partial(_by_rounds, work), numbers, "tile")
    else:
        _by_pool(run, work.recipe)
    return [_result(work, number) for number in numbers]


@dataclass(frozen=True)
class _Run:
    work: Work
    numbers: Sequence[int]
    workers: Workers
    name: str

    def each(self, kind: str, function: Callable[[int], None], numbers: Sequence[int], unit: str) -> None:
        """Have `function` keep a result of every number that has none yet."""
        missing = [number for number in numbers if not self.work.path(kind, number).exists()]
        done: Iterator[None] = self.workers.in_order(function, missing)
        for _ in progress(done, len(missing), f"{self.name}, {unit}s", unit):
            pass


def _by_rounds(work: Work, number: int) -> None:
    assert isinstance(work.recipe, Rounds)
    began = time.perf_counter()
    with torch_threads(1):
        tile = opened(work.data).tile(number)
        seed = hash64(work.seed, "tile", number)
        _keep(work, number, correct_tile(seven_features(tile.bands), work.label(tile), work.recipe, seed), began)


def _by_pool(run: _Run, how: Pooled) -> None:
    """Teach a network for each fold, ask it about the fold's tiles, and change the labels that it contradicts."""
    work = run.work
    groups = [opened(work.data).tile(number).group for number in run.numbers]
    folds = folds_of(groups, how.folds, work.seed)
    fold_of = dict(zip(run.numbers, folds, strict=True))
    run.each("network", partial(_teach_fold, work, fold_of), sorted(set(folds)), "network")
    if not how.confident:
        run.each("label", partial(_by_network, work, fold_of), run.numbers, "tile")
        return
    run.each("probability", partial(_ask, work, fold_of), run.numbers, "tile")
    if not all(work.path("label", number).exists() for number in run.numbers):
        _by_confidence(work, run.numbers)


def _teach_fold(work: Work, fold_of: dict[int, int], fold: int) -> None:
    assert isinstance(work.recipe, Pooled)
    others = [number for number, its in fold_of.items() if its != fold]
    tiles = (opened(work.data).tile(number) for number in others)
    told = ((tile.number, seven_features(tile.bands), work.label(tile)) for tile in tiles)
    seed = hash64(work.seed, "pool", fold)
    with torch_threads(1):
        water, land = gather_classes(told, len(others), work.recipe.patches, seed)
        network = teach_network(water, land, work.recipe, seed)
        usual = usual_land(network, land)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    keep(work.path("network", fold), weights, {"usual land": usual})


def _probability(work: Work, fold_of: dict[int, int], tile: Tile) -> tuple[NDArray[np.float32], float]:
    """The probability of water (H W) by the network that was not taught the tile's place, and its usual land's.

    NaN where a label is not to be judged.
    """
    found = kept(work.path("network", fold_of[tile.number]))
    assert found is not None
    network = fresh_network(work.seed)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in found[0].items()})
    features = seven_features(tile.bands)
    with torch_threads(1):
        probability = water_probability(network, Patches(features))
    return np.where(low_ground(features), probability, np.float32(np.nan)), float(found[1]["usual land"])


def _by_network(work: Work, fold_of: dict[int, int], number: int) -> None:
    assert isinstance(work.recipe, Pooled)
    began = time.perf_counter()
    tile = opened(work.data).tile(number)
    given = work.label(tile)
    probability, land_usual = _probability(work, fold_of, tile)
    left = _nothing_to_judge(given, probability)
    label = given if left else relabel(given, probability, work.recipe.add, land_usual)
    _keep(work, number, Corrected(label, left), began)


def _ask(work: Work, fold_of: dict[int, int], number: int) -> None:
    probability, _ = _probability(work, fold_of, opened(work.data).tile(number))
    keep(work.path("probability", number), {"probability": probability})


def _by_confidence(work: Work, numbers: Sequence[int]) -> None:
    """Doubt the labels of all tiles together: what is usual for a class is known from all of it."""
    began = time.perf_counter()
    labels = [work.label(opened(work.data).tile(number)) for number in numbers]
    found = [kept(work.path("probability", number)) for number in numbers]
    probabilities = [one[0]["probability"] for one in found if one is not None]
    judged = [(given != UNKNOWN) & np.isfinite(chance) for given, chance in zip(labels, probabilities, strict=True)]
    pixels = [given[here] == WATER for given, here in zip(labels, judged, strict=True)]
    chances = [chance[here] for chance, here in zip(probabilities, judged, strict=True)]
    doubts = doubted(np.concatenate(pixels), np.concatenate(chances))
    parts = np.split(doubts, np.cumsum([len(part) for part in pixels])[:-1])
    for number, given, here, part in zip(numbers, labels, judged, parts, strict=True):
        label = given.copy()
        label[here] = np.where(part, np.where(given[here] == WATER, LAND, WATER), given[here])
        left = "" if here.any() else "nothing is known"
        _keep(work, number, Corrected(label, left), began)
        began = time.perf_counter()


def _nothing_to_judge(given: NDArray[np.uint8], probability: NDArray[np.float32]) -> str:
    return (
        ""
        if ((given != UNKNOWN) & np.isfinite(probability)).any()
        else f"nothing is known below {HIGHEST_METRES:.0f} m"
    )


def _keep(work: Work, number: int, corrected: Corrected, began: float) -> None:
    facts = {"left": corrected.left, "seconds": round(time.perf_counter() - began, 3)}
    keep(work.path("label", number), {"label": corrected.label.astype(np.uint8)}, facts)


def _result(work: Work, number: int) -> Result:
    found = kept(work.path("label", number))
    assert found is not None
    return Result(number, found[0]["label"], found[1]["left"], found[1]["seconds"])


def plan_of(recipe: Rounds | Pooled, seed: int, sha256: str) -> dict[str, Any]:
    """On what kept results must agree."""
    return {"recipe": asdict(recipe), "seed": seed, "set": sha256, "torch": str(torch.__version__)}
