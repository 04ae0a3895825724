"""Somebody asks to be forgotten: their photos leave a ledger, its files, and the sets of shards made of it.

First the ledger gets a tombstone, so that nothing of theirs is noted again; its rows, which say where everything lies,
go last. Each step may be repeated, so the same call after a kill ends in the same state.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape.data.manifest import FILE, Manifest
from waterscape.data.without import remove_samples, samples_of, settle, unfinished
from waterscape.durable import write_bytes, write_text
from waterscape.errors import UserError
from waterscape.sources.ledger import Ledger
from waterscape.sources.ledger_pairs import counted_again
from waterscape.sources.photo_tally import LIST
from waterscape.sources.set_sheet import CONTACT, draw_contact
from waterscape.sources.their_files import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from waterscape.sources.ledger import Photo

COUNTED = ("split", "fingerprint", "licence", "synthetic", "group", "metres_per_pixel", "stored", "photo")
TEXTS = (".json", ".tsv", ".txt", ".md", ".csv")


@dataclass(frozen=True)
class Person:
    """Whose photos they are."""

    source: str
    owner: str

    def owns(self, told: Mapping[str, Any]) -> bool:
        """Whether a sample is theirs, by its JSON: its owner, or, of photos from a folder, its author."""
        if "owner" in told:
            return str(told["owner"]) == self.owner and told.get("source", self.source) == self.source
        return str(told.get("author")) == self.owner


@dataclass
class Theirs:
    """What a set of shards holds of a person, and what is to stay."""

    directory: Path
    manifest: Manifest
    rows: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    gone: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Split and JSON of each sample that goes."""
    stay: list[dict[str, Any]] = field(default_factory=list)
    """Of the JSON of each other sample, what is counted."""
    dropped: list[str] = field(default_factory=list)
    """Lines on photos of theirs that were not packed."""
    listed: Counter[str] | None = None
    """Of a ledger's set: reason → photos of others that were not packed, by the list; None: there is none."""
    beside: list[Path] = field(default_factory=list)
    """Files beside the shards that stay, without what is theirs."""
    unsaid: list[Path] = field(default_factory=list)
    """Files beside the shards that are given up, since they may show or name something of theirs."""

    def __bool__(self) -> bool:
        return bool(self.gone or self.dropped or self.miscounted)

    @property
    def miscounted(self) -> bool:
        """Whether the list was shortened and the manifest not: sending was cut off between the two."""
        counted = dict(self.manifest.facts.get("dropped", {}))
        return self.listed is not None and self.listed + _reasons(self.dropped) != counted


@dataclass
class Forgotten:
    """What was removed, or would be."""

    photos: int = 0
    """In the ledger."""
    sets: list[Theirs] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    sheets: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    manifests: dict[Path, list[str]] = field(default_factory=dict)
    """Set → sha256 of each of its manifests that held samples of theirs: by these, runs are known."""


def ledger_of(sets: Sequence[Path], given: Path | None) -> Path | None:
    """Where the ledger lies of which sets were made; None where they were made of folders.

    Raises:
        UserError: it is not where the manifest says, or two differ.
    """
    found = {given.absolute()} if given else set()
    for directory in sets:
        fact = Manifest.load(directory).facts.get("ledger")
        if not isinstance(fact, dict):
            continue
        path = given or directory / str(fact.get("path", ""))
        if not path.is_file():
            raise UserError(f"the ledger of {directory} is not at {path}: name it, --ledger photos.db")
        with Ledger(path) as ledger:
            if ledger.identity != fact.get("identity"):
                raise UserError(f"{path} is not the ledger that {directory} was made of: name that, --ledger photos.db")
        found.add(Path(os.path.normpath(path.absolute())))
    if len(found) > 1:
        raise UserError(f"the sets were made of several ledgers ({', '.join(map(str, sorted(found)))}): one at a time")
    return next(iter(found), None)


