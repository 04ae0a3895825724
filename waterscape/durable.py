"""Files that are whole or absent: written under a temporary name, forced to disk, then renamed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

START_WRITING = 2  # SYNC_FILE_RANGE_WRITE


def sync(path: Path) -> None:
    """Force a file's or a directory's content to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def start_sync(handle: int) -> None:
    """Have the system begin to write what a file was given so far; a later `fsync` of it has less to wait for.

    Linux only (sync_file_range(2)); elsewhere, and where a file system knows no such thing, nothing happens.
    """
    begin = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if begin is not None:
        begin(ctypes.c_int(handle), ctypes.c_int64(0), ctypes.c_int64(0), ctypes.c_uint(START_WRITING))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes `path`'s name, durably, once the block ends without error.

    It keeps the ending, since libraries choose formats by it.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """The file's content, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """The file's text (UTF-8), whole or not at all."""
    write_bytes(path, content.encode())


class Lines:
    """A file that grows by whole lines. What a full disk refuses is held, and written with what comes next."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._held = b""

    def write(self, text: str, *, at_once: bool = True) -> None:
        """Append; where not `at_once`, some thousand bytes together."""
        self._held += text.encode()
        if at_once or len(self._held) > 8192:
            with suppress(OSError):
                self._flush()

    def sync(self) -> None:
        """Force all of it to disk. Raises `OSError` where that fails."""
        self._flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write no more."""
        with suppress(OSError):
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        while self._held:
            self._held = self._held[self._file.write(self._held) :]
