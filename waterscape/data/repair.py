"""A damaged set → a whole one: good samples into good shards, bad ones listed with the reasons.

A record is good where its crc32 is the index's, its name is its sample's and its payload is what its column promises.
Where an index is damaged, it is made anew from the tar, if the tar is the one that the manifest knows; else those of
its rows count whose records fit. Nothing is guessed, and nothing of the old set is changed.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from waterscape.data.contents import name_faults, payload_faults
from waterscape.data.manifest import Column, Manifest, Shard
from waterscape.data.pack import SetWriter
from waterscape.data.shard import BLOCK, LARGEST_PAYLOAD, NAME_BYTES, Value, crc32, decode, record_length, split_member
from waterscape.data.shard_check import Checked, read_index
from waterscape.data.shards import column_names
from waterscape.data.survey import class_column_of
from waterscape.data.walk import Walk
from waterscape.durable import write_text
from waterscape.errors import UserError

QUARANTINE = "quarantine.json"
KEYS = "keys.tsv"

Records = dict[str, tuple[int, int, int]]  # column → offset, size, crc32


@dataclass(frozen=True)
class Bad:
    """A sample that was left out; key None: not even that can be known."""

    shard: str
    split: str
    key: str | None
    reasons: tuple[str, ...]


@dataclass
class Repaired:
    """What became of the samples: kept and left out, by split. They add up to the samples of the old manifest."""

    kept: Counter[str] = field(default_factory=Counter)
    classes: dict[str, Counter[int]] = field(default_factory=dict)
    """Split → number of a class → samples kept."""
    quarantined: list[Bad] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    """New key, tab, old shard/key of each sample kept."""


@dataclass(frozen=True)
class Stored:
    """A sample as it was found: values where it is good, reasons where it is not."""

    key: str | None
    shard: Shard
    values: dict[str, Value]
    reasons: tuple[str, ...]


def repair(
    directory: Path | str, out: Path | str, *, replace: bool = False, advance: Callable[[int], None] | None = None
) -> Repaired:
    """Write the good samples of a set into a new one, in the same splits and order, and `quarantine.json` with them.

    Of a whole set this makes the same tars, byte for byte; else samples are numbered anew. Of foreign tars, whose keys
    may say something, `keys.tsv` then tells which number is whose: key, tab, shard/key in the old set.

    Args:
        directory: of the damaged set; its manifest must be whole, since it alone knows what there should be.
        out: of the new set.
        replace: `out`, where it exists.
        advance: told the number of samples.

    Raises:
        UserError: no manifest, or no good sample; `out` exists.
    """
    directory, out = Path(directory), Path(out)
    if out.absolute() == directory.absolute():
        raise UserError(f"{out} is the set to be repaired, which is never changed: name another --out")
    manifest = Manifest.load(directory)
    if not manifest.shards:
        raise UserError(f"{directory} lists no shards: there is nothing to repair")
    columns = {column.name: column for column in manifest.columns}
    usual = max(shard.samples for shard in manifest.shards)
    done, keys, class_column = Repaired(), set[str](), class_column_of(manifest.columns) or ""
    by_split = [
        _in_turn(directory, tuple(shard for shard in manifest.shards if shard.split == split), columns)
        for split in manifest.splits
    ]
    with SetWriter(out, facts=manifest.facts, samples_per_shard=max(usual, 1), replace=replace) as writer:
        for sample in heapq.merge(*by_split, key=lambda stored: stored.key or ""):  # as they were numbered
            reasons = sample.reasons or (("its key came before",) if sample.key in keys else ())
            if reasons or sample.key is None:
                done.quarantined.append(Bad(sample.shard.name, sample.shard.split, sample.key, reasons))
            else:
                keys.add(sample.key)
                key = writer.add(sample.shard.split, sample.values)
                done.keys.append(f"{key}\t{sample.shard.name}/{sample.key}\n")
                done.kept[sample.shard.split] += 1
                if class_column in sample.values:
                    counts = done.classes.setdefault(sample.shard.split, Counter())
                    counts[int(np.asarray(sample.values[class_column]))] += 1
            if advance:
                advance(1)
        _agree(manifest, done)
        write_text(writer.directory / QUARANTINE, _listed(manifest, done))
        if manifest.foreign:
            write_text(writer.directory / KEYS, "".join(done.keys))
        writer.finish(**_facts(manifest, done))
    return done


def _agree(manifest: Manifest, done: Repaired) -> None:
    """Every sample of the old manifest was kept or left out, split by split."""
    expected = Counter[str]()
    for shard in manifest.shards:
        expected[shard.split] += shard.samples
    found = done.kept + Counter(bad.split for bad in done.quarantined)
    if found != +expected:
        raise RuntimeError(f"sums differ: {dict(expected)} samples in the manifest, {dict(found)} found")


def _facts(manifest: Manifest, done: Repaired) -> dict[str, Any]:
    """What the new manifest says of the repair; counts that packing left in the old one go on adding up."""
    count, old = len(done.quarantined), manifest.facts
    facts: dict[str, Any] = {"repaired": {"from_sha256": manifest.sha256, "quarantined": count}}
    if isinstance(old.get("dropped"), dict) and count:
        facts["dropped"] = {**old["dropped"], "damaged": old["dropped"].get("damaged", 0) + count}
    names = old.get("classes")
    if isinstance(old.get("shapes"), dict) and isinstance(names, list) and done.classes:
        empty = Counter[int]()
        facts["shapes"] = {
            split: {name: done.classes.get(split, empty)[number] for number, name in enumerate(names)}
            for split in old["shapes"]
        }
    return facts


def _listed(manifest: Manifest, done: Repaired) -> str:
    told = {
        "from": manifest.name,
        "from_sha256": manifest.sha256,
        "kept": dict(done.kept),
        "quarantined": [asdict(bad) for bad in done.quarantined],
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _in_turn(directory: Path, shards: tuple[Shard, ...], columns: Mapping[str, Column]) -> Iterator[Stored]:
    """The samples of a split in the order of storing: of each shard exactly as many as the manifest says."""
    for shard in shards:
        rows = list(_rows(directory, shard, columns))
        if len(rows) > shard.samples:  # a false index: which of them are the shard's, nobody knows
            rows = []
        yield from _samples(directory, shard, columns, rows)
        for _ in range(shard.samples - len(rows)):
            yield Stored(None, shard, {}, ("neither the index nor the tar can tell where it is",))


def _samples(
    directory: Path, shard: Shard, columns: Mapping[str, Column], rows: list[tuple[str, Records]]
) -> Iterator[Stored]:
    path = directory / f"{shard.name}.tar"
    if not path.is_file():
        for key, _ in rows:
            yield Stored(key, shard, {}, (f"{path.name} is missing",))
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for key, records in rows:
            values: dict[str, Value] = {}
            reasons: list[str] = [] if records else ["it has no records"]
            for column, record in records.items():
                found = _value(descriptor, f"{key}.{column}", record, columns.get(column))
                if isinstance(found, str):
                    reasons.append(f"column {column}, offset {record[0]}: {found}")
                else:
                    values[column] = found[0]
            yield Stored(key, shard, values, tuple(reasons))
    finally:
        os.close(descriptor)


def _value(descriptor: int, name: str, record: tuple[int, int, int], column: Column | None) -> tuple[Value] | str:
    """A record's value, alone in a tuple; or why it is bad."""
    offset, size, crc = record
    total = os.fstat(descriptor).st_size
    length = record_length(size)
    if offset < 0 or not 0 <= size <= LARGEST_PAYLOAD or offset + length > total:
        return f"{size} bytes are not there: the tar is cut short, or the index damaged"
    raw = os.pread(descriptor, length, offset)
    if len(raw) != length or crc32(raw) != crc:
        return f"crc32 {crc32(raw):08x} instead of {crc:08x}: damaged"
    if raw[:NAME_BYTES].rstrip(b"\0") != name.encode():
        return "the tar calls the record otherwise"
    payload = raw[BLOCK : BLOCK + size]
    faults = name_faults(name, foreign=True) or payload_faults(name, size, payload, column)
    if faults:
        return faults[0]
    try:
        return (decode(split_member(name)[1], payload),)
    except (ValueError, KeyError) as error:
        return str(error)


