"""Where a set's files lie: in a directory, or behind a URL, from where they come through the node's cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from waterscape.data import cache
from waterscape.data.address import as_directory, is_remote, join, redact
from waterscape.data.cache import Answer, Cache
from waterscape.data.fetch import MissingError, fetch
from waterscape.data.shard import ShardError
from waterscape.data.transfer import Wanted

if TYPE_CHECKING:
    from waterscape.data.manifest import Shard

MEND = "copy the file again, or pack the set again"
LOST_INDEX = f"none of its samples can be read, and none skipped: {MEND}"
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 1 << 30
OPENING_ATTEMPTS = 5
PATIENCE_SECONDS = 120.0  # for room in the cache
INDEX_DAYS = 30.0
LINE_SECONDS = 5.0
MOST_RENEWED = 3  # times that one tar is fetched again, since its copy rotted: then it is the disk


class Store(ABC):
    """A set's files. `name`: of the set, as messages show it; `at_once`: files that are opened side by side."""

    name: str
    remote: bool
    at_once: int

    @abstractmethod
    def manifest(self) -> bytes:
        """The manifest's bytes. Raises `FileNotFoundError` where there is none."""

    def holds_index(self, shard: Shard) -> bool:  # noqa: ARG002
        """Whether the index is there, as far as that is known without reading it."""
        return True

    @abstractmethod
    def index(self, shard: Shard, most_bytes: int) -> bytes:
        """The index, whose sha256 is the manifest's, and which has no more bytes. Raises `ShardError`."""

    def tar_bytes(self, shard: Shard) -> int:
        """Bytes of the tar, as far as they are known without reading it; −1: it is missing."""
        return shard.bytes

    @abstractmethod
    def tar(self, shard: Shard, make_room: Callable[[], None] = lambda: None) -> tuple[Path, int]:
        """The tar's path and a descriptor to read it by. Raises `OSError`; `make_room` lets go of other tars."""

    @abstractmethod
    def renew(self, shard: Shard) -> bool:
        """After a record failed: whether the tar was a copy that rotted, and has been dropped."""

    def reader_waits(self) -> contextlib.AbstractContextManager[None]:
        """While a reader waits for what may come from afar."""
        return contextlib.nullcontext()

    def address(self, file: str) -> str:
        """A file as messages show it."""
        return f"{self.name}/{file}"


class Directory(Store):
    """A directory of this machine, read in place."""

    remote = False
    at_once = 8  # a disk of the cluster answers slowly, and to many at a time

    def __init__(self, directory: Path) -> None:
        self.directory, self.name = directory, str(directory)

    def manifest(self) -> bytes:
        """The file's bytes."""
        return (self.directory / MANIFEST).read_bytes()

    def holds_index(self, shard: Shard) -> bool:
        """Whether the file is there."""
        return os.path.exists(f"{self.name}/{shard.name}.index.npy")  # noqa: PTH110 (a `Path` costs more)

    def index(self, shard: Shard, most_bytes: int) -> bytes:
        """The file's bytes."""
        path = f"{self.name}/{shard.name}.index.npy"  # a `Path` costs as much as opening the file
        try:
            with open(path, "rb") as file:  # noqa: PTH123
                raw = file.read(min(os.fstat(file.fileno()).st_size, most_bytes) + 1)
        except FileNotFoundError as error:
            raise ShardError(f"{path} is missing: {LOST_INDEX}") from error
        except OSError as error:
            raise ShardError(f"{path} cannot be read ({error.strerror}): {LOST_INDEX}") from error
        digest = hashlib.sha256(raw).hexdigest()
        if digest != shard.index_sha256:
            raise ShardError(f"{path} is damaged or belongs to another shard (sha256 {digest[:12]}…): {LOST_INDEX}")
        return raw

    def tar_bytes(self, shard: Shard) -> int:
        """The file's length; −1 where no file is there."""
        try:
            status = os.stat(f"{self.name}/{shard.name}.tar")  # noqa: PTH116
        except OSError:
            return -1
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    def tar(self, shard: Shard, make_room: Callable[[], None] = lambda: None) -> tuple[Path, int]:  # noqa: ARG002
        """The file itself."""
        path = self.directory / f"{shard.name}.tar"
        return path, os.open(path, os.O_RDONLY)

    def renew(self, shard: Shard) -> bool:  # noqa: ARG002
        """Never: this is the set itself, and no copy."""
        return False


