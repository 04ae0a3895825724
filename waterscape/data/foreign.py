"""Tars without an index: what is in them, whether the format carries it, and, where it does, index and manifest.

The tars are never touched. Directories, and the owners and times that other writers note, are passed over. What the
format does not carry (links, other extensions, members renamed by extension records, keys that come twice) is named,
all of it, and then nothing is written: an index must not promise what the tars do not hold.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from waterscape.data.contents import name_faults, payload_faults
from waterscape.data.manifest import FILE, NAME, Column, Manifest, Shard
from waterscape.data.npy import npy_header, read_npy_header
from waterscape.data.pack import Kind
from waterscape.data.shard import MISSING, index_dtype, split_member
from waterscape.data.shard_check import Finding
from waterscape.data.walk import Member, Walk
from waterscape.durable import write_bytes
from waterscape.errors import UserError

SPLIT = re.compile(r"(?:^|[-_.])(train|valid|val|test)(?:[-_.]|$)")

Records = dict[str, tuple[int, int, int]]  # column → offset, size, crc32


@dataclass
class Indexed:
    """What was found. `hindrances`: nothing is written because of these. `notes`: columns that some samples lack."""

    hindrances: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    samples: int = 0
    foreign: bool = False
    """The tars hold what only other writers leave."""
    manifest: Manifest | None = None
    """What was written; None: nothing."""


@dataclass
class _Tar:
    """One tar as it was walked."""

    name: str
    bytes: int = 0
    sha256: str = ""
    samples: dict[str, Records] = field(default_factory=dict)
    kinds: dict[str, set[Kind]] = field(default_factory=dict)


def index_foreign(
    directory: Path | str, *, facts: dict[str, Any], advance: Callable[[int], None] | None = None
) -> Indexed:
    """Walk every tar of a directory; where the format carries all of them, write their indexes and a manifest.

    The split of a tar is the word train, valid, val or test in its name; without one it is train.

    Args:
        directory: of the tars.
        facts: for the manifest: source, licence, whether the data are synthetic.
        advance: told the number of bytes.

    Raises:
        UserError: there is a manifest already, or there are no tars.
    """
    directory = Path(directory)
    if (directory / FILE).exists():
        raise UserError(f"{directory} has a {FILE} already: check or repair it, or move that file away first")
    paths = sorted(directory.glob("*.tar"), key=lambda path: path.name)
    if not paths:
        raise UserError(f"{directory} has no tars to index: name the directory that holds the .tar files")
    found = Indexed()
    tars = [_walk(path, found, advance) for path in paths]
    _doubled(tars, found)
    _lacking(tars, found)
    found.samples = sum(len(tar.samples) for tar in tars)
    name = directory.absolute().name
    for word in (name, *(tar.name for tar in tars)):
        if not NAME.fullmatch(word):
            found.hindrances.append(Finding(word, "its name takes letters, digits, '_', '-' and '.' only"))
    if not found.hindrances:
        found.manifest = _write(directory, name, tars, facts, foreign=found.foreign)
    return found


def _walk(path: Path, found: Indexed, advance: Callable[[int], None] | None) -> _Tar:
    tar, last = _Tar(path.name.removesuffix(".tar")), ""
    total = path.stat().st_size
    with path.open("rb", buffering=0) as file:
        walk = Walk(file, total, advance=advance)
        for member in walk:
            name = member.name or ""
            key, column = split_member(name)
            faults = list(member.faults)
            if not member.aside:
                faults += name_faults(name, foreign=True) if member.name is not None else []
                faults = faults or payload_faults(name, member.size, member.head, None)
            elif not faults:
                found.foreign = True
                continue
            found.foreign |= bool(member.foreign or name_faults(name))
            records = tar.samples.get(key, {})
            if not faults and column in records:
                faults = [f"doubled: the same member stands at offset {records[column][0]}"]
            elif not faults and records and key != last:
                faults = ["not adjacent: other samples stand between the members of this key"]
            found.hindrances += [
                Finding(path.name, what, ascii(key)[1:-1], ascii(column)[1:-1], member.offset) for what in faults
            ]
            if not faults:
                tar.samples.setdefault(key, {})[column] = (member.offset, member.size, member.crc32)
                tar.kinds.setdefault(column, set()).add(_kind(member))
                last = key
    tar.bytes, tar.sha256 = walk.bytes, walk.sha256
    if not tar.samples:
        found.hindrances.append(Finding(path.name, "it holds no sample that the format carries"))
    return tar


def _kind(member: Member) -> Kind:
    if not (member.name or "").endswith(".npy"):
        return None
    header = read_npy_header(member.head)
    dtype, shape = header.dtype.str, header.shape
    usual = member.head.startswith(npy_header(dtype, shape))
    return (dtype, shape) if usual else None  # another header, of an older NumPy: each array is decoded by itself


def _doubled(tars: list[_Tar], found: Indexed) -> None:
    """Keys that more than one tar has."""
    first: dict[str, str] = {}
    for tar in tars:
        for key in tar.samples:
            if key in first:
                found.hindrances.append(Finding(f"{tar.name}.tar", f"its key stands in {first[key]}.tar too", key))
            first.setdefault(key, tar.name)


def _lacking(tars: list[_Tar], found: Indexed) -> None:
    """Samples that lack a column which others have: the index says so, and no reader minds."""
    columns = sorted({column for tar in tars for column in tar.kinds})
    for tar in tars:
        lacking = Counter(column for records in tar.samples.values() for column in columns if column not in records)
        for column, count in sorted(lacking.items()):
            key = next(key for key, records in tar.samples.items() if column not in records)
            what = f"missing in {count} of {len(tar.samples)} samples; this is the first"
            found.notes.append(Finding(f"{tar.name}.tar", what, key, column))


def _write(directory: Path, name: str, tars: list[_Tar], facts: dict[str, Any], *, foreign: bool) -> Manifest:
    """Indexes, then the manifest: until it stands there is no set."""
    shards = []
    kinds: dict[str, set[Kind]] = {}
    for tar in tars:
        index = _index(tar)
        write_bytes(directory / f"{tar.name}.index.npy", index)
        split = SPLIT.search(tar.name)
        sums = tar.sha256, hashlib.sha256(index).hexdigest()
        shards.append(Shard(tar.name, split[1] if split else "train", len(tar.samples), tar.bytes, *sums))
        for column, known in tar.kinds.items():
            kinds.setdefault(column, set()).update(known)
    columns = []
    for column in sorted(kinds):
        dtype, shape = (len(kinds[column]) == 1 and next(iter(kinds[column]))) or (None, None)
        columns.append(Column(column, dtype, shape))
    manifest = Manifest(name, tuple(columns), tuple(shards), facts, foreign)
    manifest.save(directory)
    return manifest


def _index(tar: _Tar) -> bytes:
    columns = sorted(tar.kinds)
    table = np.zeros(len(tar.samples), index_dtype(max(map(len, tar.samples)), columns))
    table["key"] = list(tar.samples)
    for column in columns:
        table[column] = [records.get(column, MISSING) for records in tar.samples.values()]
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, table, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
