"""Tars that nobody has indexed: what they hold, by their headers alone, and single samples read by place.

Members are grouped as webdataset groups them: adjacent ones of one key, which ends at the first dot after the last
slash; endings in small letters. Endings that are not data are passed over. Payloads carry no checksum: what changes in
them is not noticed, which is one reason to index such a set.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.data.shard import BLOCK, COLUMN, ShardError, Value, decode
from waterscape.errors import UserError

SPLIT = re.compile(r"(?:^|[-_.])(valid|val|test)(?:[-_.]|$)")
META = re.compile(r"__[^/]*__($|/)")  # members that webdataset passes over

Members = dict[str, tuple[int, int]]  # column → offset of the payload, size


@dataclass
class Tar:
    """One tar: how many samples it has, how many of them have each column, and their places, if these are asked for."""

    path: Path
    samples: int = 0
    columns: Counter[str] = field(default_factory=Counter)
    keys: list[str] = field(default_factory=list)
    members: list[Members] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Without the ending."""
        return self.path.name.removesuffix(".tar")


class TarSet:
    """Some tars of a directory, each read as it is; `Streamed` reads them all."""

    def __init__(self, directory: Path, tars: Sequence[Tar]) -> None:
        self.directory, self.tars = directory, tuple(tars)
        self._ends = np.cumsum([tar.samples for tar in tars])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def close(self) -> None:
        """Nothing stays open between two readings."""

    def check(self, column: str) -> None:
        """Raise `UserError` where a sample has no such column."""
        for tar in self.tars:
            lacking = tar.samples - tar.columns[column]
            if lacking:
                raise UserError(f"{tar.path}: {lacking} of {tar.samples} samples have no {column!r}: take it away")

    def locate(self, number: int) -> tuple[int, int]:
        """Tar and row of a sample."""
        tar = int(np.searchsorted(self._ends, number, side="right"))
        return tar, number - int(self._ends[tar]) + self.tars[tar].samples

    def read(self, number: int) -> dict[str, Value]:
        """Every column of a sample."""
        tar, row = self.locate(number)
        return {column: self.value(tar, row, column) for column in self._placed(tar).members[row]}

    def value(self, tar: int, row: int, column: str) -> Value:
        """One value. Raises `ShardError`."""
        try:
            return decode(column, self.payload(tar, row, column))
        except ShardError:
            raise
        except ValueError as error:
            raise self.fault(tar, row, column, str(error)) from error

    def payload(self, tar: int, row: int, column: str) -> bytes:
        """The bytes of one value. Raises `ShardError` where they are not there."""
        offset, size = self._placed(tar).members[row][column]
        try:
            with self.tars[tar].path.open("rb") as file:
                payload = os.pread(file.fileno(), size, offset)
        except OSError as error:
            raise self.fault(tar, row, column, f"cannot be read: {error.strerror}") from error
        if len(payload) != size:
            raise self.fault(tar, row, column, f"{len(payload)} of {size} bytes are there: the tar was cut short")
        return payload

    def fault(self, tar: int, row: int, column: str, what: str) -> ShardError:
        """An error that names tar, sample and column."""
        return ShardError(f"{self.tars[tar].path}, sample {self._placed(tar).keys[row]}, column {column}: {what}")

    def _placed(self, tar: int) -> Tar:
        """The tar with the places of its samples."""
        return _look_into(self.tars[tar].path)


def open_tars(directory: Path) -> tuple[Manifest, TarSet, TarSet]:
    """What the tars of a directory hold, the tars to train on, and those held out.

    Held out are those with valid or val in their names, else test, else the first one; none with one of these words is
    trained on. The manifest is in memory only; its sha256 stands for names, lengths and counts, not for the contents.

    Raises:
        UserError: fewer than two tars, or nothing to train on.
        ShardError: a tar that cannot be read to its end.
    """
    paths = sorted(directory.glob("*.tar"))
    words = {path: found[1] if (found := SPLIT.search(path.name)) else "train" for path in paths}
    by_word = [[path for path in paths if words[path] in kind] for kind in (("valid", "val"), ("test",))]
    kept = next((apart for apart in by_word if apart), paths[:1])
    train = [path for path in paths if words[path] == "train" and path not in kept]
    if not train:
        raise UserError(f"{directory}: one tar to train on and one to hold out are needed, there are {len(paths)} tars")
    tars = {path: look_into(path) for path in (*train, *kept)}
    for path in [path for path, tar in tars.items() if not tar.samples]:
        raise UserError(f"{path} holds no sample: none of its members is data; take it away")
    held = sorted({column for tar in tars.values() for column in tar.columns})
    columns = tuple(Column(name, None, None) for name in held)
    shards = tuple(
        Shard(tar.name, "valid" if path in kept else "train", tar.samples, path.stat().st_size, "", "")
        for path, tar in sorted(tars.items())
    )
    facts = {"streamed": True}
    name = directory.absolute().name
    sets = [TarSet(directory, [tars[path] for path in group]) for group in (train, kept)]
    return Manifest(name, columns, shards, facts), sets[0], sets[1]


@lru_cache(maxsize=16)
def _look_into(path: Path) -> Tar:
    return look_into(path, places=True)


def look_into(path: Path, *, places: bool = False) -> Tar:
    """Walk a tar by its headers, seeking over the payloads; note keys and places where `places`.

    Raises:
        ShardError: it ends before its end, or at a damaged header, where others would just stop.
    """
    tar, last, end = Tar(path), None, 0
    try:
        with tarfile.open(path, "r:") as file:
            while (info := file.next()) is not None:
                file.members.clear()  # type: ignore[attr-defined]
                if info.issparse():
                    raise tarfile.TarError(f"offset {info.offset}: a sparse member, which may grow to any size")
                end = info.offset_data + (-(-info.size // BLOCK) * BLOCK if info.isreg() else 0)
                key, column = split_name(info.name) if info.isreg() else ("", "")
                if not column:
                    continue
                if key != last:
                    tar.samples, last = tar.samples + 1, key
                    if places:
                        tar.keys.append(key)
                        tar.members.append({})
                tar.columns[column] += 1
                if places:
                    tar.members[-1][column] = info.offset_data, info.size
        with path.open("rb") as raw:
            rest = os.pread(raw.fileno(), BLOCK, end)
    except Exception as error:  # besides its own, tarfile raises whatever a false size ends in
        what = str(error) or type(error).__name__
        raise ShardError(f"{path} cannot be read to its end ({what}): copy it again, or pack it again") from error
    if rest != bytes(BLOCK):
        what = "the tar is cut short" if len(rest) < BLOCK else "a damaged header"
        raise ShardError(f"{path}, offset {end}: {what}, after {tar.samples} samples: copy it again")
    return tar


def split_name(name: str) -> tuple[str, str]:
    """Key and column of a member as webdataset has them; an empty column where it is to be passed over."""
    found = re.match(r"((?:.*/|)[^.]+)[.]([^/]*)$", name)
    if found is None or META.match(name) or not COLUMN.fullmatch(found[2].lower()):
        return "", ""
    return found[1], found[2].lower()
