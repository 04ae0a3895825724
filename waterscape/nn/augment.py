"""Augmentation on the device, batched: its parameters come from a `Draw`, so it is the same on any number of ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from waterscape.randomness import Draw


def turn_and_mirror(images: Tensor, draw: Draw) -> Tensor:
    """Each picture (N C S S, square) in one of its eight orientations: water seen from above has no upright."""
    which = draw.integers("orientation", 8)
    turned = torch.empty_like(images)
    for orientation in range(8):
        rows = (which == orientation).nonzero().squeeze(1)
        some = torch.rot90(images[rows], orientation % 4, (2, 3))
        turned[rows] = some.flip(3) if orientation >= 4 else some
    return turned


def cut(images: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Of each picture (N C H W) the square of that side whose corner is there (N each): N C side side."""
    places = torch.arange(side, device=images.device)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    rows, columns = (top[:, None] + places)[:, :, None], (left[:, None] + places)[:, None, :]
    return images[each, :, rows, columns].permute(0, 3, 1, 2)
