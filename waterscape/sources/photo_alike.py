"""What is told of photos that look the same: how many, whether they stand in two splits or classes, and their faces."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.sources.occurrence_survey import SPLITS
from waterscape.sources.photo_set import face

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SHOWN = 6  # pairs
LISTED = 100  # pairs
Pair = tuple[int, int, int]


@dataclass(frozen=True)
class Alike:
    """Pairs of photos that look the same."""

    photos: Sequence[tuple[str, str, Path]]
    """Name, class and file of each."""
    splits: Sequence[str]
    """Of each."""
    pairs: Sequence[Pair]
    """Two numbers of photos, and the bits in which their fingerprints differ; in the order of the numbers."""

    @cached_property
    def across_splits(self) -> list[Pair]:
        """Those that leak from one split to another, the most alike first."""
        return self._sorted(pair for pair in self.pairs if self.splits[pair[0]] != self.splits[pair[1]])

    @cached_property
    def across_classes(self) -> list[Pair]:
        """Those that differ in class, the most alike first."""
        return self._sorted(pair for pair in self.pairs if self.photos[pair[0]][1] != self.photos[pair[1]][1])

    def facts(self) -> dict[str, Any]:
        """For the manifest: counts, and the pairs by name."""
        return {
            "pairs": len(self.pairs),
            "across_splits": self._by_splits(),
            "across_classes": len(self.across_classes),
            "across_splits_listed": [self._told(pair) for pair in self.across_splits[:LISTED]],
            "across_classes_listed": [self._told(pair) for pair in self.across_classes[:LISTED]],
        }

    def notes(self) -> list[str]:
        """What a person should know of them."""
        told = [f"{len(self.pairs)} pairs of photos look the same"] if self.pairs else []
        for splits, count in self._by_splits().items():
            why = ": what is tested was seen in training" if "train" in splits else ""
            told.append(f"{count} pairs that look the same stand in {splits}{why}")
        if self.across_splits:
            told.append("such as {}, {} ({} bits apart)".format(*self._told(self.across_splits[0])))
        if self.across_classes:
            told.append(
                "{} pairs look the same and differ in class, such as {}, {} ({} bits apart)".format(
                    len(self.across_classes), *self._told(self.across_classes[0])
                )
            )
        return told

    def rows(self) -> dict[str, NDArray[np.uint8]]:
        """Those most alike, side by side, for the contact sheet; those across splits, where there are some."""
        across = self.across_splits
        some = across[:SHOWN] or heapq.nsmallest(SHOWN, self.pairs, key=itemgetter(2))
        if not some:
            return {}
        paths = [self.photos[number][2] for one, two, _ in some for number in (one, two)]
        faces = [face(path) for path in paths]
        where = "in two splits\n" if across else ""
        return {f"look the same\n{where}{len(across or self.pairs)} pairs": np.stack(faces)}

    def _by_splits(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        for one, two, _ in self.across_splits:
            found[" and ".join(sorted((self.splits[one], self.splits[two]), key=SPLITS.index))] += 1
        return dict(sorted(found.items()))

    def _told(self, pair: Pair) -> list[Any]:
        one, two, bits = pair
        return [self.photos[one][0], self.photos[two][0], bits]

    @staticmethod
    def _sorted(pairs: Iterable[Pair]) -> list[Pair]:
        return sorted(pairs, key=itemgetter(2))
