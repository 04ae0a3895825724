"""A new file whose sha256 is taken while it is being written, and which is on the disk when it is finished."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from waterscape.durable import start_sync

BUFFER = 1 << 20  # bytes: few calls, and what was just copied is still in the processor's cache
BUFFERS = 4  # one being filled, the others still to be hashed
AT_ONCE = 8 << 20  # bytes after which the disk is set to work


class HashedFile:
    """Write a file through a few buffers: a thread of its own hashes what the caller's hands to the system.

    That thread sets the disk to work too, while the file still grows, so that little is left for the end: the caller,
    who has yet to make what is written, is mostly the slower of the two.

    Raises:
        FileExistsError: `path` exists.
        OSError: from any method: what became of a buffer (a full disk).
    """

    def __init__(self, path: Path) -> None:
        self.bytes = 0
        self._file = path.open("xb", buffering=0)
        self._sha256 = hashlib.sha256()
        self._buffer = memoryview(bytearray(BUFFER))
        self._filled = 0
        self._since_started = 0  # bytes written since the disk was last set to work
        self._thread = ThreadPoolExecutor(1, "sha256")  # starts with the first full buffer
        self._on_their_way: deque[Future[memoryview]] = deque()

    def append(self, part: bytes | memoryview) -> None:
        """Write some bytes; the memory they come from may change afterwards."""
        self.bytes += len(part)
        while len(part) > (room := BUFFER - self._filled):
            self._buffer[self._filled :] = part[:room]
            self._filled = BUFFER
            part = part[room:]
            self._flush()
        end = self._filled + len(part)
        self._buffer[self._filled : end] = part
        self._filled = end

    def finish(self) -> str:
        """Force everything to disk and close the file; returns its sha256."""
        try:
            while self._on_their_way:
                self._on_their_way.popleft().result()
            self._sha256.update(self._buffer[: self._filled])
            self._write()
            os.fsync(self._file.fileno())
        finally:
            self.close()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Let go of the file; without `finish` before it, the file is not whole."""
        self._thread.shutdown(cancel_futures=True)
        self._file.close()

    def _flush(self) -> None:
        self._on_their_way.append(self._thread.submit(self._hash, self._buffer))
        self._write()
        self._since_started += BUFFER
        if self._since_started >= AT_ONCE:
            self._thread.submit(start_sync, self._file.fileno())
            self._since_started = 0
        free = len(self._on_their_way) < BUFFERS
        self._buffer = memoryview(bytearray(BUFFER)) if free else self._on_their_way.popleft().result()
        self._filled = 0

    def _hash(self, buffer: memoryview) -> memoryview:
        self._sha256.update(buffer)
        return buffer

    def _write(self) -> None:
        rest = self._buffer[: self._filled]
        while len(rest):
            rest = rest[self._file.write(rest) :]
