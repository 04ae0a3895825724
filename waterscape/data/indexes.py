"""The indexes of a split: each is read when it is first needed, verified whenever it is read, and few are kept.

So opening costs nothing by the number of samples, and memory does not grow with the set. Indexes are read, never
mapped: a file that is cut or replaced while a run goes on is an error that names it, where a mapping would end the
process by SIGBUS.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from waterscape.data.index import column_names, parse_index
from waterscape.data.manifest import Column, Shard
from waterscape.data.shard import NAME_BYTES, RECORD, ShardError, fixed_size
from waterscape.data.store import LOST_INDEX, Store

KEPT_BYTES = 64 << 20
FEW = 64  # files at hand, which are read sooner than threads are started, each with a stack of its own
WINDOW = 4  # files for each thread that are read and not yet taken; fewer where these may be more than `KEPT_BYTES`
MOST_HEADER_BYTES = 1 << 16  # of an index: its .npy header

Index = NDArray[np.void]


@dataclass(frozen=True)
class Looked:
    """What was found of an index: the columns that no sample lacks, and bytes that a key takes."""

    complete: frozenset[str]
    key_bytes: int


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
        self._looked: dict[int, Looked] = {}  # of the shards that were looked at
        self._alike: dict[Looked, Looked] = {}  # shards mostly are: what is found alike is kept once
        self._lock = threading.Lock()
        for shard in shards:
            if not store.holds_index(shard):
                raise ShardError(f"{self._name(shard)} is missing: {LOST_INDEX}")

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
        index = self._verified(shard)
        with self._lock:
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
        yield from self._side_by_side(range(len(self)))

    @property
    def at_hand(self) -> bool:
        """Whether all are files of this machine, and so small that looking at them takes a fraction of a second."""
        return not self.store.remote and sum(map(self._most_bytes, self.shards)) <= KEPT_BYTES

    def bring(self, shards: Iterable[int]) -> None:
        """Have looked at these, those from afar fetched side by side."""
        absent = [shard for shard in shards if shard not in self._looked]
        if not absent:
            return
        with self.store.reader_waits():
            if self._beside(len(absent)):
                deque(self._side_by_side(absent), maxlen=0)
            else:
                deque(map(self.__getitem__, absent), maxlen=0)

    def complete(self, shard: int) -> frozenset[str]:
        """The columns that all samples of a shard have; its index is not kept for that."""
        return self._look(shard).complete

    def key_bytes(self, shard: int) -> int:
        """Bytes that a key takes in the index of a shard."""
        return self._look(shard).key_bytes

    def _look(self, shard: int) -> Looked:
        if shard not in self._looked:
            self._verified(shard)
        return self._looked[shard]

    def _beside(self, count: int) -> bool:
        """Whether so many are read side by side, rather than one after another."""
        return count > (1 if self.store.remote else FEW)

    def _side_by_side(self, shards: Sequence[int]) -> Iterator[Index]:
        pool = ThreadPoolExecutor(self.store.at_once)
        under_way: deque[tuple[int, Future[Index]]] = deque()
        most_bytes = 0  # of those under way
        try:
            for shard in shards:
                more = self._most_bytes(self.shards[shard])
                while under_way and (len(under_way) >= WINDOW * self.store.at_once or most_bytes + more > KEPT_BYTES):
                    done, future = under_way.popleft()
                    yield future.result()
                    most_bytes -= self._most_bytes(self.shards[done])
                under_way.append((shard, pool.submit(self.__getitem__, shard)))
                most_bytes += more
            while under_way:
                yield under_way.popleft()[1].result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _most_bytes(self, shard: Shard) -> int:
        return most_index_bytes(shard, len(self.columns)) - MOST_HEADER_BYTES

    def _verified(self, shard: int) -> Index:
        index = self._read(self.shards[shard])
        if shard not in self._looked:
            looked = self._look_at(self.shards[shard], index)
            with self._lock:
                self._looked[shard] = self._alike.setdefault(looked, looked)
        return index

    def _read(self, shard: Shard) -> Index:
        raw = self.store.index(shard, most_index_bytes(shard, len(self.columns)))
        try:
            index = parse_index(raw)
        except ValueError as error:
            raise ShardError(f"{self._name(shard)} is no index ({error}): {LOST_INDEX}") from error
        if len(index) != shard.samples:
            told = f"lists {len(index)} samples, the manifest says {shard.samples}"
            raise ShardError(f"{self._name(shard)} {told}: {LOST_INDEX}")
        return index

    def _look_at(self, shard: Shard, index: Index) -> Looked:
        """What its entries say. Raises `ShardError` where the index lies."""
        listed = column_names(index)
        complete = []
        for column in (column for column in self.columns if column.name in listed):
            fault, missing = look_at(index[column.name], column, shard.bytes)
            if fault:
                raise ShardError(f"{self._name(shard)}: column {column.name} has {fault}: {LOST_INDEX}")
            complete += [] if missing else [column.name]
        return Looked(frozenset(complete), index.dtype["key"].itemsize)

    def _name(self, shard: Shard) -> str:
        return self.store.address(f"{shard.name}.index.npy")


def most_index_bytes(shard: Shard, columns: int) -> int:
    """Bytes that the index of a shard may have: with longer keys or more columns it is none."""
    return MOST_HEADER_BYTES + (NAME_BYTES + RECORD.itemsize * columns) * shard.samples


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
