"""What generators of pictures from noise share: a discriminator's descent, a generator's, R1 between, pictures.

Source: Goodfellow 2014, arXiv:1406.2661, with the generator's non-saturating loss. What a model is published with goes
into its own file; what keeps a discriminator from learning a small data set by heart stands here, off unless asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from waterscape.nn.differentiable import Kind, augmented
from waterscape.nn.losses import gradient_penalty, judged_false, judged_true
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Losses, Networks, Phase, Recipe


@dataclass(frozen=True)
class PictureGAN(Recipe):
    """A generator of pictures (N 3 H W, −1..1) from noise, and a discriminator: networks of these names."""

    latent: ClassVar[int]
    """Numbers of noise for a picture."""

    augment: tuple[Kind, ...] = ()
    """Differentiable augmentation of all that the discriminator sees: colour, translation, cutout."""
    gradient_penalty: float = 0.0
    """γ of R1 on true pictures; 0 leaves it out."""
    gradient_penalty_every: int = 8
    """Steps between two descents of R1."""
    half_life_images: float = 0.0
    """Half-life of the averaged generator, in images; 0 keeps no average."""

    def phases(self) -> tuple[Phase, ...]:
        """Discriminator, R1 where wanted, generator."""
        phases = [Phase("discriminator", ("discriminator",), self.judge)]
        if self.gradient_penalty:
            phases.append(Phase("penalty", ("discriminator",), self.smooth, every=self.gradient_penalty_every))
        return (*phases, Phase("generator", ("generator",), self.deceive))

    def true_pictures(self, batch: Batch, draw: Draw) -> Tensor:  # noqa: ARG002 what draws overrides it
        """The batch's pictures, in any orientation in which they are as true."""
        return batch["image"]

    def logits(self, networks: Networks, pictures: Tensor, draw: Draw, which: str) -> Tensor:
        """What the discriminator says (N) of pictures as it gets to see them; `which` names them for the draws."""
        found: Tensor = networks["discriminator"](augmented(pictures, draw, which, self.augment))
        return found

    def loss_on_true(self, logits: Tensor, draw: Draw) -> Tensor:  # noqa: ARG002 as above
        """The discriminator's loss on true pictures."""
        return judged_true(logits)

    def loss_on_made(self, logits: Tensor, draw: Draw) -> Tensor:  # noqa: ARG002 as above
        """The discriminator's loss on made pictures."""
        return judged_false(logits)

    def judge(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The discriminator's loss on true and made pictures, each seen as a batch of its own, summed."""
        with torch.no_grad():
            pictures = networks["generator"](draw.normal("noise for the discriminator", self.latent))
        on_true = self.logits(networks, self.true_pictures(batch, draw), draw, "true")
        on_made = self.logits(networks, pictures, draw, "made for the discriminator")
        true, made = self.loss_on_true(on_true, draw), self.loss_on_made(on_made, draw)
        told = 0.5 * ((on_true > 0).float().mean() + (on_made < 0).float().mean())
        return {"loss": true + made, "true": true, "made": made, "accuracy": told.detach()}

    def smooth(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """R1 on true pictures as the discriminator gets to see them."""
        pictures = augmented(self.true_pictures(batch, draw), draw, "true", self.augment).detach().requires_grad_()
        return {"loss": self.gradient_penalty * gradient_penalty(networks["discriminator"](pictures), pictures)}

    def deceive(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:  # noqa: ARG002 a phase's loss gets it
        """The generator's non-saturating loss."""
        pictures = networks["generator"](draw.normal("noise for the generator", self.latent))
        return {"loss": judged_true(self.logits(networks, pictures, draw, "made for the generator"))}

    def averages(self) -> Mapping[str, float]:
        """The generator's, where wanted."""
        return {"generator": self.half_life_images} if self.half_life_images else {}

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """True pictures, and new ones from fixed noise."""
        classes = torch.zeros(len(draw), dtype=torch.int64, device=draw.numbers.device)
        return {"true": _shown(batch["image"]), "new": self.sample(networks, draw, classes)}

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Share of held-out pictures that the discriminator takes for true: low where it knows its own by heart."""
        return {"held-out pictures taken for true": (networks["discriminator"](batch["image"]) > 0).float().sum()}

    def draw_latent(self, draw: Draw) -> Tensor:
        """The generator's noise."""
        return draw.normal("noise", self.latent)

    def generate(self, networks: Networks, latent: Tensor, classes: Tensor) -> Tensor:  # noqa: ARG002 it knows none
        """New pictures."""
        return _shown(networks["generator"](latent))


def _shown(pictures: Tensor) -> Tensor:
    """−1..1 as 0..1."""
    return (pictures + 1) / 2
