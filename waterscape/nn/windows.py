"""Large pictures through a network that enlarges, window by window, within the memory of one window."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

INSIDE = 192
"""Pixels a side of what each window contributes."""
MARGIN = 32
"""Pixels around it that a window sees besides: where a network sees no farther, no seam is left."""


def in_windows(enlarge: Callable[[Tensor], Tensor], low: Tensor, inside: int = INSIDE, margin: int = MARGIN) -> Tensor:
    """What `enlarge` makes of the whole picture: N C H W → N C fH fW."""
    height, width = low.shape[2:]
    rows = []
    for top in range(0, height, inside):
        row = []
        for left in range(0, width, inside):
            above, before = min(top, margin), min(left, margin)
            window = low[..., top - above : top + inside + margin, left - before : left + inside + margin]
            made = enlarge(window)
            factor = made.shape[2] // window.shape[2]
            kept = made[..., factor * above :, factor * before :]
            row.append(kept[..., : factor * inside, : factor * inside])
        rows.append(torch.cat(row, 3))
    return torch.cat(rows, 2)
