"""A fetch from its first question to its report: search all circles, then fetch every photo that was found."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from waterscape.errors import UserError
from waterscape.sources.ledger import Ledger
from waterscape.sources.parallel import progress
from waterscape.sources.vk import parts, tally
from waterscape.sources.vk.client import VK, PlaceError, VKError, endpoint
from waterscape.sources.vk.downloading import ANSWERS, NO_ADDRESS, Downloaded, Downloads
from waterscape.sources.vk.maps import draw_circles
from waterscape.sources.vk.photo_hosts import PhotoHosts
from waterscape.sources.vk.report import Circles, illustrate, moment, report, shortened
from waterscape.sources.vk.searching import SOURCE, Search, Window, begin, begun, request_key, searching
from waterscape.sources.vk.signs_of_life import signs_of_life
from waterscape.sources.vk.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.sources.area import Area
    from waterscape.sources.ledger import Photo
    from waterscape.sources.photo_file import Limits
    from waterscape.sources.vk.cover import Circle

REFUSED_IN_A_ROW = 10  # circles that VK does not answer, after which it is asked no more


@dataclass(frozen=True)
class Job:
    """What is to be fetched."""

    ledger: Path
    out: Path
    area: Area
    radius: int
    """Metres."""
    circles: Sequence[Circle]
    """All that cover the area."""
    start: int
    """Seconds since 1970."""
    end: int | None
    """None, or one to come: the moment at which the fetch was begun."""
    per_second: float
    """Requests to VK's API, of all parts together."""
    photo_hosts: Sequence[str]
    limits: Limits
    """Of the photos' sizes."""
    part: parts.Part | None
    exact: bool
    """Whether reports show exact places."""
    retry: bool
    """Whether photos that could not be had are asked for again."""

    @property
    def share(self) -> float:
        """Requests to VK's API in a second that this fetch may make, on average."""
        return self.per_second / (self.part.count if self.part else 1)

    @property
    def turns(self) -> Turns:
        """Those of all fetches into the ledger, of which this one takes its share."""
        return Turns(self.share, max(1, int(self.per_second)), self.ledger)

    @property
    def own(self) -> Sequence[Circle]:
        """The circles to be searched."""
        return self.circles[self.part.own] if self.part else self.circles

    def plan(self, window: Window) -> str:
        """What tells this fetch from others."""
        words = f"{self.area.digest} {self.radius} {window.start} {window.end}"
        return hashlib.sha256(words.encode()).hexdigest()[:16]

    def left(self) -> list[Circle]:
        """The circles that the ledger and the part's own, if they are there, do not know to be asked for."""
        left, end = list(self.own), self.end
        for path in (self.ledger, *([self.part.path(self.ledger)] if self.part else [])):
            if path.is_file():
                with Ledger(path) as ledger:
                    window = begun(ledger, self.area, self.radius, self.start, self.end)
                    end = window.end if window else end
                    keys = {one: request_key(self.area, one, Window(self.start, end or 0)) for one in left}
                    left = [one for one in left if ledger.request(keys[one]) is None]
        return left

    def outlook(self, left: Sequence[Circle]) -> str:
        """What a fetch would ask for, and how long that takes."""
        to_come = self.end is None or self.end >= datetime.now(UTC).timestamp()
        until = "now" if self.end is None or to_come else moment(self.end)
        done = f", {len(self.own) - len(left)} of them asked for already" if len(left) < len(self.own) else ""
        hours = len(left) / self.share / 3600
        return (
            f"{self.title} cover the area{done}\n"
            f"photos from {moment(self.start)} to {until}\n"
            f"{len(left)} requests at least, {hours:.2f} hours at {self.share:g} a second; one more for each 1000 "
            "photos of a circle, and some to halve the time of one that has over 3000"
        )

    def draw(self, left: Sequence[Circle]) -> Path:
        """A map of the circles, beside the folder of photos."""
        chart = self.out.with_name(f"{self.out.name}.circles.png")
        chart.parent.mkdir(parents=True, exist_ok=True)
        draw_circles(chart, self.area, self.own, set(left), self.title)
        return chart

    @property
    def title(self) -> str:
        """How many circles of which radius."""
        return f"{len(self.own)} circles of {self.radius} m"


