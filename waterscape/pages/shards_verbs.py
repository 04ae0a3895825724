"""`waterscape shards check|info|plan|repair|index|forget`: options in, the package called, its findings printed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from waterscape.data.address import as_directory, is_remote, redact
from waterscape.data.doctor import check
from waterscape.data.manifest import Manifest
from waterscape.data.remote_check import check_remote
from waterscape.errors import UserError
from waterscape.options import parse

LINE_SECONDS = 5.0
MOST_SHOWN = 20  # samples left out by a repair


def forget_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards forget DIR --owner ID`."""
    from waterscape.pages import forget

    return forget.forget_verb(arguments)


@dataclass(frozen=True)
class Check:
    """Read a whole set once and name everything that is wrong with it; exit code 1 where anything is."""

    directory: Annotated[str, tyro.conf.Positional]
    """Of the set of shards, or its URL."""
    threads: int | None = None
    """Shards read at a time; left out: one a core, at most 8."""


def check_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards check DIR|URL`."""
    options = parse(Check, arguments, "waterscape shards check")
    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads is {options.threads}; give 1 or more")
    name, began = redact(options.directory), time.monotonic()
    if is_remote(options.directory):
        total = sum(shard.bytes for shard in Manifest.load(options.directory).shards)
        with Progress(total, "bytes") as progress:
            report = check_remote(options.directory, threads=options.threads, advance=progress.advance)
    else:
        directory = as_directory(options.directory, "check")
        total = sum(path.stat().st_size for path in directory.glob("*.tar") if path.is_file())
        with Progress(total, "bytes") as progress:
            report = check(directory, threads=options.threads, advance=progress.advance)
    seconds = time.monotonic() - began
    for finding in report.findings:
        print(finding)
    read = f"{report.shards} shards, {report.samples} samples, {report.bytes / 1e6:.1f} MB read in {seconds:.1f} s"
    if not report.findings:
        print(f"{name}: whole: {read}")
        return 0
    print(f"{name}: {len(report.findings)} findings; {read}", file=sys.stderr)
    return 1


@dataclass(frozen=True)
class Info:
    """What a set holds: columns, splits, classes, regions, and how near test tiles lie to training tiles."""

    directory: Annotated[str, tyro.conf.Positional]
    """Of the set of shards, or its URL."""
    out: Path | None = None
    """Where to write a contact sheet (contact.png) and a map (map.png); left out: text only."""
    near_km: float = 100.0
    """A test tile counts as near where a training tile lies within so many kilometres."""


def info_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards info DIR`."""
    options = parse(Info, arguments, "waterscape shards info")
    if not options.near_km > 0:
        raise UserError(f"--near-km is {options.near_km}; give a positive number of kilometres")
    from waterscape.data.survey import survey
    from waterscape.pages.shards import describe, draw

    total = sum(shard.samples for shard in Manifest.load(options.directory).shards)
    with Progress(total, "samples") as progress:
        surveyed = survey(options.directory, progress.advance)
    print(describe(surveyed, options.near_km))
    if options.out is not None:
        written = draw(surveyed, options.directory, options.out)
        print()
        for path in written:
            print(path)
        if not surveyed.placed.any():
            print("no map: the samples do not say where they lie")
    return 0


@dataclass(frozen=True)
class Plan:
    """What each process reads in an epoch, counted and verified sample by sample."""

    directory: Annotated[str, tyro.conf.Positional]
    """Of the set of shards, or its URL."""
    processes: int
    """Of the run, on all nodes together."""
    batch: int
    """Images of the global batch."""
    seed: int = 0
    """Of the order."""
    split: str = "train"
    columns: str = ""
    """That the model reads, with commas between; left out: all."""
    nodes: int = 1
    """That the processes are spread over."""


def plan_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards plan DIR --processes N --batch B`."""
    options = parse(Plan, arguments, "waterscape shards plan")
    if options.nodes < 1 or options.processes % options.nodes:
        raise UserError(f"{options.processes} processes cannot be spread evenly over {options.nodes} nodes")
    from waterscape.data.epoch import count_epoch
    from waterscape.data.shards import ShardSet
    from waterscape.pages.shards import describe_epoch

    columns = [name.strip() for name in options.columns.split(",") if name.strip()] or None
    shards = ShardSet(options.directory, options.split)
    epoch = count_epoch(shards, processes=options.processes, batch=options.batch, seed=options.seed, columns=columns)
    print(describe_epoch(epoch, options.nodes))
    return 0 if epoch.read_once else 1


