"""A small fully convolutional network that calls each pixel water or land by what lies within three pixels of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

MARGIN = 3
"""Pixels at each edge that its output is short of its input."""


class PixelNetwork(nn.Module):
    """Bands N C H W → scores N 2 (H − 6) (W − 6), of water and of land; softmax makes probabilities of them.

    conv 3 × 3 → 16, conv 3 × 3 → 32, beside it the input; conv 3 × 3 → 64, beside it the input; conv 1 × 1 → 128,
    conv 1 × 1 → 2; no padding, so a patch of 7 × 7 pixels gives one pixel and a raster gives a raster.
    """

    def __init__(self, bands: int = 8, widths: tuple[int, int, int, int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.first = nn.Conv2d(bands, first, 3)
        self.second = nn.Conv2d(first, second, 3)
        self.third = nn.Conv2d(second + bands, third, 3)
        self.fourth = nn.Conv2d(third + bands, fourth, 1)
        self.last = nn.Conv2d(fourth, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The scores; channel 0 is water."""
        y = torch.relu(self.second(torch.relu(self.first(x))))
        y = torch.relu(self.third(torch.cat([y, x[:, :, 2:-2, 2:-2]], 1)))
        y = torch.relu(self.fourth(torch.cat([y, x[:, :, 3:-3, 3:-3]], 1)))
        scores: Tensor = self.last(y)
        return scores
