"""Fetch photos of a place from VK: circles over an area, every photo of them once, into a ledger and a folder.

    export VK_TOKEN=…
    python tools/fetch_photos.py --box 53.81,36.58,58.69,40.42 --since 2021-01-19 --ledger photos.db --out photos
    python tools/fetch_photos.py --area region.geojson --radius 800 --ledger photos.db --out photos --dry-run
    python tools/fetch_photos.py --area region.geojson --radius 800 --ledger photos.db --out photos --part 1/8  # --join

The token, a user's or an app's service token, stands in the environment and is sent to VK alone. Stopped at any moment,
the same command goes on, and nothing is fetched twice. Of people who were forgotten (waterscape shards forget) nothing
is fetched again. Photos belong to their authors: VK's terms, and the law where you are, say what you may do with them.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

from waterscape.cluster.array import USUAL_SUBMISSION, Submission, submit_parts
from waterscape.errors import UserError, run_command
from waterscape.options import comma_separated, parse
from waterscape.sources.area import area_from
from waterscape.sources.claiming import claimed
from waterscape.sources.ledger import Ledger
from waterscape.sources.making_command import part_of
from waterscape.sources.photo_file import USUAL_LIMITS, Limits
from waterscape.sources.vk.client import MOST_PER_SECOND, RADII
from waterscape.sources.vk.cover import cover
from waterscape.sources.vk.fetching import Fetch, Job
from waterscape.sources.vk.parts import Part
from waterscape.sources.vk.photo_hosts import USUAL_HOSTS

BEGINNING = date(2006, 10, 10)  # of VK


@dataclass(frozen=True)
class Command:
    """Fetch photos of an area from VK; what was asked for, found and fetched stands in the ledger."""

    ledger: Path
    """The ledger: an SQLite file, made where there is none."""
    out: Path
    """The folder for the photos. Beside it: OUT.report.txt, OUT.map.png, OUT.contact.png."""
    box: Annotated[tuple[float, ...], comma_separated(float, "S,W,N,E")] = ()
    """Degrees; W greater than E crosses the antimeridian."""
    area: Path | None = None
    """Instead of a box: GeoJSON with polygons."""
    radius: int = 6000
    """Metres, of a circle: 10, 100, 800, 6000 or 50000, which are all that VK knows."""
    since: date | None = None
    """Photos that were put there on this day (UTC) or later; left out: since VK began, in 2006."""
    until: date | None = None
    """On this day (UTC) or earlier; left out, or still to come: up to the moment at which the fetch was begun first."""
    per_second: float = MOST_PER_SECOND
    """Requests to VK's API in a second: 3 at most, of all parts together."""
    photo_hosts: Annotated[tuple[str, ...], comma_separated(str, "HOST,…")] = USUAL_HOSTS
    """Where photos may lie: these hosts and those below them."""
    limits: Limits = USUAL_LIMITS
    retry: bool = False
    """Ask again for photos that could not be had, and for their addresses where those led nowhere."""
    part: str | None = None
    """I/N, as in 3/8: only this part of the circles, into a ledger of its own. Parts may run at once, on machines that
    share the folders; together they keep to 3 requests in any second (on average, where the disk knows no locks)."""
    join: bool = False
    """Take the ledgers of all parts into the one, fetch what is left, and report."""
    dry_run: bool = False
    """Count, estimate and draw a map, OUT.circles.png; ask for nothing, and want no token."""
    exact_coordinates: bool = False
    """Report circles by their exact places, not to 0.1°."""
    submission: Submission = USUAL_SUBMISSION


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "fetch_photos.py")
    job = _job(command)
    if command.dry_run:
        left = job.left()
        print(job.outlook(left), flush=True)
        print(f"{job.draw(left)}: the circles over the area; nothing was asked for")
        return 0
    if command.submission.submit is not None:
        jobs = command.ledger.with_name(f"{command.ledger.name}.jobs")
        return submit_parts(Path(__file__), sys.argv[1:], jobs, command.submission, processes=False)
    try:
        return _fetch(command, job)
    except sqlite3.Error as error:
        raise UserError(
            f"{command.ledger} cannot be written to ({error}): see to the disk, then run the same command again"
        ) from error


def _fetch(command: Command, job: Job) -> int:
    with ExitStack() as stack:
        for folder in (command.ledger.absolute().parent, command.out):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise UserError(f"{folder} cannot be written to: give another --ledger or --out")
        ledger = stack.enter_context(Ledger(command.ledger, create=True))
        part = (job.part.number, job.part.count) if job.part else None
        stack.enter_context(claimed(command.ledger, "photos", part))
        fetch = stack.enter_context(Fetch(job, ledger))
        return fetch.join() if command.join else fetch.run()


def _job(command: Command) -> Job:
    """What is to be done. Raises `UserError`."""
    if command.radius not in RADII:
        raise UserError(f"--radius {command.radius}: VK knows {', '.join(map(str, RADII))} metres")
    if command.part is not None and command.join:
        raise UserError("--part and --join exclude each other: join when all parts are complete")
    area = area_from(command.area, command.box)
    circles = cover(area, command.radius)
    part = Part(*part_of(command.part), circles) if command.part else None
    if not 0 < command.per_second <= MOST_PER_SECOND:
        raise UserError(f"--per-second {command.per_second:g}: VK allows {MOST_PER_SECOND:g} at most")
    start, end = _window(command)
    return Job(
        command.ledger,
        command.out,
        area,
        command.radius,
        circles,
        start,
        end,
        command.per_second,
        command.photo_hosts,
        command.limits,
        part,
        command.exact_coordinates,
        command.retry,
    )


def _window(command: Command) -> tuple[int, int | None]:
    """First and last second since 1970; no last one where none is given."""
    today = datetime.now(UTC).date()
    since = command.since or BEGINNING
    if since > today or (command.until is not None and command.until < since):
        raise UserError(f"--since {since} is after {'today' if since > today else f'--until {command.until}'}")
    end = None if command.until is None else _midnight(command.until + timedelta(days=1)) - 1
    return max(_midnight(since), 0), end


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


if __name__ == "__main__":
    run_command(main)
