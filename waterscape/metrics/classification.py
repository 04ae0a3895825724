"""What a classifier is worth: who is taken for whom, precision and recall by class, whether its confidence is true.

Held-out samples come in batches and on several processes, so a recipe sums (`sums`) and what people read is made of the
means (`figures`). Where all probabilities are at hand, `Verdicts` counts them directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 10
"""Of confidence, equally wide."""
ACCURACY, MEAN_RECALL, CROSS_ENTROPY = "accuracy", "mean recall", "cross-entropy"
CALIBRATION = "calibration error"
"""Expected calibration error (Guo 2017, arXiv:1706.04599): |confidence − accuracy|, mean over samples, by bin."""


def sums(logits: Tensor, kinds: Tensor, classes: Sequence[str]) -> dict[str, Tensor]:
    """What `figures` needs of a batch: logits N C and true classes N (int64) → scalars, summed over the samples."""
    probabilities = logits.float().softmax(1)
    confidence, called = probabilities.max(1)
    right = (called == kinds).to(torch.float32)
    found = {
        ACCURACY: right.sum(),
        CROSS_ENTROPY: F.cross_entropy(logits.float(), kinds, reduction="sum"),
    }
    for number, name in enumerate(classes):
        found[f"are: {name}"] = (kinds == number).sum().float()
        found[f"called: {name}"] = (called == number).sum().float()
        found[f"found: {name}"] = ((kinds == number) & (called == number)).sum().float()
    which = _bins(confidence)
    for number in range(BINS):
        found[f"overconfident: {number}"] = ((confidence - right) * (which == number)).sum()
    return found


def figures(means: Mapping[str, float], classes: Sequence[str]) -> dict[str, float]:
    """What people read, of the means of `sums`. A class of no sample has no recall, one never named no precision."""
    recall = {name: means[f"found: {name}"] / means[f"are: {name}"] for name in classes if means[f"are: {name}"]}
    precision = {
        name: means[f"found: {name}"] / means[f"called: {name}"] for name in classes if means[f"called: {name}"]
    }
    return {
        ACCURACY: means[ACCURACY],
        MEAN_RECALL: sum(recall.values()) / max(1, len(recall)),
        CROSS_ENTROPY: means[CROSS_ENTROPY],
        CALIBRATION: sum(abs(means[f"overconfident: {number}"]) for number in range(BINS)),
        **{f"recall: {name}": value for name, value in recall.items()},
        **{f"precision: {name}": value for name, value in precision.items()},
    }


def _bins(confidence: Tensor) -> Tensor:
    return (confidence * BINS).long().clamp(max=BINS - 1)


@dataclass(frozen=True)
class Verdicts:
    """Probabilities (N C) that a classifier gave to samples, and their true classes (N)."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    kinds: NDArray[np.int64]

    @property
    def called(self) -> NDArray[np.int64]:
        """The most probable class of each sample."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The probability of that class."""
        return np.asarray(self.probabilities.max(1))

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """C C: rows are true classes, columns what they were called."""
        count = len(self.classes)
        counts = np.bincount(self.kinds * count + self.called, minlength=count**2)
        return np.asarray(counts.reshape(count, count), np.int64)

    @property
    def accuracy(self) -> float:
        """Share of samples called right."""
        return float(np.trace(self.confusion) / max(1, self.confusion.sum()))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of each class's samples, the share called so; NaN where it has none."""
        return _share(np.diag(self.confusion), self.confusion.sum(1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of those called by a class's name, the share that are of it; NaN where none is."""
        return _share(np.diag(self.confusion), self.confusion.sum(0))

    @property
    def calibration(self) -> list[tuple[float, float, int]]:
        """For each bin of confidence that has samples: mean confidence, share called right, samples."""
        right, which = self.called == self.kinds, np.minimum((self.confidence * BINS).astype(int), BINS - 1)
        there = [which == number for number in range(BINS) if (which == number).any()]
        return [(float(self.confidence[some].mean()), float(right[some].mean()), int(some.sum())) for some in there]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error."""
        total = sum(count for *_, count in self.calibration)
        return sum(count * abs(confidence - right) for confidence, right, count in self.calibration) / max(1, total)

    def facts(self) -> dict[str, Any]:
        """All of it, for a file."""
        told = {name: value for name, value in zip(self.classes, self.recall.tolist(), strict=True) if value == value}
        named = {n: value for n, value in zip(self.classes, self.precision.tolist(), strict=True) if value == value}
        return {
            "samples": len(self.kinds),
            ACCURACY: self.accuracy,
            CALIBRATION: self.calibration_error,
            "recall": told,
            "precision": named,
            "classes": list(self.classes),
            "confusion (rows are true)": self.confusion.tolist(),
        }


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
