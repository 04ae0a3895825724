"""What a classifier calls held-out samples, and where a model sees them: matrix, calibration, map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.pages.report.charts import Line, key, line_chart
from waterscape.pages.report.looked_at import Judged, LookedAt
from waterscape.pages.report.markup import Html, join, tag
from waterscape.pages.report.pictures import none
from waterscape.pages.report.scale import Scale
from waterscape.pages.report.signs import look, point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.metrics.classification import Verdicts
    from waterscape.pages.report.album import Album
    from waterscape.pages.report.subject import Subject

WIDTH, HEIGHT = 480, 360
THUMBNAIL = 26  # of the map's units
DOTS = 1024
MANY = 8  # classes from which on a matrix has small cells


def confusion(subject: Subject) -> Html:
    """Who is taken for whom, and whether the classifier's confidence is true."""
    judged = _judged(subject)
    if isinstance(judged, str):
        return none(judged)
    if judged.verdicts is None:
        return none("This model calls no samples.")
    verdicts = judged.verdicts
    told = f"{verdicts.accuracy:.1%} of {judged.samples:,} samples are called right (split {judged.split})."
    points = [(confidence, right) for confidence, right, _ in verdicts.calibration]
    chart = line_chart(
        f"share called right, by confidence: calibration error {verdicts.calibration_error:.3f}",
        [Line("found", 0, points), Line("true confidence", 8, [(0.0, 0.0), (1.0, 1.0)], "dashed")],
        unit="confidence",
    )
    return tag("div", tag("p", told), tag("div", tag("div", _matrix(verdicts), class_="wide"), chart, class_="judged"))


def embedding_map(subject: Subject, album: Album) -> Html:
    """Where the model sees the samples, in the two directions in which they differ most; a few as pictures."""
    judged = _judged(subject)
    if isinstance(judged, str):
        return none(judged)
    if judged.flat is None:
        return none("This model does not say where it sees samples.")
    if len(judged.flat) < 2:
        return none("One sample makes no map.")
    kinds = judged.verdicts.kinds if judged.verdicts else np.zeros(len(judged.flat), np.int64)
    names = judged.verdicts.classes if judged.verdicts else ()
    svg = _map(judged, kinds, names, album)
    keys = [key(name, number) for number, name in enumerate(names) if (kinds == number).any()]
    told = f"{len(judged.flat):,} samples of split {judged.split}" + (", coloured by label." if names else ".")
    return tag("figure", svg, tag("p", keys, class_="legend"), tag("figcaption", told), class_="map")


def judges(subject: Subject) -> bool:
    """Whether it is of a model that calls or sees samples."""
    return isinstance(subject.seen, LookedAt) and subject.seen.judged is not None


def _judged(subject: Subject) -> Judged | str:
    if isinstance(subject.seen, str):
        return f"Nothing was judged: {subject.seen}."
    judged = subject.seen.judged
    if judged is None:
        return "This model neither calls nor sees samples."
    return f"Nothing was judged: {judged}." if isinstance(judged, str) else judged


def _matrix(verdicts: Verdicts) -> Html:
    """Rows are true classes; the deeper a cell, the larger its share of the row."""
    counts, names = verdicts.confusion, verdicts.classes
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    heads = [tag("th", tag("span", name), scope="col") for name in (*names, "recall")]
    rows = [tag("tr", tag("th", "true ↓ called →"), heads)]
    for number, name in enumerate(names):
        cells = [_cell(int(count), float(part)) for count, part in zip(counts[number], share[number], strict=True)]
        rows.append(
            tag("tr", tag("th", name, scope="row"), cells, tag("td", _percent(verdicts.recall[number]), class_="share"))
        )
    feet = [tag("td", _percent(value), class_="share") for value in verdicts.precision]
    rows.append(tag("tr", tag("th", "precision", scope="row"), feet, tag("td", class_="share")))
    return tag("table", rows, class_="matrix many" if len(names) >= MANY else "matrix")


def _cell(count: int, share: float) -> Html:
    style = f"--share:{share:.3f}" if count else None
    return tag(
        "td", count if count else "", style=style, class_=("deep" if share > 0.55 else "some") if count else None
    )


def _map(judged: Judged, kinds: NDArray[np.int64], names: tuple[str, ...], album: Album) -> Html:
    assert judged.flat is not None
    x = Scale.of(judged.flat[:, 0].tolist(), 12, WIDTH - 12)
    y = Scale.of(judged.flat[:, 1].tolist(), HEIGHT - 12, 12)
    places = [(x.place(a), y.place(b)) for a, b in judged.flat.tolist()]
    named = dict(enumerate(names))
    dots = [
        point(*place, kind, "point", named.get(kind, ""))
        for place, kind in zip(places[:DOTS], kinds.tolist(), strict=False)
    ]
    shown = _thumbnails(judged, places, kinds, album)
    return tag("svg", dots, shown, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label="Map of samples")


def _thumbnails(judged: Judged, places: list[Any], kinds: NDArray[np.int64], album: Album) -> Html:
    """Some samples themselves, where none covers another."""
    taken: list[tuple[float, float]] = []
    made = []
    for number in range(len(judged.pictures) if judged.pictures is not None else 0):
        assert judged.pictures is not None
        a, b = places[number]
        if any(abs(a - c) < THUMBNAIL and abs(b - d) < THUMBNAIL for c, d in taken):
            continue
        taken.append((a, b))
        left, top = (min(max(v - THUMBNAIL / 2, 0), most - THUMBNAIL) for v, most in ((a, WIDTH), (b, HEIGHT)))
        size = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": THUMBNAIL, "height": THUMBNAIL}
        made.append(album.inside(judged.pictures[number], **size))
        made.append(tag("rect", **size, class_=f"frame {look(int(kinds[number]))}"))
        made.append(point(left, top, int(kinds[number]), "corner"))
    return join(made)


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.0%}"
