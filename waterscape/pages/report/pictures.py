"""A run's pictures in the report: how they came about, how they are now, new ones of the newest checkpoint."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from waterscape.pages.report.markup import Html, tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from waterscape.pages.report.album import Album
    from waterscape.pages.report.subject import Subject

MOMENTS = 12
"""Moments of a strip at most: the first, the last, and as evenly as may be between."""
STRIPS = 2
"""Rows of a picture whose way over time is shown: new pictures before others."""
COLUMNS = 8  # pictures side by side

Rows = dict[str, "NDArray[np.uint8]"]


def over_time(subject: Subject, album: Album) -> Html:
    """What changes from picture to picture, moment under moment."""
    moments = subject.moments
    spread = np.unique(np.linspace(0, max(0, len(moments) - 1), min(MOMENTS, len(moments))).round().astype(int))
    rows = {int(path.stem): found for path in (moments[i] for i in spread) if (found := _rows(path))}
    if not rows:
        return none("It has no pictures yet.")
    made = []
    for label, strip in list(_strips(rows).items())[:STRIPS]:
        lines = [
            tag("div", tag("b", f"{images:,}"), album.row(row, f"{label} after {images} images"), class_="moment")
            for images, row in strip.items()
        ]
        made.append(tag("figure", tag("figcaption", label), lines, class_="strip"))
    return tag("div", made, class_="strips") if made else none("Nothing of its pictures has changed.")


def newest(subject: Subject, album: Album) -> Html:
    """The rows of the newest picture but those of new ones: held-out samples, and what is made of them."""
    path = next(reversed(subject.moments), None)
    rows = _rows(path) if path else {}
    shown = {label: row for label, row in rows.items() if not label.startswith("new")}
    told = f"After {int(path.stem):,} images." if path else ""
    seen = subject.seen
    if not isinstance(seen, str) and seen.made_again and len(shown) < 2:
        shown, told = dict(seen.made_again), f"Made again for this report by checkpoint {seen.checkpoint}."
    if not shown:
        return none("It has no pictures yet." if not rows else "Its pictures are new ones alone.")
    lines = [_labelled(label, album.row(row, f"{label}: {told}")) for label, row in shown.items()]
    return tag("div", lines, tag("p", told, class_="faint"))


def new(subject: Subject, album: Album) -> Html:
    """New pictures: made for the report from the newest checkpoint, or else those of the newest picture."""
    if not isinstance(subject.seen, str) and subject.seen.new:
        told = f"SYNTHETIC. Made for this report by checkpoint {subject.seen.checkpoint} ({subject.seen.sha256[:12]}…)."
        rows: Mapping[str, NDArray[Any]] = subject.seen.new
    else:
        path = next(reversed(subject.moments), None)
        found = _rows(path) if path else {}
        rows = {label.removeprefix("new").strip(): row for label, row in found.items() if label.startswith("new")}
        if path is None or not rows:
            why = f"None could be made: {subject.seen}." if isinstance(subject.seen, str) else "This model makes none."
            return none(why)
        told = f"SYNTHETIC. Those of its newest picture, after {int(path.stem):,} images."
        told += f" None could be made anew: {subject.seen}." if isinstance(subject.seen, str) else ""
    lines = [_labelled(label, album.row(row, f"new pictures {label}".strip(), COLUMNS)) for label, row in rows.items()]
    return tag("div", lines, tag("p", told, class_="faint"))


def copied(subject: Subject, album: Album) -> Html | None:
    """The sheet of an evaluation that shows new pictures above what they are nearest to."""
    paths = sorted((subject.run / "cards").glob("*-nearest.png"))
    if not paths:
        return None
    try:
        with Image.open(paths[-1]) as opened:
            sheet = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    told = "New pictures above the training samples that they are nearest to: copies would be seen at once"
    return tag("figure", album.picture(sheet, told), tag("figcaption", f"{told} ({paths[-1].name})."), class_="sheet")


def none(why: str) -> Html:
    """In place of what there is not; words between backticks are commands."""
    parts = [tag("code", part) if number % 2 else part for number, part in enumerate(why.split("`"))]
    return tag("p", parts, class_="none")


def _labelled(label: str, row: Html) -> Html:
    return tag("div", tag("b", label) if label else None, row, class_="labelled" if label else "alone")


def _rows(path: Path) -> Rows:
    """The rows of one picture; none where the file is damaged."""
    try:
        with np.load(path) as held:
            rows = {name: held[name] for name in held.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return {}
    return {name: row for name, row in rows.items() if row.dtype == np.uint8 and len(row) and _shows(row)}


def _shows(row: NDArray[np.uint8]) -> bool:
    return row.ndim == 3 or (row.ndim == 4 and row.shape[3] == 3)


def _strips(rows: Mapping[int, Rows]) -> dict[str, Rows | dict[int, NDArray[np.uint8]]]:
    """Label → images → row, of those that change: new ones first; of several classes of new ones, one of each."""
    labels = list(rows[max(rows)])
    fresh = [label for label in labels if label.startswith("new")]
    strips: dict[str, Any] = {}
    if len(fresh) > 1:
        whole = {images: held for images, held in rows.items() if all(label in held for label in fresh)}
        strips[f"new: {', '.join(label.removeprefix('new').strip() for label in fresh)}"] = {
            images: _first_of_each([held[label] for label in fresh]) for images, held in whole.items()
        }
    for label in [*([] if len(fresh) > 1 else fresh), *(label for label in labels if label not in fresh)]:
        strip = {images: held[label] for images, held in rows.items() if label in held}
        if not _same(list(strip.values())) and np.ptp(rows[max(rows)][label]):  # where it ended blank, nothing is seen
            strips[label] = strip
    return strips


def _first_of_each(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack([row[0] for row in rows])


def _same(rows: Sequence[NDArray[np.uint8]]) -> bool:
    return all(np.array_equal(row, rows[0]) for row in rows[1:]) and len(rows) > 1
