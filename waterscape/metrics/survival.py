"""What is left of a picture's class once a model has made the picture again, as a classifier sees both."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.metrics.classification import Verdicts
from waterscape.metrics.judged import batches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.data.samples import Samples
    from waterscape.models import Trained
    from waterscape.recipe import Input, Recipe

AT_ONCE = 32
"""New pictures classified together."""


@dataclass(frozen=True)
class Line:
    """What survives of one class, or of all. Shares are NaN where they are of nothing."""

    name: str
    samples: int
    recall_original: float
    recall_decoded: float
    same: float
    """Share of the samples that are called the same, rightly or not."""
    survives: float
    """Of the samples called rightly, the share that still are once they are decoded."""


@dataclass(frozen=True)
class Survival:
    """A classifier's verdicts on pictures and on the same decoded, sample by sample."""

    original: Verdicts
    decoded: Verdicts

    @property
    def moved(self) -> Verdicts:
        """The decoded pictures, against what their originals were called."""
        return dataclasses.replace(self.decoded, kinds=self.original.called)

    @property
    def lines(self) -> list[Line]:
        """A line for each class, then one for all."""
        kinds = self.original.kinds
        named = [self._line(name, np.flatnonzero(kinds == number)) for number, name in enumerate(self.original.classes)]
        return [*named, self._line("all", np.arange(len(kinds)))]

    def _line(self, name: str, some: NDArray[np.intp]) -> Line:
        before, after, true = self.original.called[some], self.decoded.called[some], self.original.kinds[some]
        return Line(
            name,
            len(some),
            _mean(before == true),
            _mean(after == true),
            _mean(after == before),
            _mean((after == true)[before == true]),
        )

    def facts(self) -> dict[str, Any]:
        """All of it, for a file; shares of nothing are null."""
        lines = [
            {name: None if value != value else value for name, value in dataclasses.asdict(line).items()}
            for line in self.lines
        ]
        return {
            "samples": len(self.original.kinds),
            "classes": list(self.original.classes),
            "survival": lines,
            "confusion (rows are what originals are called)": self.moved.confusion.tolist(),
            "confusion of originals (rows are true)": self.original.confusion.tolist(),
            "confusion of decoded ones (rows are true)": self.decoded.confusion.tolist(),
        }


@dataclass(frozen=True)
class Pair:
    """A picture and the same decoded (C H W each, 0..1), by its number in the set."""

    number: int
    original: Tensor
    decoded: Tensor


def survival(maker: Trained, classifier: Trained, samples: Samples, shown: int) -> tuple[Survival, list[Pair]]:
    """Let `maker` make the samples again and `classifier` call both; also the first `shown` pairs of each class.

    Both are seen by the classifier at the size that `maker` reads, brought to its own.

    Raises:
        ShardError: a sample that is damaged.
    """
    recipe, known = maker.recipe, classifier.recipe.known_classes()
    entry = next(entry for entry in classifier.recipe.inputs().values() if entry.classes)
    inputs = {**recipe.inputs(), "class to be told": entry}
    own = recipe.inputs()[recipe.pictured()]
    found: dict[str, list[NDArray[np.float64]]] = {"original": [], "decoded": []}
    kinds: list[int] = []
    pairs: list[Pair] = []
    for batch in batches(inputs, samples):
        original = in_unit(batch[recipe.pictured()], own)
        with torch.no_grad():
            decoded = recipe.reconstruct(maker.networks, batch).float()
        for name, pictures in (("original", original), ("decoded", decoded)):
            found[name].append(probabilities(classifier, pictures))
        for before, after, kind in zip(original, decoded, batch["class to be told"].tolist(), strict=True):
            if kinds.count(kind) < shown:
                pairs.append(Pair(len(kinds), before.clone(), after.clone()))
            kinds.append(kind)
    true = np.array(kinds, np.int64)
    original_, decoded_ = (Verdicts(known, np.concatenate(rows), true) for rows in found.values())
    return Survival(original_, decoded_), pairs


def probabilities(classifier: Trained, pictures: Tensor) -> NDArray[np.float64]:
    """A classifier's probabilities (N C) of pictures (N C H W, 0..1) of any size."""
    recipe = classifier.recipe
    made = fitted(pictures, recipe.inputs()[recipe.pictured()])
    with torch.no_grad():
        rows = [recipe.classify(classifier.networks, {recipe.pictured(): some}) for some in torch.split(made, AT_ONCE)]
    return np.asarray(torch.cat(rows).double().numpy())


def fitted(pictures: Tensor, entry: Input) -> Tensor:
    """Pictures (N C H W, 0..1) as a model reads them: at its size, by a filter as wide as the step, in its range."""
    if pictures.shape[2:] != entry.shape[1:]:
        pictures = F.interpolate(pictures, entry.shape[1:], mode="bilinear", antialias=True, align_corners=False)
    low, high = entry.range
    return low + pictures.clamp(0, 1) * (high - low)


def in_unit(pictures: Tensor, entry: Input) -> Tensor:
    """Pictures as a model reads them, in 0..1."""
    low, high = entry.range
    return (pictures.float() - low) / (high - low)


def judges(maker: Recipe, classifier: Recipe) -> bool:
    """Whether what the one makes is what the other reads: the same column, as many channels."""
    made, read = (recipe.inputs()[recipe.pictured()] for recipe in (maker, classifier))
    return (made.column, made.shape[0]) == (read.column, read.shape[0])


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")
