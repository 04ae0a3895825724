"""A set of shards opened for reading: what is there, checked at the start, and each record checked when it is read."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.data.shard import BLOCK, NAME_BYTES, RECORD, ShardError, Value, crc32, decode, fixed_size, padding
from waterscape.errors import UserError

MOST_OPEN_FILES = 256
MEND = "copy the file again, or pack the set again"


class OpenFile:
    """A file descriptor that closes when nobody holds it any more: a thread in mid-read keeps what a cache let go."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class ShardSet:
    """One split of a set of shards, readable at random; the keys and offsets stay in memory-mapped indexes.

    Opening checks that each shard is there, that its tar has the manifest's length and its index the manifest's sha256
    and number of samples. Tars are read by `pread`, never mapped: a file that shrinks is an error, not a SIGBUS.

    Raises:
        UserError: no such set or split.
        ShardError: a file that is missing, or not the one the manifest speaks of.
    """

    def __init__(self, directory: Path | str, split: str) -> None:
        self.directory = Path(directory)
        self.split = split
        self.manifest = Manifest.load(self.directory)
        self.shards = self.manifest.split(split)
        self.indexes = [self._open_index(shard) for shard in self.shards]
        self.counts = np.array([shard.samples for shard in self.shards], dtype=np.int64)
        self._ends = np.cumsum(self.counts)
        self._files: dict[int, OpenFile] = {}
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
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number}: split {self.split!r} has {len(self)} samples")
        shard = int(np.searchsorted(self._ends, number, side="right"))
        row = number - int(self._ends[shard] - self.counts[shard])
        index = self.indexes[shard]
        columns = [name for name in column_names(index) if index[name]["size"][row] >= 0]
        return {name: self.value(shard, row, name) for name in columns}

    def value(self, shard: int, row: int, column: str) -> Value:
        """One verified value. Raises `ShardError`."""
        payload = self.payload(shard, row, column)
        try:
            return decode(column, payload)
        except (ValueError, KeyError) as error:
            raise self.fault(shard, row, column, str(error)) from error

    def payload(self, shard: int, row: int, column: str) -> memoryview:
        """The bytes of one value; header, padding and crc of its record are verified. Raises `ShardError`."""
        entry = self.indexes[shard][column][row]
        offset, size, crc = int(entry["offset"]), int(entry["size"]), int(entry["crc32"])
        length = BLOCK + size + padding(size)
        record = os.pread(self.file(shard).descriptor, length, offset)
        if len(record) != length or crc32(record) != crc:
            raise self.diagnose(shard, row, column)
        if record[:NAME_BYTES].rstrip(b"\0") != self.indexes[shard]["key"][row] + b"." + column.encode():
            raise self.diagnose(shard, row, column)
        return memoryview(record)[BLOCK : BLOCK + size]

    def entries(self, shards: NDArray[np.int64], rows: NDArray[np.int64], column: str) -> NDArray[np.void]:
        """Index entries of many samples: the member's name in the tar, its record's offset and crc32."""
        suffix = b"." + column.encode()
        widest = max(index.dtype["key"].itemsize for index in self.indexes) + len(suffix)
        table = np.empty(len(shards), [("name", f"S{widest}"), ("offset", np.int64), ("crc32", np.uint32)])
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            index = self.indexes[shard]
            entries = index[column][rows[chosen]]
            table["name"][chosen] = np.char.add(index["key"][rows[chosen]], suffix)
            table["offset"][chosen] = entries["offset"]
            table["crc32"][chosen] = entries["crc32"]
        return table

    def file(self, shard: int) -> OpenFile:
        """The shard's tar, opened once; beyond `MOST_OPEN_FILES` the one unused for longest is let go."""
        with self._lock:
            file = self._files.pop(shard, None)
            if file is None:
                if len(self._files) >= MOST_OPEN_FILES:
                    del self._files[next(iter(self._files))]
                path = self.directory / f"{self.shards[shard].name}.tar"
                try:
                    file = OpenFile(path)
                except FileNotFoundError as error:
                    raise ShardError(f"{path} is gone: {MEND}") from error
            self._files[shard] = file  # at the end: dicts keep their order
            return file

    def close(self) -> None:
        """Let go of the open files; reading again opens them again."""
        with self._lock:
            self._files.clear()

    def diagnose(self, shard: int, row: int, column: str) -> ShardError:
        """Read a record that failed its checks once more; returns the error that says what is wrong with it."""
        entry = self.indexes[shard][column][row]
        offset, size, crc = int(entry["offset"]), int(entry["size"]), int(entry["crc32"])
        length = BLOCK + size + padding(size)
        record = os.pread(self.file(shard).descriptor, length, offset)
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
        where = f"{self.directory / self.shards[shard].name}.tar, sample {key}, column {column}, offset {offset}"
        return ShardError(f"{where}: {what}; {MEND}")

    def _open_index(self, shard: Shard) -> NDArray[np.void]:
        tar, path = (self.directory / f"{shard.name}.{ending}" for ending in ("tar", "index.npy"))
        for file in (tar, path):
            if not file.is_file():
                raise ShardError(f"{file} is missing: {MEND}")
        size = tar.stat().st_size
        if size != shard.bytes:
            raise ShardError(f"{tar} has {size} bytes, the manifest says {shard.bytes}: {MEND}")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != shard.index_sha256:
            raise ShardError(f"{path} is damaged or belongs to another shard (sha256 {digest[:12]}…): {MEND}")
        index: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(index) != shard.samples:
            raise ShardError(f"{path} lists {len(index)} samples, the manifest says {shard.samples}: {MEND}")
        for column in self.columns:
            if column.name in column_names(index):
                self._check_entries(path, index[column.name], column, shard.bytes)
        return index

    def _check_entries(self, path: Path, entries: NDArray[np.void], column: Column, tar_bytes: int) -> None:
        """No record reaches beyond the tar (or asks for more memory than it has), and fixed columns are of one size."""
        if entries.dtype != RECORD:
            raise ShardError(f"{path}: entries of column {column.name} are {entries.dtype}, not {RECORD}: {MEND}")
        there = entries["size"] >= 0
        offset, size = entries["offset"][there], entries["size"][there]
        if ((offset < 0) | (size > tar_bytes) | (offset > tar_bytes - size)).any():
            raise ShardError(f"{path}: column {column.name} has a record outside the tar: {MEND}")
        if (
            column.dtype is not None
            and column.shape is not None
            and (size != fixed_size(column.dtype, column.shape)).any()
        ):
            raise ShardError(
                f"{path}: column {column.name} has a record that is not {column.dtype} {column.shape}: {MEND}"
            )


def column_names(index: NDArray[np.void]) -> tuple[str, ...]:
    """The columns that an index lists."""
    return tuple(name for name in index.dtype.fields or () if name != "key")
