"""A set of shards without some of its samples: the others keep their bytes, keys, order and shards.

The shorter set is made beside the old one, in `.NAME.without`, and takes its name when all of it is on the disk. Killed
at any moment, the same call again ends in the same set: `settle` finishes what was whole and removes what was not.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterscape.data.cache import Cache
from waterscape.data.cache import place as cache_place
from waterscape.data.hashed_file import HashedFile
from waterscape.data.index import column_names, parse_index
from waterscape.data.manifest import FILE, Manifest, Shard
from waterscape.data.pack import link, lock, name_of
from waterscape.data.shard import BLOCK, ShardError, Value, crc32, decode, record_length
from waterscape.data.store import MOST_MANIFEST_BYTES, Directory, tar_name
from waterscape.durable import sync
from waterscape.errors import UserError

BUSY = "{} is being written by another process"


@dataclass(frozen=True)
class Sample:
    """Where a sample stands, and its JSON."""

    shard: Shard
    row: int
    told: dict[str, Any]
    label: int
    """Number of its class; −1: none."""


def samples_of(directory: Path, manifest: Manifest) -> Iterator[Sample]:
    """Every sample of a set with its JSON, shard by shard; an empty one where it has none.

    Raises:
        ShardError: a file is missing or damaged.
    """
    for shard in manifest.shards:
        index = _index(directory, shard)
        with (directory / f"{shard.name}.tar").open("rb") as tar:
            for row in range(len(index)):
                told, label = (value_of(tar.fileno(), index, row, name, shard) for name in ("json", "class.npy"))
                number = int(label) if isinstance(label, np.ndarray) else -1
                yield Sample(shard, row, told if isinstance(told, dict) else {}, number)


def _index(directory: Path, shard: Shard) -> NDArray[np.void]:
    return parse_index(Directory(directory).index(shard, MOST_MANIFEST_BYTES))


def value_of(descriptor: int, index: Any, row: int, column: str, shard: Shard) -> Value | None:
    """A sample's value, None where it has none. Raises `ShardError` where its record is damaged."""
    size = int(index[column]["size"][row]) if column in column_names(index) else -1
    if size < 0:
        return None
    return decode(column, _record(descriptor, index, row, column, shard)[BLOCK : BLOCK + size])


def _record(descriptor: int, index: Any, row: int, column: str, shard: Shard) -> bytes:
    offset, size, crc = index[column][row].tolist()
    raw = os.pread(descriptor, record_length(size), offset)
    if crc32(raw) != crc:
        raise ShardError(f"{shard.name}.tar, offset {offset}: damaged: repair the set first")
    return raw


def remove_samples(
    directory: Path,
    manifest: Manifest,
    gone: Mapping[str, set[int]],
    facts: Mapping[str, Any],
    beside: Callable[[Path, Manifest], None],
) -> Manifest:
    """Take rows out of shards (shard → rows), and give the set new facts; `settle` must have been called before.

    Args:
        directory: of the set.
        manifest: that stands there.
        gone: which rows of which shards. A shard of which nothing is left goes too.
        facts: of the new manifest, which names the columns that are left.
        beside: writes what else belongs to the set into the new directory, before it takes its name.

    Raises:
        UserError: the tars are foreign; another process writes the set.
        ShardError: a record that stays is damaged.
    """
    if manifest.foreign and any(gone.values()):
        raise UserError(f"{directory} was made by another program: take them out there, and index it again")
    with _fresh(directory) as fresh:
        shards = []
        for shard in manifest.shards:
            rows = gone.get(shard.name, set())
            if not rows:
                for ending in ("tar", "index.npy"):
                    link(directory / f"{shard.name}.{ending}", fresh / f"{shard.name}.{ending}")
                shards.append(shard)
            elif len(rows) < shard.samples:
                shards.append(_shorter(directory, fresh, shard, rows))
        used = {name for shard in shards for name in column_names(_index(fresh, shard))}
        columns = tuple(column for column in manifest.columns if column.name in used)
        left = replace(manifest, columns=columns, shards=tuple(shards), facts=dict(facts), _bytes=None)
        beside(fresh, left)
        left.save(fresh)
        sync(fresh)
        for shard in manifest.shards:
            if gone.get(shard.name):
                drop_copies(shard)
        _swap(directory, fresh)
    return Manifest.load(directory)


