"""Extended GAN of water occurrence: its discriminator sees class, image and latent vector (64×64).

Source: the water generator's plan, never built there: a class-conditional bidirectional GAN (Donahue 2017,
arXiv:1605.09782; Dumoulin 2017, arXiv:1606.00704) with the VAE's encoder as the inference side. A true sample is
(class, tile, the tile's latent vector from the encoder). A false one is (a class, the tile made from noise by the VAE's
decoder, then a dense, then a convolutional network, that noise). The encoder stays frozen; the decoder starts from the
VAE and trains on, at `decoder_rate` times the generator's rate.

`reference` is the plan as it stands. `recommended` also calls a true tile with another class, or with another vector,
false (matching-aware: Reed 2016, arXiv:1605.05396), so that class and vector count; adds R1 (arXiv:1801.04406) and
averaged weights.

Command, on two cores some minutes:
    waterscape train water_gan --data shards/water --start vae=runs/vae --out runs/gan --images 20000
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.metrics.morphology import CLASSES
from waterscape.nn.augment import turn_and_mirror
from waterscape.nn.losses import gradient_penalty, judged_false, judged_true
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Recipe

LATENT = 16


class Generator(nn.Module):
    """The decoder's tile, the noise and the class → the tile: a dense, then a convolutional network.

    It draws on the decoder's tile (N 1 64 64, 0..1), seen at each of its three scales, and corrects its logit.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.kind = nn.Embedding(len(CLASSES), 16)
        self.dense = nn.Sequential(
            nn.Linear(LATENT + 16 + 256, 256), nn.LeakyReLU(0.2), nn.Linear(256, 256 * width), nn.LeakyReLU(0.2)
        )
        # Pixels are doubled, then convolved: transposed convolutions left stripes (Odena 2016,
        # doi:10.23915/distill.00003).
        self.coarse = nn.Sequential(_conv(width + 1, 2 * width), nn.Upsample(scale_factor=2))
        self.middle = nn.Sequential(_conv(2 * width + 1, width), nn.Upsample(scale_factor=2))
        self.fine = nn.Sequential(_conv(width + 1, width // 2), nn.Conv2d(width // 2, 1, 3, padding=1))

    def forward(self, drawn: Tensor, latent: Tensor, kind: Tensor) -> Tensor:
        half, quarter = F.avg_pool2d(drawn, 2), F.avg_pool2d(drawn, 4)
        facts = torch.cat([latent, self.kind(kind), quarter.flatten(1)], 1)
        seen = self.coarse(torch.cat([self.dense(facts).unflatten(1, (self.width, 16, 16)), quarter], 1))
        seen = self.middle(torch.cat([seen, half], 1))
        seen = self.fine(torch.cat([seen, drawn], 1))
        return torch.sigmoid(torch.logit(drawn, eps=0.01) + seen)


class Discriminator(nn.Module):
    """Class (N), tile (N 1 64 64, 0..1) and latent vector (N 16) → logit (N) that they belong together and are true.

    Several classes and vectors, k·N of them, are judged with the same N tiles at the price of seeing those once.
    Class and vector also meet the tile's features as inner products (Miyato & Koyama 2018, arXiv:1802.05637).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        before = 1
        for after in widths:
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            before = after
        self.image = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * before, 128), nn.LeakyReLU(0.2))
        self.kind = nn.Embedding(len(CLASSES), 128)
        self.vector = nn.Sequential(nn.Linear(LATENT, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128))
        self.joint = nn.Sequential(nn.Linear(3 * 128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def forward(self, kind: Tensor, image: Tensor, latent: Tensor) -> Tensor:
        seen = self.image(image).repeat(len(kind) // len(image), 1)
        named, meant = self.kind(kind), self.vector(latent)
        together = (seen * (named + meant)).sum(1) / math.sqrt(seen.shape[1])
        logit: Tensor = self.joint(torch.cat([seen, named, meant], 1)).squeeze(1) + together
        return logit


def _conv(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(0.2))


@dataclass(frozen=True)
class WaterGAN(Recipe):
    """Options of the extended water GAN."""

    starts: ClassVar[Mapping[str, str]] = {"vae": "water_vae"}

    width: int = 32
    """Channels of the generator's finest and the discriminator's first convolutions."""
    learning_rate: float = 2e-4
    """Of Adam, generator and discriminator."""
    decoder_rate: float = 0.1
    """The decoder's learning rate, as a share of the generator's; 0 freezes it."""
    first_moment: float = 0.5
    """Adam's β₁ (0.5: Radford 2016, arXiv:1511.06434)."""
    mismatched: float = 0.0
    """Share of the discriminator's false side that is true tiles with another class or another vector."""
    gradient_penalty: float = 0.0
    """γ of R1 on true tiles; 0 leaves it out."""
    gradient_penalty_every: int = 8
    """Steps between two descents of R1."""
    half_life_images: float = 0.0
    """Half-life of the averaged decoder and generator, in images; 0 keeps no average."""
    turns: bool = False
    """Show each true tile in a random one of its eight orientations."""

    def inputs(self) -> Mapping[str, Input]:
        return {
            "image": Input("occurrence64.npy", (1, 64, 64), stored=(0, 100)),
            "class": Input("shape.npy", classes=CLASSES),
        }

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        vae = starts["vae"]
        return {
            "encoder": vae["encoder"],
            "decoder": vae["decoder"],
            "generator": Generator(self.width),
            "discriminator": Discriminator(self.width),
        }

    def phases(self) -> tuple[Phase, ...]:
        phases = [Phase("discriminator", ("discriminator",), self.judge)]
        if self.gradient_penalty:
            phases.append(Phase("penalty", ("discriminator",), self.smooth, every=self.gradient_penalty_every))
        makers = ("decoder", "generator") if self.decoder_rate else ("generator",)
        return (*phases, Phase("generator", makers, self.deceive))

    def true_sample(self, networks: Networks, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Class, tile and a vector from the encoder's posterior of that tile."""
        image = turn_and_mirror(batch["image"], draw) if self.turns else batch["image"]
        with torch.no_grad():
            mean, log_variance = networks["encoder"](image)
        return batch["class"], image, mean + torch.exp(0.5 * log_variance) * draw.normal("posterior", LATENT)

    def false_sample(self, networks: Networks, kind: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class, the tile made of it and of the noise, and that noise as its vector."""
        return kind, networks["generator"](networks["decoder"](noise), noise, kind), noise

    def judge(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The discriminator's loss on true, made and (where wanted) mismatched samples."""
        kind, image, vector = self.true_sample(networks, batch, draw)
        with torch.no_grad():
            false = self.false_sample(networks, kind, draw.normal("noise for the discriminator", LATENT))
        kinds, vectors = [kind], [vector]
        if self.mismatched:
            # Another tile's vector is a draw from the prior, up to the VAE's KL; so no sample depends on its batch.
            others = (kind + 1 + draw.integers("other class", len(CLASSES) - 1)) % len(CLASSES)
            kinds += [others, kind]
            vectors += [vector, draw.normal("other vector", LATENT)]
        on_true, *on_mismatched = networks["discriminator"](torch.cat(kinds), image, torch.cat(vectors)).split(
            len(kind)
        )
        on_made = networks["discriminator"](*false)
        losses = {"true": judged_true(on_true), "made": judged_false(on_made), "accuracy": _accuracy(on_true, on_made)}
        loss = losses["true"] + (1 - self.mismatched) * losses["made"]
        for name, logits in zip(("other class", "other vector"), on_mismatched, strict=False):
            losses[name] = judged_false(logits)
            loss = loss + self.mismatched / 2 * losses[name]
        return {"loss": loss, **losses}

    def smooth(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """R1 on the true tiles."""
        kind, image, vector = self.true_sample(networks, batch, draw)
        image = image.detach().requires_grad_()
        logits = networks["discriminator"](kind, image, vector)
        return {"loss": self.gradient_penalty * gradient_penalty(logits, image)}

    def deceive(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The generator's non-saturating loss; the classes asked for are those of the batch."""
        noise = draw.normal("noise for the generator", LATENT)
        return {"loss": judged_true(networks["discriminator"](*self.false_sample(networks, batch["class"], noise)))}

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        rate = self.learning_rate * (self.decoder_rate if name == "decoder" else 1)
        return torch.optim.Adam(network.parameters(), lr=rate, betas=(self.first_moment, 0.99), fused=True)

    def averages(self) -> Mapping[str, float]:
        if not self.half_life_images:
            return {}
        return dict.fromkeys(("decoder", "generator") if self.decoder_rate else ("generator",), self.half_life_images)

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """True tiles, then for each class what it makes of the same fixed noise."""
        noise = draw.normal("noise", LATENT)
        rows = {"true": batch["image"]}
        for number, name in enumerate(CLASSES):
            rows[f"new {name}"] = self.false_sample(networks, torch.full_like(batch["class"], number), noise)[1]
        return rows

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Squared error per pixel of held-out tiles made again from their own class and latent mean."""
        made = self.reconstruct(networks, batch)
        return {"squared error per pixel": (made - batch["image"]).square().mean((1, 2, 3)).sum()}

    def reconstruct(self, networks: Networks, batch: Batch) -> Tensor:
        mean, _ = networks["encoder"](batch["image"])
        return self.false_sample(networks, batch["class"], mean)[1]

    def draw_latent(self, draw: Draw) -> Tensor:
        return draw.normal("noise", LATENT)

    def generate(self, networks: Networks, latent: Tensor, classes: Tensor) -> Tensor:
        return self.false_sample(networks, classes, latent)[1]

    def sample_classes(self) -> tuple[str, ...]:
        return CLASSES


def _accuracy(on_true: Tensor, on_false: Tensor) -> Tensor:
    """Share of true and made samples that the discriminator tells rightly."""
    return 0.5 * ((on_true > 0).float().mean() + (on_false < 0).float().mean()).detach()


PRESETS = {
    "reference": WaterGAN(),
    "recommended": WaterGAN(
        learning_rate=4e-4, mismatched=0.25, gradient_penalty=3.0, half_life_images=5000, turns=True
    ),
}