def forget(
    person: Person,
    sets: Sequence[Path],
    given: Path | None,
    *,
    also: Sequence[Path] = (),
    dry_run: bool = False,
    left: Callable[[], None] = lambda: None,
) -> Forgotten:
    """Remove a person from sets of shards and their ledger; with `dry_run`, only look.

    Args:
        person: who it is.
        sets: of shards.
        given: the ledger; None: as the sets' manifests say.
        also: more folders in which files and pictures of theirs may lie.
        dry_run: change nothing.
        left: called when they have left all sets, and the ledger still knows what was theirs.

    Raises:
        UserError: no set or ledger, or another process is writing a set.
        ShardError: a set is damaged.
    """
    for directory in () if dry_run else sets:
        settle(directory)
    path, done = ledger_of(sets, given), Forgotten()
    with ExitStack() as stack:
        ledgers = [stack.enter_context(Ledger(one)) for one in _ledgers(path)]
        for ledger in () if dry_run else ledgers:
            ledger.bury(person.source, person.owner)
        photos = {photo.key: photo for ledger in ledgers for photo in ledger.photos_of(person.source, person.owner)}
        done.photos = len(photos)
        tombstone = ledgers[0].tombstone(person.source, person.owner) if ledgers else ""
        for directory in sets:
            _leave_set(person, directory, ledgers, photos, tombstone, done, dry_run=dry_run)
        done.files, done.sheets = files_of(ledgers, photos, also)
        if not dry_run:
            left()
            for file in (*done.files, *done.sheets):
                with suppress(FileNotFoundError):
                    file.unlink()
            for ledger in ledgers:
                ledger.remove_photos_of(person.source, person.owner)
    return done


def _ledgers(path: Path | None) -> list[Path]:
    """The ledger, and those of parts that lie beside it."""
    return [path, *sorted(path.parent.glob(f"{path.name}.*part-*.db"))] if path else []


def _leave_set(
    person: Person,
    directory: Path,
    ledgers: Sequence[Ledger],
    photos: Mapping[str, Photo],
    tombstone: str,
    done: Forgotten,
    *,
    dry_run: bool,
) -> None:
    manifest = Manifest.load(directory)
    theirs = _theirs(person, directory, manifest, set(photos))
    earlier = [entry for entry in manifest.facts.get("forgotten", ()) if isinstance(entry, dict)]
    mine = [number for number, entry in enumerate(earlier, 1) if entry.get("tombstone") == tombstone]
    until = len(earlier) if theirs.gone else max(mine, default=0)
    known = [str(entry["manifest_sha256"]) for entry in earlier[:until]]
    done.manifests[directory] = known + ([manifest.sha256] if theirs.gone else [])
    done.sets.append(theirs)
    done.unfinished += unfinished(directory)
    if dry_run:
        return
    for path in done.unfinished:
        shutil.rmtree(path, ignore_errors=True)
    if theirs:
        entry = {"manifest_sha256": manifest.sha256, "photos": len(theirs.gone), "tombstone": tombstone}
        facts = {**_facts(theirs, ledgers, set(photos)), "forgotten": [*earlier, entry]}
        remove_samples(directory, manifest, theirs.rows, facts, partial(_beside, theirs))


def _theirs(person: Person, directory: Path, manifest: Manifest, keys: set[str]) -> Theirs:
    """What is theirs in a set, by its samples' JSON, and by its list of what was not packed."""
    theirs = Theirs(directory, manifest)
    for sample in samples_of(directory, manifest):
        if person.owns(sample.told) or sample.told.get("photo") in keys:
            theirs.rows[sample.shard.name].add(sample.row)
            theirs.gone.append((sample.shard.split, {**sample.told, "class": sample.label}))
        elif "ledger" in manifest.facts:
            satellite = {name: sample.told["satellite"][name] for name in ("source", "licence", "width", "height")}
            theirs.stay.append({**{name: sample.told[name] for name in COUNTED}, "satellite": satellite})
    names = keys | {str(told["photo"]) for _, told in theirs.gone if "photo" in told}
    if (directory / LIST).is_file():
        lines = (directory / LIST).read_text(encoding="utf-8").splitlines()[1:]
        if not all("\t" in line for line in lines):
            raise UserError(f"{directory / LIST} is damaged (a line names no photo): restore it or pack again")
        theirs.dropped = [line for line in lines if line.split("\t")[1] in names]
        if "ledger" in manifest.facts:
            theirs.listed = _reasons(lines) - _reasons(theirs.dropped)
    shards = {f"{shard.name}.{ending}" for shard in manifest.shards for ending in ("tar", "index.npy")}
    for path in sorted(directory.iterdir()) if theirs else ():
        if path.name not in shards and path.name != FILE and path.is_file():
            known = path.name in (LIST, CONTACT) or (path.suffix in TEXTS and not _names(path, [person.owner, *names]))
            (theirs.beside if known else theirs.unsaid).append(path)
    return theirs


