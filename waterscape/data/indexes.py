"""The indexes of a split: all are verified when it is opened, and each once more when it is needed.

Few are kept in memory, so that it does not grow with the set. They are read, never mapped: a file that is cut or
replaced while a run goes on is an error that names it, where a mapping would end the process by SIGBUS.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import overload

import numpy as np
from numpy.typing import NDArray

from waterscape.data.index import column_names, parse_index
from waterscape.data.manifest import Column, Shard
from waterscape.data.shard import NAME_BYTES, RECORD, ShardError, fixed_size
from waterscape.data.store import MEND, Directory, Store

KEPT_BYTES = 64 << 20
FEW = 64  # shards at hand, whose indexes are read sooner than threads are started, each with a stack of its own
CHECKED_BYTES = 1 << 20  # together: few calls, and near enough for a core to know them still
MOST_HEADER_BYTES = 1 << 16  # of an index: its .npy header

Index = NDArray[np.void]


class Indexes(Sequence[Index]):
    """Number of a shard → its index, which has a row a sample.

    `complete`: of each shard, the columns that all of its samples have. `key_bytes`: of the longest key.

    Raises:
        ShardError: from opening and from reading, an index that is missing or not the one the manifest speaks of.
    """

    def __init__(self, store: Store, shards: Sequence[Shard], columns: Sequence[Column]) -> None:
        self.store, self.shards, self.columns = store, shards, columns
        self._kept: dict[int, Index] = {}
        self._kept_bytes = 0
        self._lock = threading.Lock()
        self.key_bytes = 0
        self.complete = self._open()

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
        with self._lock:
            if shard not in self._kept:
                self._kept[shard] = index
                self._kept_bytes += index.nbytes
            while self._kept_bytes > KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return index

    def __iter__(self) -> Iterator[Index]:
        return map(self.__getitem__, range(len(self)))

    def _open(self) -> list[frozenset[str]]:
        known: dict[frozenset[str], frozenset[str]] = {}  # shards are alike in this
        if isinstance(self.store, Directory) and len(self.shards) <= FEW:
            return [known.setdefault(names, names) for names in self._check_all(self.shards)]
        with ThreadPoolExecutor(self.store.at_once) as pool:
            share = 1 + len(self.shards) // (4 * self.store.at_once)  # few tasks: handing one over takes its time too
            parts = [self.shards[first : first + share] for first in range(0, len(self.shards), share)]
            opened = [pool.submit(self._check_all, part) for part in parts]
            try:
                return [known.setdefault(names, names) for some in opened for names in some.result()]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _check_all(self, shards: Sequence[Shard]) -> list[frozenset[str]]:
        """The complete columns of each; indexes that lie one after another are looked at together, some at a time."""
        found: list[frozenset[str]] = []
        group: list[Index] = []
        for number, shard in enumerate(shards):
            index = self._read(shard)
            if group and (index.dtype != group[0].dtype or sum(one.nbytes for one in group) > CHECKED_BYTES):
                found += self._check(shards[len(found) : number], group)
                group = []
            group.append(index)
        return found + self._check(shards[len(found) :], group)

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

    def _check(self, shards: Sequence[Shard], indexes: list[Index]) -> list[frozenset[str]]:
        """Of indexes that are alike, the columns that no sample lacks. Raises `ShardError` where one of them lies."""
        rows = np.concatenate([index.view(np.uint8) for index in indexes]).view(
            indexes[0].dtype
        )  # bytes are joined fast
        ends = np.repeat([shard.bytes for shard in shards], [len(index) for index in indexes])
        starts = np.cumsum([0, *(len(index) for index in indexes[:-1])])
        listed = column_names(rows)
        complete: list[list[str]] = [[] for _ in shards]
        for column in (column for column in self.columns if column.name in listed):
            fault, missing = look_at(rows[column.name], column, ends)
            if fault and len(shards) > 1:
                return [self._check([shard], [index])[0] for shard, index in zip(shards, indexes, strict=True)]
            if fault:
                raise ShardError(f"{self._name(shards[0])}: column {column.name} has {fault}: {MEND}")
            for names, lacking in zip(complete, np.logical_or.reduceat(missing, starts), strict=True):
                names += [] if lacking else [column.name]
        with self._lock:
            self.key_bytes = max(self.key_bytes, rows.dtype["key"].itemsize)
        return [frozenset(names) for names in complete]

    def _name(self, shard: Shard) -> str:
        return self.store.address(f"{shard.name}.index.npy")


def look_at(entries: NDArray[np.void], column: Column, ends: NDArray[np.int64]) -> tuple[str, NDArray[np.bool_]]:
    """What is wrong with a column's entries, empty where nothing is, and which samples lack it.

    No record reaches beyond the end of its tar (`ends`, in bytes), and those of a fixed column are of one size.
    """
    if entries.dtype != RECORD:
        return f"entries of {entries.dtype}, not {RECORD}", np.zeros(len(entries), bool)
    offset, size = (np.ascontiguousarray(entries[name]) for name in ("offset", "size"))  # as they lie, twice as slow
    missing = size < 0
    if missing.any():
        offset, size, ends = (values[~missing] for values in (offset, size, ends))
    if not len(size):
        return "", missing
    beyond = max(offset.max(), size.max()) > ends.max()  # first, so that no sum runs over
    if beyond or offset.min() < 0 or (offset + size > ends).any():
        return "a record outside the tar", missing
    if column.dtype is not None and column.shape is not None:
        wanted = fixed_size(column.dtype, column.shape)
        if size.min() != wanted or size.max() != wanted:
            return f"a record that is not {column.dtype} {column.shape}", missing
    return "", missing
