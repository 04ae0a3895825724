"""A hierarchical VAE's networks: latent maps from coarse to fine, each one's prior made from the coarser ones.

Source: ladder VAE (Sønderby 2016, arXiv:1602.02282) in the form of Child 2021 (arXiv:2011.10650): the encoder goes up
to ever smaller maps; the decoder comes down, and at each size draws a latent map from its posterior, which sees the
encoder's map, or from its prior, which does not. Coarse maps hold what is in the picture, fine ones its texture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

GROUPS = 8


class Block(nn.Module):
    """N C H W → the same: normalise, then two 3 × 3 convolutions beside the identity, as which it starts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = faint(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        change: Tensor = self.second(F.silu(self.first(F.silu(self.norm(x)))))
        return x + change


class Ascent(nn.Module):
    """Picture (N 3 S S) → maps of `widths` channels, finest first; the finest has a quarter of the side, rounded up."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, stride=2, padding=2)
        self.downs = nn.ModuleList(
            nn.Conv2d(before, width, 3, stride=2, padding=1) for before, width in pairwise((widths[0], *widths))
        )
        self.blocks = nn.ModuleList(Block(width) for width in widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        seen, maps = self.stem(image), []
        for down, block in zip(self.downs, self.blocks, strict=True):
            seen = block(down(F.silu(seen)))
            maps.append(seen)
        return maps


class Descent(nn.Module):
    """Noise, and the encoder's maps or none → picture (N 3 S S, −1..1) and the divergence of each sample (N, nats).

    `widths` and `latents` are the channels of the maps and of their latent maps, finest first, as the `Ascent` has
    them. Without the encoder's maps the latent ones are drawn from the prior, and the divergence is zero.
    """

    def __init__(self, side: int, widths: Sequence[int], latents: Sequence[int]) -> None:
        super().__init__()
        self.side, self.sides, self.latents = side, map_sides(side, len(widths)), tuple(latents)
        self.places = nn.ParameterList(
            nn.Parameter(torch.zeros(1, w, s, s)) for w, s in zip(widths, self.sides, strict=True)
        )  # so that what stands above can differ from what stands below
        self.prior = nn.ModuleList(
            faint(nn.Conv2d(w, 2 * z, 3, padding=1)) for w, z in zip(widths, latents, strict=True)
        )
        self.posterior = nn.ModuleList(
            faint(nn.Conv2d(2 * w, 2 * z, 3, padding=1), 0.1) for w, z in zip(widths, latents, strict=True)
        )
        self.take = nn.ModuleList(nn.Conv2d(z, w, 1) for w, z in zip(widths, latents, strict=True))
        self.blocks = nn.ModuleList(Block(width) for width in widths)
        self.narrow = nn.ModuleList(nn.Conv2d(before, width, 1) for width, before in pairwise((*widths, widths[-1])))
        self.middle = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.last = nn.Conv2d(widths[0], 12, 3, padding=1)

    def forward(self, noise: Sequence[Tensor], maps: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """`noise`: N Z H W for each latent map, finest first, standard normal; zero where the means are wanted."""
        h = torch.zeros_like(self.places[-1]).expand(len(noise[0]), -1, -1, -1)
        divergence = noise[0].new_zeros(len(noise[0]))
        for level in reversed(range(len(self.sides))):
            h = F.interpolate(self.narrow[level](h), self.sides[level], mode="nearest") + self.places[level]
            mean, log_deviation = self.prior[level](F.silu(h)).chunk(2, 1)
            if maps is not None:
                shift, scale = self.posterior[level](F.silu(torch.cat([h, maps[level]], 1))).chunk(2, 1)
                # relative to the prior: KL = ½(e^{2s} + d² e^{−2p} − 1) − s
                divergence = divergence + (
                    0.5 * (torch.exp(2 * scale) + (shift * torch.exp(-log_deviation)).square() - 1) - scale
                ).sum((1, 2, 3))
                mean, log_deviation = mean + shift, log_deviation + scale
            latent = mean + torch.exp(log_deviation) * noise[level]
            h = self.blocks[level](h + self.take[level](latent))
        half = F.interpolate(h, (self.side + 1) // 2, mode="bilinear", align_corners=False)
        picture = F.pixel_shuffle(self.last(F.silu(self.middle(F.silu(half)))), 2)
        return torch.tanh(picture[..., : self.side, : self.side]), divergence


def map_sides(side: int, count: int) -> tuple[int, ...]:
    """Sides of an ascent's maps, finest first: from a quarter on, halved and rounded up each time."""
    sides = [-(-side // 2)]
    for _ in range(count):
        sides.append(-(-sides[-1] // 2))
    return tuple(sides[1:])


def faint(layer: nn.Conv2d, share: float = 0.0) -> nn.Conv2d:
    """The layer with its weights made smaller to a share, and no bias."""
    with torch.no_grad():
        layer.weight.mul_(share)
        assert layer.bias is not None
        layer.bias.zero_()
    return layer