def _names(path: Path, words: Sequence[str]) -> bool:
    text = path.read_text("utf-8", "replace")
    return any(word in text for word in words)


def _facts(theirs: Theirs, ledgers: Sequence[Ledger], keys: set[str]) -> dict[str, Any]:
    """What the manifest says once they are gone: as if they had never been there, but for the others' splits."""
    facts: dict[str, Any] = json.loads(json.dumps(theirs.manifest.facts))
    ways: Counter[str] = Counter()
    for split, told in theirs.gone:
        of_tile = told.get("satellite") if isinstance(told.get("satellite"), dict) else None
        ways.update(f"photo {way}" if of_tile else way for way in told.get("stored", ()))
        ways.update(f"tile {way}" for way in (of_tile or {}).get("stored", ()))
        names, number = facts.get("classes", ()), told["class"]
        name = names[number] if 0 <= number < len(names) else "unlabelled" if names else ""
        if name in facts.get("kept", {}).get(split, {}):
            facts["kept"][split][name] -= 1
    if theirs.listed is not None:  # counted anew: the list may be shorter than the manifest says
        facts["dropped"] = dict(sorted(theirs.listed.items(), key=lambda pair: (-pair[1], pair[0])))
        facts["read"] = len(theirs.stay) + theirs.listed.total()
    else:
        if "read" in facts:
            facts["read"] -= len(theirs.gone) + len(theirs.dropped)
        if "dropped" in facts:
            facts["dropped"] = _less(facts["dropped"], _reasons(theirs.dropped))
    if "stored" in facts:
        facts["stored"] = _less(facts["stored"], ways)
    if "ledger" not in facts:
        facts.pop("near_duplicates", None)  # cannot be counted again without the pictures' fingerprints
        if "licences" in facts:
            licences = Counter(told["licence"] for _, told in theirs.gone if "licence" in told)
            facts["licences"] = _less(facts["licences"], licences)
        return facts
    for ledger in ledgers[:1]:
        against = [decision for key in keys for decision in ledger.decisions(key)]
        for by in {decision.by for decision in against} & set(facts["decisions"]):
            verdicts = Counter(str(decision.verdict) for decision in against if decision.by == by)
            facts["decisions"][by] = _less(facts["decisions"][by], verdicts)
    return {**facts, **counted_again(sorted(theirs.stay, key=lambda told: str(told["photo"])))}


def _reasons(lines: Sequence[str]) -> Counter[str]:
    return Counter(line.split("\t")[0] for line in lines)


def _less(counts: Mapping[str, int], gone: Mapping[str, int]) -> dict[str, int]:
    left = {name: count - gone.get(name, 0) for name, count in counts.items()}
    return {name: count for name, count in left.items() if count > 0}


def _beside(theirs: Theirs, fresh: Path, left: Manifest) -> None:
    """Into the new directory: the list without their lines, the contact sheet drawn anew, texts that name nobody."""
    for path in theirs.beside:
        if path.name == LIST:
            gone = set(theirs.dropped)
            lines = path.read_text(encoding="utf-8").splitlines()
            write_text(fresh / LIST, "".join(f"{line}\n" for line in lines if line not in gone))
        elif path.name == CONTACT:
            if left.shards:
                draw_contact(fresh, left)
        else:
            write_bytes(fresh / path.name, path.read_bytes())
