"""A tar read once from front to end, whatever it holds: every record, every byte between and after, and the sha256.

What a tar says of itself is never believed: a size is held against what is left of the file, payloads pass through one
buffer, and of none more is kept than it takes to look at it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from waterscape.data.shard import BLOCK, HEADER, LARGEST_PAYLOAD, crc32, padding, tar_header

ZEROS = bytes(BLOCK)
CHUNK = 1 << 22  # bytes read at once
KEPT = {"npy": 1 << 12, "json": 1 << 24, "jpg": 1 << 17}  # bytes of a payload that are kept to be looked at
OCTAL = re.compile(rb"0*([0-7]{1,20})[ \0]*")
WITHOUT_PAYLOAD = b"123456"  # links, devices, directories and pipes: readers of tars ignore their size
TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a named pipe",
    b"x": "a PAX header",
    b"g": "a PAX header",
    b"L": "a GNU header",
    b"K": "a GNU header",
}


@dataclass(frozen=True)
class Member:
    """What stands at one place of a tar. `name` None: its header is unreadable, or the bytes are no record at all.

    `crc32` is of the `length` bytes from `offset` on: header, payload and padding. `head`: the payload's first bytes.
    """

    offset: int
    length: int
    name: str | None
    size: int
    crc32: int
    head: bytes
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Header:
    """What a tar header says: full name, bytes of the payload, what is not as the format wants it."""

    name: str
    size: int
    faults: tuple[str, ...]


def read_header(block: bytes) -> Header | None:
    """A header block's content; None where it is none, or a damaged one."""
    fields = HEADER.unpack(block)
    usual = _usual(block, fields[0], fields[4])
    if usual is not None:
        return usual
    sizes, sums = OCTAL.fullmatch(fields[4]), OCTAL.fullmatch(fields[6])
    if sums is None or int(sums[1], 8) != sum(block) - sum(fields[6]) + 8 * 32:
        return None
    name, prefix = (field.rstrip(b"\0").decode("latin-1") for field in (fields[0], fields[15]))
    full = f"{prefix}/{name}" if prefix else name
    kind = fields[7]
    if sizes is None:
        return Header(full, 0, ("its size is no octal number",))
    size = 0 if kind in WITHOUT_PAYLOAD else int(sizes[1], 8)
    if kind not in b"0\0":
        what = TYPES.get(kind, f"of the unknown type {kind!r}")
        return Header(full, size, (f"is {what}, not a plain file",))
    return Header(full, size, ("its header is not written as the format says",))


def _usual(block: bytes, name: bytes, size: bytes) -> Header | None:
    """What a header says that is, byte for byte, the one that a writer of shards makes; None where it is not."""
    if not size[:11].isdigit():
        return None
    try:
        header = Header(name.rstrip(b"\0").decode("ascii"), int(size[:11], 8), ())
        return header if block == tar_header(header.name, header.size) else None
    except ValueError:
        return None


class Walk(Iterator[Member]):
    """The records of a tar in turn; once it has ended, `sha256` and `bytes` are of the whole file.

    Args:
        file: opened without buffer.
        total: bytes of the file.
        lengths: offset → length of the records that an index lists, to find the way behind a damaged header.
        advance: told the number of bytes whenever some have been read.
    """

    def __init__(
        self,
        file: BinaryIO,
        total: int,
        lengths: Mapping[int, int] | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> None:
        self.bytes = 0
        self._file = file
        self._total = total
        self._lengths = lengths or {}
        self._advance = advance
        self._hash = hashlib.sha256()
        self._buffer = memoryview(bytearray(min(CHUNK, max(total, BLOCK))))
        self._window = self._buffer[:0]
        self._members = self._walk()

    @property
    def sha256(self) -> str:
        """Of what has been read so far."""
        return self._hash.hexdigest()

    def __next__(self) -> Member:
        return next(self._members)

    def _walk(self) -> Iterator[Member]:
        offset, gap = 0, None  # gap: where bytes began that are no record
        while True:
            block = b"".join(self._take(BLOCK))
            known = offset in self._lengths
            header = read_header(block) if len(block) == BLOCK else None
            ended = len(block) < BLOCK or (block == ZEROS and not known)
            if gap is not None and (ended or known or header is not None):
                yield Member(gap, offset - gap, None, 0, 0, b"", (f"{offset - gap} bytes that are no record",))
                gap = None
            if ended:
                yield from self._end(offset, block)
                return
            if header is None and not known:
                gap = offset if gap is None else gap
                offset += BLOCK
                continue
            member = self._member(offset, block, header)
            yield member
            offset += member.length

    def _member(self, offset: int, block: bytes, header: Header | None) -> Member:
        """Read the record to its end: as long as its header says or, where that cannot be, as the index says."""
        length, faults = self._lengths.get(offset, BLOCK), ["its header is damaged"]
        name, size = None, length - BLOCK
        if header is not None:
            name, size, faults = header.name, header.size, list(header.faults)
            said, left = BLOCK + size + padding(size), self._total - offset
            if size > LARGEST_PAYLOAD or said > left:
                faults.append(f"its header says {size} bytes, {left - BLOCK} are left: cut short, or a false size")
                size = length - BLOCK
            else:
                length = said
        ending = "" if name is None else name.rpartition(".")[2]
        kept, crc, head, done = KEPT.get(ending, 0), crc32(block), bytearray(), BLOCK
        for piece in self._take(length - BLOCK):
            crc = crc32(piece, crc)
            if len(head) < min(kept, size):
                head += piece[: min(kept, size) - len(head)]
            done += len(piece)
            after = done - BLOCK - size  # bytes of padding so far
            if after > 0 and any(piece[max(0, len(piece) - after) :]):
                faults.append("its padding is not zero")
        if done < length:
            faults.append(f"{done} of {length} bytes are there: the file was cut short while it was read")
        return Member(offset, done, name, size, crc, bytes(head), tuple(faults))

    def _end(self, offset: int, block: bytes) -> Iterator[Member]:
        """Two blocks of zeros, and nothing else: all that follows is read for the sha256."""
        zeros = 0
        if len(block) == BLOCK:
            zeros, rest, others = BLOCK, 0, False
            while piece := b"".join(self._take(CHUNK)):
                rest += len(piece)
                others |= piece.count(0) != len(piece)
            zeros += rest
            if others:
                yield Member(offset, zeros, None, 0, 0, b"", (f"{zeros} bytes after the end that are not zero",))
                return
        elif block:
            yield Member(offset, len(block), None, 0, 0, b"", (f"{len(block)} bytes at the end: cut short",))
            return
        if zeros != 2 * BLOCK:
            told = f"the tar ends in {zeros // BLOCK} blocks of zeros instead of 2: cut short, or added to"
            yield Member(offset, zeros, None, 0, 0, b"", (told,))

    def _take(self, count: int) -> Iterator[memoryview]:
        """The next bytes in pieces; a piece is valid until the next one is asked for. Fewer, where the file ends."""
        while count > 0:
            if not len(self._window):
                read = self._file.readinto(self._buffer)  # type: ignore[attr-defined]
                if not read:
                    return
                self._window = self._buffer[:read]
                self._hash.update(self._window)
                self.bytes += read
                if self._advance:
                    self._advance(read)
            piece, self._window = self._window[:count], self._window[count:]
            count -= len(piece)
            yield piece
