"""The rules by which a tile of water occurrence is unfit for training, each with what it means and its thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WRONG_SIZE, EMPTY, ALL_WATER, STRIPE, SEAM = REASONS = (
    "wrong size",
    "practically empty",
    "all water",
    "constant stripe",
    "straight seam",
)
LACKS_NEIGHBOURS, ZONE_EDGE = "lacks neighbours", "next UTM zone"  # of tiles that are cut anew
REASONS_OF_CUTS = (LACKS_NEIGHBOURS, ZONE_EDGE, EMPTY, ALL_WATER, STRIPE, SEAM)


@dataclass(frozen=True)
class Rules:
    """When a tile is dropped. The first rule that holds gives the reason."""

    min_cover: float = 0.2
    """Practically empty: the mean occurrence of the tile is under so many percent."""
    max_water: float = 99.5
    """All water: more than so many percent of the pixels are water at least half of the time."""
    stripe_lines: int = 8
    """Constant stripe: up to so many whole rows or columns hold one value, unlike the lines beside them; 0: no rule."""
    stripe_share: float = 20.0
    """Constant stripe: both neighbouring lines differ from it, the same way, in so many percent of their pixels."""
    seam_length: float = 40.0
    """Straight seam: a jump runs exactly along the pixel grid for so many percent of the tile's side."""
    seam_jump: int = 10
    """Straight seam and constant stripe: how many percent of occurrence count as a jump."""
    seam_calm: float = 25.0
    """Straight seam: beside the jump, occurrence changes by at most so many percent of it. Shores that happen to run
    straight are blurred over several pixels; a seam is not."""


USUAL_RULES = Rules()


def reason_to_drop(
    occurrence: NDArray[np.uint8], rules: Rules, exported: NDArray[np.uint8] | None = None
) -> str | None:
    """Why a tile (H W, percent) is unfit: one of `REASONS`, or None. Its size is not looked at.

    Stripes and seams run along the pixels of the export. Where the tile was cut anew from another grid, `exported` is
    the same ground as it was exported, and they are looked for there.
    """
    if occurrence.mean() < rules.min_cover:
        return EMPTY
    if np.mean(occurrence >= 50) > rules.max_water / 100:
        return ALL_WATER
    signed = (occurrence if exported is None else exported).astype(np.int16)
    if _has_stripe(signed, rules) or _has_stripe(signed.T, rules):
        return STRIPE
    if _has_seam(signed, rules) or _has_seam(signed.T, rules):
        return SEAM
    return None


def _has_stripe(occurrence: NDArray[np.int16], rules: Rules) -> bool:
    """Whether some rows hold one value from edge to edge and both rows beside them lie above it, or both below."""
    values = occurrence[:, 0]
    constant = (occurrence == values[:, None]).all(axis=1)
    goes_on = constant[1:] & constant[:-1] & (values[1:] == values[:-1])  # row k + 1 is as row k
    for first in np.flatnonzero(constant[1:] & ~goes_on) + 1:
        last = first
        while last < len(goes_on) and goes_on[last]:
            last += 1
        if last == len(goes_on) or last - first >= rules.stripe_lines:
            continue
        beside = occurrence[[first - 1, last + 1]] - values[first]
        dips = (beside >= rules.seam_jump).all(axis=0)
        rises = (beside <= -rules.seam_jump).all(axis=0)
        if max(dips.mean(), rises.mean()) >= rules.stripe_share / 100:
            return True
    return False


def _has_seam(occurrence: NDArray[np.int16], rules: Rules) -> bool:
    """Whether the step from one column to the next is a lone jump of one sign for a long run of rows."""
    steps = np.diff(occurrence, axis=1)
    size = np.abs(steps)
    length = max(1, min(len(steps), round(len(steps) * rules.seam_length / 100)))
    often = np.flatnonzero(np.count_nonzero(size >= rules.seam_jump, axis=0) >= length)
    if not often.size:
        return False
    padded = np.pad(size, ((0, 0), (1, 1)))
    beside = np.maximum(padded[:, often], padded[:, often + 2])
    lone = beside <= size[:, often] * (rules.seam_calm / 100)
    for sign in (1, -1):
        jumps = lone & (sign * steps[:, often] >= rules.seam_jump)
        counted = np.pad(np.cumsum(jumps, axis=0, dtype=np.int32), ((1, 0), (0, 0)))
        if (counted[length:] - counted[:-length] == length).any():
            return True
    return False