def _rows(directory: Path, shard: Shard, columns: Mapping[str, Column]) -> Iterator[tuple[str, Records]]:
    """Key and records of each sample: by the index, or by the tar itself where only that is whole."""
    checked = Checked(shard.name)
    index = read_index(directory / f"{shard.name}.index.npy", checked, shard, dict(columns))
    if checked.index_sha256 != shard.index_sha256:
        walked = _walked(directory / f"{shard.name}.tar", shard)
        if walked is not None:
            yield from walked.items()
            return
    if index is None:
        return
    for row in range(len(index)):
        places = {name: index[name][row].tolist() for name in column_names(index)}
        records = {name: place for name, place in places.items() if place != (-1, -1, 0)}
        yield np.bytes_(index["key"][row]).decode("latin-1"), records


def _walked(path: Path, shard: Shard) -> dict[str, Records] | None:
    """Key → records of a tar that is, byte for byte, the manifest's; else None."""
    if not path.is_file() or path.stat().st_size != shard.bytes:
        return None
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
            return None
    samples: dict[str, Records] = {}
    with path.open("rb", buffering=0) as raw:
        for member in Walk(raw, shard.bytes):
            if member.aside:
                continue
            key, column = split_member(member.name or "")
            samples.setdefault(key, {})[column] = (member.offset, member.size, member.crc32)
    return samples
