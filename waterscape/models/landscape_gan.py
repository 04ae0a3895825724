"""GAN of landscape photos: four numbers → a photo of 128×128.

Source: the landscape generator of "What would an observer see here?" (generator 11 213 696 and discriminator 11 164 416
parameters; batch 64). Its sigmoid is part of the loss here. There the discriminator won outright and the generator grew
worse after its peak.

`recommended` keeps the networks' shape and the four numbers. The discriminator sees augmented photos alone, is smoothed
by R1 and has no normalisation; the generator is normalised within each picture, and its averaged weights are used.
`small` is the same at 64×64 and a quarter of the width, for a CPU; `reference --side 64 --width 16` its counterpart.

Command, 128×128 for a GPU:
    waterscape train landscape_gan:reference --data shards/scenes --out runs/landscapes
    waterscape train landscape_gan:small --data shards/scenes --out runs/small --batch 16 --images 30000
    waterscape train landscape_gan:reference --side 64 --width 16 --data shards/scenes --out runs/counterpart --batch 16
Pairs of tools/pack_pairs.py: --columns jpg=photo.jpg

Result of one run each on 490 real photos of 150×150, one core, 100 to 250 images/s; held out 105, whose kernel distance
to the photos trained on is -0.06 and to noise 550 (± 0.2 for each, small's last two ± 0.45):
    images                             5008  10000  20000  40000  60000  80000 100000 120000 160000 200000
    small, kernel distance              1.6    1.3    0.8    0.6    0.1    0.3    0.3    0.4    0.6    1.0
    its counterpart                     134    107    6.6    2.2    1.5    0.7    0.8    0.4
    the same, --learning-rate 4e-4       46    9.4    4.1    3.1    2.6    1.6
    small, discriminator's accuracy    0.54   0.55   0.55   0.54   0.55   0.54   0.54   0.55   0.56   0.57
    its counterpart's                  1.00   1.00   0.96   0.92   0.94   0.93   0.97   0.96
    the same, --learning-rate 4e-4     1.00   1.00   0.99   0.94   0.99   0.98
So the first weakness is cured: the discriminator never wins, and `small` is as near after 20 000 images as its
counterpart after 80 000. To the eye it gets better to the end (skies over shores, hills, woods in autumn), where the
counterpart is still a pattern of dots at 120 000.

The second weakness, a fall after the peak, was not seen in the counterpart, one run each. At `small`'s rate it comes to
2.7 at 30 000 images and stays there: 1.6 to 3.1 at each look until 90 000, three times as many, over which `small` goes
on to 0.3. At 1e-3 it swings (7 at 15 000, 106 at 20 000, 2.4 at 55 000). On 105 photos (packed with --shares
0.15,0.15,0.7) at 4e-4 its discriminator is right on 0.99 and more at most looks, and yet it gets slowly nearer: 2.9 at
25 000, 1.2 to 1.6 from 55 000 to 75 000, all of it in the pattern of dots. `small` itself, in its one run, rises from
0.1 at 60 000 to 1.0 (± 0.45) at 200 000: a small fall after its peak. The full size was not trained.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from waterscape.nn.differentiable import mirrored
from waterscape.nn.doubling import Discriminator, Generator, Normalisation
from waterscape.nn.picture_gan import PictureGAN
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Networks, Progress

START = 4
"""Pixels a side of the generator's first layer and of what the discriminator's last one sees."""


@dataclass(frozen=True)
class LandscapeGAN(PictureGAN):
    """Options of the landscape GAN."""

    latent: ClassVar[int] = 4

    side: Literal[16, 32, 64, 128, 256] = 128
    """Of a photo in pixels."""
    width: int = 64
    """Channels of the generator's last hidden and the discriminator's first layer."""
    generator_normalisation: Normalisation = "batch"
    """Between the generator's layers."""
    discriminator_normalisation: Normalisation = "batch"
    """Between the discriminator's layers."""
    learning_rate: float = 1e-4
    """Of Adam, both networks."""
    moments: tuple[float, float] = (0.9, 0.999)
    """Adam's β₁ and β₂."""
    decay: float = 0.8
    """What the generator's rate is multiplied with at each of `decay_epochs`."""
    decay_epochs: tuple[int, ...] = (100, 200, 300, 400)
    """The epochs at which the generator's rate decays (MultiStepLR)."""
    decay_every: int = 0
    """Epochs between two decays of the generator's rate, for ever (StepLR), in place of `decay_epochs`; 0: those."""
    mirrors: bool = False
    """Mirror each true photo left to right, or not, by chance."""

    def inputs(self) -> Mapping[str, Input]:
        return {"image": Input("jpg", (3, self.side, self.side), stored=(0, 255), range=(-1, 1))}

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        doublings = int(math.log2(self.side // START))
        return {
            "generator": Generator(self.latent, self.width, START, doublings, self.generator_normalisation),
            "discriminator": Discriminator(self.width, START, doublings, self.discriminator_normalisation),
        }

    def true_pictures(self, batch: Batch, draw: Draw) -> Tensor:
        return mirrored(batch["image"], draw) if self.mirrors else batch["image"]

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate, betas=self.moments, fused=True)

    def rate(self, name: str, progress: Progress) -> float:
        """The generator's alone decays, by whole epochs."""
        if name != "generator":
            return 1.0
        epoch = int(progress.epochs)
        decays = (
            epoch // self.decay_every if self.decay_every else bisect.bisect_right(sorted(self.decay_epochs), epoch)
        )
        return float(self.decay**decays)


CURED: dict[str, Any] = {
    "augment": ("colour", "translation", "cutout"),
    "gradient_penalty": 1.0,
    "half_life_images": 10_000,
    "generator_normalisation": "group",
    "discriminator_normalisation": "none",
    "learning_rate": 2e-4,
    "moments": (0.0, 0.99),
    "decay_epochs": (),
    "mirrors": True,
}
SMALL: dict[str, Any] = {"side": 64, "width": 16, "learning_rate": 4e-4}

BATCH = {"reference": 64}
"""Images a step as the source states them; `--batch` overrides."""

PRESETS = {"reference": LandscapeGAN(), "recommended": LandscapeGAN(**CURED), "small": LandscapeGAN(**CURED | SMALL)}
