"""DCGAN of satellite chips: noise of 80 numbers → 80×80 pixels.

Source: a walk-through in R and Keras, whose listing lost lines in reprints. `reference` is the full listing (generator
6 380 291, discriminator 668 929 parameters), `printed` what is left of it (4 741 635 and 452 353). Training as in the
book that it follows: RMSprop, gradients clipped by value, labels with noise, dropout before the discriminator's last
layer, batches of 20, 1000 steps. There, true is 0 and made is 1; here the other way round, which is the same.

`recommended` is a DCGAN of a quarter of the parameters and far less work, with what keeps a discriminator from
learning few chips by heart: augmentation of all that it sees, R1, and averaged weights of the generator.

Command, the listings for a GPU (80×80 convolutions 5×5 of 256 channels take seconds a chip on a CPU):
    waterscape train ship_gan:reference --data shards/ships --out runs/ships --images 20000
    waterscape train ship_gan --data shards/ships --out runs/ships --batch 16 --images 30000
strip.png of the run shows one fixed noise over the course of training.

Result, `recommended --width 16` on 1645 chips cut from three PlanetScope scenes without labels, one core, 56 chips/s:
after 5008 chips, in 90 s, dark water and bright shores with stripes of the transposed convolutions, no ships yet; the
discriminator is right on 0.60; kernel distance 26 ± 4 (chips of noise: 727). The listings at full width were not tried
for longer than some steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.nn import doubling
from waterscape.nn.augment import turn_and_mirror
from waterscape.nn.blocks import glorot
from waterscape.nn.differentiable import augmented
from waterscape.nn.picture_gan import PictureGAN
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Networks, Progress

SIDE = 80
LATENT = 80
SLOPE = 0.3  # of Keras' LeakyReLU
SURE = math.log((1 - 1e-7) / 1e-7)
"""The largest logit that counts: Keras keeps probabilities 10⁻⁷ away from 0 and 1. With noisy labels, which may lie
below 0, the loss would otherwise have no least value."""

Layout = Literal["full", "printed", "doubling"]


class Generator(nn.Module):
    """Noise (N 80) → chip (N 3 80 80, −1..1). `full`: LeakyReLU after every layer, and one more of them."""

    def __init__(self, width: int, *, full: bool) -> None:
        super().__init__()
        narrow, wide = 2 * width, 4 * width
        bend = nn.LeakyReLU(SLOPE) if full else nn.Identity()
        self.dense = nn.Sequential(nn.Linear(LATENT, width * 400), nn.LeakyReLU(SLOPE))
        layers = [nn.Unflatten(1, (width, 20, 20)), nn.Conv2d(width, narrow, 5, padding=2), bend]
        layers += [nn.ConvTranspose2d(narrow, narrow, 4, stride=2, padding=1), bend]
        layers += [nn.ConvTranspose2d(narrow, wide, 4, stride=2, padding=1), bend]
        for _ in range(2 if full else 1):
            layers += [nn.Conv2d(wide, wide, 5, padding=2), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers, nn.Conv2d(wide, 3, 7, padding=3), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        chip: Tensor = self.body(self.dense(noise))
        return chip


class Discriminator(nn.Module):
    """Chip (N 3 80 80, −1..1) → logit (N) that it is true. `full`: down to one pixel, LeakyReLU after every layer.

    `kept` (N × features) weighs what the last layer sees: dropout, drawn by whoever calls. No padding anywhere.
    """

    def __init__(self, width: int, *, full: bool) -> None:
        super().__init__()
        narrow, wide = 2 * width, 4 * width
        bend = nn.LeakyReLU(SLOPE) if full else nn.Identity()
        layers = [nn.Conv2d(3, wide, 4), bend, nn.Conv2d(wide, wide, 2, stride=2), bend]
        layers += [nn.Conv2d(wide, narrow, 2, stride=2), nn.LeakyReLU(SLOPE)]
        for _ in range(4 if full else 0):
            layers += [nn.Conv2d(narrow, narrow, 2, stride=2), nn.LeakyReLU(SLOPE)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.last = nn.Linear(features(width, full=full), 1)

    def forward(self, chip: Tensor, kept: Tensor | None = None) -> Tensor:
        seen = self.body(chip)
        logit: Tensor = self.last(seen if kept is None else seen * kept).squeeze(1)
        return logit


def features(width: int, *, full: bool) -> int:
    """Numbers that the discriminator's last layer sees: 80 → 77 → 38 → 19 pixels, and → 9 → 4 → 2 → 1 where full."""
    return 2 * width * (1 if full else 19 * 19)


