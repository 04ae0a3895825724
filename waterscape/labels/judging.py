"""What a correction is worth: by a mask made by hand, and by how much of known noise it takes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.metrics.segmentation import Confusion, confusion
from waterscape.sources.landsat.bands import UNKNOWN, WATER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NONE = Confusion(0, 0, 0, 0)
FIGURES = ("accuracy", "iou", "f1", "precision", "recall")


@dataclass(frozen=True)
class Judged:
    """Two labels of one or more tiles held against a third."""

    before: Confusion = NONE
    """Of the label that was given."""
    after: Confusion = NONE
    """Of the corrected one."""

    def __add__(self, other: Judged) -> Judged:
        return Judged(self.before + other.before, self.after + other.after)

    def facts(self) -> dict[str, Any]:
        """The figures and the counts, plain JSON; what is a ratio of nothing is None."""
        return {
            name: {figure: _plain(getattr(one, figure)) for figure in FIGURES} | asdict(one)
            for name, one in (("before", self.before), ("after", self.after))
        }


@dataclass(frozen=True)
class Recovery:
    """What became of known noise, in pixels of one or more tiles."""

    flipped: int = 0
    """Labels that the noise changed."""
    recovered: int = 0
    """Of these, those that the correction changed back."""
    right: int = 0
    """Labels that the noise left alone."""
    spoiled: int = 0
    """Of these, those that the correction changed."""
    judged: Judged = Judged()
    """The noised and the corrected label held against the clean one."""

    def __add__(self, other: Recovery) -> Recovery:
        return Recovery(
            self.flipped + other.flipped,
            self.recovered + other.recovered,
            self.right + other.right,
            self.spoiled + other.spoiled,
            self.judged + other.judged,
        )

    def facts(self) -> dict[str, Any]:
        """The shares and the figures, plain JSON; what is a ratio of nothing is None."""
        return {
            "flipped": self.flipped,
            "flipped recovered": _plain(self.recovered / self.flipped if self.flipped else np.nan),
            "right spoiled": _plain(self.spoiled / self.right if self.right else np.nan),
            **self.judged.facts(),
        }


def judge(before: NDArray[np.uint8], after: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Judged:
    """Both labels of a tile (H W) where they and the truth are known."""
    known = (before != UNKNOWN) & (after != UNKNOWN) & (truth != UNKNOWN)
    wet = truth == WATER
    return Judged(confusion(before == WATER, wet, known), confusion(after == WATER, wet, known))


def recovery(clean: NDArray[np.uint8], noised: NDArray[np.uint8], corrected: NDArray[np.uint8]) -> Recovery:
    """What a correction made of noise on a tile (H W)."""
    known = clean != UNKNOWN
    flipped = known & (noised != clean)
    right = known & ~flipped
    wrong = corrected != clean
    pixels = {"flipped": flipped, "recovered": flipped & ~wrong, "right": right, "spoiled": right & wrong}
    counts = {name: int(np.count_nonzero(some)) for name, some in pixels.items()}
    return Recovery(**counts, judged=judge(noised, corrected, clean))


def table(rows: Sequence[tuple[str, Confusion]]) -> str:
    """A line of figures for each label."""
    width = max(len(name) for name, _ in rows)
    lines = [f"{'':{width}} " + " ".join(f"{figure:>9}" for figure in FIGURES)]
    lines += [
        f"{name:{width}} " + " ".join(f"{_told(getattr(one, figure)):>9}" for figure in FIGURES) for name, one in rows
    ]
    return "\n".join(lines)


def recovery_table(rows: Sequence[tuple[str, Recovery]]) -> str:
    """A line for each noise."""
    width = max(len("noise (synthetic)"), *(len(name) for name, _ in rows))
    lines = [f"{'noise (synthetic)':{width}}  flipped  recovered  right spoiled  IoU before  IoU after"]
    for name, one in rows:
        back = one.recovered / one.flipped if one.flipped else np.nan
        lost = one.spoiled / one.right if one.right else np.nan
        before, after = one.judged.before.iou, one.judged.after.iou
        lines.append(
            f"{name:{width}} {one.flipped:8} {_told(back):>10} {_told(lost):>14} {_told(before):>11} {_told(after):>10}"
        )
    return "\n".join(lines)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _told(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"
