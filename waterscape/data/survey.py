"""What the samples of a set say of themselves, all of them: split, class, region, place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waterscape.data.manifest import Column, Manifest
from waterscape.data.shards import ShardSet, column_names

CLASS_COLUMNS = ("shape.npy", "class.npy", "label.npy")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Survey:
    """One entry a sample, in the order of splits, then of storing. Coordinates in degrees, NaN where not known."""

    manifest: Manifest
    splits: NDArray[np.int64]
    """Number of the split, as in `manifest.splits`."""
    classes: tuple[str, ...]
    regions: tuple[str, ...]
    longitude: NDArray[np.float64]
    latitude: NDArray[np.float64]

    @property
    def placed(self) -> NDArray[np.bool_]:
        """Which samples say where they lie."""
        known: NDArray[np.bool_] = np.isfinite(self.longitude) & np.isfinite(self.latitude)
        return known

    def count(self, values: tuple[str, ...]) -> dict[str, Counter[str]]:
        """Split → value → samples."""
        names = self.manifest.splits
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        for split, value in zip(self.splits.tolist(), values, strict=True):
            counts[names[split]][value] += 1
        return counts


def survey(
    directory: Path | str, advance: Callable[[int], None] | None = None, manifest: Manifest | None = None
) -> Survey:
    """Read the JSON and the class of every sample; `advance` is told the number of samples.

    `manifest`: the set's, where it was loaded before, or one of some of its shards, to survey those alone.

    Raises:
        UserError: there is no set, or a sample is damaged.
    """
    manifest = manifest or Manifest.load(directory)
    splits: list[int] = []
    classes: list[str] = []
    regions: list[str] = []
    places: list[tuple[float, float]] = []
    for number, split in enumerate(manifest.splits):
        shards = ShardSet(directory, split, manifest)
        names = shards.classes
        for shard, index in enumerate(shards.indexes):
            columns = column_names(index)
            class_column = class_column_of(manifest.columns)
            for row in range(len(index)):
                told = shards.value(shard, row, "json") if "json" in columns and index["json"]["size"][row] >= 0 else {}
                facts = told if isinstance(told, dict) else {}
                regions.append(str(facts.get("region") or UNKNOWN))
                places.append((_degrees(facts.get("longitude"), 180), _degrees(facts.get("latitude"), 90)))
                classes.append(_class_of(shards, shard, row, class_column, names))
            splits += [number] * len(index)
            if advance:
                advance(len(index))
    longitude, latitude = np.array(places, np.float64).reshape(-1, 2).T
    return Survey(manifest, np.array(splits, np.int64), tuple(classes), tuple(regions), longitude, latitude)


def class_column_of(columns: tuple[Column, ...]) -> str | None:
    """The column that holds each sample's class as one number; None: there is none."""
    scalars = {column.name for column in columns if column.shape == () and column.dtype and column.dtype[1] in "iu"}
    return next((name for name in CLASS_COLUMNS if name in scalars), None)


def _class_of(shards: ShardSet, shard: int, row: int, column: str | None, names: tuple[str, ...]) -> str:
    if column is None or column not in column_names(shards.indexes[shard]):
        return UNKNOWN
    if shards.indexes[shard][column]["size"][row] < 0:
        return UNKNOWN
    number = int(np.asarray(shards.value(shard, row, column)))
    return names[number] if 0 <= number < len(names) else f"number {number}"


def _degrees(value: object, most: float) -> float:
    """A coordinate, where it is a number within its range; else NaN."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= most:
        return float(value)
    return math.nan
