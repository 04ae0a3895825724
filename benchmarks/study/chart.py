"""The study as a picture: for each comparison how much better the second preset is, by the figure that decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.study.outcome import Outcome
from waterscape.durable import replacing

WON, LOST, OPEN, INK = "#228c45", "#cc2e29", "#8a8f98", "#1c1f24"


def draw_summary(outcomes: Sequence[Outcome], path: Path) -> Path | None:
    """Draw differences in percent of the larger mean, cut at 100; None where there are not two pairs of anything."""
    shown = [(outcome, change) for outcome in outcomes if (change := outcome.difference(outcome.entry.told[0]))]
    if not shown:
        return None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1.3 + 0.5 * len(shown)), layout="constrained")
    for row, (outcome, change) in enumerate(shown):
        name = outcome.entry.told[0]
        known = outcome.figure(name)
        sign = -1.0 if known is not None and known.better == "lower" else 1.0
        usual = max(abs(float(np.mean(outcome.values(preset, name)))) for preset in outcome.entry.presets) or 1.0
        middle, *ends = (100 * sign * change[which] / usual for which in ("mean", "low", "high"))
        low, high = max(min(ends), -100.0), min(max(ends), 100.0)
        colour = dict(zip(outcome.entry.presets, (LOST, WON), strict=True)).get(outcome.verdict(name), OPEN)
        axes.plot([low, high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot([middle], [row], "o", color=colour, markersize=8)
    axes.axvline(0, color=INK, linewidth=1)
    labels = [f"{outcome.entry.name}\n{outcome.entry.told[0]}" for outcome, _ in shown]
    axes.set_yticks(range(len(shown)), labels, fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-104, 104)
    told = (
        "how much better the second preset is, in percent of the larger mean, with its 95 % interval (grey: undecided)"
    )
    axes.set_xlabel(told, fontsize=9)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#e3e5e8")
    axes.set_axisbelow(True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata={"Title": "study: second preset against first"})
    plt.close(figure)
    return path
