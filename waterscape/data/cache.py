"""A directory of verified files that all processes of a node share: each is fetched once, and their bytes are bounded.

A file is named by its sha256, and takes that name only when it is whole. Whoever fetches it has the lock of its partial
file, `NAME.SIZE.part`, which a killed process leaves unlocked, to be taken up by the next one. Whoever reads it holds a
shared lock, so that nobody evicts it meanwhile.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from waterscape.data.transfer import HaltedError, cannot_write
from waterscape.errors import UserError

DIRECTORY, BYTES = "WATERSCAPE_CACHE", "WATERSCAPE_CACHE_BYTES"
POLL_SECONDS = 0.05
PART = re.compile(r"(.+)\.(\d+)\.part")
SIZE = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)


class Answer(enum.Enum):
    """Why there is nothing to fetch: the file is there, another process fetches it, or there is no room for it."""

    THERE = enum.auto()
    BUSY = enum.auto()
    FULL = enum.auto()


class Part:
    """A partial file, locked: what it holds already is kept until `publish` gives it the final name."""

    def __init__(self, file: BinaryIO, path: Path, cache: Cache, final: Path) -> None:
        self.file, self.path, self.cache, self.final = file, path, cache, final

    def publish(self) -> None:
        """Force the file to disk and give it its name."""
        try:
            if self.cache.durable:
                os.fsync(self.file.fileno())
            with self.cache.alone():  # who counts files meets one of the two names
                self.path.rename(self.final)
        except OSError as error:
            raise UserError(cannot_write(self.path.parent, error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


class Cache:
    """The files of one directory; together no more than `limit` bytes (None: no bound).

    `durable`: each file is forced to disk before it takes its name; else whoever opens it verifies it.
    Raises `UserError` where the directory cannot be made.
    """

    def __init__(self, directory: Path, limit: int | None = None, *, durable: bool = True) -> None:
        self.directory, self.limit, self.durable = directory, limit, durable
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(cannot_write(directory, error)) from error

    def pin(self, name: str, size: int | None = None) -> int | None:
        """A descriptor to read the file by, None where it is not there; until it is closed, nobody evicts the file."""
        path = self.directory / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        status = os.fstat(descriptor)
        if status.st_nlink and size in (None, status.st_size):
            with contextlib.suppress(OSError):  # a cache that may only be read
                os.utime(descriptor)  # when it was last needed
            return descriptor
        os.close(descriptor)
        if status.st_nlink:
            self.drop(name)
        return None

    def bring(
        self,
        name: str,
        size: int,
        fetch: Callable[[BinaryIO], None],
        halt: threading.Event,
        *,
        spare: Sequence[str] = (),
        patience: float = 0.0,
        waiting: Callable[[Answer], None] = lambda _: None,
    ) -> None:
        """Have the file there, fetched by this process or by another one.

        Args:
            name: of the file.
            size: that it may have at most, in bytes.
            fetch: brings it into a partial file, or raises.
            halt: ends the wait.
            spare: names of files that are needed soon, the first one first: these are evicted last.
            patience: seconds to wait for room.
            waiting: called again and again while there is nothing to do but wait.

        Raises:
            UserError: there is no room, or the directory cannot be written to.
            HaltedError: `halt` was set.
        """
        full_since = None
        while (answer := self.reserve(name, size, spare)) is not Answer.THERE:
            if isinstance(answer, Part):
                with answer:
                    fetch(answer.file)
                    answer.publish()
                return
            full_since = (full_since or time.monotonic()) if answer is Answer.FULL else None
            if full_since is not None and time.monotonic() - full_since > patience:
                raise UserError(
                    f"the cache {self.directory.parent} is full: {size} bytes more are needed beside what is in use, "
                    f"and it may hold {self.limit}; set {BYTES} to more"
                )
            waiting(answer)
            if halt.wait(POLL_SECONDS):
                raise HaltedError

    def reserve(self, name: str, size: int, spare: Sequence[str] = ()) -> Part | Answer:
        """Room for the file and the right to fetch it, or why not. Raises `UserError` where nothing can be written."""
        final, path = self.directory / name, self.directory / f"{name}.{size}.part"
        if final.exists():
            return Answer.THERE
        try:
            with self.alone():
                if not path.exists() and not self._make_room(name, size, spare):
                    return Answer.FULL
                file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.close()
                    return Answer.BUSY
                if not os.fstat(file.fileno()).st_nlink or final.exists():  # published just now
                    file.close()
                    return Answer.THERE if final.exists() else Answer.BUSY
                return Part(file, path, self, final)
        except OSError as error:
            raise UserError(cannot_write(self.directory, error)) from error

    def drop(self, name: str) -> None:
        """Remove a file: the next one who needs it fetches it anew."""
        try:
            (self.directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(cannot_write(self.directory, error)) from error

    def forget(self, days: float) -> None:
        """Remove the files that nobody needed for so many days."""
        with contextlib.suppress(OSError), self.alone():
            for name, _, needed in list(self._files()):
                if time.time() - needed > days * 86400:
                    self._evict(name)

    def bytes(self) -> int:
        """Of all files, and of those that are being fetched, at one moment."""
        with self.alone():
            return sum(size for _, size, _ in self._files())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While files are counted, reserved, named and evicted, by one thread of one process at a time."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _files(self) -> Iterator[tuple[str, int, float]]:
        """Each file's name, its bytes (of a partial one those that it will have), and when it was last needed."""
        with os.scandir(self.directory) as entries:
            for entry in entries:
                part = PART.fullmatch(entry.name)
                with contextlib.suppress(FileNotFoundError):
                    if entry.name != "lock":
                        status = entry.stat()
                        yield entry.name, int(part[2]) if part else status.st_size, status.st_mtime

    def _make_room(self, name: str, size: int, spare: Sequence[str]) -> bool:
        """Evict what is not in use and not needed before `name`: least recently needed first, then latest needed."""
        if self.limit is None:
            return True
        files = list(self._files())
        used = sum(held for _, held, _ in files)
        places = {needed: place for place, needed in reversed(list(enumerate(spare)))}
        first = places.get(name, -1)

        def when(entry: tuple[str, int, float]) -> tuple[bool, int, float]:
            place = places.get(PART.sub(r"\1", entry[0]))
            return place is not None, -(place or 0), entry[2]

        for file, held, needed in sorted(files, key=when):
            soon, place, _ = when((file, held, needed))
            if used + size <= self.limit or (soon and -place <= first):
                break
            used -= held if self._evict(file) else 0
        return used + size <= self.limit

    def _evict(self, name: str) -> bool:
        """Remove a file unless somebody reads or fetches it."""
        path = self.directory / name
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.fstat(descriptor).st_nlink or not path.exists():
                return False
            path.unlink()
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True


def place() -> Path:
    """Where this node's cache lies: `WATERSCAPE_CACHE`, else ~/.cache/waterscape."""
    return Path(os.environ.get(DIRECTORY) or Path.home() / ".cache" / "waterscape")


def limit(directory: Path) -> int:
    """Bytes that the cache may hold: `WATERSCAPE_CACHE_BYTES` (200e9, 200GB), else half of what its disk has for it.

    Raises `UserError` for a value that is no number of bytes.
    """
    told = os.environ.get(BYTES, "").strip()
    if told:
        number = SIZE.fullmatch(told)
        if not number:
            raise UserError(f"{BYTES} is {told!r}; give a number of bytes, such as 200e9 or 200GB")
        return int(float(number[1]) * 1000 ** " kmgt".index(number[2].lower() or " "))
    held = sum(entry.stat().st_size for entry in directory.rglob("*") if entry.is_file())
    return (shutil.disk_usage(directory).free + held) // 2
