"""Everything that is wrong with one shard: its tar is walked by its own headers and held against its index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waterscape.data.contents import name_faults, payload_faults
from waterscape.data.fast_check import intact
from waterscape.data.index import parse_index
from waterscape.data.indexes import most_index_bytes
from waterscape.data.manifest import Column, Shard
from waterscape.data.shard import BLOCK, LARGEST_PAYLOAD, RECORD, split_member
from waterscape.data.shards import column_names
from waterscape.data.walk import CHUNK, Member, Walk

MOST_TOLD = 1000  # findings of one shard; the others are counted
ENTRY = np.dtype([*((name, RECORD[name]) for name in RECORD.names or ()), ("row", "<i8"), ("column", "<i8")])

Index = NDArray[np.void]
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and where: the file, the sample's key and column, the offset in the tar in bytes."""

    file: str
    what: str
    sample: str | None = None
    column: str | None = None
    offset: int | None = None

    def __str__(self) -> str:
        places = (("sample", self.sample), ("column", self.column), ("offset", self.offset))
        return ", ".join([self.file, *(f"{name} {value}" for name, value in places if value is not None)]) + (
            f": {self.what}"
        )


@dataclass
class Checked:
    """What the reading of one shard found; sums are empty where a file is missing."""

    name: str
    findings: list[Finding] = field(default_factory=list)
    untold: int = 0
    sha256: str = ""
    index_sha256: str = ""
    keys: NDArray[np.bytes_] | None = None
    columns: tuple[str, ...] = ()
    bytes: int = 0

    def tell(self, finding: Finding) -> None:
        """Take a finding down; beyond `MOST_TOLD` it is counted only."""
        if len(self.findings) < MOST_TOLD:
            self.findings.append(finding)
        else:
            self.untold += 1


def check_shard(
    directory: Path,
    name: str,
    shard: Shard | None,
    columns: dict[str, Column],
    advance: Advance | None = None,
    *,
    foreign: bool = False,
) -> Checked:
    """Read one tar and its index. Sums are taken, not yet compared; `shard` None: nothing is known of it.

    `foreign`: the tar may have what other writers leave in theirs.
    """
    checked = Checked(name)
    index = read_index(directory / f"{name}.index.npy", checked, shard, columns)
    path = directory / f"{name}.tar"
    if not path.is_file():
        checked.tell(Finding(path.name, _missing(shard, index)))
        return checked
    total = path.stat().st_size
    if shard and total != shard.bytes:
        checked.tell(
            Finding(path.name, f"{total} bytes, the manifest says {shard.bytes}", offset=min(total, shard.bytes))
        )
    entries = _entries(path.name, index, total, checked)
    lengths = BLOCK + entries["size"] + -entries["size"] % BLOCK
    try:
        if (
            shard is not None
            and index is not None
            and not (foreign or checked.findings)
            and intact(path, shard, checked.columns, index["key"], entries, columns, advance)
        ):
            checked.sha256, checked.bytes = shard.sha256, shard.bytes
            return checked
        with path.open("rb", buffering=0) as file:
            walk = Walk(file, total, dict(zip(entries["offset"].tolist(), lengths.tolist(), strict=True)), advance)
            _compare(path.name, walk, index, entries, columns, checked, foreign=foreign)
    except OSError as error:
        checked.tell(Finding(path.name, f"cannot be read: {error.strerror}"))
        return checked
    checked.sha256, checked.bytes = walk.sha256, walk.bytes
    return checked


def _compare(
    file: str,
    walk: Walk,
    index: Index | None,
    entries: NDArray[np.void],
    columns: dict[str, Column],
    checked: Checked,
    *,
    foreign: bool,
) -> None:
    """Walk the tar and the index's entries, in the order of their offsets, side by side."""
    names = column_names(index) if index is not None else ()
    keys = index["key"] if index is not None else np.empty(0, "S1")
    key: str | None
    column: str | None
    listed: Iterator[tuple[int, int, int, int, int]] = iter(entries.tolist())
    entry = next(listed, None)
    for member in walk:
        while entry is not None and entry[0] < member.offset:
            _tell_unmet(file, entry, keys, names, checked)
            entry = next(listed, None)
        if entry is not None and entry[0] == member.offset:
            key, column = keys[entry[3]].decode("latin-1"), names[entry[4]]
            faults = _entry_faults(member, entry, f"{key}.{column}")
            whole = not member.faults and entry[2] == member.crc32
            entry = next(listed, None)
        else:
            key, column = _key_and_column(member)
            unlisted = index is not None and member.name is not None and not (foreign and member.aside)
            faults = ["its index does not list it"] if unlisted else []
            whole = not member.faults
        if member.foreign and not foreign:
            faults.insert(0, member.foreign)
        if member.name is not None and not (foreign and member.aside):
            forbidden = name_faults(member.name, foreign=foreign)
            faults += forbidden
            if whole and not forbidden:
                faults += payload_faults(member.name, member.size, member.head, columns.get(column or ""))
        for what in (*member.faults, *faults):
            checked.tell(Finding(file, what, key, column, member.offset))
    while entry is not None:
        _tell_unmet(file, entry, keys, names, checked)
        entry = next(listed, None)


