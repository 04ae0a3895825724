"""Generator and discriminator that double and halve the picture from layer to layer.

Source: DCGAN (Radford 2016, arXiv:1511.06434).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from waterscape.nn.batchnorm import GlobalBatchNorm2d

Normalisation = Literal["batch", "group", "none"]
"""batch: over the global batch, as published. group: within each picture, the same in training and in use. none."""

GROUPS = 8


class Generator(nn.Module):
    """Noise (N D) → picture (N 3 S S, −1..1), S = start · 2^doublings; the last hidden layer has `width` channels."""

    def __init__(self, latent: int, width: int, start: int, doublings: int, normalisation: Normalisation) -> None:
        super().__init__()
        self.latent = latent
        after = width * 2 ** (doublings - 1)
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent, after, start, bias=False), _norm(after, normalisation)]
        for _ in range(doublings - 1):
            before, after = after, after // 2
            up = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            layers += [nn.ReLU(), up, _norm(after, normalisation)]
        last = nn.ConvTranspose2d(after, 3, 4, stride=2, padding=1, bias=False)
        self.body = nn.Sequential(*layers, nn.ReLU(), last, nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        """N D → N 3 S S."""
        picture: Tensor = self.body(noise[:, :, None, None])
        return picture


class Discriminator(nn.Module):
    """Picture (N 3 S S, −1..1) → logit (N) that it is true, S = end · 2^halvings; `width` channels at first."""

    def __init__(self, width: int, end: int, halvings: int, normalisation: Normalisation) -> None:
        super().__init__()
        biased = normalisation == "none"  # a norm's own shift takes a bias's place
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1, bias=biased), nn.LeakyReLU(0.2)]
        before = width
        for _ in range(halvings - 1):
            after = 2 * before
            down = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=biased)
            layers += [down, _norm(after, normalisation), nn.LeakyReLU(0.2)]
            before = after
        self.body = nn.Sequential(*layers, nn.Conv2d(before, 1, end, bias=biased), nn.Flatten(0))

    def forward(self, picture: Tensor) -> Tensor:
        """N 3 S S → N."""
        logit: Tensor = self.body(picture)
        return logit


def _norm(channels: int, normalisation: Normalisation) -> nn.Module:
    if normalisation == "batch":
        return GlobalBatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels) if normalisation == "group" else nn.Identity()
