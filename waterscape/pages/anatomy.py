"""A training step as a picture: how long each part takes, and how long it must take on this machine at least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

from waterscape.durable import replacing

INK, FAINT, TAKEN, LEAST = "#262c34", "#8a9098", "#519fc9", "#123a7c"


@dataclass(frozen=True)
class Part:
    """Of a step, in seconds: of the clock, of the processor, and the least that its work can take (0: not known).

    `taken` is the one of the first two that the least is a share of. `flops` and `bytes` are those of its `operations`.
    """

    name: str
    wall: float
    processor: float
    taken: float
    operations: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    least: float = 0.0


def draw_anatomy(path: Path, title: str, parts: Sequence[Part]) -> Path:
    """Write the picture (PNG): a bar for each part, and within it the least time. Returns its path."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    whole = sum(part.wall for part in parts)
    figure, axes = plt.subplots(figsize=(9, 1.4 + 0.36 * len(parts)), layout="constrained")
    places = range(len(parts), 0, -1)
    axes.barh(places, [1e3 * part.wall for part in parts], height=0.66, color=TAKEN, label="taken")
    axes.barh(places, [1e3 * part.least for part in parts], height=0.26, color=LEAST, label="least, by the roofline")
    for place, part in zip(places, parts, strict=True):
        told = f" {1e3 * part.wall:.3g} ms, {part.wall / whole:.0%}"
        axes.text(1e3 * max(part.wall, part.least), place, told, va="center", fontsize=8.5, color=INK)
    axes.set_yticks(list(places), [part.name for part in parts], fontsize=9, color=INK)
    axes.set_xlim(0, 1.22e3 * max(max(part.wall, part.least) for part in parts))
    axes.set_xlabel("milliseconds a step", fontsize=9, color=INK)
    axes.set_title(f"{title}: {1e3 * whole:.3g} ms a step", loc="left", fontsize=10.5, color=INK)
    axes.tick_params(length=0, colors=FAINT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, loc="lower right", labelcolor=INK)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, metadata={"Title": title})
    plt.close(figure)
    return path
