"""A run's curves: losses and held-out figures against images, as one picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

from waterscape.durable import replacing
from waterscape.training.events import read_events

Series = dict[str, list[tuple[int, float]]]
FLOOR = "floor: "  # of a figure: what true pictures in place of made ones give
HIDDEN = ("ceiling: ", "standard error")


def draw_curves(out: Path, title: str) -> Path:
    """Draw `curves.png` of a run from its events: one panel for each loss, held-out figure and figure of an evaluation.

    A dashed line is the figure that true pictures have; a red one, that the run went back there. Held-out figures of
    one name, such as a recall for each class, share a panel.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    events = read_events(out)
    curves, seen = series(events), {event["event"] for event in events if "figures" in event}
    went_back = [event["images"] for event in events if event["event"] == "rollback" and event["to"] is not None]
    floors = {name: curves.pop(FLOOR + name) for name in list(curves) if FLOOR + name in curves}
    panels = grouped(curves)
    columns = min(3, len(panels)) or 1
    rows = max(1, -(-len(panels) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 2.9 * rows), squeeze=False, layout="constrained")
    for axis, (name, parts) in zip(axes.flat, panels.items(), strict=False):
        learnt = not name.startswith(("held out", *seen))
        for part, points in sorted(parts.items()):
            colour = None if part else "#2668ab" if learnt else "#b5541c"
            axis.plot(
                *zip(*points, strict=True), color=colour, marker="o", markersize=2.5, linewidth=1.2, label=part or None
            )
        values = [value for points in parts.values() for _, value in points]
        if len(parts) > 1:
            axis.legend(fontsize=6, frameon=False, ncols=2)
        for images in went_back:
            axis.axvline(images, color="#cc2e29", linewidth=0.8, alpha=0.6)
        if name in floors:
            axis.plot(*zip(*floors[name], strict=True), color="#6e7478", linestyle="--", linewidth=1)
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.25)
        axis.set_xlabel("images", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
        if min(values) > 0 and max(values) / min(values) > 20:
            axis.set_yscale("log")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    figure.suptitle(title, fontsize=12)
    path = out / "curves.png"
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
    plt.close(figure)
    return path


def grouped(curves: Series) -> dict[str, Series]:
    """Panel → label → points: `held out: recall: lake` and `held out: recall: river` make one panel of two lines."""
    panels: dict[str, Series] = defaultdict(dict)
    for name, points in curves.items():
        group, _, part = name.rpartition(": ")
        is_part = group.startswith("held out: ")
        panels[group if is_part else name][part if is_part else ""] = points
    return dict(panels)


def series(events: Iterable[Mapping[str, Any]]) -> Series:
    """Curve → points (images, value), of a run's events; a figure's floor is a curve `floor: …` of its own."""
    curves: Series = defaultdict(list)
    for event in events:
        if event["event"] == "report":
            for name, value in event["losses"].items():
                curves[name].append((event["images"], value))
        elif event["event"] == "picture":
            for name, value in event["measured"].items():
                curves[f"held out: {name}"].append((event["images"], value))
        elif "figures" in event:  # of a watcher, such as the evaluation
            for name, value in event["figures"].items():
                if not any(word in name for word in HIDDEN):
                    floor = FLOOR if name.startswith(FLOOR) else ""
                    curves[f"{floor}{event['event']}: {name.removeprefix(FLOOR)}"].append((event["images"], value))
    return dict(curves)
