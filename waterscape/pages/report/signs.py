"""Signs by which a page tells things apart: by colour, and by shape for whoever does not tell the colours.

Ten colours and nine shapes, filled and hollow, come round to the same sign after ninety things; the first eighteen
differ by their shapes alone.
"""

from __future__ import annotations

from typing import Any

from waterscape.pages.report.markup import Html, tag

COLOURS = 10  # that the page's look has for things told apart
SHAPES = (
    "M3 0A3 3 0 1 1-3 0A3 3 0 1 1 3 0Z",  # disc
    "M-2.6-2.6H2.6V2.6H-2.6Z",  # square
    "M0-3.7L3.5 2.5H-3.5Z",  # triangle
    "M0-3.8L3.3 0L0 3.8L-3.3 0Z",  # diamond
    "M-1.2-3.6H1.2V-1.2H3.6V1.2H1.2V3.6H-1.2V1.2H-3.6V-1.2H-1.2Z",  # plus
    "M0 3.7L3.5-2.5H-3.5Z",  # triangle upside down
    "M0-1.7L2-3.7L3.7-2L1.7 0L3.7 2L2 3.7L0 1.7L-2 3.7L-3.7 2L-1.7 0L-3.7-2L-2-3.7Z",  # cross
    "M-3.2-3.2H3.2L.7 0L3.2 3.2H-3.2L-.7 0Z",  # hourglass
    "M-4-1.4H4V1.4H-4Z",  # bar
)
"""Paths of about the same area, around 0."""


def shapes() -> Html:
    """What the page's signs refer to: once on a page, itself not seen."""
    paths = [tag("path", id=f"shape{number}", d=path) for number, path in enumerate(SHAPES)]
    return tag("svg", tag("defs", paths), class_="shapes", aria_hidden="true")


def look(number: int) -> str:
    """The classes of a thing of this number: its colour, and whether it is hollow."""
    return f"c{number % COLOURS}" + (" hollow" if number // len(SHAPES) % 2 else "")


def sign(number: int, **attributes: Any) -> Html:
    """The sign of a thing of this number, in a text."""
    use = tag("use", href=f"#shape{number % len(SHAPES)}")
    return tag("svg", use, viewBox="-5 -5 10 10", class_=f"sign {look(number)}", aria_hidden="true", **attributes)


def point(x: float, y: float, number: int, kind: str, told: str = "", scale: float = 1.0, **attributes: Any) -> Html:
    """The sign of a thing of this number at a place of a drawing. `told`: what it says of itself."""
    place = f"translate({_short(x)} {_short(y)})" + (f" scale({scale:g})" if scale != 1 else "")
    title = tag("title", told) if told else None
    href, class_ = f"#shape{number % len(SHAPES)}", f"{kind} {look(number)}"
    return tag("use", title, href=href, transform=place, class_=class_, **attributes)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
