"""The indexes of a split: each is read when it is first needed, verified whenever it is read, and few are kept.

So opening costs nothing by the number of samples, and memory does not grow with the set. Indexes are read, never
mapped: a file that is cut or replaced while a run goes on is an error that names it, where a mapping would end the
process by SIGBUS.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import overload

import numpy as np
from numpy.typing import NDArray

from waterscape.data.index import column_names, parse_index
from waterscape.data.manifest import Column, Shard
from waterscape.data.shard import NAME_BYTES, RECORD, ShardError, fixed_size
from waterscape.data.store import MEND, Store

KEPT_BYTES = 64 << 20
FEW = 64  # files at hand, which are read sooner than threads are started, each with a stack of its own
WINDOW = 4  # files for each thread that are read side by side, before the next ones are begun
MOST_HEADER_BYTES = 1 << 16  # of an index: its .npy header

Index = NDArray[np.void]


class Indexes(Sequence[Index]):
    """Number of a shard → its index, which has a row a sample.

    Raises:
        ShardError: from opening, an index that is not there; from reading, one that is not the one the manifest speaks
            of, or that lies about its tar.
    """

    def __init__(self, store: Store, shards: Sequence[Shard], columns: Sequence[Column]) -> None:
        self.store, self.shards, self.columns = store, shards, columns
        self._kept: dict[int, Index] = {}
        self._kept_bytes = 0
        self._complete: dict[int, frozenset[str]] = {}  # of the shards that were looked at
        self._alike: dict[frozenset[str], frozenset[str]] = {}  # shards mostly are: each set of names is kept once
        self._lock = threading.Lock()
        for shard in shards:
            if not store.holds_index(shard):
                raise ShardError(f"{self._name(shard)} is missing: {MEND}")

    def __len__(self) -> int:
        return len(self.shards)

    @overload
    def __getitem__(self, shard: int) -> Index: ...
    @overload
    def __getitem__(self, shard: slice) -> list[Index]: ...
    def __getitem__(self, shard: int | slice) -> Index | list[Index]:
        if isinstance(shard, slice):
            return [self[number] for number in range(*shard.indices(len(self)))]
        with self._lock:
            index = self._kept.pop(shard, None)
            if index is not None:
                self._kept[shard] = index  # at the end: dicts keep their order
                return index
        index = self._read(self.shards[shard])
        complete = self._complete.get(shard)
        if complete is None:
            complete = self._look_at(self.shards[shard], index)
        with self._lock:
            self._complete[shard] = self._alike.setdefault(complete, complete)
            if shard not in self._kept:
                self._kept[shard] = index
                self._kept_bytes += index.nbytes
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return index

    def __iter__(self) -> Iterator[Index]:
        if not self._beside(len(self)):
            yield from map(self.__getitem__, range(len(self)))
            return
        window = WINDOW * self.store.at_once
        for first in range(0, len(self), window):
            yield from self._side_by_side(range(first, min(first + window, len(self))))

    def bring(self, shards: Iterable[int]) -> None:
        """Have these at hand, those from afar fetched side by side."""
        with self._lock:
            absent = [shard for shard in shards if shard not in self._kept]
        if self._beside(len(absent)):
            deque(self._side_by_side(absent), maxlen=0)

    def complete(self, shard: int) -> frozenset[str]:
        """The columns that all samples of a shard have."""
        if shard not in self._complete:
            self[shard]
        return self._complete[shard]

    def _beside(self, count: int) -> bool:
        """Whether so many are read side by side, rather than one after another."""
        return count > (1 if self.store.remote else FEW)

    def _side_by_side(self, shards: Sequence[int]) -> Iterator[Index]:
        with ThreadPoolExecutor(self.store.at_once) as pool:
            yield from pool.map(self.__getitem__, shards)

    def _read(self, shard: Shard) -> Index:
        widest = NAME_BYTES + RECORD.itemsize * len(self.columns)
        raw = self.store.index(shard, MOST_HEADER_BYTES + widest * shard.samples)
        try:
            index = parse_index(raw)
        except ValueError as error:
            raise ShardError(f"{self._name(shard)} is no index ({error}): {MEND}") from error
        if len(index) != shard.samples:
            told = f"lists {len(index)} samples, the manifest says {shard.samples}"
            raise ShardError(f"{self._name(shard)} {told}: {MEND}")
        return index

    def _look_at(self, shard: Shard, index: Index) -> frozenset[str]:
        """The columns that no sample lacks. Raises `ShardError` where the index lies."""
        listed = column_names(index)
        complete = []
        for column in (column for column in self.columns if column.name in listed):
            fault, missing = look_at(index[column.name], column, shard.bytes)
            if fault:
                raise ShardError(f"{self._name(shard)}: column {column.name} has {fault}: {MEND}")
            complete += [] if missing else [column.name]
        return frozenset(complete)

    def _name(self, shard: Shard) -> str:
        return self.store.address(f"{shard.name}.index.npy")


def look_at(entries: NDArray[np.void], column: Column, end: int) -> tuple[str, bool]:
    """What is wrong with a column's entries, empty where nothing is, and whether a sample lacks it.

    No record reaches beyond the end of its tar (`end`, in bytes), and those of a fixed column are of one size.
    """
    if entries.dtype != RECORD:
        return f"entries of {entries.dtype}, not {RECORD}", False
    offset, size = (np.ascontiguousarray(entries[name]) for name in ("offset", "size"))  # as they lie, twice as slow
    there = size >= 0
    missing = not there.all()
    if missing:
        offset, size = offset[there], size[there]
    if not len(size):
        return "", missing
    beyond = max(offset.max(), size.max()) > end  # first, so that no sum runs over
    if beyond or offset.min() < 0 or (offset + size > end).any():
        return "a record outside the tar", missing
    if column.dtype is not None and column.shape is not None:
        wanted = fixed_size(column.dtype, column.shape)
        if size.min() != wanted or size.max() != wanted:
            return f"a record that is not {column.dtype} {column.shape}", missing
    return "", missing
