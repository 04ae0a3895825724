"""Whether one shard is whole, at the speed of its sha256: all that `Walk` looks at, a few thousand records at a time.

It only ever says that nothing is wrong, and says that of nothing that the walk would find fault with. Where anything
differs from what the manifest and the index promise, the walk reads the tar again and tells what.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waterscape.data.contents import name_faults, payload_faults
from waterscape.data.manifest import Column, Shard
from waterscape.data.npy import npy_header
from waterscape.data.shard import BLOCK, NAME_BYTES, crc32, fixed_size, tar_header
from waterscape.data.walk import KEPT

RUN = 1 << 22  # bytes of adjacent records that are read at once
KEYS = re.compile(rb"[A-Za-z0-9_-]+(\n[A-Za-z0-9_-]+)*")
END = bytes(2 * BLOCK)
USUAL_HEADER = 128  # bytes of most .npy headers: the version, their length, and what they say, up to a multiple of 64
USUAL_LENGTH = (USUAL_HEADER - 10).to_bytes(2, "little")
MOST_SEEN = 4096
SIZE_AT, CHECKSUM_AT = 124, 148  # in a tar header

Blocks = NDArray[np.uint8]


def intact(
    path: Path,
    shard: Shard,
    names: tuple[str, ...],
    keys: NDArray[np.bytes_],
    entries: NDArray[np.void],
    columns: Mapping[str, Column],
    advance: Callable[[int], None] | None = None,
) -> bool:
    """Whether a tar is, byte for byte, the manifest's, and everything in it is as the format wants it.

    Args:
        path: of the tar.
        shard: what the manifest says of it.
        names: of the index's columns.
        keys: of its samples.
        entries: its records by offset: `offset`, `size`, `crc32`, `row`, `column`.
        columns: what the manifest says of each column.
        advance: told the number of bytes whenever some have been read, and a negative number where all was in vain.
    """
    lengths = BLOCK + entries["size"] + -entries["size"] % BLOCK
    ends = np.cumsum(lengths)
    known = len(entries) and lengths.max() <= RUN and ends[-1] + len(END) == shard.bytes
    if not known or (entries["offset"] != ends - lengths).any() or not KEYS.fullmatch(b"\n".join(keys.tolist())):
        return False
    if any(name_faults(f"0.{name}") for name in names) or _widest(keys, names) > NAME_BYTES:
        return False
    looks = [_Look(name, columns[name]) for name in names]
    digest, read, buffer = hashlib.sha256(), 0, memoryview(bytearray(min(RUN, int(ends[-1]))))
    whole = True
    with path.open("rb", buffering=0) as file:
        for first, last in _runs(ends):
            part = buffer[: int(ends[last - 1]) - read]
            whole = _fill(file.readinto, part)
            digest.update(part)
            read += len(part)
            if advance:
                advance(len(part))
            whole = whole and _run_is_whole(part, names, keys, entries[first:last], looks)
            if not whole:
                break
        whole = whole and file.read(len(END) + 1) == END
    digest.update(END)
    whole = whole and digest.hexdigest() == shard.sha256
    if advance:
        advance(len(END) if whole else -read)
    return whole


def _widest(keys: NDArray[np.bytes_], names: tuple[str, ...]) -> int:
    return keys.dtype.itemsize + 1 + max(map(len, names))


def _runs(ends: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last (excluded) of adjacent records that fit into a run."""
    first = 0
    while first < len(ends):
        start = int(ends[first - 1]) if first else 0
        last = int(np.searchsorted(ends, start + RUN, side="right"))
        yield first, last
        first = last


def _fill(readinto: Callable[[memoryview], int | None], part: memoryview) -> bool:
    while len(part):
        count = readinto(part)
        if not count:
            return False
        part = part[count:]
    return True


def _run_is_whole(
    part: memoryview,
    names: tuple[str, ...],
    keys: NDArray[np.bytes_],
    entries: NDArray[np.void],
    looks: list[_Look],
) -> bool:
    """Headers, crcs, padding and the beginning of each payload."""
    blocks = np.frombuffer(part, np.uint8).reshape(-1, BLOCK)
    size, column = entries["size"], entries["column"]
    start = entries["offset"] - entries["offset"][0]
    end = start + BLOCK + size + -size % BLOCK
    if (blocks[start // BLOCK] != _headers(names, keys[entries["row"]], column, size)).any():
        return False
    crcs = [crc32(part[one:other]) for one, other in zip(start.tolist(), end.tolist(), strict=True)]
    if crcs != entries["crc32"].tolist():
        return False
    padded = size % BLOCK > 0
    tails = blocks[end[padded] // BLOCK - 1]
    if (tails * (np.arange(BLOCK) >= (size[padded] % BLOCK)[:, None])).any():
        return False
    return all(look(part, blocks, start[column == at], size[column == at]) for at, look in enumerate(looks))


def _headers(
    names: tuple[str, ...], keys: NDArray[np.bytes_], column: NDArray[np.int64], size: NDArray[np.int64]
) -> Blocks:
    """The headers (`tar_header`) of many records, N × 512."""
    headers = np.tile(np.frombuffer(tar_header("", 0), np.uint8), (len(size), 1))
    members = np.char.add(keys, np.array([f".{name}".encode() for name in names])[column]).astype(f"S{NAME_BYTES}")
    headers[:, :NAME_BYTES] = members.view(np.uint8).reshape(-1, NAME_BYTES)
    headers[:, SIZE_AT : SIZE_AT + 11] = _octal(size, 11)
    headers[:, CHECKSUM_AT : CHECKSUM_AT + 8] = ord(" ")  # as it counts while it is computed
    headers[:, CHECKSUM_AT : CHECKSUM_AT + 7] = np.pad(_octal(headers.sum(1, dtype=np.int64), 6), ((0, 0), (0, 1)))
    return headers


def _octal(values: NDArray[np.int64], digits: int) -> Blocks:
    shifts = 3 * np.arange(digits - 1, -1, -1)
    return (ord("0") + (values[:, None] >> shifts & 7)).astype(np.uint8)


class _Look:
    """Whether the payloads of one column are what its name and the manifest promise (see `payload_faults`)."""

    def __init__(self, name: str, column: Column) -> None:
        self.name = f"0.{name}"
        self.column = column
        self.kept = KEPT.get(name.rpartition(".")[2], 0)
        self.header: Blocks | None = None
        self.npy = name.endswith("npy")
        self.seen: set[tuple[int, bytes]] = set()  # sizes and .npy headers that fit one another
        if name.endswith("npy") and column.dtype is not None and column.shape is not None:
            header = np.frombuffer(npy_header(column.dtype, column.shape), np.uint8)
            self.header = header if len(header) <= BLOCK else None
            self.size = fixed_size(column.dtype, column.shape)

    def __call__(self, part: memoryview, blocks: Blocks, start: NDArray[np.int64], size: NDArray[np.int64]) -> bool:
        if self.header is not None:
            heads = blocks[start // BLOCK + 1, : len(self.header)] if (size == self.size).all() else None
            return heads is not None and bool((heads == self.header).all())
        for at, length in zip((start + BLOCK).tolist(), size.tolist(), strict=True):
            usual = self.npy and (length, bytes(part[at : at + USUAL_HEADER]))
            if usual and usual in self.seen:
                continue
            head = bytes(part[at : at + min(length, self.kept)])
            if payload_faults(self.name, length, head, self.column):
                return False
            if usual and head[8:10] == USUAL_LENGTH and len(self.seen) < MOST_SEEN:
                self.seen.add(usual)
        return True