@dataclass(frozen=True)
class Repair:
    """Write the good samples of a damaged set into a new one; the bad ones are listed in its quarantine.json."""

    directory: Annotated[str, tyro.conf.Positional]
    """Of the damaged set, which is not changed."""
    out: Path | None = None
    """Of the new set. Left out: DIR-repaired, beside it."""
    replace: bool = False
    """The new set's directory, where it exists."""


def repair_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards repair DIR [--out NEW]`."""
    options = parse(Repair, arguments, "waterscape shards repair")
    from waterscape.data.repair import QUARANTINE, repair

    directory = as_directory(options.directory, "repair")
    out = options.out or directory.resolve().with_name(f"{directory.resolve().name}-repaired")
    total = sum(shard.samples for shard in Manifest.load(directory).shards)
    with Progress(total, "samples") as progress:
        done = repair(directory, out, replace=options.replace, advance=progress.advance)
    for bad in done.quarantined[:MOST_SHOWN]:
        print(f"{bad.shard}, sample {bad.key or 'unknown'}: {'; '.join(bad.reasons)}")
    if len(done.quarantined) > MOST_SHOWN:
        print(f"and {len(done.quarantined) - MOST_SHOWN} more")
    kept = ", ".join(f"{count} {split}" for split, count in done.kept.items())
    print(f"{out}: {kept} kept, {len(done.quarantined)} of {total} left out, listed in {QUARANTINE}")
    return 0


@dataclass(frozen=True)
class Index:
    """Write index and manifest beside tars that have none, where the format carries all that is in them."""

    directory: Annotated[str, tyro.conf.Positional]
    """Of the tars, which are not touched."""
    source: str = "not stated"
    """Where the data come from, for the manifest."""
    licence: str = "not stated"
    synthetic: bool = False
    """The data are synthetic: whatever shows them says so."""


def index_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards index DIR`."""
    options = parse(Index, arguments, "waterscape shards index")
    from waterscape.data.foreign import index_foreign

    directory = as_directory(options.directory, "index")
    facts = {"source": options.source, "licence": options.licence, "synthetic": options.synthetic, "indexed": True}
    total = sum(path.stat().st_size for path in directory.glob("*.tar") if path.is_file())
    with Progress(total, "bytes") as progress:
        found = index_foreign(directory, facts=facts, advance=progress.advance)
    for finding in (*found.notes, *found.hindrances):
        print(finding)
    if found.manifest is None:
        count = len(found.hindrances)
        raise UserError(
            f"{options.directory}: {count} things that the format does not carry; nothing written, pack anew"
        )
    print(f"{options.directory}: {len(found.manifest.shards)} tars, {found.samples} samples indexed")
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "check": check_verb,
    "info": info_verb,
    "plan": plan_verb,
    "repair": repair_verb,
    "index": index_verb,
    "forget": forget_verb,
}


def dispatch(arguments: Sequence[str]) -> int:
    """Run `waterscape shards WORD …`; returns the exit code. Raises `UserError` for an unknown word."""
    words = "|".join(VERBS)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: waterscape shards {words} DIR …\n\nwaterscape shards WORD --help says more.")
        return 0 if arguments else 2
    if arguments[0] not in VERBS:
        raise UserError(f"waterscape shards cannot {arguments[0]!r}; it can {words}")
    return VERBS[arguments[0]](arguments[1:])


class Progress:
    """How much is done, told by any thread: a bar on a terminal, else a line every few seconds."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._done = 0
        self._told = time.monotonic()
        self._lock = threading.Lock()
        self._bar = tqdm(total=total, unit=f" {unit}", unit_scale=True, leave=False) if sys.stderr.isatty() else None

    def advance(self, count: int) -> None:
        """So many more."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.update(count)
            elif time.monotonic() - self._told >= LINE_SECONDS:
                self._told = time.monotonic()
                print(f"{self._done:,} of {self._total:,} {self._unit} read", file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
