"""What a trained model is worth on a set: every figure that its kind has, with intervals and limits, as a card.

- Whatever a recipe measures of held-out samples (`measure`, `figures`): accuracy, IoU, errors.
- Of pictures that are made again (`reconstruct`): how far they are from the true ones.
- Of new pictures (`sample`): their distances to held-out ones, each between its floor (training samples in place of
  new pictures) and its ceiling (noise); whether they repeat the training set; how unlike they are to one another.

Samples are taken one by one or in batches of fixed size, shared out over the processes and put in their order again in
float64: the card is the same for any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from waterscape.data.pictures import read_stacked
from waterscape.metrics import reconstruction
from waterscape.metrics.card import Card, Figure
from waterscape.metrics.diversity import unlike_pairs
from waterscape.metrics.evaluation import Evaluation, percent
from waterscape.metrics.feature_sources import AT_ONCE, Features
from waterscape.metrics.figures import figure_of, with_intervals
from waterscape.metrics.frechet_distance import frechet_distance
from waterscape.metrics.hydro_morphology import describe, hydro_morphology_distance
from waterscape.metrics.intervals import Interval
from waterscape.metrics.kernel_distance import squared_discrepancy
from waterscape.metrics.neighbours import Memory, manifold, memory
from waterscape.metrics.rank import effective_rank
from waterscape.randomness import Draw
from waterscape.training.sampling import sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.data.manifest import Manifest
    from waterscape.data.samples import Samples
    from waterscape.models import Trained
    from waterscape.training.processes import Processes

LEAST_SAMPLES = 6
"""That all figures can be taken of; intervals want more."""


@dataclass(frozen=True)
class Seen:
    """Pictures as distances see them."""

    pictures: Tensor
    features: NDArray[np.float64]
    descriptors: NDArray[np.object_] | None
    """Of each tile of occurrence, its own."""


class Worth:
    """A model's figures on a set.

    Args:
        trained: its networks.
        held_out: what it is judged by, the first `samples`.
        training: what it learnt from, as many: the floor, and what it might have copied.
        features: over which distances are taken.
        samples: new pictures made, and held-out samples read, at most.
        seed: of the new pictures.
        processes: which share the work.
    """

    def __init__(
        self,
        trained: Trained,
        held_out: Samples,
        training: Samples,
        features: Features,
        samples: int,
        seed: int,
        processes: Processes,
    ) -> None:
        self.trained, self.held_out, self.training, self.features = trained, held_out, training, features
        self.seed, self.processes = seed, processes
        self.recipe = trained.recipe
        self.numbers = range(min(samples, len(held_out)))
        self._evaluation = Evaluation(self.recipe, held_out, training, samples, seed)

    def card(self, manifest: Manifest, split: str) -> Card:
        """Everything there is to tell. Raises `ShardError` for a damaged sample, `UserError` for unfit features."""
        found = self._measured() if self.recipe.can("measure") else []
        if self.recipe.can("reconstruct"):
            found += self._made_again()
        if self.recipe.can("generate"):
            found += self._new()
        there = {figure.name: figure for figure in found if np.isfinite(figure.value)}
        trained = self.trained
        size = self._evaluation.pictures(self.held_out, range(1)).shape[1:]
        return Card(
            run={
                "name": trained.run.name,
                "model": trained.model,
                "preset": trained.preset,
                "images": trained.images,
                "checkpoint": trained.checkpoint,
                "sha256": trained.sha256,
            },
            data={
                "name": manifest.name,
                "manifest_sha256": manifest.sha256,
                "split": split,
                "samples": len(self.numbers),
                "synthetic": bool(manifest.facts.get("synthetic")),
                "licence": manifest.facts.get("licence"),
                "trained_on_it": trained.facts["manifest_sha256"] == manifest.sha256,
            },
            conditions={
                "pictures": " × ".join(map(str, size)),
                "dtype": "float32",
                "intervals": "95 %, jackknife over 10 groups of samples",
                **(self._conditions() if self.recipe.can("generate") else {}),
            },
            figures=tuple(there.values()),
            software={name: version(name) for name in ("waterscape", "torch", "numpy", "scipy")},
        )

    @cached_property
    def made(self) -> Seen:
        """New pictures."""
        kinds = self._evaluation.kinds()
        shares = sample(
            self.recipe, self.trained.networks, kinds, self._evaluation.seed,
            rank=self.processes.rank, world=self.processes.world,
        )  # fmt: skip
        self.processes.add_up(shares, "new pictures")
        return self._look(shares.float())

    @cached_property
    def true(self) -> Seen:
        """Held-out pictures."""
        return self._look(self._evaluation.pictures(self.held_out, self.numbers))

    @cached_property
    def alike(self) -> Seen:
        """Training pictures, as many as new ones are made."""
        return self._look(self._evaluation.pictures(self.training, range(self._of_training)))

    @cached_property
    def noise(self) -> Seen:
        """Noise, as much."""
        shape = self.alike.pictures.shape
        return self._look(
            Draw(self._evaluation.seed, torch.arange(len(self.alike.pictures))).uniform("noise", *shape[1:])
        )

    @cached_property
    def memory(self) -> Memory:
        """Whether new pictures are copies of the training samples that were read."""
        return memory(self.alike.features, self.true.features, self.made.features)

    @property
    def _of_training(self) -> int:
        return min(self._evaluation.samples, len(self.training))

    def _conditions(self) -> dict[str, Any]:
        return {
            "features": self.features.name,
            "features_sha256": self.features.sha256,
            "resize": self.features.resize,
            "made": self._evaluation.samples,
            "training_samples": self._of_training,
            "seed": self.seed,
        }

    def _measured(self) -> list[Figure]:
        """What the recipe measures, of each sample by itself."""

        def row(number: int) -> dict[str, float]:
            with torch.no_grad():
                found = self.recipe.measure(self.trained.networks, self._batch([number]))
            return {name: float(value.double()) for name, value in found.items()}

        rows = self._shared(row, self.numbers)
        self.held_out.close()
        names = list(rows[0]) if rows else []
        values = np.array([[each[name] for name in names] for each in rows])

        def figures(some: NDArray[np.float64]) -> Mapping[str, float]:
            return self.recipe.figures(dict(zip(names, some.mean(0).tolist(), strict=True)))

        return [figure_of(name, found) for name, found in with_intervals(figures, values).items()]

    def _made_again(self) -> list[Figure]:
        rows = self._shared(self._errors, range(0, len(self.numbers), AT_ONCE))
        names = list(rows[0])
        values = np.concatenate([np.stack([each[name] for name in names], 1) for each in rows])
        found = with_intervals(lambda some: dict(zip(names, some.mean(0).tolist(), strict=True)), values)
        return [figure_of(f"made again: {name}", interval) for name, interval in found.items()]

    def _errors(self, start: int) -> dict[str, NDArray[np.float64]]:
        """Of a batch of held-out samples that are made again: name → N."""
        numbers = self.numbers[start : start + AT_ONCE]
        with torch.no_grad():
            made = self.recipe.reconstruct(self.trained.networks, self._batch(numbers)).float()
        errors = reconstruction.reconstruction_errors(made, self._evaluation.pictures(self.held_out, numbers))
        return {name: value.double().numpy() for name, value in errors.items()}

    def _batch(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Held-out samples as the recipe takes them."""
        inputs = self.recipe.inputs()
        columns = list(dict.fromkeys(entry.column for entry in inputs.values()))
        sizes = {entry.column: entry.picture for entry in inputs.values() if entry.picture}
        stored = read_stacked(self.held_out, numbers, columns, sizes)
        return {name: entry.numbers(stored[entry.column], torch.float32) for name, entry in inputs.items()}

    def _new(self) -> list[Figure]:
        """Distances and the rest, each between its limits."""
        floor, ceiling = ({n: i.value for n, i in self._distances(one).items()} for one in (self.alike, self.noise))
        figures = [
            figure_of(name, interval, floor.get(name), ceiling.get(name))
            for name, interval in self._distances(self.made).items()
        ]
        held = self.memory
        figures += [
            Figure("memorisation: nearer than held-out", held.nearer, floor=0.5, ceiling=1.0),
            Figure("memorisation: copied share", held.copied, floor=0.01, ceiling=1.0, better="lower"),
        ]
        figures += [
            figure_of(name, of(self.made), of(self.alike).value, of(self.noise).value)
            for name, of in {"unlikeness of pairs": _unlikeness, "effective rank": _rank}.items()
        ]
        return figures

    def _distances(self, other: Seen) -> dict[str, Interval]:
        """Of pictures to the held-out ones."""
        found = with_intervals(_over_features, self.true.features, other.features)
        if self.true.descriptors is not None and other.descriptors is not None:
            found |= with_intervals(_over_bodies, self.true.descriptors, other.descriptors)
        return found

    def _look(self, pictures: Tensor) -> Seen:
        """Each process looks at its share."""
        starts = range(0, len(pictures), AT_ONCE)
        features = np.concatenate(self._shared(lambda i: self.features(pictures[i : i + AT_ONCE]), starts))
        descriptors = None
        if self._evaluation.is_occurrence:
            tiles = percent(pictures)
            told = self._shared(lambda i: [describe([tile]) for tile in tiles[i : i + AT_ONCE]], starts)
            descriptors = np.empty(len(tiles), object)
            descriptors[:] = [each for some in told for each in some]
        return Seen(pictures, features, descriptors)

    def _shared(self, work: Callable[[int], Any], items: Sequence[int]) -> list[Any]:
        """`work` of each item, shared out over the processes; in the items' order, on each of them."""
        world, rank = self.processes.world, self.processes.rank
        mine = [work(item) for item in items[rank::world]]
        parts = self.processes.gather(mine) if world > 1 else [mine]
        return [parts[number % world][number // world] for number in range(len(items))]


def _over_features(true: NDArray[np.float64], made: NDArray[np.float64]) -> dict[str, float]:
    return {
        "Fréchet distance": frechet_distance(true, made),
        "kernel distance": squared_discrepancy(true, made),
        **manifold(true, made)._asdict(),
    }


def _over_bodies(true: NDArray[np.object_], made: NDArray[np.object_]) -> Mapping[str, float]:
    one, other = ({name: np.concatenate([tile[name] for tile in tiles]) for name in tiles[0]} for tiles in (true, made))
    return hydro_morphology_distance(one, other)


def _unlikeness(seen: Seen) -> Interval:
    return with_intervals(lambda pairs: {"": float(pairs.mean())}, unlike_pairs(seen.pictures))[""]


def _rank(seen: Seen) -> Interval:
    return Interval(effective_rank(seen.features), np.nan, np.nan)
