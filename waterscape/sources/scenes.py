"""Folders of labelled landscape photos → shards: `jpg`, `class.npy`, `json`.

Published sets have a folder for each class, some of them below folders for splits, and each names classes in its own
way; several are joined by a map of classes. The same picture often comes twice, saved anew: pictures that look the same
go to one split, and where the splits are given, those that stand in two are told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.making import digest_of
from waterscape.sources.near_duplicates import NEAR, joined, near_pairs
from waterscape.sources.photo_alike import Alike
from waterscape.sources.photo_facts import SURVEY_THREADS, look
from waterscape.sources.photo_file import USUAL_LIMITS, Limits
from waterscape.sources.photo_set import (
    USUAL_SHARING,
    Collection,
    Picture,
    Sharing,
    libraries,
    made,
    nothing_left,
    sources_apart,
    stored,
)
from waterscape.sources.photo_tally import Dropped, Tally, plain
from waterscape.sources.scene_folders import Folders, Found, class_map, find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from waterscape.data.shard import Value
    from waterscape.sources.parallel import Each

MOST_CLASSES = 256  # that class.npy, a byte, can tell apart
SAME, TWO_CLASSES = "the same file again", "the same file in two classes"


@dataclass(frozen=True)
class Classes:
    """How folders of photos become shards."""

    map: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FOLDER=CLASS …")] = ()
    """The class of a folder, where it is not called so: coast=sea. FOLDER=- leaves one out. Case does not count."""
    classes: tuple[str, ...] = ()
    """The classes, in the order of their numbers. Left out: all that there are, by name."""
    split: Literal["given", "random"] | None = None
    """given: as folders say, such as train and test. random: by the shares, within each class. Left out: given where
    the folders say, else random."""
    near: int = NEAR
    """Pictures look the same where so many of the 256 bits of their fingerprints differ at most; -1: they are not
    compared."""
    sharing: Sharing = USUAL_SHARING
    limits: Limits = USUAL_LIMITS


USUAL_CLASSES = Classes()


@dataclass(frozen=True)
class Scenes:
    """Folders of photos as an origin of samples (see `making`)."""

    roots: tuple[str, ...]
    folders: Folders
    options: Classes
    given: bool
    """Whether the folders' splits are kept."""
    shown = "jpg"
    unit = "photo"

    @classmethod
    def find(cls, roots: Sequence[Path], out: Path, options: Classes) -> Scenes:
        """All files of the roots. Raises `UserError` for options or roots that cannot be."""
        options.sharing.check()
        if not roots:
            raise UserError("no folder was named: give folders that hold a folder for each class")
        sources_apart(roots, out)
        folders = find(roots, class_map(options.map), tuple(name.lower() for name in options.classes))
        found = folders.found
        if len(folders.classes) > MOST_CLASSES:
            raise UserError(f"{len(folders.classes)} folders of classes: are these classes? {MOST_CLASSES} is the most")
        with_split = sum(one.split is not None for one in found)
        if options.split is None and 0 < with_split < len(found):
            raise UserError("some folders name splits and others do not: say --split random, or pack them apart")
        if options.split == "given" and with_split < len(found):
            raise UserError("--split given: not all folders name a split (train, valid, test): say --split random")
        names = [plain(root.resolve().name) for root in roots]
        if len(set(names)) < len(names):
            raise UserError(f"two folders are called alike among {', '.join(names)}: rename one, so that names tell")
        given = options.split == "given" or (options.split is None and with_split > 0)
        return cls(tuple(names), folders, options, given)

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""
        return self.options.sharing.samples_per_shard

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree."""
        return {
            "sources": list(self.roots),
            "files": len(self.folders.found),
            "files_sha256": digest_of({one.name: one.path for one in self.folders.found}),
            "options": asdict(self.options),
            "libraries": libraries(),
        }

    def judge(self, each: Each) -> Collection:
        """Read all photos, drop what cannot be used, and share out the rest. Raises `UserError`."""
        found, astray = self.folders.found, self.folders.astray
        looked = each("survey", partial(_look, limits=self.options.limits), found, threads=SURVEY_THREADS)
        judged = [Judging(one, facts) for one, facts in zip(found, looked, strict=True)]
        bad = [Dropped(one.found.name, one.facts["reason"], one.facts["detail"]) for one in judged if one.is_bad]
        fit, again = _without_copies([one for one in judged if not one.is_bad], given=self.given)
        tally = Tally(len(found) + len(astray), [*astray, *bad, *again])
        if not fit:
            raise nothing_left(tally, self.unit)
        classes = self._classes(fit, tally)
        pairs = near_pairs([one.facts["fingerprint"] for one in fit], self.options.near)
        groups = [fit[first].found.name for first in joined(len(fit), pairs)]
        splits = self._splits(fit, groups)
        kept = [
            Picture(
                one.found.name,
                (one.found.path, one.facts["sha256"], self.options.limits),
                classes.index(one.found.label),
                _told(one),
                tuple(one.facts["ways"]),
                group,
                split,
            )
            for one, group, split in zip(fit, groups, splits, strict=True)
        ]
        seed = self.options.sharing.seed
        alike = Alike([(one.found.name, one.found.label, one.found.path) for one in fit], splits, pairs)
        return Collection(
            unit=self.unit,
            kept=sorted(kept, key=lambda one: hash64(seed, "order of writing", one.name)),
            tally=tally,
            classes=classes,
            make=make,
            threads=None,
            described={**self._facts(), "near_duplicates": alike.facts()},
            notes=alike.notes(),
            rows=alike.rows,
        )

    def _classes(self, fit: Sequence[Judging], tally: Tally) -> tuple[str, ...]:
        """All classes. Raises `UserError` for one of which no photo is left."""
        left = {one.found.label for one in fit}
        for name in self.folders.classes:
            if name not in left:
                raise UserError(f"class {name} has no photo that can be used ({tally.told(1)}): say --map {name}=-")
        return self.folders.classes

    def _splits(self, fit: Sequence[Judging], groups: Sequence[str]) -> list[str]:
        """The split of each photo; whole groups, of the class of their first photo, are shared out class by class."""
        if self.given:
            return [str(one.found.split) for one in fit]
        of_group = {one.found.name: one.found.label for one in fit}
        split_of: dict[str, str] = {}
        for label in sorted({one.found.label for one in fit}):
            mine = Counter(group for group in groups if of_group[group] == label)
            split_of |= self.options.sharing.split_of(mine)
        return [split_of[group] for group in groups]

    def _facts(self) -> dict[str, Any]:
        return {
            "content": "photos of landscapes as JPEG, the class of each",
            "source": list(self.roots),
            "licence": self.options.sharing.licence,
            "made": made("tools/pack_scenes.py", **asdict(self.options)),
            "split": "as given" if self.given else "random within each class, pictures that look the same together",
            "sidecars": self.folders.sidecars,
        }


@dataclass(frozen=True)
class Judging:
    """A file and what its first reading found."""

    found: Found
    facts: Mapping[str, Any]

    @property
    def is_bad(self) -> bool:
        """Whether it cannot be used."""
        return "reason" in self.facts


def _look(one: Found, limits: Limits) -> dict[str, Any]:
    """What a photo's first reading finds."""
    return look(one.path, limits)


