"""Photos as networks trained on ImageNet want them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of red, green, blue in 0..1


class Normalised(nn.Module):
    """Photo (N 3 H W, 0..1) → as networks trained on ImageNet want it: N 3 H W, mean 0 and variance 1 there."""

    def __init__(self) -> None:
        super().__init__()
        for name, values in zip(("mean", "deviation"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        normalised: Tensor = (image - self.mean) / self.deviation  # type: ignore[operator]
        return normalised
