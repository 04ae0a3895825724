"""Write a set of shards: whole under its name, or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from waterscape.data.manifest import FILE, NAME, Column, Manifest, Shard
from waterscape.data.shard import ShardWriter, Value, stored_dtype
from waterscape.durable import sync
from waterscape.errors import UserError

MOST_CLOSING = 2  # shards on their way to disk: bounds what the kernel holds of them
Kind = tuple[str, tuple[int, ...]] | None  # dtype and shape of an array; None: no array
NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class SetWriter:
    """Write samples into shards of `samples_per_shard`, each of one split, and at last the manifest.

    Everything is written into the sibling directory `.NAME.partial`, which takes the name `out` in the end, when all of
    it is on the disk; an exception removes it. Leaving the `with` block calls `finish` where that was not done.

    Raises:
        UserError: `out` exists (and `replace` is False, or it is no set of shards), another process is writing it, or
            its name does not do as a file name.
    """

    def __init__(
        self, out: Path | str, *, facts: Mapping[str, Any], samples_per_shard: int = 1024, replace: bool = False
    ) -> None:
        self.out = Path(out)
        self.name = name_of(self.out)
        self.samples_per_shard = samples_per_shard
        self.replace = replace
        self.samples = 0
        self._facts = dict(facts)
        self._open: dict[str, ShardWriter] = {}
        self._counts: Counter[str] = Counter()  # split → shards begun
        self._shards: list[Shard] = []
        self._background = ThreadPoolExecutor(MOST_CLOSING, "to disk")
        self._closing: deque[tuple[ShardWriter, Future[Shard]]] = deque()
        self._columns: dict[str, set[Kind]] = {}
        if samples_per_shard < 1:
            raise UserError(f"samples per shard: {samples_per_shard} is too few; give 1 or more")
        check_target(self.out, replace=replace)
        self.directory = self.out.absolute().parent / f".{self.name}.partial"
        """What is written here, a picture of the set for instance, is published with the shards."""
        self._lock: int | None = _own(self.directory, self.out)

    def add(self, split: str, values: Mapping[str, Value]) -> str:
        """Append a sample to a split; returns its key, numbered over the whole set: `000000123`."""
        if not split.isalnum():
            raise UserError(f"split {split!r}: use letters and digits only, as in 'train'")
        if not values:
            raise UserError(f"sample {self.samples} of {self.out} has no columns")
        writer = self._open.get(split)
        if writer is None:
            writer = ShardWriter(self.directory, f"{self.name}-{split}-{self._counts[split]:06d}")
            self._open[split] = writer
            self._counts[split] += 1
        key = f"{self.samples:09d}"
        writer.add(key, values)
        for column, value in values.items():
            self._columns.setdefault(column, set()).add(kind_of(value))
        self.samples += 1
        if len(writer) == self.samples_per_shard:
            self._close(split)
        return key

    def adopt(self, shard: Shard, directory: Path, kinds: Mapping[str, Iterable[Kind]]) -> None:
        """Take in a whole shard that was written elsewhere, with the kinds of value (`kind_of`) in each column.

        It keeps its name and its keys: that these are unique over the set is the caller's business.

        Raises:
            UserError: its files are not those that `shard` describes.
        """
        for name, sha256 in ((f"{shard.name}.tar", shard.sha256), (f"{shard.name}.index.npy", shard.index_sha256)):
            link(directory / name, self.directory / name)
            with (self.directory / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise UserError(
                        f"{directory / name} is damaged (its sha256 does not fit): remove it, make it again"
                    )
        for column, known in kinds.items():
            self._columns.setdefault(column, set()).update(known)
        self._shards.append(shard)
        self._counts[shard.split] += 1
        self.samples += shard.samples

    def finish(self, **more_facts: Any) -> Manifest:
        """Close every shard, write the manifest with all facts, and give the directory its name."""
        if not self.samples:
            raise UserError(f"{self.out}: no samples to write; nothing was left of the input")
        for split in sorted(self._open):
            self._close(split)
        self._wait(0)
        columns = []
        for name in sorted(self._columns):
            kinds = self._columns[name]
            dtype, shape = (len(kinds) == 1 and next(iter(kinds))) or (None, None)
            columns.append(Column(name, dtype, shape))
        shards = tuple(sorted(self._shards, key=lambda shard: shard.name))
        manifest = Manifest(self.name, tuple(columns), shards, {**self._facts, **more_facts})
        manifest.save(self.directory)
        self._publish()
        return manifest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._lock is not None:
                self.finish()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Remove what was written; after `finish` there is nothing to remove."""
        self._background.shutdown(cancel_futures=True)
        for writer in (*self._open.values(), *(writer for writer, _ in self._closing)):
            writer.close()
        self._open.clear()
        self._closing.clear()
        if self._lock is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            os.close(self._lock)
            self._lock = None

    def _close(self, split: str) -> None:
        """Have a shard forced to disk while the next one is being written."""
        writer = self._open.pop(split)
        self._closing.append((writer, self._background.submit(_finished, writer, split)))
        self._wait(MOST_CLOSING)

    def _wait(self, left: int) -> None:
        """Until only so many shards are on their way to disk. Raises what became of them."""
        while len(self._closing) > left:
            self._shards.append(self._closing[0][1].result())
            self._closing.popleft()

    def _publish(self) -> None:
        """Swap by renames: at every moment `out` is the old set, nothing, or the new one."""
        check_target(self.out, replace=self.replace)
        parent = self.directory.parent
        old = parent / f".{self.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        if self.out.exists():
            self.out.rename(old)
        self.directory.rename(self.out)
        sync(parent)
        shutil.rmtree(old, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _finished(writer: ShardWriter, split: str) -> Shard:
    sha256, index_sha256 = writer.finish()
    return Shard(writer.tar.stem, split, len(writer), writer.bytes, sha256, index_sha256)


def name_of(out: Path) -> str:
    """The name of the set to be. Raises `UserError` where it would not do as the beginning of a shard's name."""
    name = out.absolute().name or "set"
    if not NAME.fullmatch(name):
        raise UserError(f"{out}: a set's name takes letters, digits, '_', '-' and '.' only; name it otherwise")
    return name


def check_target(out: Path, *, replace: bool) -> None:
    """Raise `UserError` where `out` exists and may not be replaced."""
    if not out.exists():
        return
    if not replace:
        raise UserError(f"{out} exists: choose another --out, or say that it may be replaced")
    if not (out / FILE).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is no set of shards and is not replaced: choose another --out")


def kind_of(value: Value) -> Kind:
    """An array's dtype, as it is stored, and shape; None for other values."""
    return (stored_dtype(value.dtype), value.shape) if isinstance(value, np.ndarray) else None


def link(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system knows no such thing."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        sync(target)


def _own(directory: Path, out: Path) -> int:
    """Make the directory, empty and locked by this process; what a killed one left there is removed."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    for attempt in ("what was left", "ours"):
        directory.mkdir(exist_ok=attempt == "what was left")
        descriptor = lock(directory, os.O_RDONLY, f"{out} is being written by another process")
        if not any(directory.iterdir()):
            break
        shutil.rmtree(directory)
        os.close(descriptor)
    return descriptor


def lock(path: Path, flags: int, busy: str, *, shared: bool = False) -> int:
    """Open and lock a path until the descriptor is closed or the process ends. Raises `UserError` where it is locked.

    Those who share a lock exclude only whoever wants it alone.
    A file system without locks gives none. NFS is one for directories, since it locks only what is open for writing.
    """
    descriptor = os.open(path, flags, 0o644)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(f"{busy}: wait for it, or choose another --out") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return descriptor
