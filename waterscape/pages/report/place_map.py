"""Where a set's samples lie, as a map that is drawn from nothing but their own places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from waterscape.pages.report.charts import key
from waterscape.pages.report.markup import Html, tag
from waterscape.pages.report.scale import Scale, apart, short
from waterscape.pages.report.signs import point
from waterscape.pages.review.overview_map import western_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from waterscape.pages.report.data_set import DataSet

WIDTH, HEIGHT = 480, 300
SIDE, TOP, BOTTOM = 14, 10, 20  # margins
PLACES = 1500  # drawn, at most
LEAST, LEAST_ROUNDED = 0.02, 1.0  # degrees that a map shows, of places as they are and of rounded ones


def place_map(data: DataSet) -> Html:
    """The places of the samples, coloured by split, as long in kilometres both ways."""
    survey = data.survey
    placed = np.flatnonzero(survey.placed)
    if not len(placed):
        return tag("p", "No map: the samples do not say where they lie.", class_="faint")
    few = placed[:: -(-len(placed) // PLACES)]
    west = western_edge(survey.longitude[few])
    east, north = west + (survey.longitude[few] - west) % 360, survey.latitude[few]
    x, y = _fitted(east, north, LEAST_ROUNDED if data.is_rounded else LEAST)
    splits, names = survey.splits[few], data.manifest.splits
    dots = []
    for number in np.argsort(-np.bincount(splits, minlength=len(names)), kind="stable").tolist():  # small ones on top
        some = splits == number
        for a, b in zip(east[some].tolist(), north[some].tolist(), strict=True):
            dots.append(point(x.place(a), y.place(b), number, "place", scale=0.75))
    told = f"where {len(placed):,} samples lie" + (f" ({len(few):,} drawn)" if len(few) < len(placed) else "")
    told += ", rounded to 0.1° (in full: --exact-coordinates)" if data.is_rounded else ""
    size = f"0 0 {WIDTH} {HEIGHT}"
    svg = tag("svg", list(_graticule(x, y)), dots, viewBox=size, role="img", aria_label="Map of the samples")
    keys = [key(name, number) for number, name in enumerate(names)]
    return tag("figure", tag("figcaption", told), svg, tag("p", keys, class_="legend"), class_="map world")


def _fitted(east: NDArray[np.float64], north: NDArray[np.float64], least: float) -> tuple[Scale, Scale]:
    """Scales of longitude and latitude on which a kilometre is as long both ways in the middle of the map."""
    middle = (float(east.min() + east.max()) / 2, float(north.min() + north.max()) / 2)
    narrower = max(float(np.cos(np.deg2rad(middle[1]))), 0.2)  # a degree of longitude, in degrees of latitude
    wide, tall = WIDTH - 2 * SIDE, HEIGHT - TOP - BOTTOM  # pixels
    spans = (float(np.ptp(east)) * narrower / wide, float(np.ptp(north)) / tall, least / tall)
    degrees = 1.1 * max(spans)  # a pixel's, of latitude
    half = degrees * wide / 2 / narrower, degrees * tall / 2
    x = Scale(middle[0] - half[0], middle[0] + half[0], SIDE, WIDTH - SIDE)
    return x, Scale(middle[1] - half[1], middle[1] + half[1], HEIGHT - BOTTOM, TOP)


def _graticule(x: Scale, y: Scale) -> Iterator[Html]:
    ticks = x.ticks(5)
    for value in ticks:
        place, told = f"{x.place(value):.1f}", short((value + 180) % 360 - 180, apart(ticks))
        yield tag("line", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM, class_="grid")
        yield tag("text", f"{told}°", x=place, y=HEIGHT - 6, text_anchor="middle")
    ticks = y.ticks(4)
    for value in ticks:
        place = f"{y.place(value):.1f}"
        yield tag("line", x1=SIDE, x2=WIDTH - SIDE, y1=place, y2=place, class_="grid")
        yield tag("text", f"{short(value, apart(ticks))}°", x=SIDE + 2, y=f"{y.place(value) - 3:.1f}")
