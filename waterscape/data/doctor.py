"""Everything that is wrong with a set of shards, found in one reading of it: nothing in it is believed.

A shard that is all that manifest, index and format promise needs one fast reading (`fast_check`). Others are walked by
their own headers while their index is held against what is found; the sums of the manifest are taken of the same bytes.
Shards are read side by side: the sums let other threads run.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from waterscape.data.manifest import FILE, Manifest, Shard
from waterscape.data.shard_check import Advance, Checked, Finding, check_shard
from waterscape.errors import UserError

SHARD_ENDINGS = (".tar", ".index.npy", ".tgz", ".tar.gz", ".tar.zst")


@dataclass(frozen=True)
class Report:
    """What a check found: nothing, where the set is whole."""

    findings: tuple[Finding, ...]
    shards: int
    samples: int
    bytes: int


def check(directory: Path | str, *, threads: int | None = None, advance: Advance | None = None) -> Report:
    """Read a whole set once and report all that is wrong with it.

    Args:
        directory: of the set. Where its manifest is damaged, the tars are held against their indexes alone.
        threads: shards that are read at a time; None: one a core, at most 8. Each takes 4 MiB and one sample's JSON.
        advance: told the number of bytes whenever some have been read; called by several threads.

    Raises:
        UserError: there is no set.
    """
    directory = Path(directory)
    if not (directory / FILE).is_file():
        Manifest.load(directory)
        raise UserError(f"{directory / FILE} is no plain file: copy the set again, or pack it again")
    findings: list[Finding] = []
    manifest = None
    try:
        manifest = Manifest.load(directory)
        findings += _manifest_findings(manifest)
    except (UserError, RecursionError) as error:
        findings.append(Finding(FILE, " ".join(str(error).split())))
    known = {shard.name: shard for shard in manifest.shards} if manifest and not findings else {}
    columns = {column.name: column for column in manifest.columns} if known and manifest else {}
    foreign = manifest.foreign if known and manifest else True
    found = sorted(path.name for path in directory.iterdir() if path.name.endswith(SHARD_ENDINGS))
    loose = {_shard_of(name) for name in found if _ours(name)} if not known else set()
    names = sorted(known.keys() | loose)
    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        done = list(
            pool.map(
                lambda name: check_shard(directory, name, known.get(name), columns, advance, foreign=foreign), names
            )
        )
    strangers = [] if not known else [name for name in found if _shard_of(name) not in known or not _ours(name)]
    if known:
        findings += _identities(directory, known, done, strangers)
        used = {column for checked in done for column in checked.columns}
        if all(checked.keys is not None for checked in done):
            findings += [Finding(FILE, f"no sample has column {name}") for name in columns if name not in used]
    for checked in done:
        findings += checked.findings
        if checked.untold:
            findings.append(Finding(checked.name, f"and {checked.untold} more findings"))
    findings += _doubled_keys(done)
    samples = sum(len(checked.keys) for checked in done if checked.keys is not None)
    return Report(tuple(findings), len(done), samples, sum(checked.bytes for checked in done))


def _manifest_findings(manifest: Manifest) -> list[Finding]:
    """What a manifest with a fitting seal can still have wrong: types that no writer of ours leaves."""
    if not manifest.shards:
        return [Finding(FILE, "it lists no shards")]
    kinds = (str, str, int, int, str, str)
    for shard in manifest.shards:
        values = (shard.name, shard.split, shard.samples, shard.bytes, shard.sha256, shard.index_sha256)
        if any(type(value) is not kind for value, kind in zip(values, kinds, strict=True)):
            return [Finding(FILE, f"shard {shard.name!a}: a number or text is of the wrong type")]
    for column in manifest.columns:
        try:
            if column.dtype is not None:
                np.dtype(column.dtype)
            if column.shape is not None and any(type(length) is not int or length < 0 for length in column.shape):
                raise TypeError("its shape")
        except (TypeError, ValueError) as error:
            return [Finding(FILE, f"column {column.name}: {error} is not understood")]
    return []


def _identities(directory: Path, known: dict[str, Shard], done: list[Checked], strangers: list[str]) -> list[Finding]:
    """Which file is which, by its sha256: damaged, swapped with another, doubled, unknown."""
    expected: dict[str, str] = {}
    findings: list[Finding] = []
    for name, shard in known.items():
        for file, sha256 in ((f"{name}.tar", shard.sha256), (f"{name}.index.npy", shard.index_sha256)):
            if sha256 in expected:
                findings.append(Finding(file, f"doubled: the manifest knows it as {expected[sha256]} too"))
            expected.setdefault(sha256, file)
    for checked in done:
        shard = known[checked.name]
        sums = ((".tar", checked.sha256, shard.sha256), (".index.npy", checked.index_sha256, shard.index_sha256))
        for ending, sha256, wanted in sums:
            if sha256 and sha256 != wanted:
                as_it_is = (
                    f"this is {expected[sha256]}: swapped or doubled" if sha256 in expected else "damaged or another"
                )
                what = f"sha256 {sha256[:12]}… instead of {wanted[:12]}…: {as_it_is}"
                findings.append(Finding(f"{checked.name}{ending}", what))
    for name in strangers:
        path = directory / name
        what = "unknown: the manifest has no such shard"
        if path.is_file():
            with path.open("rb") as stream:
                same = expected.get(hashlib.file_digest(stream, "sha256").hexdigest())
            what += f"; it is a copy of {same}, or that file under another name" if same else ""
        findings.append(Finding(name, what))
    return findings


def _doubled_keys(done: list[Checked]) -> list[Finding]:
    """Keys that come twice in the set."""
    keyed = [checked for checked in done if checked.keys is not None and len(checked.keys)]
    if not keyed:
        return []
    keys = np.concatenate([checked.keys for checked in keyed if checked.keys is not None])
    values, counts = np.unique(keys, return_counts=True)
    doubled = values[counts > 1]
    if not len(doubled):
        return []
    where: dict[bytes, Counter[str]] = defaultdict(Counter)
    for checked in keyed:
        assert checked.keys is not None
        for key in checked.keys[np.isin(checked.keys, doubled)].tolist():
            where[key][checked.name] += 1
    return [
        Finding(
            next(iter(shards)),
            f"its key is used {sum(shards.values())} times, in {', '.join(shards)}",
            key.decode("latin-1"),
        )
        for key, shards in where.items()
    ]


def _shard_of(file: str) -> str:
    return file.removesuffix(".tar").removesuffix(".index.npy")


def _ours(file: str) -> bool:
    return file.endswith((".tar", ".index.npy"))