class Remote(Store):
    """A set behind a URL. Tars and indexes are files of the cache, named by their sha256; a tar is fetched whole.

    `waited_seconds`: how long some reader waited for a tar or an index.
    """

    remote = True
    at_once = 32

    def __init__(self, url: str) -> None:
        self.url, self.name = url, redact(url)
        directory = cache.place()
        self.tars = Cache(directory / "tars")
        self.tars.limit = cache.limit(directory)
        self.indexes = Cache(directory / "indexes", durable=False)
        self.indexes.forget(INDEX_DAYS)
        self.halt = threading.Event()
        self.waited_seconds, self.bytes = 0.0, 0
        self._spare: list[str] = []
        self._renewed: Counter[str] = Counter()
        self._readers_waiting = 0
        self._began = self._told = 0.0  # when the first of them began to wait, and when that was last told
        self._lock = threading.Lock()

    def manifest(self) -> bytes:
        """Fetched each time, since it may be another set by now."""
        content = io.BytesIO()
        wanted = Wanted(join(self.url, MANIFEST), MOST_MANIFEST_BYTES)
        try:
            fetch(wanted, content, self.halt, idle_attempts=OPENING_ATTEMPTS)
        except MissingError as error:
            raise FileNotFoundError(str(error)) from error
        return content.getvalue()

    def index(self, shard: Shard, most_bytes: int) -> bytes:
        """Its copy in the cache, verified each time it is read."""
        name = f"{shard.index_sha256}.npy"
        path = self.indexes.directory / name
        wanted = Wanted(join(self.url, f"{shard.name}.index.npy"), most_bytes, sha256=shard.index_sha256)

        def fetch_it(file: BinaryIO) -> None:
            fetch(wanted, file, self.halt, advance=self._advance)

        while True:
            self.indexes.bring(name, most_bytes, fetch_it, self.halt, waiting=lambda _: self._tell())
            with contextlib.suppress(FileNotFoundError):
                raw = path.read_bytes()
                if hashlib.sha256(raw).hexdigest() == shard.index_sha256:
                    with contextlib.suppress(OSError):  # a cache that may only be read
                        os.utime(path)
                    return raw
            self.indexes.drop(name)

    def tar(self, shard: Shard, make_room: Callable[[], None] = lambda: None) -> tuple[Path, int]:
        """Its copy in the cache, fetched first where it is not there; nobody evicts it while it is open."""
        name = tar_name(shard)
        descriptor = self.tars.pin(name, shard.bytes)
        if descriptor is None:
            with self.reader_waits():
                while descriptor is None:
                    self._bring(shard, make_room)
                    descriptor = self.tars.pin(name, shard.bytes)
        return self.tars.directory / name, descriptor

    def renew(self, shard: Shard) -> bool:
        """A copy that rotted on the disk of this node is dropped, and fetched again when it is opened again."""
        path = self.tars.directory / tar_name(shard)
        with contextlib.suppress(FileNotFoundError):
            if sha256_of(path) != shard.sha256 and self._renewed[path.name] < MOST_RENEWED:
                print(f"{path} (of {self.address(shard.name)}.tar) rotted: fetched again", file=sys.stderr)
                self.tars.drop(path.name)
                self._renewed[path.name] += 1
                return True
        return False

    def spare(self, shards: Sequence[Shard]) -> None:
        """These tars are needed soon, the first one first: others are evicted before them."""
        self._spare = [tar_name(shard) for shard in shards]

    def reserve(self, shard: Shard) -> cache.Part | Answer:
        """Room for a tar, and the right to fetch it; or why there is nothing to do."""
        return self.tars.reserve(tar_name(shard), shard.bytes, self._spare)

    def fill(self, shard: Shard, part: cache.Part) -> None:
        """Fetch a tar into its reserved place."""
        with part:
            self._fetch(shard, part.file)
            part.publish()

    def _bring(self, shard: Shard, make_room: Callable[[], None]) -> None:
        def waiting(answer: Answer) -> None:
            self._tell()
            if answer is Answer.FULL:
                make_room()

        self.tars.bring(
            tar_name(shard),
            shard.bytes,
            lambda file: self._fetch(shard, file),
            self.halt,
            spare=self._spare,
            patience=PATIENCE_SECONDS,
            waiting=waiting,
        )

    def _fetch(self, shard: Shard, file: BinaryIO) -> None:
        wanted = Wanted(join(self.url, f"{shard.name}.tar"), shard.bytes, shard.bytes, shard.sha256)
        fetch(wanted, file, self.halt, advance=self._advance)

    def _advance(self, count: int) -> None:
        self.bytes += count
        self._tell()

    @contextlib.contextmanager
    def reader_waits(self) -> Iterator[None]:
        """Tell it now and then, and count the seconds once, however many wait."""
        with self._lock:
            if not self._readers_waiting:
                self._began = self._told = time.monotonic()
            self._readers_waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers_waiting -= 1
                if not self._readers_waiting:
                    self.waited_seconds += time.monotonic() - self._began

    def _tell(self) -> None:
        """A line every few seconds while a reader waits; of the processes of a node, the first one's."""
        if not self._readers_waiting or os.environ.get("LOCAL_RANK", "0") != "0":
            return
        with self._lock:
            now = time.monotonic()
            if self._readers_waiting and now - self._told >= LINE_SECONDS:
                self._told = now
                print(f"waiting for {self.name}: {self.bytes / 1e6:.0f} MB fetched by this process", file=sys.stderr)


def open_store(place: Path | str) -> Store:
    """The files of a set in a directory, or behind any URL that fsspec opens. Raises `UserError`."""
    return Remote(str(place)) if is_remote(place) else Directory(as_directory(place, "reading"))


def tar_name(shard: Shard) -> str:
    """A tar's name in the cache."""
    return f"{shard.sha256}.tar"


def sha256_of(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
