"""`waterscape report RUN [RUN …] --out report.html`: reads runs, looks at their data and networks, writes the file."""

from __future__ import annotations

import datetime
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.pages.report.album import Album
from waterscape.pages.report.data_set import DataSet, read_set
from waterscape.pages.report.looked_at import LookedAt, look_at
from waterscape.pages.report.page import whole_page
from waterscape.pages.report.subject import Subject, read_subjects
from waterscape.sources.parallel import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES_AT_MOST = 4_900_000
RUNS_AT_MOST = 8
SAMPLES = 48


@dataclass(frozen=True)
class Report:
    """Runs as one HTML file that needs no network: curves, pictures, figures, data, and how it all came about."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The runs' directories; several are shown beside one another."""
    out: Path = Path("report.html")
    """The file to write."""
    data: str | None = None
    """The set that the runs are shown with, where theirs is not at hand any more."""
    exact_coordinates: bool = False
    """Show the places of photos in full; else they are rounded to 0.1°."""
    samples: int = SAMPLES
    """New pictures made for it from each run's newest checkpoint, at most; 0: none."""


def write_report(options: Report) -> int:
    """The verb; returns its exit code. Raises `UserError`."""
    if not options.runs:
        raise UserError("say which runs: waterscape report RUN [RUN …] --out report.html")
    if len(options.runs) > RUNS_AT_MOST:
        raise UserError(f"{len(options.runs)} runs: give {RUNS_AT_MOST} at most, so that they can be told apart")
    if options.samples < 0:
        raise UserError(f"--samples {options.samples}: give 0 (none) or more")
    if options.out.is_dir():
        raise UserError(f"--out {options.out} is a directory: name a file, such as {options.out / 'report.html'}")
    subjects = read_subjects(options.runs)
    album = Album(BYTES_AT_MOST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of checkpoints that are passed over: the page says which one it shows
        for subject in progress(subjects, len(subjects), "report", "run"):
            subject.data = _data(subject, options, subjects)
            subject.seen = _seen(subject, options.samples)
    page = album.fill(_text(whole_page(subjects, album, datetime.datetime.now(datetime.UTC))))
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, page)
    except OSError as error:
        raise UserError(f"{options.out} cannot be written ({error.strerror}): name another --out") from error
    names = ", ".join(subject.name for subject in subjects)
    print(_text(f"{options.out}: {len(page.encode()) / 1e6:.1f} MB, {names}"))
    return 0


def _text(told: str) -> str:
    """It as UTF-8 can hold it: the name of a directory may be bytes that are no text."""
    return told.encode("utf-8", "replace").decode()


def _data(subject: Subject, options: Report, subjects: Sequence[Subject]) -> DataSet | str:
    """The run's set, read once for all runs that share it, or the reason why it is not at hand."""
    place = options.data or str(subject.facts["run"]["data"])
    sha256 = str(subject.facts.get("manifest_sha256"))
    for other in subjects[: subject.number]:
        if isinstance(other.data, DataSet) and (other.data.place, str(other.facts.get("manifest_sha256"))) == (
            place,
            sha256,
        ):
            return other.data
    try:
        return read_set(place, sha256, exact=options.exact_coordinates)
    except (ValueError, OSError) as error:
        return " ".join(str(error).split())


def _seen(subject: Subject, samples: int) -> LookedAt | str:
    """What its networks do, or the reason why they cannot be asked."""
    try:
        return look_at(subject.run, subject.data, samples)
    except (ValueError, OSError, ImportError) as error:
        return " ".join(str(error).split())
