"""One shard: a plain WebDataset tar and beside it an index that says where each record lies and what its crc is.

A *record* is what a tar holds for one member: a header block of 512 bytes, the payload, zeros up to the next multiple
of 512. A sample is several adjacent records of one key; a column is what follows the key in the member's name, so
`000000123.occurrence.npy` is the column `occurrence.npy` of the sample `000000123`. The format is told in full in
`shards/README.md`.
"""

from __future__ import annotations

import functools
import io
import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from waterscape.data.hashed_file import HashedFile
from waterscape.data.npy import npy_header, read_npy_header
from waterscape.errors import UserError

try:
    from isal.isal_zlib import crc32 as crc32
except ImportError:  # no wheel for this machine; the same number, at a quarter of the speed
    from zlib import crc32 as crc32

Value = np.ndarray | bytes | dict[str, Any]

BLOCK = 512
# name, mode, uid, gid, size, mtime, checksum, type, link, magic, version, user, group, device numbers, prefix
HEADER = struct.Struct("100s 8s 8s 8s 12s 12s 8s 1s 100s 6s 2s 32s 32s 8s 8s 155s 12x")
NAME_BYTES = 100
LARGEST_PAYLOAD = 2**31 - 2**13  # so that one system call reads the record
# Data only: nothing that a reader would have to execute. From the third on they are a file's bytes as they are.
EXTENSIONS = ("npy", "json", "jpg", "jpeg", "png", "webp", "txt", "cls")
BEGINNINGS = {"jpg": b"\xff\xd8", "jpeg": b"\xff\xd8", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}
KINDS = "biuf"  # bool, integers, floats

RECORD = np.dtype([("offset", "<i8"), ("size", "<i8"), ("crc32", "<u4")])
MISSING = (-1, -1, 0)
ZEROS = bytes(BLOCK)
JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

KEY = re.compile(r"[A-Za-z0-9_-]+")
COLUMN = re.compile(r"([A-Za-z0-9_-]+\.)*(" + "|".join(EXTENSIONS) + ")")