class Fetch:
    """A fetch into a ledger; of a part, into one of its own beside it."""

    def __init__(self, job: Job, whole: Ledger) -> None:
        self.job, self.whole = job, whole
        self.window = begin(whole, job.area, job.radius, job.start, job.end)
        self.ledger = whole.part(job.part.path(job.ledger)) if job.part else whole
        self._vk: VK | None = None

    def run(self) -> int:
        """Search, fetch, report; returns the exit code. Raises `UserError`."""
        if not self.job.part:
            for partial in self.job.out.glob(".partial-*-vk-*.jpg"):  # of a fetch that was killed
                partial.unlink(missing_ok=True)
        stale = self._retry() if self.job.retry else []
        try:
            circles = self._search(stale)
        except VKError:
            self._download()  # photos are fetched from elsewhere: what was found until then may as well be there
            raise
        downloaded = self._download()
        if self.job.part:
            self._check(circles, downloaded)
            parts.complete(self.ledger, self.job.plan(self.window))
            states = tally.by_state(self.ledger)
            print(
                f"{self.ledger.path}: part {self.job.part.number}/{self.job.part.count} is complete: "
                f"{len(self.job.own)} circles, {states.get('fetched', 0)} photos fetched"
            )
            return 0
        text = report(self.ledger, self.window, self.job.radius, circles, downloaded.later, exact=self.job.exact)
        pictures = illustrate(self.ledger, self.job.area, self.job.out, text)
        print(shortened(text))
        print(f"{', '.join(map(str, pictures))}: look at what came of it")
        self._check(circles, downloaded)
        return 0

    def join(self) -> int:
        """Take in the ledgers of all parts, then do what is left; returns the exit code. Raises `UserError`."""
        found = parts.parts_of(self.job.ledger)
        parts.join(self.whole, found, self.job.plan(self.window), self.job.out)
        code = self.run()
        for path in found:
            path.unlink()
        return code

    def _search(self, stale: Sequence[Photo]) -> Circles:
        """Search the circles; of those that the ledger has already, nothing is asked but where `stale` photos lie."""
        circles, in_a_row = Circles(), 0
        own = self.job.own
        self._vk = VK(self.job.turns)
        search = Search(self._vk, self.ledger, self.job.area, self.window, above=self.whole, stale=stale)
        with signs_of_life(search):
            for circle, result in progress(searching(search, own), len(own), "searching", "circle"):
                if isinstance(result, PlaceError):
                    circles.refused.append((circle, str(result)))
                    in_a_row += 1
                    if in_a_row == REFUSED_IN_A_ROW:
                        raise UserError(f"{in_a_row} circles in a row are not answered, the last: {result}")
                else:
                    in_a_row = 0
                    circles.add(result)
        return circles

    def _retry(self) -> list[Photo]:
        """Have photos that could not be had fetched again; returns those whose addresses may have become stale."""
        failed = [photo for photo in self.ledger.photos("failed") if photo.source == SOURCE]
        with self.ledger.transaction():
            for photo in failed:
                self.ledger.update(replace(photo, state="found", reason=""))
        return [photo for photo in failed if photo.reason.startswith((NO_ADDRESS, ANSWERS))]

    def _download(self) -> Downloaded:
        job, done = self.job, Downloaded()
        self._miss_files()
        keys = job.part.to_fetch(self.ledger, self.whole) if job.part else tally.keys(self.ledger, "found")
        downloads = Downloads(self.ledger, job.out, PhotoHosts(job.photo_hosts, endpoint()), job.limits)
        for done in progress(downloads.all(keys), len(keys), "fetching", "photo"):  # noqa: B007
            pass
        downloads.close()
        return done

    def _miss_files(self) -> None:
        """Photos that were fetched, whose files have gone, are to be fetched again."""
        there = {entry.name for entry in os.scandir(self.job.out)}
        gone = [
            key
            for key, file in tally.files(self.ledger)
            if file.rpartition("/")[2] not in there and not self.ledger.path_of(file).is_file()
        ]
        with self.ledger.transaction():
            for key in gone:
                photo = self.ledger.photo(key)
                if photo is not None:
                    self.ledger.update(replace(photo, state="found"))
        if gone:
            print(f"{self.job.out}: the files of {len(gone)} photos have gone; they are fetched again", flush=True)

    def _check(self, circles: Circles, downloaded: Downloaded) -> None:
        """Raise `UserError` where another time may bring more."""
        for circle_reason in list(dict.fromkeys(reason for _, reason in circles.refused))[:3]:
            print(f"  not answered: {circle_reason}", file=sys.stderr)
        lacking = []
        if circles.refused:
            lacking.append(f"{len(circles.refused)} circles were not answered")
        if downloaded.later:
            lacking.append(f"{downloaded.later.total()} photos could not be reached")
        if lacking:
            raise UserError(f"{' and '.join(lacking)}: run the same command again to ask for them alone")

    def close(self) -> None:
        """Ask for nothing more."""
        if self._vk is not None:
            self._vk.close()
        if self.ledger is not self.whole:
            self.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
