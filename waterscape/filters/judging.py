"""All filters over the photos of a ledger: what is not decided yet, on several processes, decided in the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.filters.filter import Filter
from waterscape.filters.seen import Seen
from waterscape.sources.ledger import Decision, Photo
from waterscape.sources.ledger.filtering import judged, photos_named
from waterscape.sources.parallel import Workers
from waterscape.sources.photo_file import PhotoError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from waterscape.sources.ledger import Ledger

PAGE = 2048  # photos whose rows are in memory at once
CHUNK = 4  # photos handed to a process at once
SAVE_SECONDS = 2.0  # of work that is lost, and done again, where the program is killed
SAVE_PHOTOS = 200


@dataclass(frozen=True)
class Task:
    """A photo to judge, and the filters that have not judged it."""

    photo: Photo
    path: Path
    filters: tuple[str, ...]


@dataclass(frozen=True)
class Judge:
    """Filters in their order; it is pickled to the processes that judge."""

    filters: tuple[Filter, ...]
    digests: Mapping[str, str]
    """Filter → the digest of its settings, for the ledger."""
    to_the_end: bool = False
    """Whether filters are asked about photos that one before them rejects."""

    @classmethod
    def of(cls, filters: Sequence[Filter], *, to_the_end: bool = False) -> Judge:
        """The filters, checked. Raises `UserError` for one that cannot work here."""
        for one in filters:
            one.check()
        return cls(tuple(filters), {one.name: one.digest for one in filters}, to_the_end)

    def __call__(self, task: Task) -> list[Decision]:
        """What the filters decide of a photo, one after the other."""
        seen, decisions = Seen(task.photo, task.path), []
        for one in self.filters:
            if one.name in task.filters:
                decisions.append(self._decision(one, seen))
                if decisions[-1].verdict == "reject" and not self.to_the_end:
                    break
        return decisions

    def _decision(self, one: Filter, seen: Seen) -> Decision:
        key = seen.photo.key
        try:
            opinion = one.judge(seen)
        except PhotoError as error:  # without settings: the next run looks again
            facts = {"unread": error.detail[:200]}
            return Decision(key, one.name, "reject", None, f"no picture: {error.reason}", facts)
        except UserError:  # of the filter itself: it would judge no photo
            raise
        except Exception as error:  # one odd photo must not end the run; without settings too
            facts = {"fault": " ".join(str(error).split())[:200]}
            return Decision(key, one.name, "reject", None, f"could not be judged: {type(error).__name__}", facts)
        facts = {**opinion.facts, "settings": self.digests[one.name], "of": seen.photo.sha256}
        return Decision(key, one.name, "keep" if opinion.keep else "reject", opinion.score, opinion.reason, facts)


def undecided(ledger: Ledger, judge: Judge, *, again: bool = False) -> dict[str, tuple[str, ...]]:
    """The fetched photos that are not judged yet by these filters with these settings: key → the filters to ask.

    One that is rejected by one of them is judged, unless all are to be asked `to_the_end`.
    """
    names = [one.name for one in judge.filters]
    left = {}
    for key, verdicts in judged(ledger, {} if again else judge.digests):
        missing = tuple(name for name in names if name not in verdicts)
        if missing and (judge.to_the_end or "reject" not in verdicts.values()):
            left[key] = missing
    return left


def judge_photos(
    ledger: Ledger, judge: Judge, left: Mapping[str, tuple[str, ...]], processes: int
) -> Iterator[list[Decision]]:
    """Judge photos and note what is decided; the decisions of each in turn.

    What was decided stands in the ledger within two seconds or two hundred photos, whatever ends the program.

    Raises:
        UserError: the photos' folder is not there as a whole, the ledger cannot be written, a filter cannot work.
    """
    keys = [*left]
    _check_folder(ledger, keys)
    unsaved: list[Decision] = []
    saved = time.monotonic()
    with Workers(processes, few=CHUNK, chunk=CHUNK) as workers:
        try:
            for start in range(0, len(keys), PAGE):
                photos = photos_named(ledger, keys[start : start + PAGE])
                tasks = [Task(photo, ledger.path_of(photo.file), left[photo.key]) for photo in photos]
                for number, decisions in enumerate(workers.in_order(judge, tasks)):
                    unsaved += decisions
                    if number % SAVE_PHOTOS == 0 or time.monotonic() > saved + SAVE_SECONDS:
                        _save(ledger, unsaved)
                        saved = time.monotonic()
                    yield decisions
        finally:
            _save(ledger, unsaved)


def _save(ledger: Ledger, decisions: list[Decision]) -> None:
    """Note decisions, but for those of photos that were removed meanwhile."""
    with ledger.transaction():
        there = {photo.key for photo in photos_named(ledger, [one.photo for one in decisions])}
        ledger.decide(one for one in decisions if one.photo in there)
    decisions.clear()


def _check_folder(ledger: Ledger, keys: Sequence[str]) -> None:
    """Tell a disk that is not mounted from single files that are missing."""
    for photo in photos_named(ledger, keys[:1]):
        folder = ledger.path_of(photo.file).parent
        if photo.file and not folder.is_dir():
            raise UserError(f"{folder} is not there: the ledger and its photos are moved together, or mount their disk")
