"""A set of shards opened for reading: what is there, checked at the start, and each record checked when it is read."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waterscape.data.ahead import Ahead
from waterscape.data.index import column_names as column_names
from waterscape.data.indexes import Indexes
from waterscape.data.manifest import Column, Manifest
from waterscape.data.open_file import OpenFile
from waterscape.data.readahead import ReadAhead
from waterscape.data.shard import BLOCK, NAME_BYTES, ShardError, Value, crc32, decode, record_length
from waterscape.data.store import MEND, Remote, open_store
from waterscape.errors import UserError

if TYPE_CHECKING:
    from waterscape.data.order import Order

MOST_OPEN_FILES = 256
FEW_OPEN_FILES = 8  # of tars in a cache, which no other process can evict meanwhile


class ShardSet:
    """One split of a set of shards, readable at random; keys and offsets are read from the indexes when needed.

    Opening checks that each shard is there, and that its tar has the manifest's length; an index is verified by the
    manifest's sha256 and number of samples before any of it is used. Nothing is mapped: a file that shrinks is an
    error, not a SIGBUS. Of a set behind a URL opening fetches the manifest alone, and each index and tar comes when it
    is first read, or before, as `ahead` tells, through the node's cache.

    Args:
        place: a directory, or any URL that fsspec opens.
        split: which one.
        manifest: of the set, where it was loaded before.
        maimed: open the set although a tar is missing or of another length; `lost` tells what it lacks.

    Raises:
        UserError: no such set or split; from reading, a tar that cannot be fetched.
        ShardError: a file that is missing, or not the one the manifest speaks of.
    """

    def __init__(
        self, place: Path | str, split: str, manifest: Manifest | None = None, *, maimed: bool = False
    ) -> None:
        self.place = place
        self.store = open_store(place)
        self.directory = self.store.name  # as messages show it
        self.split = split
        self.manifest = manifest or Manifest.load(place)
        self.shards = self.manifest.split(split)
        sizes = [self.store.tar_bytes(shard) for shard in self.shards]
        self._maimed = [number for number, size in enumerate(sizes) if size != self.shards[number].bytes]
        for number in () if maimed else self._maimed:
            tar, size = self.store.address(f"{self.shards[number].name}.tar"), sizes[number]
            what = "is missing" if size < 0 else f"has {size} bytes, the manifest says {self.shards[number].bytes}"
            raise ShardError(f"{tar} {what}: {MEND}")
        self.indexes = Indexes(self.store, self.shards, self.manifest.columns)
        self.counts = np.array([shard.samples for shard in self.shards], dtype=np.int64)
        self._ends = np.cumsum(self.counts)
        self._files: dict[int, OpenFile] = {}
        self._most_open = FEW_OPEN_FILES if self.store.remote else None
        self._tried_again: set[tuple[int, int]] = set()
        self._renewing = threading.Lock()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def columns(self) -> tuple[Column, ...]:
        """The set's columns, as the manifest has them."""
        return self.manifest.columns

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where the manifest's facts have some."""
        return tuple(self.manifest.facts.get("classes", ()))

    def column(self, name: str) -> Column:
        """A column by name. Raises `UserError`, naming those there are, where there is no such column."""
        for column in self.columns:
            if column.name == name:
                return column
        there = ", ".join(column.name for column in self.columns)
        raise UserError(f"{self.directory} has no column {name!r}: it has {there}")

    def read(self, number: int) -> dict[str, Value]:
        """One sample in the order of storing: every column it has, verified.

        Raises:
            IndexError: no such sample.
            ShardError: a record that is not what the index says.
        """
        shard, row = self.locate(number)
        index = self.indexes[shard]
        columns = [name for name in column_names(index) if index[name]["size"][row] >= 0]
        return {name: self.value(shard, row, name) for name in columns}

    def locate(self, number: int) -> tuple[int, int]:
        """Shard and row of a sample in the order of storing. Raises `IndexError` where there is none."""
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number}: split {self.split!r} has {len(self)} samples")
        shard = int(np.searchsorted(self._ends, number, side="right"))
        return shard, number - int(self._ends[shard] - self.counts[shard])

    def value(self, shard: int, row: int, column: str) -> Value:
        """One verified value. Raises `ShardError`."""
        payload = self.payload(shard, row, column)
        try:
            return decode(column, payload)
        except (ValueError, KeyError) as error:
            raise self.fault(shard, row, column, str(error)) from error

    def payload(self, shard: int, row: int, column: str) -> memoryview:
        """The bytes of one value; header, padding and crc of its record are verified. Raises `ShardError`."""
        try:
            return self._payload(shard, row, column)
        except ShardError as error:
            if not self.renew(error):
                raise
            return self._payload(shard, row, column)

    def _payload(self, shard: int, row: int, column: str) -> memoryview:
        entry = self.indexes[shard][column][row]
        offset, size, crc = int(entry["offset"]), int(entry["size"]), int(entry["crc32"])
        length = record_length(size)
        try:
            file = self.file(shard)  # held, so that nobody closes it meanwhile
            record = os.pread(file.descriptor, length, offset)
        except OSError as error:
            raise self.diagnose(shard, row, column) from error
        if len(record) != length or crc32(record) != crc:
            raise self.diagnose(shard, row, column)
        if record[:NAME_BYTES].rstrip(b"\0") != self.indexes[shard]["key"][row] + b"." + column.encode():
            raise self.diagnose(shard, row, column)
        return memoryview(record)[BLOCK : BLOCK + size]

    def require(self, columns: Sequence[str], shards: Sequence[int]) -> None:
        """Raise `UserError` where a sample of these shards lacks one of the columns."""
        self.indexes.bring(shards)
        for shard in shards:
            self.look_at(columns, shard)

    def look_at(self, columns: Sequence[str], shard: int) -> None:
        """Raise what `require` does of one shard, whose index is not kept for that."""
        for column in columns:
            if column not in self.indexes.complete(shard):
                where = f"some samples of shard {self.shards[shard].name}, split {self.split!r} of {self.directory}"
                raise UserError(f"column {column!r} is missing in {where}: leave it out")

    def entries(self, shards: NDArray[np.int64], rows: NDArray[np.int64], column: str) -> NDArray[np.void]:
        """Index entries of many samples: the member's name in the tar, its record's offset and crc32.

        Raises `UserError` where a sample of their shards lacks the column.
        """
        needed = np.unique(shards).tolist()
        self.require([column], needed)
        suffix = b"." + column.encode()
        widest = max(map(self.indexes.key_bytes, needed), default=0) + len(suffix)
        table = np.empty(len(shards), [("name", f"S{widest}"), ("offset", np.int64), ("crc32", np.uint32)])
        for shard in needed:
            index = self.indexes[shard]  # one at a time: all of them may be more than memory holds
            chosen = np.flatnonzero(shards == shard)
            entries = index[column][rows[chosen]]
            table["name"][chosen] = np.char.add(index["key"][rows[chosen]], suffix)
            table["offset"][chosen] = entries["offset"]
            table["crc32"][chosen] = entries["crc32"]
        return table

    def file(self, shard: int) -> OpenFile:
        """The shard's tar, opened once; beyond `MOST_OPEN_FILES` the one unused for longest is let go.

        A tar that was replaced is opened anew, so that no process reads what others cannot. Raises `OSError`.
        """
        with self._lock:
            file = self._files.pop(shard, None)
            if file is not None and not file.replaced():
                self._files[shard] = file  # at the end: dicts keep their order
                return file
        file = OpenFile(*self.store.tar(self.shards[shard], self.close))  # may have to be fetched: others go on
        with self._lock:
            while len(self._files) >= (self._most_open or MOST_OPEN_FILES):
                del self._files[next(iter(self._files))]
            self._files[shard] = file
        return file

    def ahead(self, order: Order, start: int, stop: int | None = None) -> Ahead | ReadAhead:
        """What fetches the tars before an order reads them from `start` to `stop`, from afar or from the disk."""
        if not isinstance(self.store, Remote):
            return ReadAhead(self, order, start, stop)
        self._most_open = None
        return Ahead(self, self.store, order, start, stop)

    def lost(self, columns: Sequence[str]) -> list[tuple[int, int, str]]:
        """Of a set opened `maimed`, the samples whose tar is not there or ends before them: shard, row, a column."""
        found = []
        for shard in self._maimed:
            index = self.indexes[shard]
            there = self.store.tar_bytes(self.shards[shard])
            for column in column_names(index):
                if column in columns:
                    offset, size = index[column]["offset"], index[column]["size"]
                    beyond = (size >= 0) & (offset + BLOCK + size + -size % BLOCK > there)
                    found += [(shard, row, column) for row in np.flatnonzero(beyond).tolist()]
        return found

    def hold(self, shards: set[int]) -> None:
        """Let go of the open files of all other shards."""
        with self._lock:
            self._files = {shard: file for shard, file in self._files.items() if shard in shards}

    def renew(self, error: ShardError) -> bool:
        """Whether a sample that failed is worth one more try: its shard was read from a copy, which may have rotted."""
        if not self.store.remote or error.place is None:
            return False
        shard = error.place[0]
        with self._renewing:
            with self._lock:
                self._files.pop(shard, None)
            if self.store.renew(self.shards[shard]):
                return True
            tried = error.place in self._tried_again  # else another thread or process may have renewed it just now
            self._tried_again.add(error.place)
            return not tried

    def close(self) -> None:
        """Let go of the open files; reading again opens them again."""
        with self._lock:
            self._files.clear()

    def again(self) -> ShardSet:
        """The same split, verified as it is, with open files of its own: closing one leaves the other's open."""
        other = copy.copy(self)
        other._files, other._tried_again = {}, set()
        other._renewing, other._lock = threading.Lock(), threading.Lock()
        return other

    def diagnose(self, shard: int, row: int, column: str) -> ShardError:
        """Read a record that failed its checks once more; returns the error that says what is wrong with it."""
        entry = self.indexes[shard][column][row]
        offset, size, crc = int(entry["offset"]), int(entry["size"]), int(entry["crc32"])
        length = record_length(size)
        try:
            file = self.file(shard)  # held, so that nobody closes it meanwhile
            record = os.pread(file.descriptor, length, offset)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            return self.fault(shard, row, column, "the tar is gone" if gone else f"cannot be read: {error.strerror}")
        name = record[:NAME_BYTES].rstrip(b"\0")
        if len(record) < length:
            what = f"{len(record)} of {length} bytes are there: the tar is cut short"
        elif crc32(record) != crc:
            what = f"crc32 {crc32(record):08x} instead of {crc:08x}: damaged"
        elif name != self.indexes[shard]["key"][row] + b"." + column.encode():
            what = f"the tar calls the record {name.decode(errors='replace')!r}: the index belongs to another tar"
        else:
            what = "its .npy header is not the column's, or the first reading of it failed and the second did not"
        return self.fault(shard, row, column, what)

    def fault(self, shard: int, row: int, column: str, what: str) -> ShardError:
        """An error that names shard, sample, column and offset."""
        index = self.indexes[shard]
        key, offset = index["key"][row].decode(), index[column]["offset"][row]
        tar = self.store.address(f"{self.shards[shard].name}.tar")
        where = f"{tar}, sample {key}, column {column}, offset {offset}"
        return ShardError(f"{where}: {what}; {MEND}", (shard, row))
