"""A tar read once from front to end, whatever it holds: every record, every byte between and after, and the sha256.

What a tar says of itself is never believed: a size is held against what is left of the file, payloads pass through one
buffer, and of none more is kept than it takes to look at it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from waterscape.data.header import PAX_KEPT, Header, pax_faults, read_header
from waterscape.data.shard import BLOCK, LARGEST_PAYLOAD, crc32, record_length

ZEROS = bytes(BLOCK)
CHUNK = 1 << 22  # bytes read at once
KEPT = {"npy": 1 << 12, "json": 1 << 24, "jpg": 1 << 17, "jpeg": 1 << 17, "png": 32, "webp": 32}
"""Bytes of a payload that are kept to be looked at, by the name's ending; of others none."""


@dataclass(frozen=True)
class Member:
    """What stands at one place of a tar. `name` None: its header is unreadable, or the bytes are no record at all.

    `crc32` is of the `length` bytes from `offset` on: header, payload and padding. `head`: the payload's first bytes.
    `faults`, `foreign`, `aside`: as `Header` has them; `aside` is also what follows the last record.
    """

    offset: int
    length: int
    name: str | None
    size: int
    crc32: int
    head: bytes
    faults: tuple[str, ...]
    foreign: str = ""
    aside: bool = False


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
        name, size, ending = None, length - BLOCK, ""
        if header is None:
            header = Header("", 0)
        else:
            name, size, faults, ending = header.name, header.size, list(header.faults), header.name.rpartition(".")[2]
            said, left = record_length(size), self._total - offset
            if size > LARGEST_PAYLOAD or said > left:
                faults.append(f"its header says {size} bytes, {left - BLOCK} are left: cut short, or a false size")
                size = length - BLOCK
            else:
                length = said
        kept = PAX_KEPT if header.aside else KEPT.get(ending, 0)
        crc, head, done = crc32(block), bytearray(), BLOCK
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
        if header.aside:
            faults += pax_faults(size, bytes(head))
        return Member(offset, done, name, size, crc, bytes(head), tuple(faults), header.foreign, header.aside)

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
            filled = zeros > 2 * BLOCK  # as most writers do, up to a multiple of 10 240 bytes
            yield Member(offset, zeros, None, 0, 0, b"", () if filled else (told,), told if filled else "", aside=True)

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
