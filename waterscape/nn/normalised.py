"""Pictures as networks want them: each channel with mean 0 and variance 1, about."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of red, green, blue in 0..1


class Normalised(nn.Module):
    """N C H W, less `mean` (C), by `deviation` (C): N C H W. As they stand, what networks trained on ImageNet want."""

    def __init__(self, mean: Sequence[float] = IMAGENET[0], deviation: Sequence[float] = IMAGENET[1]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        normalised: Tensor = (image - self.mean) / self.deviation  # type: ignore[operator]
        return normalised