@dataclass(frozen=True)
class ShipGAN(PictureGAN):
    """Options of the ship GAN."""

    latent: ClassVar[int] = LATENT

    layout: Layout = "full"
    """full, printed: the two forms of the listing. doubling: a DCGAN whose picture doubles from layer to layer."""
    width: int = 64
    """Channels of the first picture within the generator; other layers have 2 and 4 times as many. Of doubling: those
    of its last hidden layer."""
    optimiser: Literal["rmsprop", "adam"] = "rmsprop"
    """rmsprop: as Keras has it, ρ 0.9. adam: β₁ 0, β₂ 0.99."""
    discriminator_rate: float = 6e-4
    """The discriminator's learning rate."""
    generator_rate: float = 3e-4
    """The generator's learning rate."""
    clip: float = 1.0
    """No element of a gradient is larger than this, in magnitude; 0: as they are."""
    decay: float = 1e-7
    """Of the rates per step: rate / (1 + decay · step)."""
    label_noise: float = 0.5
    """The discriminator's labels miss 0 and 1 by up to so much, outwards for made chips, inwards for true ones."""
    dropout: float = 0.3
    """Share of what the discriminator's last layer sees that is dropped; not of doubling."""
    turns: bool = False
    """Show each true chip in a random one of its eight orientations."""

    def inputs(self) -> Mapping[str, Input]:
        return {"image": Input("image.npy", (3, SIDE, SIDE), stored=(0, 255), range=(-1, 1))}

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        if self.layout == "doubling":
            return {
                "generator": doubling.Generator(LATENT, self.width, 5, 4, "group"),
                "discriminator": doubling.Discriminator(self.width, 5, 4, "none"),
            }
        full = self.layout == "full"
        return {
            "generator": glorot(Generator(self.width, full=full)),
            "discriminator": glorot(Discriminator(self.width, full=full)),
        }

    def true_pictures(self, batch: Batch, draw: Draw) -> Tensor:
        return turn_and_mirror(batch["image"], draw) if self.turns else batch["image"]

    def logits(self, networks: Networks, pictures: Tensor, draw: Draw, which: str) -> Tensor:
        if self.layout == "doubling" or not self.dropout:
            return super().logits(networks, pictures, draw, which)
        drawn = draw.uniform(f"{which}: dropout", features(self.width, full=self.layout == "full"))
        kept = (drawn >= self.dropout).to(drawn.dtype) / (1 - self.dropout)
        found: Tensor = networks["discriminator"](augmented(pictures, draw, which, self.augment), kept)
        return found

    def loss_on_true(self, logits: Tensor, draw: Draw) -> Tensor:
        """Half, since the source's mean is over true and made chips together."""
        return 0.5 * cross_entropy(logits, 1 - self.label_noise * draw.uniform("label noise, true"))

    def loss_on_made(self, logits: Tensor, draw: Draw) -> Tensor:
        """Half, as `loss_on_true`."""
        return 0.5 * cross_entropy(logits, -self.label_noise * draw.uniform("label noise, made"))

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        rate = {"generator": self.generator_rate, "discriminator": self.discriminator_rate}[name]
        found: torch.optim.Optimizer
        if self.optimiser == "adam":
            found = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.0, 0.99), fused=True)
        else:
            found = torch.optim.RMSprop(network.parameters(), lr=rate, alpha=0.9, eps=1e-7)
        return clipped(found, self.clip) if self.clip else found

    def rate(self, name: str, progress: Progress) -> float:
        return 1 / (1 + self.decay * progress.steps)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Of labels that need not lie in 0..1 (N each), mean over the batch; no gradient beyond what Keras calls sure."""
    logits = logits.clamp(-SURE, SURE)
    return (F.softplus(logits) - labels * logits).mean()


def clipped(optimizer: torch.optim.Optimizer, most: float) -> torch.optim.Optimizer:
    """The optimizer, which from now on clips each element of the gradients to −most..most before it steps."""

    def clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            nn.utils.clip_grad_value_(group["params"], most)

    optimizer.register_step_pre_hook(clip)
    return optimizer


BATCH = {"reference": 20, "printed": 20}
"""Images a step as the source states them; `--batch` overrides."""

PRESETS = {
    "reference": ShipGAN(),
    "printed": ShipGAN(layout="printed"),
    "recommended": ShipGAN(
        layout="doubling",
        width=32,
        optimiser="adam",
        discriminator_rate=4e-4,
        generator_rate=4e-4,
        clip=0,
        decay=0,
        label_noise=0,
        dropout=0,
        augment=("colour", "translation", "cutout"),
        gradient_penalty=1.0,
        half_life_images=10_000,
        turns=True,
    ),
}