def _shorter(directory: Path, fresh: Path, shard: Shard, gone: set[int]) -> Shard:
    """A shard without some rows: its records, byte for byte, moved up."""
    index = _index(directory, shard)
    stay = [row for row in range(len(index)) if row not in gone]
    table = index[stay].copy()
    tar, file = HashedFile(fresh / f"{shard.name}.tar"), (directory / f"{shard.name}.tar").open("rb")
    try:
        for place, row in enumerate(stay):
            offsets = {name: int(index[name]["offset"][row]) for name in column_names(index)}
            for column in sorted((name for name in offsets if offsets[name] >= 0), key=offsets.__getitem__):
                table[column]["offset"][place] = tar.bytes
                tar.append(_record(file.fileno(), index, row, column, shard))
        tar.append(bytes(2 * BLOCK))
        size, sha256 = tar.bytes, tar.finish()
    finally:
        file.close()
        tar.close()
    content = io.BytesIO()
    np.lib.format.write_array(content, table, version=(1, 0), allow_pickle=False)
    written = HashedFile(fresh / f"{shard.name}.index.npy")
    written.append(content.getbuffer())
    return replace(shard, samples=len(stay), bytes=size, sha256=sha256, index_sha256=written.finish())


def drop_copies(shard: Shard) -> None:
    """Remove what this node's cache holds of a shard, whole or in part."""
    for folder, name in (("tars", tar_name(shard)), ("indexes", f"{shard.index_sha256}.npy")):
        directory = cache_place() / folder
        for path in directory.glob(f"{name}*") if directory.is_dir() else ():
            Cache(directory).drop(path.name)


def settle(directory: Path) -> None:
    """Finish or undo what a killed process has left of a removal. Raises `UserError` where a process is at work."""
    fresh, old = _beside(directory, "without"), _beside(directory, "old")
    if fresh.is_dir():
        os.close(lock(fresh, os.O_RDONLY, BUSY.format(directory)))
    if not directory.exists() and (fresh / FILE).is_file():
        fresh.rename(directory)
        sync(directory.absolute().parent)
    if directory.exists():
        shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(fresh, ignore_errors=True)


def unfinished(directory: Path) -> list[Path]:
    """What packing the set has left: parts, partial sets. Raises `UserError` where a process is still at it."""
    name, parent = name_of(directory), directory.absolute().parent
    found = [_beside(directory, "partial"), parent / f"{name}.parts", parent / f".{name}.parts.joined"]
    found = [path for path in found if path.is_dir()]
    for path in found:
        for locked in (path, *path.glob("part-*.lock")):
            os.close(lock(locked, os.O_RDONLY, BUSY.format(directory)))
    return found


@contextmanager
def _fresh(directory: Path) -> Iterator[Path]:
    """The new set's directory, empty and locked."""
    fresh = _beside(directory, "without")
    fresh.mkdir()
    descriptor = lock(fresh, os.O_RDONLY, BUSY.format(directory))
    try:
        yield fresh
    finally:
        os.close(descriptor)
        shutil.rmtree(fresh, ignore_errors=True)


def _swap(directory: Path, fresh: Path) -> None:
    """By renames: at every moment the name stands for the old set, nothing, or the new one."""
    old = _beside(directory, "old")
    shutil.rmtree(old, ignore_errors=True)
    directory.rename(old)
    fresh.rename(directory)
    sync(directory.absolute().parent)
    shutil.rmtree(old)


def _beside(directory: Path, word: str) -> Path:
    return directory.absolute().parent / f".{name_of(directory)}.{word}"