class ShardError(UserError):
    """A shard that is not what its manifest says; the message names shard, sample and offset, and what to do.

    `place`: number of the shard within its split and row of the sample, where it is about one sample; else None.
    """

    def __init__(self, message: str, place: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.place = place


@functools.lru_cache(maxsize=256)
def check_column(column: str) -> None:
    """Refuse, by `UserError`, a column whose extension is not on the list or whose name a tar reader could misread."""
    if not COLUMN.fullmatch(column):
        allowed = ", ".join(EXTENSIONS)
        raise UserError(f"column {column!r} cannot be stored: name it as 'occurrence.npy', with one of {allowed}")


def split_member(name: str) -> tuple[str, str]:
    """Key and column of a member: parted at the first dot after the last slash, as webdataset does."""
    folder, slash, file = name.rpartition("/")
    stem, _, column = file.partition(".")
    return folder + slash + stem, column


def padding(size: int) -> int:
    """Zeros after a payload of `size` bytes."""
    return -size % BLOCK


def record_length(size: int) -> int:
    """Bytes of the whole record of a payload of `size` bytes: header, payload, padding."""
    return BLOCK + size + padding(size)


def tar_header(name: str, size: int) -> bytes:
    """The 512-byte ustar header (POSIX.1-1988) of a regular file, mode 0644, owner 0, time 0.

    Raises:
        UserError: a name over 100 bytes or not ASCII, a payload of 2 GiB or more.
    """
    encoded = name.encode("ascii", errors="replace")
    if len(encoded) > NAME_BYTES or b"?" in encoded:
        raise UserError(f"{name!r} cannot name a member of a tar: use at most {NAME_BYTES} ASCII characters")
    if size > LARGEST_PAYLOAD:
        raise UserError(f"{name} has {size} bytes: less than 2 GiB can be stored; cut it smaller")
    before, after, total = _around_the_checksum(size)
    return encoded.ljust(NAME_BYTES, b"\0") + before + b"%06o\0 " % (total + sum(encoded)) + after


@functools.lru_cache(maxsize=4096)
def _around_the_checksum(size: int) -> tuple[bytes, bytes, int]:
    """A header's bytes between name and checksum, those after it, and the sum of all but the name."""
    fields = [b"", b"0000644", b"0000000", b"0000000", b"%011o" % size, b"00000000000", b" " * 8, b"0", b""]
    fields += [b"ustar", b"00", b"", b"", b"", b"", b""]
    header = HEADER.pack(*fields)  # the checksum counts as blanks while it is computed
    return header[NAME_BYTES:148], header[156:], sum(header)


@functools.lru_cache(maxsize=256)
def stored_dtype(dtype: np.dtype[Any]) -> str:
    """How an array of that dtype is stored: `|u1`, `<f4`."""
    return dtype.newbyteorder("<").str


def fixed_size(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of the payload of an array: `.npy` header and data."""
    return len(npy_header(dtype, shape)) + math.prod(shape) * np.dtype(dtype).itemsize


def encode(column: str, value: Value) -> tuple[bytes, bytes | memoryview]:
    """A value as the two parts of its payload: a header (of `.npy`; else empty) and the data.

    Raises:
        UserError: the value is not what the column's extension promises.
    """
    check_column(column)
    if column.endswith("npy") and isinstance(value, np.ndarray):
        if value.dtype.kind not in KINDS or value.dtype.itemsize > 8:
            raise UserError(f"column {column}: dtype {value.dtype} cannot be stored; use bool, integer or float")
        dtype = stored_dtype(value.dtype)
        return npy_header(dtype, value.shape), np.ascontiguousarray(value, dtype).reshape(-1).view(np.uint8).data
    if column.endswith("json") and isinstance(value, dict):
        try:
            text = JSON.encode(value)
        except (TypeError, ValueError) as error:
            raise UserError(f"column {column}: {error}; use plain strings, finite numbers, lists and dicts") from error
        return b"", text.encode()
    ending = column.rpartition(".")[2]
    if ending not in ("npy", "json") and isinstance(value, bytes) and value.startswith(BEGINNINGS.get(ending, b"")):
        return b"", value
    raise UserError(
        f"column {column} was given {type(value).__name__}: .npy takes an array, .json a dict, .{ending} the bytes of "
        "such a file"
    )


def decode(column: str, payload: bytes | memoryview) -> Value:
    """The value of a payload: array (a view of the payload's memory), dict, or the file's bytes. Never unpickles.

    Raises:
        ValueError: the payload is not a value that this format stores.
    """
    check_column(column)
    if column.endswith("json"):
        value: dict[str, Any] = json.loads(bytes(payload))
        return value
    if not column.endswith("npy"):
        return bytes(payload)
    header = read_npy_header(payload)
    if header.fortran_order or header.dtype.kind not in KINDS:
        order = "Fortran" if header.fortran_order else "C"
        raise ValueError(f"an array of dtype {header.dtype} in {order} order is not read")
    return np.frombuffer(payload, dtype=header.dtype, offset=header.bytes).reshape(header.shape)


class ShardWriter:
    """Write one tar and its index; both are on the disk, whole, when `finish` returns."""

    def __init__(self, directory: Path, name: str) -> None:
        self.tar = directory / f"{name}.tar"
        self.index = directory / f"{name}.index.npy"
        self.keys: list[str] = []
        self.bytes = 0
        self._records: dict[str, list[tuple[int, int, int, int]]] = {}  # column -> row, offset, size, crc32
        self._file = HashedFile(self.tar)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, key: str, values: Mapping[str, Value]) -> None:
        """Append a sample; its columns are written in the order of their names."""
        if not KEY.fullmatch(key):
            raise UserError(f"key {key!r} cannot be stored: use letters, digits, '-' and '_' only")
        columns, sizes, parts = sorted(values), [], []
        for column in columns:
            head, data = encode(column, values[column])
            size = len(head) + len(data)
            parts += [tar_header(f"{key}.{column}", size), head, data, ZEROS[: -size % BLOCK]]
            sizes.append(size)
        sample, start, row = memoryview(b"".join(parts)), 0, len(self.keys)
        for column, size in zip(columns, sizes, strict=True):
            end = start + BLOCK + size + -size % BLOCK
            record = (row, self.bytes + start, size, crc32(sample[start:end]))
            self._records.setdefault(column, []).append(record)
            start = end
        self._file.append(sample)
        self.bytes += start
        self.keys.append(key)

    def finish(self) -> tuple[str, str]:
        """Close tar and index durably; returns the sha256 of each."""
        self._file.append(bytes(2 * BLOCK))
        self.bytes = self._file.bytes
        table = io.BytesIO()
        np.lib.format.write_array(table, self._table(), version=(1, 0), allow_pickle=False)
        index = HashedFile(self.index)
        index.append(table.getbuffer())
        return self._file.finish(), index.finish()

    def close(self) -> None:
        """Let go of the file; without `finish` before it, the shard is not whole."""
        self._file.close()

    def _table(self) -> np.ndarray:
        columns = sorted(self._records)
        table = np.zeros(len(self.keys), index_dtype(max(map(len, self.keys)), columns))
        table["key"] = self.keys
        for column in columns:
            rows, *parts = np.array(self._records[column], np.int64).T
            table[column] = MISSING
            for name, part in zip(RECORD.names or (), parts, strict=True):
                table[column][name][rows] = part
        return table


def index_dtype(key_bytes: int, columns: list[str]) -> np.dtype[np.void]:
    """One row of an index: a sample's key and, for each column, the record's offset, its payload's size and its crc."""
    return np.dtype([("key", f"S{key_bytes}"), *((column, RECORD) for column in columns)])
