"""One attempt at fetching a file through whatever fsspec has for its URL, and what has come of the file so far."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import fsspec

from waterscape.data.address import redact
from waterscape.errors import UserError

PIECE = 1 << 20
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}


class AgainError(Exception):
    """An attempt that failed, though the next one may succeed, `pause` seconds later at the earliest."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class NeverError(Exception):
    """An attempt that failed as every other one would; `missing`: there is no such file."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


class WrongSumError(AgainError):
    """All bytes came, and they are another file's."""


class HaltedError(RuntimeError):
    """Whoever wanted the file has given up."""


@dataclass(frozen=True)
class Wanted:
    """A file and what it must be: `size` in bytes and sha256 where they are known, and no larger than `at_most`."""

    url: str
    at_most: int
    size: int | None = None
    sha256: str | None = None


class Body:
    """What has come of a file: summed, and written to `file` where one is given; what that holds already counts."""

    def __init__(self, wanted: Wanted, file: BinaryIO | None, advance: Callable[[int], None]) -> None:
        self.wanted, self.file, self.advance = wanted, file, advance
        self.done, self.furthest, self.tag = 0, 0, ""
        self.digest = hashlib.sha256()
        if file is not None:
            file.seek(0)
            while piece := file.read(PIECE):
                self._count(piece)

    def write(self, piece: bytes) -> None:
        """Take in a piece. Raises `AgainError` beyond the wanted size, `UserError` where the disk refuses it."""
        if self.done + len(piece) > self.wanted.at_most:
            self.restart()
            raise AgainError(f"more than {self.wanted.at_most} bytes came")
        if self.file is not None:
            rest = memoryview(piece)
            try:
                while rest:
                    rest = rest[self.file.write(rest) :]
            except OSError as error:
                raise UserError(cannot_write(Path(str(self.file.name)).parent, error)) from error
        self._count(piece)

    def restart(self) -> None:
        """Forget what came: it is another file's."""
        self.advance(-self.done)
        self.done, self.tag, self.digest = 0, "", hashlib.sha256()
        if self.file is not None:
            self.file.seek(0)
            self.file.truncate()

    def finish(self) -> None:
        """Raises `AgainError` unless the file is whole and the one that is wanted."""
        size, sha256 = self.wanted.size, self.wanted.sha256
        if size is not None and self.done < size:
            raise AgainError(f"{self.done} of {size} bytes came")
        if sha256 is not None and self.digest.hexdigest() != sha256:
            found = self.digest.hexdigest()
            self.restart()
            raise WrongSumError(f"its sha256 is {found[:12]}… instead of {sha256[:12]}…: another file, or damaged")

    def _count(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.done += len(piece)
        self.furthest = max(self.furthest, self.done)
        self.advance(len(piece))


def transfer(url: str, body: Body, halt: threading.Event) -> None:
    """Read on from where the body ends, to the file's end.

    Raises:
        AgainError: the next attempt may succeed.
        NeverError: it will not.
        UserError: a library is missing, or the disk refuses the bytes.
    """
    system, path = file_system(url)
    try:
        with system.open(path, "rb", block_size=4 * PIECE) as stream:
            stream.seek(body.done)
            while not halt.is_set() and (piece := stream.read(PIECE)):
                body.write(bytes(piece))
    except (UserError, AgainError):
        raise
    except FileNotFoundError as error:
        raise NeverError("there is no such file", missing=True) from error
    except PermissionError as error:
        raise NeverError(f"access is refused ({error}): see to the credentials") from error
    except Exception as error:  # each library has its own kinds
        raise AgainError(f"{type(error).__name__}: {error}") from error


def file_system(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """What opens the URL, and its path there; made anew in a forked process. Raises `UserError` where none can."""
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        protocol = url.split("://")[0].split("::")[-1]
        hint = f"pip install {PACKAGES[protocol]}" if protocol in PACKAGES else str(error).splitlines()[0]
        raise UserError(f"{redact(url)} cannot be opened: {redact(hint)}") from error
    return system, str(path)


def cannot_write(directory: Path, error: OSError) -> str:
    """What to tell of a cache that cannot be written to."""
    return (
        f"the cache {directory} cannot be written to ({error.strerror}): make room or rights there, or set "
        "WATERSCAPE_CACHE to another directory"
    )
