"""Augmentation on the device, batched: its parameters come from a `Draw`, so it is the same on any number of ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from waterscape.randomness import Draw


def turn_and_mirror(images: Tensor, draw: Draw) -> Tensor:
    """Each picture (N C S S, square) in one of its eight orientations: water seen from above has no upright."""
    which = draw.integers("orientation", 8)
    return orient_by_rows(images, which) if images.device.type == "cpu" else orient_by_place(images, which)


def orient_by_rows(images: Tensor, which: Tensor) -> Tensor:
    """Each picture in the orientation `which` (N) of eight: those of one together, as a processor is quick at."""
    turned = torch.empty_like(images)
    for orientation in range(8):
        rows = (which == orientation).nonzero().squeeze(1)
        turned[rows] = _oriented(images[rows], orientation)
    return turned


def orient_by_place(images: Tensor, which: Tensor) -> Tensor:
    """As `orient_by_rows`, but the host need not know which rows: on a GPU it would wait for the answer."""
    count, channels, side, _ = images.shape
    place = torch.arange(side**2, device=images.device).view(1, 1, side, side)
    places = torch.cat([_oriented(place, orientation).flatten(1) for orientation in range(8)])
    each = places[which][:, None].expand(count, channels, -1)
    return images.flatten(2).gather(2, each).view_as(images)


def _oriented(images: Tensor, orientation: int) -> Tensor:
    turned = torch.rot90(images, orientation % 4, (2, 3))
    return turned.flip(3) if orientation >= 4 else turned


def cut(images: Tensor, top: Tensor, left: Tensor, side: int) -> Tensor:
    """Of each picture (N C H W) the square of that side whose corner is there (N each): N C side side."""
    places = torch.arange(side, device=images.device)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    rows, columns = (top[:, None] + places)[:, :, None], (left[:, None] + places)[:, None, :]
    return images[each, :, rows, columns].permute(0, 3, 1, 2)
