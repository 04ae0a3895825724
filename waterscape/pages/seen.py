"""How a classifier sees a whole set: examples of each class, a map of where it sees the samples, classes by region."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

from waterscape.data.pictures import read_stacked
from waterscape.durable import replacing
from waterscape.metrics.classification import Verdicts
from waterscape.sheet import save_png, sheet
from waterscape.training.exhibit import as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.data.samples import Samples
    from waterscape.recipe import Recipe

SHOWN = 12  # examples of a class
COLOURS = ("#2668ab", "#5fb0c9", "#b5541c", "#e39b57", "#7a4fa3", "#c95d9b", "#3c8a4f", "#a9b83a", "#8f9499", "#d4b52a")


def draw_examples(
    recipe: Recipe, samples: Samples, verdicts: Verdicts, path: Path, title: str, facts: dict[str, str]
) -> Path:
    """Draw, for each class, the samples that are called so with most confidence, and those labelled otherwise."""
    rows = {}
    for number, name in enumerate(verdicts.classes):
        mine = np.flatnonzero(verdicts.called == number)
        mine = mine[np.argsort(-verdicts.confidence[mine], kind="stable")]
        wrong = mine[verdicts.kinds[mine] != number]
        for label, chosen in ((f"{name}\n{len(mine)} called so", mine), (f"not labelled\n{name}: {len(wrong)}", wrong)):
            if len(chosen):
                rows[label] = _pictures(recipe, samples, chosen[:SHOWN])
    save_png(sheet(rows, title=title, columns=SHOWN), path, **facts)
    return path


def draw_seen(
    verdicts: Verdicts,
    flat: NDArray[np.float64],
    regions: Sequence[str],
    path: Path,
    title: str,
    facts: dict[str, str] | None = None,
) -> Path:
    """Draw the map (`flat`, N 2) coloured by class, and each region's shares of classes by label and by call."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6), width_ratios=(1, 1), layout="constrained")
    for number, name in enumerate(verdicts.classes):
        some = verdicts.kinds == number
        if some.any():
            left.scatter(*flat[some].T, s=12, color=COLOURS[number % len(COLOURS)], label=name, linewidths=0)
    other = verdicts.called != verdicts.kinds
    left.scatter(
        *flat[other].T, s=34, facecolors="none", edgecolors="#262c34", linewidths=0.6, label="called otherwise"
    )
    left.set_title("where it sees them (two main directions), coloured by label", fontsize=10)
    left.set_xticks([])
    left.set_yticks([])
    left.legend(fontsize=8, frameon=False, markerscale=1.5)
    _shares(right, verdicts, np.array(regions))
    figure.suptitle(title, fontsize=12)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata=facts)
    plt.close(figure)
    return path


def _shares(axis: Any, verdicts: Verdicts, regions: NDArray[Any]) -> None:
    """Two bars a region: shares of classes by label, and as the network calls them."""
    names = sorted(set(regions.tolist()))
    for place, region in enumerate(names):
        for shift, calls in ((-0.2, verdicts.kinds), (0.2, verdicts.called)):
            start = 0.0
            counts = np.bincount(calls[regions == region], minlength=len(verdicts.classes))
            for number, share in enumerate(counts / counts.sum()):
                colour = COLOURS[number % len(COLOURS)]
                axis.barh(place + shift, share, 0.34, left=start, color=colour)
                start += share
    axis.set_yticks(range(len(names)), [f"{name}\n{(regions == name).sum()}" for name in names], fontsize=9)
    axis.set_xlim(0, 1)
    axis.invert_yaxis()
    axis.set_title("share of each class by region: above as labelled, below as called", fontsize=10)
    axis.spines[:].set_visible(False)


def _pictures(recipe: Recipe, samples: Samples, numbers: NDArray[np.int64]) -> NDArray[Any]:
    import torch

    entry = recipe.inputs()[recipe.pictured()]
    sizes = {entry.column: entry.picture} if entry.picture else {}
    stored = read_stacked(samples, numbers.tolist(), [entry.column], sizes)
    samples.close()
    return as_array(entry.numbers(stored[entry.column], torch.float32))
