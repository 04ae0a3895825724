"""`manifest.json`: what a set of shards is, and the checksums by which each of its files is known."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from waterscape.data.shard import check_column
from waterscape.data.store import MANIFEST, open_store
from waterscape.durable import write_bytes
from waterscape.errors import UserError

FORMAT = 1
FILE = MANIFEST
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # never a path: no separator, no leading dot
SEAL = '\n  "sha256_above": "{}"\n}}\n'  # the file's last lines; the hash is over every byte before them


@dataclass(frozen=True)
class Column:
    """A column's name and, where every sample agrees, its dtype (`|u1`, `<f4`) and shape; else both are None."""

    name: str
    dtype: str | None
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Shard:
    """One shard: `NAME.tar` of `bytes` bytes and `NAME.index.npy`, both known by their sha256."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str


@dataclass(frozen=True)
class Manifest:
    """A set of shards. `facts` are free: source, licence, synthetic, how it was made, classes, what was dropped.

    `foreign`: the tars were written by another program, and indexed as they are.
    """

    name: str
    columns: tuple[Column, ...]
    shards: tuple[Shard, ...]
    facts: dict[str, Any]
    foreign: bool = False
    _bytes: bytes | None = field(default=None, repr=False, compare=False)

    @classmethod
    def load(cls, place: Path | str) -> Manifest:
        """Read and check the manifest of a directory, or of a set behind a URL.

        Raises:
            UserError: no manifest, a damaged or edited one, or one of a newer format; a URL that cannot be read.
        """
        store = open_store(place)
        path = store.address(FILE)
        try:
            raw = store.manifest()
        except FileNotFoundError as error:
            raise UserError(
                f"{store.name} is no set of shards: no {FILE} in it; pack one, or name its directory"
            ) from error
        try:
            body = json.loads(raw)
            version = body["format"]
            newer = version > FORMAT
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is damaged (no JSON with a format number): restore it or pack again") from error
        if newer:
            raise UserError(f"{path} has format {version}, this version reads up to {FORMAT}: update waterscape")
        body_end = len(raw) - len(SEAL.format("0" * 64))
        if raw[max(body_end, 0) :] != SEAL.format(hashlib.sha256(raw[:body_end]).hexdigest()).encode():
            raise UserError(f"{path} is damaged or was edited (its sha256 does not fit): restore it or pack again")
        try:
            return cls._parse(body, raw)
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(f"{path} is not as format {FORMAT} wants it ({error}): pack the set again") from error

    @classmethod
    def _parse(cls, body: dict[str, Any], raw: bytes) -> Manifest:
        """Take what this version knows of and pass over other fields, which a later writer may have added."""
        columns = tuple(
            Column(entry["name"], entry["dtype"], None if entry["shape"] is None else tuple(entry["shape"]))
            for entry in body["columns"]
        )
        known = Shard.__dataclass_fields__
        shards = tuple(Shard(**{name: entry[name] for name in known}) for entry in body["shards"])
        for column in columns:
            check_column(column.name)
        names = [shard.name for shard in shards]
        for name in names:
            if not NAME.fullmatch(name):
                raise ValueError(f"shard name {name!r} is not a plain file name")
        if len(set(names)) != len(names):
            raise ValueError("a shard is listed twice")
        return cls(body["name"], columns, shards, dict(body["facts"]), body.get("foreign") is True, raw)

    def save(self, directory: Path | str) -> None:
        """Write `manifest.json`, whole or not at all."""
        write_bytes(Path(directory) / FILE, self._encode())

    def _encode(self) -> bytes:
        body = {
            "format": FORMAT,
            "name": self.name,
            **({"foreign": True} if self.foreign else {}),
            "facts": self.facts,
            "columns": [asdict(column) for column in self.columns],
            "shards": [asdict(shard) for shard in self.shards],
        }
        text = json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False)
        head = text.removesuffix("\n}") + ","
        return (head + SEAL.format(hashlib.sha256(head.encode()).hexdigest())).encode()

    @property
    def sha256(self) -> str:
        """Of the manifest file's bytes: it stands for the whole set, since the file holds all other hashes."""
        return hashlib.sha256(self._bytes or self._encode()).hexdigest()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of their first shard."""
        return tuple(dict.fromkeys(shard.split for shard in self.shards))

    def split(self, name: str) -> tuple[Shard, ...]:
        """The shards of one split. Raises `UserError`, naming those there are, where there is no such split."""
        shards = tuple(shard for shard in self.shards if shard.split == name)
        if not shards:
            raise UserError(f"set {self.name!r} has no split {name!r}: it has {', '.join(self.splits) or 'none'}")
        return shards
