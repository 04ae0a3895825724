"""Costs against sizes, the straight line that each should follow, and the picture of them (R5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Numbers = NDArray[np.float64]
FEW = 10  # sizes below are named on the axis each
Law = Literal["line", "flat", "free"]


@dataclass(frozen=True)
class Series:
    """One kind of cost, an entry a size, and its law: a fixed cost and one an item of the size, or flat, or none.

    Of a rate the costs are those of an image, and `over` says, from sizes, of how much in a second they are taken: 1 s,
    or that of each core in use. The picture shows the rate.
    """

    sizes: tuple[int, ...]
    costs: Numbers
    law: Law
    over: Callable[[Numbers], Numbers] | None = None

    def line(self, at: Numbers | None = None) -> Numbers:
        """What the law says at each size: fitted by relative error, or the median."""
        sizes = np.array(self.sizes, float)
        at = sizes if at is None else at
        if self.law == "flat":
            return np.full(len(at), np.median(self.costs))
        laws = np.stack([np.ones(len(sizes)), sizes], 1)
        (fixed, each), _ = nnls(laws / self.costs[:, None], np.ones(len(sizes)))  # neither cost is below nothing
        return np.asarray(fixed + each * at)

    def above(self) -> float:
        """The largest cost over its line's; of a rate, the line's over the smallest."""
        return float((self.costs / self.line()).max())

    def shown(self, costs: Numbers, at: Numbers) -> Numbers:
        """Costs as the picture has them: themselves, or the rate they allow."""
        return costs if self.over is None else self.over(at) / costs


@dataclass(frozen=True)
class Column:
    """All that was measured by one kind of size; `across` says which."""

    across: str
    series: dict[str, Series]

    def __getitem__(self, name: str) -> Series:
        return self.series[name]


def draw(columns: Sequence[Column], rows: Mapping[str, Sequence[str]], inks: Mapping[str, str], path: Path) -> None:
    """Dots on their lines, all axes logarithmic: a row for each kind of cost, the series whose names begin so."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator

    whole = plt.figure(figsize=(11, 10), layout="constrained")
    for part, (up, names) in zip(whole.subfigures(len(rows), 1, squeeze=False).flat, rows.items(), strict=True):
        axes = part.subplots(1, len(columns), sharey=True)
        for column, axis in zip(columns, axes, strict=True):
            for name, series in column.series.items():
                if not name.startswith(tuple(names)):
                    continue
                at, across = np.array(series.sizes, float), np.geomspace(series.sizes[0], series.sizes[-1], 100)
                if series.law != "free":
                    line = series.shown(series.line(across), across)
                    axis.plot(across, line, color=inks[name], linewidth=1.2, alpha=0.7)
                axis.plot(at, series.shown(series.costs, at), "o", color=inks[name], markersize=5, label=name)
            axis.set(xscale="log", yscale="log", xlabel=column.across)
            if at[-1] < FEW:
                axis.set_xticks(at, [f"{size:g}" for size in at])
                axis.xaxis.set_minor_locator(NullLocator())
            axis.grid(alpha=0.25)
        axes[0].set_ylabel(up)
        named = {label: dots for axis in axes for dots, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        part.legend(named.values(), named.keys(), loc="outside upper center", ncols=len(named), frameon=False)
    whole.savefig(path, dpi=120)
    plt.close(whole)
