"""Enlarged pictures that reduce to what they were made of, by construction."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation


def reduced(high: Tensor, factor: int) -> Tensor:
    """The mean of every block of factor × factor pixels: N C fH fW → N C H W."""
    return F.avg_pool2d(high, factor)


def conserved(high: Tensor, low: Tensor) -> Tensor:
    """Pictures (N C fH fW, in 0..1) changed so that each block has its low pixel (N C H W, in 0..1) as its mean.

    A block that is too bright is scaled towards 0, one that is too dark towards 1. So all stays in 0..1 and in its
    order, and each pixel has a gradient, which clamping would take from it.
    """
    factor = high.shape[2] // low.shape[2]
    smallest = torch.finfo(high.dtype).tiny
    mean = reduced(high, factor)
    down = low / mean.clamp(min=smallest)
    up = (1 - low) / (1 - mean).clamp(min=smallest)
    too_bright = mean > low
    scale, least = torch.where(too_bright, down, up), torch.where(too_bright, 0.0, 1 - up)
    return (repeated(least, factor) + high * repeated(scale, factor)).clamp(0, 1)  # of rounding


def repeated(low: Tensor, factor: int) -> Tensor:
    """Every pixel as a block of factor × factor: N C H W → N C fH fW."""
    return low.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def whole_percent(high: NDArray[np.floating], low: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A conserved picture (fH fW, in 0..1) in whole percent, each block's mean exactly its low pixel (H W, percent).

    Of each block all values are rounded down, and those with the largest remainders then up, as many as the sum wants.
    """
    (height, width), factor = low.shape, high.shape[0] // low.shape[0]
    parts = 100 * high.astype(np.float64).reshape(height, factor, width, factor).transpose(0, 2, 1, 3)
    blocks = parts.reshape(height, width, factor**2)
    whole = np.floor(blocks).astype(np.int64)
    missing = low.astype(np.int64) * factor**2 - whole.sum(2)
    rank = np.argsort(np.argsort(whole - blocks, axis=2, kind="stable"), axis=2, kind="stable")
    whole += rank < missing[:, :, None]
    assert (whole.sum(2) == low.astype(np.int64) * factor**2).all(), "the picture is conserved up to rounding"
    found: NDArray[np.uint8] = whole.reshape(height, width, factor, factor).transpose(0, 2, 1, 3).astype(np.uint8)
    return found.reshape(height * factor, width * factor)
