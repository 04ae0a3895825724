"""Metric cards side by side: only those that were taken alike share a table, and what sets the others apart is said."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from waterscape.pages.report.charts import key
from waterscape.pages.report.markup import Html, tag
from waterscape.pages.report.signs import sign

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterscape.metrics.card import Card, Figure
    from waterscape.pages.report.subject import Subject

LIMITS = "from the best (floor: true samples) to the worst (ceiling: noise)"
Told = tuple["Subject", "Card"]


def card_tables(subjects: Sequence[Subject]) -> Html | None:
    """A table for each kind of conditions; None where no run has a card."""
    groups: list[list[Told]] = []
    for subject in subjects:
        for card in subject.cards.values():
            alike = next((group for group in groups if not group[0][1].differences(card)), None)
            if alike is None:
                groups.append([(subject, card)])
            else:
                alike.append((subject, card))
    if not groups:
        return None
    first = groups[0][0][1]
    made = []
    for number, group in enumerate(groups):
        apart = first.differences(group[0][1]) if number else []
        told = (
            tag("p", f"Not to be compared with the first table: {'; '.join(apart)}.", class_="warning")
            if apart
            else None
        )
        made.append(tag("div", tag("h3", _conditions(group[0][1])), told, tag("div", _table(group), class_="wide")))
    return tag("div", made)


def _conditions(card: Card) -> str:
    kind = "synthetic " if card.data.get("synthetic") else ""
    told = f"On {kind}{card.data['split']} of {card.data['name']}: {card.data['samples']} samples"
    features = card.conditions.get("features")
    return f"{told}, features {features}, {card.conditions.get('made')} new pictures" if features else told


def _table(group: Sequence[Told]) -> Html:
    names = list(dict.fromkeys(figure.name for _, card in group for figure in card.figures))
    heads = [
        tag(
            "th",
            key(subject.name, subject.number),
            tag("small", f" {card.run['images']:,} images"),
        )
        for subject, card in group
    ]
    rows = [
        tag(
            "tr",
            tag("th", "figure"),
            heads,
            tag("th", LIMITS),
        )
    ]
    for name in names:
        found = [card.figure(name) for _, card in group]
        first = next(figure for figure in found if figure)
        best = _best(found)
        cells = [_value(figure, first_of=figure is not None and figure is best and len(group) > 1) for figure in found]
        arrow = {"lower": " ↓", "higher": " ↑", "": ""}[first.better]
        rows.append(
            tag("tr", tag("th", name, tag("span", arrow, class_="faint")), cells, tag("td", _bar(group, found)))
        )
    return tag("table", rows, class_="figures")


def _value(figure: Figure | None, *, first_of: bool) -> Html:
    if figure is None:
        return tag("td", "–", class_="faint")
    interval = None
    if figure.low is not None and figure.high is not None:
        interval = tag("small", f" {_number(figure.low)} … {_number(figure.high)}")
    told = _number(figure.value)
    return tag("td", tag("b", told) if first_of else told, interval, class_="number")


def _best(found: Sequence[Figure | None]) -> Figure | None:
    """The one that is better than all others beyond chance; None where none is."""
    there = [figure for figure in found if figure]
    if len({figure.value for figure in there}) < 2 or not there[0].better:
        return None
    choose = min if there[0].better == "lower" else max
    best = choose(there, key=lambda figure: figure.value)
    return best if all(_apart(best, other) for other in there if other is not best) else None


def _apart(one: Figure, other: Figure) -> bool:
    """Whether their intervals do not overlap; of figures without one, nobody can say."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low


def _bar(group: Sequence[Told], found: Sequence[Figure | None]) -> Html | None:
    """Where the figures stand between floor and ceiling, or between nothing and all; the root spreads what is good."""
    there = [(subject, figure) for (subject, _), figure in zip(group, found, strict=True) if figure]
    first = there[0][1]
    low, high = first.floor, first.ceiling
    if low is None or high is None:
        if not all(0 <= figure.value <= 1 for _, figure in there) or not first.better:
            return None
        low, high, ends = (1.0, 0.0, ("1", "0")) if first.better == "higher" else (0.0, 1.0, ("0", "1"))
    else:
        ends = (_number(low), _number(high))
    dots = [
        sign(subject.number, style=f"left:{100 * _share(figure.value, low, high, first):.1f}%")
        for subject, figure in there
    ]
    return tag(
        "span",
        tag("small", ends[0]),
        tag("span", dots, class_="track" if first.better else "track neutral"),
        tag("small", ends[1]),
        class_="between",
    )


def _share(value: float, low: float, high: float, figure: Figure) -> float:
    share = (value - low) / (high - low) if high != low else 0.5
    share = min(max(share, 0.0), 1.0)
    return math.sqrt(share) if figure.floor is not None else share


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:,.0f}"
