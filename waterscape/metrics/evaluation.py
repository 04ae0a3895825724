"""What a model is worth on held-out tiles: distances of its new pictures, and errors of those that it makes again.

    Evaluation(recipe, ShardSet(data, "valid"), ShardSet(data, "train")).figures(networks)

Tiles, noise and classes are fixed, so two evaluations differ by the networks alone. Each distance comes with its floor,
the same distance of as many training tiles in place of new pictures, and its ceiling, that of pictures of noise.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from waterscape.data.pictures import read_stacked
from waterscape.data.samples import Samples
from waterscape.metrics.features import FEATURES, random_features
from waterscape.metrics.hydro_morphology import describe, hydro_morphology_distance
from waterscape.metrics.kernel_distance import kernel_distance
from waterscape.metrics.reconstruction import reconstruction_errors
from waterscape.randomness import Draw, hash64
from waterscape.recipe import Networks, Recipe
from waterscape.training.sampling import sample

AT_ONCE = 32
"""Held-out tiles in one batch: fixed, so that the same tiles have the same figures."""
MOST_SUBSETS = 8
"""Of the kernel distance, each of at least as many pictures."""
USUAL_SAMPLES = 512
"""New pictures, and held-out tiles at most."""
KERNEL = "kernel distance"


class Evaluation:
    """Held-out tiles and what is measured against them.

    Args:
        recipe: of the model; what it can, sample or reconstruct or both, is measured.
        held_out: the tiles to compare with, the first `samples`; a packed set is stored in random order.
        training: where the floor's tiles come from, as many.
        samples: new pictures made; their classes are those of the held-out tiles, in turn.
        seed: of the noise.
    """

    def __init__(
        self, recipe: Recipe, held_out: Samples, training: Samples, samples: int = USUAL_SAMPLES, seed: int = 0
    ) -> None:
        self.recipe, self.held_out, self.training = recipe, held_out, training
        self.samples, self.seed = samples, hash64(seed, "evaluation")
        self.inputs = recipe.inputs()
        self.picture = recipe.pictured()
        self.numbers = range(min(samples, len(held_out)))

    @staticmethod
    def applies(recipe: Recipe) -> bool:
        """Whether there is anything to measure."""
        return recipe.can("generate") or recipe.can("reconstruct")

    @property
    def facts(self) -> dict[str, Any]:
        """What the figures were taken on."""
        return {"held_out": len(self.numbers), "samples": self.samples, "features": FEATURES}

    def figures(
        self, networks: Networks, dtype: torch.dtype = torch.float32, device: torch.device | None = None
    ) -> dict[str, float]:
        """All figures of networks in evaluation mode, by name."""
        found: dict[str, float] = {}
        if self.recipe.can("generate"):
            kinds = self.kinds().to(device or torch.device("cpu"))
            made = sample(self.recipe, networks, kinds, self.seed, dtype=dtype).float().cpu()
            found |= self.distances(made) | self._limits
        if self.recipe.can("reconstruct"):
            found |= self._errors(networks, dtype, device)
        return found

    def distances(self, made: Tensor) -> dict[str, float]:
        """Of pictures (N C H W, in 0..1) to held-out ones: kernel distance and, of occurrence, hydro-morphology."""
        features = random_features(made)
        subsets = max(1, min(MOST_SUBSETS, len(made) // MOST_SUBSETS, len(self.numbers) // MOST_SUBSETS))
        kernel = kernel_distance(self._true_features, features, subsets)
        found = {KERNEL: kernel.mean}
        if subsets > 1:
            found[f"{KERNEL}, standard error"] = kernel.standard_error
        if self.is_occurrence:
            found |= hydro_morphology_distance(self._true_descriptors, describe(percent(made)))
        return found

    @cached_property
    def _limits(self) -> dict[str, float]:
        """Floor and ceiling of each distance."""
        alike = self.pictures(self.training, range(min(self.samples, len(self.training))))
        noise = Draw(self.seed, torch.arange(len(alike))).uniform("noise in place of pictures", *alike.shape[1:])
        limits = {"floor": self.distances(alike), "ceiling": self.distances(noise)}
        return {
            f"{limit}: {name}": value
            for limit, found in limits.items()
            for name, value in found.items()
            if not name.endswith("standard error")
        }

    @cached_property
    def _true(self) -> Tensor:
        return self.pictures(self.held_out, self.numbers)

    @cached_property
    def _true_features(self) -> Tensor:
        return random_features(self._true)

    @cached_property
    def _true_descriptors(self) -> dict[str, Any]:
        return describe(percent(self._true))

    @property
    def is_occurrence(self) -> bool:
        """Whether the pictures are tiles of water occurrence, whose bodies have shapes."""
        entry = self.inputs[self.picture]
        return entry.column.startswith("occurrence") and entry.stored == (0, 100)

    def _errors(self, networks: Networks, dtype: torch.dtype, device: torch.device | None) -> dict[str, float]:
        """Mean errors of the held-out tiles made again."""
        sums: dict[str, float] = {}
        for start in range(0, len(self.numbers), AT_ONCE):
            stored = self._stored(self.held_out, self.numbers[start : start + AT_ONCE])
            batch = {name: entry.numbers(stored[entry.column], dtype).to(device) for name, entry in self.inputs.items()}
            with torch.no_grad():
                made = self.recipe.reconstruct(networks, batch).float().cpu()
            for name, errors in reconstruction_errors(made, self._true[start : start + AT_ONCE]).items():
                sums[name] = sums.get(name, 0.0) + float(errors.double().sum())
        return {name: total / len(self.numbers) for name, total in sums.items()}

    def kinds(self) -> Tensor:
        """The class of each new picture."""
        name = next((name for name, entry in self.inputs.items() if entry.classes), None)
        if name is None or not self.recipe.sample_classes():
            return torch.zeros(self.samples, dtype=torch.int64)
        column = self.inputs[name].column
        kinds = self._stored(self.held_out, self.numbers, name)[column].to(torch.int64)
        return kinds[torch.arange(self.samples) % len(kinds)]

    def pictures(self, samples: Samples, numbers: range) -> Tensor:
        """Stored tiles as pictures N C H W, in 0..1."""
        entry = dataclasses.replace(self.inputs[self.picture], range=(0.0, 1.0))
        return entry.numbers(self._stored(samples, numbers, self.picture)[entry.column], torch.float32)

    def _stored(self, samples: Samples, numbers: range, *names: str) -> dict[str, Tensor]:
        """The columns of the named inputs, or of all."""
        entries = [self.inputs[name] for name in names or self.inputs]
        sizes = {entry.column: entry.picture for entry in entries if entry.picture}
        read = read_stacked(samples, numbers, list({entry.column for entry in entries}), sizes)
        samples.close()  # held open, its tars could not be evicted from a cache
        return read


def percent(pictures: Tensor) -> list[np.ndarray]:
    """Pictures of occurrence (N 1 H W, in 0..1) as tiles in percent (H W, uint8)."""
    return list((100 * pictures[:, 0]).round().to(torch.uint8).numpy())
