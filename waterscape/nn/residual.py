"""Residual blocks for classifiers that are trained from scratch (He 2016, arXiv:1603.05027)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

GROUPS = 8


class Residual(nn.Module):
    """N C H W → N C′ H/2 W/2 (rounded up): normalise, ReLU and 3 × 3 convolution, twice, beside a 1 × 1 shortcut.

    Group normalisation (Wu & He 2018, arXiv:1803.08494): no sample's result depends on the others of its batch.
    """

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.first = nn.GroupNorm(GROUPS, before)
        self.down = nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False)
        self.second = nn.GroupNorm(GROUPS, width)
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(before, width, 1, bias=False)
        nn.init.zeros_(self.conv.weight)  # each block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        seen = F.relu(self.first(x))
        change: Tensor = self.conv(F.relu(self.second(self.down(seen))))
        kept: Tensor = self.shortcut(F.avg_pool2d(seen, 2, ceil_mode=True))
        return kept + change