def _entry_faults(member: Member, entry: tuple[int, int, int, int, int], name: str) -> list[str]:
    _, size, crc, _, _ = entry
    faults = []
    if member.name is not None and member.name != name:
        faults.append(f"the tar calls the record {member.name!a}")
    if member.name is not None and member.size != size:
        faults.append(f"{member.size} bytes by its header, {size} by the index")
    if member.crc32 != crc:
        faults.append(f"crc32 {member.crc32:08x} instead of {crc:08x}: damaged")
    return faults


def _tell_unmet(
    file: str, entry: tuple[int, int, int, int, int], keys: NDArray[np.bytes_], names: Sequence[str], checked: Checked
) -> None:
    key, column = keys[entry[3]].decode("latin-1"), names[entry[4]]
    checked.tell(Finding(file, "the index lists a record here, the tar has none", key, column, entry[0]))


def _key_and_column(member: Member) -> tuple[str | None, str | None]:
    """Of a record that no index tells of: as its name has them, spelled so that no terminal obeys it."""
    if member.name is None:
        return None, None
    key, column = split_member(member.name)
    return (key, column) if member.name.isprintable() and column else (ascii(member.name), None)


def read_index(path: Path, checked: Checked, shard: Shard | None, columns: dict[str, Column]) -> Index | None:
    """The index, where it is one; its keys and sums are noted.

    It is read, never mapped: where the file shrank meanwhile, a mapping would end the process by SIGBUS.
    """
    if not path.is_file():
        checked.tell(Finding(path.name, "missing"))
        return None
    try:
        most = most_index_bytes(shard, len(columns)) if shard else LARGEST_PAYLOAD
        with path.open("rb") as file:
            raw = file.read(min(os.fstat(file.fileno()).st_size, most) + 1)
            digest = hashlib.sha256(raw)
            while piece := file.read(CHUNK):
                digest.update(piece)
        checked.index_sha256 = digest.hexdigest()
        if len(raw) > most:
            raise ValueError(f"more than {most} bytes")
        index = as_index(raw)
    except (ValueError, OSError, MemoryError) as error:
        why = str(error) or "more than memory holds"
        checked.tell(Finding(path.name, f"is no index ({' '.join(why.split())[:120]})"))
        return None
    checked.keys, checked.columns = np.array(index["key"]), column_names(index)
    if shard and len(index) != shard.samples:
        checked.tell(Finding(path.name, f"lists {len(index)} samples, the manifest says {shard.samples}"))
    for name in checked.columns:
        if shard and name not in columns:
            checked.tell(Finding(path.name, f"column {name!a} is not in the manifest"))
    return index


def as_index(raw: bytes) -> Index:
    """The index that a file holds: keys and records. Raises `ValueError` where it is none."""
    index: Index = parse_index(raw)
    known = all(index.dtype[name] == RECORD for name in column_names(index))
    if "key" not in (index.dtype.names or ()) or index.dtype["key"].kind != "S" or not known:
        raise ValueError(f"its rows are {index.dtype}")
    return index


def _entries(file: str, index: Index | None, total: int, checked: Checked) -> NDArray[np.void]:
    """The index's records that could be in a tar of `total` bytes, by offset; what cannot be is told."""
    if index is None:
        return np.empty(0, ENTRY)
    parts = [np.empty(0, ENTRY)]
    for number, name in enumerate(column_names(index)):
        part = np.empty(len(index), ENTRY)
        for at in RECORD.names or ():
            part[at] = index[name][at]
        part["row"], part["column"] = np.arange(len(index)), number
        absent = (part["size"] == -1) & (part["offset"] == -1) & (part["crc32"] == 0)
        sane = (part["size"] >= 0) & (part["size"] <= min(LARGEST_PAYLOAD, total))
        sane &= (part["offset"] >= 0) & (part["offset"] <= total - BLOCK - np.where(sane, part["size"], 0))
        for row in np.flatnonzero(~absent & ~sane).tolist():
            key, offset, size = index["key"][row].decode("latin-1"), *(int(part[at][row]) for at in ("offset", "size"))
            what = f"the index places {size} bytes here, outside of the {total} bytes of the tar"
            checked.tell(Finding(file, what, key, name, offset))
        parts.append(part[sane])
    entries = np.concatenate(parts)
    entries = entries[np.argsort(entries["offset"], kind="stable")]
    torn = np.flatnonzero(np.diff(entries["row"]) < 0)
    for place in torn.tolist():
        key, offset = index["key"][int(entries["row"][place + 1])].decode("latin-1"), int(entries["offset"][place + 1])
        what = "stands before a sample that the index lists earlier: the records of a sample are not adjacent"
        checked.tell(Finding(file, what, key, None, offset))
    return entries


def _missing(shard: Shard | None, index: Index | None) -> str:
    if shard is None:
        return "missing"
    keys = "" if index is None or not len(index) else f", {index['key'][0].decode()} to {index['key'][-1].decode()}"
    return f"missing: {shard.samples} samples of split {shard.split}{keys}, {shard.bytes} bytes"
