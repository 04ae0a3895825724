"""Judge the photos of a ledger by filters: each decision with its score and reason goes into the ledger.

    python tools/filter_photos.py photos.db --dry-run
    python tools/filter_photos.py photos.db
    python tools/filter_photos.py photos.db --months 5-9 --sun-above 5 --faces --persons opencv
    python tools/filter_photos.py photos.db --scenes resnet18_places365.pth.tar --classes allow.txt
    python tools/filter_photos.py photos.db --scenes runs/scenes --classes allow.txt

Coordinates, exposure and blur are always judged, the rest where it is asked for; a photo is judged until a filter
rejects it. Nothing is deleted: a decision stands until the same filter decides anew, and a person's stands above all.
Stopped at any moment, the same command goes on; run again, it judges only what is new or was judged by other settings.
A table tells how many photos are kept, and a picture for each reason shows which.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waterscape.errors import UserError, run_command
from waterscape.options import parse
from waterscape.sources.ledger import Ledger

if TYPE_CHECKING:
    from waterscape.filters.filter import Filter


@dataclass(frozen=True)
class Command:
    """Decide which photos of a ledger are kept, by filters: decisions in the ledger, a table, a picture a reason."""

    ledger: Annotated[Path, tyro.conf.Positional]
    """The ledger that fetch_photos.py made."""
    area: Path | None = None
    """Reject what is outside this GeoJSON area."""
    months: str | None = None
    """Keep these months, such as 5-9; south of the equator the same seasons. VK's dates are those of uploading."""
    sun_above: float | None = None
    """Keep what was taken with the sun higher than so many degrees, such as 5. VK's dates are those of uploading."""
    darkest: float = 40.0
    """The least mean grey level, 0 to 255."""
    brightest: float = 210.0
    """The greatest."""
    sharpness: float = 60.0
    """The least variance of the Laplacian in the sharpest sixteenth, at 256 pixels; 0 keeps every blur."""
    scenes: Path | None = None
    """A file of ResNet-18's weights of Places365, or the directory of a scene_classifier run."""
    classes: Path | None = None
    """A text file with the scenes that are allowed, one a line."""
    categories: Path | None = None
    """The names of the weights' classes; left out: categories_places365.txt beside the weights."""
    least_sum: float | None = None
    """The least probability of the three most probable scenes together, of a run's: of the most probable one; 0.6."""
    faces: bool = False
    """Reject photos with a face (CenterFace, 0.3)."""
    persons: str | None = None
    """Reject photos with a person: opencv (upright ones, margin 1.1), or a file of Faster R-CNN's weights (0.9)."""
    all_filters: bool = False
    """Ask every filter about every photo, also where one has rejected it."""
    again: bool = False
    """Judge anew what was judged by the same settings."""
    out: Path | None = None
    """Where to draw the pictures; left out: LEDGER's name with .filtered."""
    processes: int = max(1, min(8, os.cpu_count() or 1))
    """Processes to judge on: 0.3 GB each, 0.8 GB while a PNG of 60 megapixels is read."""
    dry_run: bool = False
    """Tell what is left to judge; judge nothing."""


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "filter_photos.py")
    with Ledger(command.ledger) as ledger:
        return _run(command, ledger)


def _run(command: Command, ledger: Ledger) -> int:
    from waterscape.filters.judging import Judge, judge_photos, undecided
    from waterscape.filters.table import told
    from waterscape.sources.parallel import progress

    judge = Judge.of(_filters(command), to_the_end=command.all_filters)
    fetched = ledger.count()["fetched"]
    left = undecided(ledger, judge, again=command.again)
    print(f"{fetched} photos are fetched, {len(left)} of them left to judge by {', '.join(judge.digests)}", flush=True)
    if command.dry_run:
        for one in judge.filters:
            print(f"  {one.name}: {sum(one.name in names for names in left.values())} at most")
        print("nothing was judged")
        return 0
    for _ in progress(judge_photos(ledger, judge, left, command.processes), len(left), "judging", "photo"):
        pass
    print(told(ledger, judge))
    _draw(command, ledger)
    return 0


def _filters(command: Command) -> list[Filter]:
    """The filters that are asked for, in their order."""
    from waterscape.filters.blur import Blur
    from waterscape.filters.coordinates import Coordinates
    from waterscape.filters.daytime import Daytime
    from waterscape.filters.exposure import Exposure
    from waterscape.filters.faces import Faces
    from waterscape.filters.filter import ORDER
    from waterscape.filters.persons import CocoPersons, UprightPersons
    from waterscape.filters.scenes import SUM, Scenes
    from waterscape.filters.season import Season, months_of

    filters: list[Filter] = [
        Coordinates(command.area),
        Exposure(command.darkest, command.brightest),
        Blur(command.sharpness),
    ]
    if command.months is not None:
        filters.append(Season(months_of(command.months)))
    if command.sun_above is not None:
        filters.append(Daytime(command.sun_above))
    if command.scenes is not None:
        least_sum = SUM if command.least_sum is None else command.least_sum
        filters.append(Scenes(command.scenes, command.classes, command.categories, least_sum=least_sum))
    for name in ("classes", "categories", "least_sum"):
        if command.scenes is None and getattr(command, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} goes with --scenes WEIGHTS or RUN")
    if command.faces:
        filters.append(Faces())
    if command.persons is not None:
        filters.append(UprightPersons() if command.persons == "opencv" else CocoPersons(Path(command.persons)))
    return sorted(filters, key=lambda one: ORDER.index(one.name))


def _draw(command: Command, ledger: Ledger) -> None:
    from waterscape.filters.contact_sheet import draw_sheets

    folder = command.out or command.ledger.with_suffix(".filtered")
    drawn = list(draw_sheets(ledger, folder))
    print(f"{folder}: {len(drawn)} pictures, one for each reason" if drawn else "nothing is rejected: no pictures")


if __name__ == "__main__":
    run_command(main)
