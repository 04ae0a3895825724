"""What a classifier is worth as one picture: who is taken for whom, and whether its confidence is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from waterscape.durable import replacing
from waterscape.metrics.classification import Verdicts

INK, BAR, LINE = "#262c34", "#9ccbd3", "#b5541c"


def draw_verdicts(verdicts: Verdicts, path: Path, title: str, facts: dict[str, str] | None = None) -> Path:
    """Draw the confusion matrix, with recall and precision by class, and the calibration; `facts` become PNG text."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    count = len(verdicts.classes)
    size = 2.6 + 0.62 * (count + 1)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(1.3 * size + 4.4, size), width_ratios=(1.25 * size, 4.2), layout="constrained"
    )
    draw_confusion(left, verdicts)
    _calibration(right, verdicts)
    figure.suptitle(f"{title}: {verdicts.accuracy:.1%} of {len(verdicts.kinds)} called right", fontsize=12, color=INK)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata=facts)
    plt.close(figure)
    return path


def table(verdicts: Verdicts) -> str:
    """A line for each class: how many, recall, precision, and what it is mostly taken for."""
    width = max(len(name) for name in (*verdicts.classes, "class"))
    lines = [f"{'class':{width}} {'samples':>8} {'recall':>8} {'precision':>10}  mostly taken for"]
    for number, name in enumerate(verdicts.classes):
        row = verdicts.confusion[number].copy()
        samples, row[number] = row.sum(), 0
        other = f"{verdicts.classes[int(row.argmax())]} ({row.max()})" if row.any() else ""
        recall, precision = _percent(verdicts.recall[number]), _percent(verdicts.precision[number])
        lines.append(f"{name:{width}} {samples:8} {recall:>8} {precision:>10}  {other}".rstrip())
    lines.append(
        f"{'all':{width}} {len(verdicts.kinds):8} {verdicts.accuracy:8.1%}             "
        f"calibration error {verdicts.calibration_error:.3f}"
    )
    return "\n".join(lines)


def draw_confusion(
    axis: Any,
    verdicts: Verdicts,
    down: str = "true",
    across: str = "called",
    margins: tuple[str, str] = ("recall", "precision"),
) -> None:
    """Shares of each true class, with counts in the cells; a further column and row tell recall and precision."""
    counts, count = verdicts.confusion, len(verdicts.classes)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    shown = np.full((count + 1, count + 1), np.nan)
    shown[:count, :count] = share
    axis.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    for row in range(count):
        for column in range(count):
            if counts[row, column]:
                ink = "white" if share[row, column] > 0.55 else INK
                axis.text(column, row, counts[row, column], ha="center", va="center", fontsize=9, color=ink)
        axis.text(count, row, _percent(verdicts.recall[row]), ha="center", va="center", fontsize=9, color=LINE)
        axis.text(row, count, _percent(verdicts.precision[row]), ha="center", va="center", fontsize=9, color=LINE)
    names = [*verdicts.classes]
    axis.set_xticks(range(count + 1), [*names, margins[0]], rotation=40, ha="right", rotation_mode="anchor", fontsize=9)
    axis.set_yticks(range(count + 1), [*names, margins[1]], fontsize=9)
    axis.set_xlabel(across, fontsize=9)
    axis.set_ylabel(down, fontsize=9)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _calibration(axis: Any, verdicts: Verdicts) -> None:
    """Share called right against confidence; bars say how many samples have it."""
    found = verdicts.calibration
    most = max((count for *_, count in found), default=1)
    axis.bar([c for c, *_ in found], [n / most for *_, n in found], width=0.06, color=BAR, label="samples")
    axis.plot([0, 1], [0, 1], color="#6e7478", linestyle="--", linewidth=1, label="true confidence")
    axis.plot([c for c, *_ in found], [r for _, r, _ in found], color=LINE, marker="o", markersize=4, label="found")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("confidence", fontsize=9)
    axis.set_ylabel("share called right", fontsize=9)
    axis.set_title(f"calibration error {verdicts.calibration_error:.3f}", fontsize=10)
    axis.legend(fontsize=8, loc="upper left", frameon=False)
    axis.set_box_aspect(1)


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.0%}"
