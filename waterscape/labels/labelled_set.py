"""A set of tiles with labels, opened for correcting: `bands.npy`, the label and, where there is one, a mask by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.sources.landsat.bands import BANDS, LAND, UNKNOWN, WATER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from waterscape.data.shard import Value

BANDS_COLUMN, LABEL, TRUTH = "bands.npy", "water.npy", "truth.npy"


@dataclass(frozen=True)
class Tile:
    """One sample of a set."""

    number: int
    """Its place in the set, counted over all shards."""
    name: str
    """Its key in the tars, or what its JSON calls it: for people."""
    split: str
    """The split it is in."""
    group: str
    """What its place is called: tiles of one place see each other's labels."""
    bands: NDArray[np.float32]
    """H W 8, in the order of `BANDS`."""
    given: NDArray[np.uint8]
    """H W: WATER, LAND or UNKNOWN, to be corrected."""
    truth: NDArray[np.uint8] | None
    """H W: a mask by hand, in the same numbers."""


class LabelledSet:
    """All tiles of all splits, in the order of the manifest's shards, readable at random.

    Raises:
        UserError: no such set, or one without bands and labels of tiles.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.manifest = Manifest.load(place)
        lacking = [name for name in (BANDS_COLUMN, LABEL) if name not in {one.name for one in self.manifest.columns}]
        if lacking:
            held = ", ".join(column.name for column in self.manifest.columns)
            raise UserError(
                f"{place} has no column {' and no '.join(lacking)}; it has {held}: give a set of tiles with labels, as "
                "tools/pack_landsat.py makes it"
            )
        self.splits = {split: ShardSet(place, split, self.manifest) for split in self.manifest.splits}
        rows: dict[str, int] = dict.fromkeys(self.manifest.splits, 0)
        self._where: list[tuple[str, int]] = []
        for shard in self.manifest.shards:
            first = rows[shard.split]
            self._where += [(shard.split, first + row) for row in range(shard.samples)]
            rows[shard.split] += shard.samples

    def __len__(self) -> int:
        return len(self._where)

    def read(self, number: int) -> dict[str, Value]:
        """Every column of a sample, verified. Raises `ShardError`."""
        split, row = self._where[number]
        return self.splits[split].read(row)

    def key(self, number: int) -> str:
        """A sample's key in the tar."""
        split, row = self._where[number]
        shard, place = self.splits[split].locate(row)
        return str(self.splits[split].indexes[shard]["key"][place].decode())

    def tile(self, number: int) -> Tile:
        """A sample as the correction wants it. Raises `UserError` where it is no tile with a label."""
        values, key = self.read(number), self.key(number)
        where = f"{self.place}, sample {key}"
        bands, label = values.get(BANDS_COLUMN), values.get(LABEL)
        if not isinstance(bands, np.ndarray) or bands.ndim != 3 or bands.shape[2] != len(BANDS):
            raise UserError(f"{where}: {BANDS_COLUMN} is not H W {len(BANDS)}: pack the set with tools/pack_landsat.py")
        told = values.get("json")
        facts: Mapping[str, Any] = told if isinstance(told, dict) else {}
        truth = values.get(TRUTH)
        return Tile(
            number,
            str(facts.get("key", key)),
            self._where[number][0],
            str(facts.get("group") or facts.get("place") or key),
            bands.astype(np.float32),
            _mask(label, bands.shape, f"{where}: {LABEL}"),
            None if truth is None else _mask(truth, bands.shape, f"{where}: {TRUTH}"),
        )


@lru_cache(maxsize=2)
def opened(place: str) -> LabelledSet:
    """The set, opened once in each process."""
    return LabelledSet(place)


def _mask(value: Value | None, shape: tuple[int, ...], what: str) -> NDArray[np.uint8]:
    """A map of WATER, LAND and UNKNOWN of the bands' size. Raises `UserError`."""
    if not isinstance(value, np.ndarray) or value.shape != shape[:2]:
        size = value.shape if isinstance(value, np.ndarray) else "no array"
        raise UserError(f"{what} is {size}, not {shape[:2]} as the bands: pack the set again with masks of their size")
    strange = np.setdiff1d(value, (WATER, LAND, UNKNOWN))
    if strange.size:
        raise UserError(
            f"{what} has the value {strange[0]}: a label is {WATER} water, {LAND} land, {UNKNOWN} not known"
        )
    return value.astype(np.uint8)
