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
SYNTHETIC = "noise (synthetic)"
BEFORE_AND_AFTER = ("accuracy before", "after", "IoU before", "after")


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
    by_hand: Judged = Judged()
    """Both held against masks by hand: what is "right" above may be wrong itself. Of nothing where there are none."""

    def __add__(self, other: Recovery) -> Recovery:
        return Recovery(
            self.flipped + other.flipped,
            self.recovered + other.recovered,
            self.right + other.right,
            self.spoiled + other.spoiled,
            self.judged + other.judged,
            self.by_hand + other.by_hand,
        )

    def facts(self) -> dict[str, Any]:
        """The shares and the figures, plain JSON; what is a ratio of nothing is None."""
        return {
            "flipped": self.flipped,
            "flipped recovered": _plain(self.recovered / self.flipped if self.flipped else np.nan),
            "right spoiled": _plain(self.spoiled / self.right if self.right else np.nan),
            **self.judged.facts(),
            "judged by truth.npy": self.by_hand.facts(),
        }


def judge(before: NDArray[np.uint8], after: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Judged:
    """Both labels of a tile (H W) where they and the truth are known."""
    known = (before != UNKNOWN) & (after != UNKNOWN) & (truth != UNKNOWN)
    wet = truth == WATER
    return Judged(confusion(before == WATER, wet, known), confusion(after == WATER, wet, known))


def recovery(
    clean: NDArray[np.uint8],
    noised: NDArray[np.uint8],
    corrected: NDArray[np.uint8],
    truth: NDArray[np.uint8] | None = None,
) -> Recovery:
    """What a correction made of noise on a tile (H W); `truth` is its mask by hand."""
    known = clean != UNKNOWN
    flipped = known & (noised != clean)
    right = known & ~flipped
    wrong = corrected != clean
    pixels = {"flipped": flipped, "recovered": flipped & ~wrong, "right": right, "spoiled": right & wrong}
    counts = {name: int(np.count_nonzero(some)) for name, some in pixels.items()}
    by_hand = Judged() if truth is None else judge(noised, corrected, truth)
    return Recovery(**counts, judged=judge(noised, corrected, clean), by_hand=by_hand)


def table(rows: Sequence[tuple[str, Confusion]]) -> str:
    """A line of figures for each label."""
    width = max(len(name) for name, _ in rows)
    lines = [f"{'':{width}} " + " ".join(f"{figure:>9}" for figure in FIGURES)]
    lines += [
        f"{name:{width}} " + " ".join(f"{_told(getattr(one, figure)):>9}" for figure in FIGURES) for name, one in rows
    ]
    return "\n".join(lines)


def recovery_table(rows: Sequence[tuple[str, Recovery]]) -> str:
    """A line for each noise; and another, held against masks by hand, where there are any."""
    titles = ("flipped", "recovered", "right spoiled", *BEFORE_AND_AFTER)
    told = [(name, [str(one.flipped), *map(_told, (*_shares(one), *_pairs(one.judged)))]) for name, one in rows]
    lines = ["held against the labels without noise:", *_lines(titles, told)]
    if any(one.by_hand != Judged() for _, one in rows):
        by_hand = [(name, [_told(value) for value in _pairs(one.by_hand)]) for name, one in rows]
        lines += ["held against masks by hand, which nothing was learnt from:", *_lines(BEFORE_AND_AFTER, by_hand)]
    return "\n".join(lines)


def _shares(one: Recovery) -> tuple[float, float]:
    return one.recovered / one.flipped if one.flipped else np.nan, one.spoiled / one.right if one.right else np.nan


def _pairs(judged: Judged) -> tuple[float, ...]:
    return judged.before.accuracy, judged.after.accuracy, judged.before.iou, judged.after.iou


def _lines(titles: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    width = max(len(SYNTHETIC), *(len(name) for name, _ in rows))
    heads = [f"{title:>6}" for title in titles]
    lines = []
    for name, cells in [(SYNTHETIC, heads), *rows]:
        aligned = (f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        lines.append("  ".join((f"{name:{width}}", *aligned)))
    return lines


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


def _told(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.4f}"
