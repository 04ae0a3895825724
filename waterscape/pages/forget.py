"""`waterscape shards forget`: somebody leaves sets of shards, their ledger and its files; what is told of it."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from waterscape.data.address import as_directory, is_remote, redact
from waterscape.data.manifest import FILE, Manifest
from waterscape.errors import UserError
from waterscape.options import parse
from waterscape.sources.forgetting import Forgotten, Person, forget, ledger_of
from waterscape.sources.forgetting_afar import Afar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_SHOWN = 20  # files


@dataclass(frozen=True)
class Forget:
    """Remove somebody's photos from sets of shards, from the ledger that they were made of, and from its folders.

    A tombstone in the ledger, from which nobody can tell who it was, keeps the same photos away later. Killed at any
    moment, the same command again goes on.
    """

    directories: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Of sets of shards, or their URLs; none: only the ledger and its folders."""
    owner: str = ""
    """Whose photos: the number by which the source knows them; - reads it from the standard input, so that no list of
    processes shows it."""
    source: str = "vk"
    """Which knows them by that number."""
    ledger: Path | None = None
    """Left out: the one that the sets' manifests name."""
    also: Annotated[tuple[Path, ...], tyro.conf.UseAppendAction] = ()
    """A folder where files or contact sheets of theirs may lie, beside those that the ledger knows; repeat it."""
    runs: Path = Path("runs")
    """A run, or a directory of runs: those that were trained on these photos are listed, not changed."""
    dry_run: bool = False
    """Tell what would be removed, and change nothing."""


def forget_verb(arguments: Sequence[str]) -> int:
    """`waterscape shards forget DIR --owner ID`."""
    options = parse(Forget, arguments, "waterscape shards forget")
    owner = sys.stdin.readline().strip() if options.owner == "-" else options.owner.strip()
    if not owner:
        raise UserError("say whose photos are to be forgotten: --owner ID")
    if not options.directories and options.ledger is None:
        raise UserError("say where their photos are: a set of shards, or --ledger photos.db")
    remote = [place for place in dict.fromkeys(options.directories) if is_remote(place)]
    with ExitStack() as stack:
        afar = [stack.enter_context(Afar.brought(url)) for url in remote]
        _named(afar, options.ledger)
        sets = [as_directory(place, "forgetting") for place in options.directories if place not in remote]
        sets += [each.directory for each in afar]
        person = Person(options.source, owner)
        urls = {each.directory: each.url for each in afar}

        def left() -> None:
            for each in afar:
                each.send()

        done = forget(person, sets, options.ledger, also=options.also, dry_run=options.dry_run, left=left)
        print("\n".join(told(done, options.dry_run, urls)))
        print("\n".join(runs_told(done, options.runs, urls)))
        for line in warnings(done, sets, options):
            print(f"note: {line}")
    return 0


def _named(afar: Sequence[Afar], ledger: Path | None) -> None:
    """Raise `UserError` where nobody names the ledger of a set behind a URL, which says only where it lay once."""
    made = [each for each in afar if isinstance(each.before.facts.get("ledger"), dict)]
    if made and ledger is None:
        raise UserError(f"{redact(made[0].url)} was made of a ledger: name it, --ledger photos.db")


def told(done: Forgotten, dry_run: bool, urls: Mapping[Path, str]) -> Iterator[str]:
    """What was removed, or would be. `urls`: of copies of sets."""
    verb = "would be removed" if dry_run else "removed"
    samples = sum(len(theirs.gone) for theirs in done.sets)
    if not (done.photos or samples or any(done.sets)):
        yield "nothing of theirs is here" + ("" if dry_run else ": whatever comes later is passed over")
    for theirs in done.sets:
        shards = len(theirs.rows)
        place = redact(urls[theirs.directory]) if theirs.directory in urls else theirs.directory
        yield f"{place}: {len(theirs.gone)} samples of {shards} shards {verb}"
        for path in theirs.unsaid:
            yield f"  {path.name} too, which may show or name them"
    yield f"ledger: {done.photos} photos {verb}, with their decisions and tiles"
    yield f"{len(done.files)} files of photos and tiles {verb}"
    for path in (*done.sheets, *done.unfinished):
        yield f"{path} {verb}: the tool that made it makes it again"


def runs_told(done: Forgotten, runs: Path, urls: Mapping[Path, str]) -> Iterator[str]:
    """The runs that were trained on these photos, and those that may have been."""
    known = {sha256: directory for directory, all_of in done.manifests.items() for sha256 in all_of}
    left = [theirs.directory for theirs in done.sets if done.manifests[theirs.directory]]
    places = {_spelt(urls.get(directory, str(directory))) for directory in left}
    now = {_spelt(url): _now(directory) for directory, url in urls.items()}
    sure, perhaps = [], []
    found = {path.parent for depth in ("", "*/", "*/*/") for path in runs.glob(f"{depth}run.json")}
    for run in sorted(found):
        facts = _facts_of(run)
        data = str(facts.get("run", {}).get("data", ""))
        if facts.get("manifest_sha256") in known:
            sure.append(run)
        elif data and (place := _spelt(data)) in places:
            stands = now[place] if is_remote(data) else _now(Path(place))
            perhaps += [run] if facts.get("manifest_sha256") != stands else []
    if not runs.is_dir():
        yield f"runs: there is no {runs}; --runs DIR names where they lie"
    elif not sure and not perhaps:
        yield f"runs: none below {runs} was trained on them"
    for run in sure:
        yield f"{run}: was trained on them"
    for run in perhaps:
        yield f"{run}: was trained on an earlier state of the set, perhaps on them"


def warnings(done: Forgotten, sets: Sequence[Path], options: Forget) -> Iterator[str]:
    """What this command could not reach."""
    for url in filter(is_remote, options.directories):
        yield f"{redact(url)}: where the store keeps old versions or what was deleted, remove them there"
    ledger = None
    with suppress(UserError):
        ledger = ledger_of(sets, options.ledger)
    if ledger is None:
        yield "these sets were made without a ledger: nothing keeps the same photos away when they are packed again"
    for theirs in done.sets:
        for path in sorted(theirs.directory.absolute().parent.glob(f"*/{FILE}")):
            with suppress(UserError, OSError):
                fact, own = Manifest.load(path.parent).facts.get("ledger"), theirs.manifest.facts.get("ledger")
                if (
                    fact
                    and own
                    and fact["identity"] == own["identity"]
                    and path.parent.absolute() not in [one.absolute() for one in sets]
                ):
                    yield f"{path.parent} was made of the same ledger: name it too"


def _spelt(place: str) -> str:
    """A set's place, the same however it is written: a run's facts hold no secrets of a URL."""
    if not is_remote(place):
        return str(as_directory(place, "forgetting").resolve())
    return redact(place).partition("?")[0].replace("…@", "").rstrip("/")


def _facts_of(run: Path) -> dict[str, Any]:
    try:
        found = json.loads((run / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _now(directory: Path) -> str | None:
    try:
        return Manifest.load(directory).sha256
    except (UserError, OSError):
        return None
