"""A new file whose sha256 is taken while it is being written, and which is on the disk when it is finished."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

BUFFER = 1 << 20  # bytes: few calls, and what was just copied is still in the processor's cache
BUFFERS = 4  # one being filled, the others on their way


class HashedFile:
    """Write a file through a few buffers, which a thread of its own hashes and hands to the system.

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
        self._thread = ThreadPoolExecutor(1, "sha256")  # starts with the first full buffer
        self._on_their_way: deque[Future[memoryview]] = deque()

    def append(self, part: bytes | memoryview) -> None:
        """Write some bytes; the memory they come from may change afterwards."""
        self.bytes += len(part)
        while len(part) > (room := BUFFER - self._filled):
            self._buffer[self._filled :] = part[:room]
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
            self._put(self._buffer[: self._filled])
            os.fsync(self._file.fileno())
        finally:
            self.close()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Let go of the file; without `finish` before it, the file is not whole."""
        self._thread.shutdown(cancel_futures=True)
        self._file.close()

    def _flush(self) -> None:
        self._on_their_way.append(self._thread.submit(self._put, self._buffer))
        free = len(self._on_their_way) < BUFFERS
        self._buffer = memoryview(bytearray(BUFFER)) if free else self._on_their_way.popleft().result()
        self._filled = 0

    def _put(self, buffer: memoryview) -> memoryview:
        self._sha256.update(buffer)
        rest = buffer
        while len(rest):
            rest = rest[self._file.write(rest) :]
        return buffer
