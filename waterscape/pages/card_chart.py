"""A metric card as a picture: each figure with its interval, between its floor and its ceiling."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

from waterscape.durable import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from waterscape.metrics.card import Card, Figure

INK, FAINT, GOOD, BAD, DOT = "#262c34", "#8a9098", "#2f8f5b", "#c2412d", "#123a7c"
ROW_INCHES = 0.34


def draw_card(card: Card, path: Path, title: str, facts: Mapping[str, str]) -> Path:
    """Write the picture (PNG): a line for each figure, by a scale of its own. Returns its path."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = len(card.figures)
    figure, axes = plt.subplots(figsize=(11, 1.3 + ROW_INCHES * rows), layout="constrained")
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    for row, one in enumerate(card.figures):
        _line(axes, rows - row, one)
    axes.set_xlim(-0.42, 1.32)
    axes.set_ylim(0.2, rows + 1.1)
    axes.axis("off")
    if any(one.floor is not None for one in card.figures):
        axes.text(0, rows + 0.75, "floor: true samples", color=GOOD, fontsize=8, ha="center")
        axes.text(1, rows + 0.75, "ceiling: noise", color=BAD, fontsize=8, ha="center")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, metadata=dict(facts))
    plt.close(figure)
    return path


def _line(axes: Axes, height: float, one: Figure) -> None:
    """One figure: its name, a line from floor to ceiling (or through 0 to 1), where it stands, and its number."""
    low, high = (one.floor, one.ceiling) if one.floor is not None and one.ceiling is not None else _span(one)
    place = _placed(one.value, low, high)
    axes.plot([0, 1], [height, height], color="#d8d5cc", linewidth=1, zorder=1)
    if one.floor is not None:
        axes.plot([0], [height], "|", color=GOOD, markersize=9)
        axes.plot([1], [height], "|", color=BAD, markersize=9)
    if one.low is not None and one.high is not None:
        ends = [_placed(end, low, high) for end in (one.low, one.high)]
        axes.plot(ends, [height, height], color=DOT, linewidth=4, alpha=0.35, solid_capstyle="butt", zorder=2)
    axes.plot([place], [height], "o", color=DOT, markersize=5, zorder=3)
    arrow = {"lower": " ↓", "higher": " ↑", "": ""}[one.better]
    axes.text(-0.05, height, f"{one.name}{arrow}", ha="right", va="center", fontsize=8.5, color=INK)
    told = f"{one.value:.4g}" + (f"  [{one.low:.3g}, {one.high:.3g}]" if one.low is not None else "")
    axes.text(1.05, height, told, ha="left", va="center", fontsize=8.5, color=INK)


def _span(one: Figure) -> tuple[float, float]:
    """A scale for a figure without limits: 0 to 1 for shares, else 0 to its next power of ten."""
    top = max(abs(value) for value in (one.value, one.low, one.high) if value is not None)
    return 0.0, 1.0 if top <= 1 else 10 ** math.ceil(math.log10(top))


def _placed(value: float, low: float, high: float) -> float:
    """Between 0 and 1, a little beyond where it lies beyond; the root spreads what lies near the floor."""
    share = (value - low) / (high - low) if high != low else 0.5
    return math.copysign(min(abs(share) ** 0.5, 1.04), share) if share > -0.0016 else max(-math.sqrt(-share), -0.04)