def make(picture: Picture) -> dict[str, Value]:
    """A photo's columns. Raises `UserError` where the file is no longer what the survey found."""
    path, sha256, limits = picture.source
    return {"jpg": stored(path, sha256, picture.ways, limits)}


def _told(one: Judging) -> dict[str, Any]:
    facts = one.facts
    told = {
        "source": one.found.name,
        "region": one.found.root,
        "class": one.found.label,
        "width": facts["width"],
        "height": facts["height"],
        "stored": facts["ways"],
        "synthetic": facts["synthetic"],
    }
    return {**told, **facts["facts"]}


def _without_copies(fit: Sequence[Judging], *, given: bool) -> tuple[list[Judging], list[Dropped]]:
    """One photo of each file's content; of a given split, in each split. A file of two classes is of none."""
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for one in fit:
        labels[one.facts["sha256"]].add(one.found.label)
    seen: dict[tuple[str, str | None], str] = {}
    kept, dropped = [], []
    for one in fit:
        sha256 = one.facts["sha256"]
        first = seen.setdefault((sha256, one.found.split if given else None), one.found.name)
        if len(labels[sha256]) > 1:
            dropped.append(Dropped(one.found.name, TWO_CLASSES, ", ".join(sorted(labels[sha256]))))
        elif first != one.found.name:
            dropped.append(Dropped(one.found.name, SAME, f"as {first}"))
        else:
            kept.append(one)
    return kept, dropped
