"""Charts as SVG in the page's own colours: lines over images, and points on a plane. The script adds the reading."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waterscape.pages.report.markup import Html, tag
from waterscape.pages.report.scale import Scale, apart, short
from waterscape.pages.report.signs import COLOURS, point, sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterscape.pages.report.markup import Html as Markup

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 8, 24
MOST_POINTS = 240  # of a line
DASHES = ("", "dashed", "dash2", "dash3", "dash4", "dash5", "dash6", "dash7")  # as many as runs


@dataclass(frozen=True)
class Line:
    """One line: its name, the number of what it is of (which gives its colour and sign), and its points by x."""

    name: str
    number: int
    points: Sequence[tuple[float, float]]
    style: str = ""
    """One of `DASHES`, faint, or nothing."""


def line_chart(
    title: str, lines: Sequence[Line], *, unit: str = "images", marks: Sequence[tuple[float, int]] = ()
) -> Html:
    """A figure of lines. `marks`: vertical ones at x, each of a number. What is not finite is left out."""
    drawn = [Line(one.name, one.number, thinned(one.points), one.style) for one in lines]
    drawn = [one for one in drawn if one.points]
    if not drawn:
        return tag("figure", tag("figcaption", title), tag("p", "Nothing to draw yet.", class_="none"), class_="chart")
    x = Scale.of([x for one in drawn for x, _ in one.points], LEFT, WIDTH - RIGHT)
    values = [y for one in drawn for _, y in one.points]
    y = Scale.of(values, HEIGHT - BOTTOM, TOP, may_be_logarithmic=True)
    vertical = [
        _upright(x.place(where), f"mark c{number % COLOURS}") for where, number in marks if x.low <= where <= x.high
    ]
    keys = legend(drawn)
    ends = [_end(one, x, y) for one in drawn if keys and _has_sign(one.style)]
    body = [_axes(x, y), vertical, [_line(one, x, y) for one in drawn], ends, tag("g", class_="reading")]
    told = tag("figcaption", title, tag("small", " log scale") if y.logarithmic else None)
    svg = tag(
        "svg", *body, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}, against {unit}", data_unit=unit
    )
    return tag("figure", told, svg, keys, class_="chart")


def legend(lines: Sequence[Line]) -> Html | None:
    """What each sign and dash means; nothing where there is one line."""
    named = {one.name: one for one in lines if one.name}
    if len(named) < 2 and not any(one.style for one in named.values()):
        return None
    return tag("p", [key(name, one.number, one.style) for name, one in named.items()], class_="legend")


def key(name: str, number: int, style: str = "") -> Html:
    """A name beside its sign, and the dash of its line."""
    dash = tag("i", class_=f"key c{number % COLOURS} {style}") if style else None
    return tag("span", dash, sign(number) if _has_sign(style) else None, name)


def _has_sign(style: str) -> bool:
    return "faint" not in style


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The finite points by x, at most `MOST_POINTS`: of each stretch the lowest and the highest, so no peak is lost."""
    there = sorted((x, y) for x, y in points if math.isfinite(x) and math.isfinite(y))
    if len(there) <= MOST_POINTS:
        return there
    stretches = MOST_POINTS // 2 - 1
    kept = {there[0], there[-1]}
    for number in range(stretches):
        some = there[number * len(there) // stretches : (number + 1) * len(there) // stretches]
        kept |= {min(some, key=lambda point: point[1]), max(some, key=lambda point: point[1])}
    return sorted(kept)


def _axes(x: Scale, y: Scale) -> list[Markup]:
    made = []
    ticks = y.ticks(5)
    for value in ticks:
        height = y.place(value)
        made.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=_round(height), y2=_round(height), class_="grid"))
        made.append(tag("text", short(value, apart(ticks)), x=LEFT - 6, y=_round(height + 4), text_anchor="end"))
    ticks = x.ticks(4)
    for value in ticks:
        place = x.place(value)
        made.append(tag("text", short(value, apart(ticks)), x=_round(place), y=HEIGHT - 7, text_anchor="middle"))
    return made


def _upright(place: float, class_: str) -> Markup:
    return tag("line", x1=_round(place), x2=_round(place), y1=TOP, y2=HEIGHT - BOTTOM, class_=class_)


def _line(one: Line, x: Scale, y: Scale) -> Markup:
    places = " ".join(f"{_round(x.place(a))},{_round(y.place(b))}" for a, b in one.points)
    values = " ".join(f"{a:.6g},{b:.4g}" for a, b in one.points)
    class_ = f"line c{one.number % COLOURS} {one.style}".strip()
    if len(one.points) == 1:
        a, b = one.points[0]
        told: dict[str, Any] = {"data_name": one.name, "data_values": values, "data_place": places}
        return point(x.place(a), y.place(b), one.number, "dot", **told)
    return tag("polyline", points=places, class_=class_, data_name=one.name, data_values=values)


def _end(one: Line, x: Scale, y: Scale) -> Markup:
    a, b = one.points[-1]
    return point(x.place(a), y.place(b), one.number, "dot")


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
