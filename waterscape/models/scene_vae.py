"""Autoencoder and VAE of landscape photos (150×150), which `waterscape judge` has a classifier look at.

Source: the landscape classifier's autoencoder (210 947 parameters) and convolutional VAE (12 859 523, latent 64). There
inputs were normalised as for ImageNet, which neither sigmoid nor tanh can answer, and the KL term was divided by all
pixels: here photos are in 0..1 and −1..1, and `reference` descends the evidence bound of a Gaussian with variance ½
(squared error plus β·KL). The source leaves the batch open.

`recommended` has latent maps from coarse to fine (`nn/ladder.py`), σ learned (Rybkin 2021, arXiv:2006.13202: with a
fixed σ far above the error, few nats are worth their price and all is blurred), views of the photos, averaged weights.

    waterscape train scene_vae --data shards/scenes --out runs/scene_vae --batch 16 --images 8000
    waterscape judge runs/scene_vae runs/scenes
Result, one run each, batch 16, one thread of a busy machine (18 images/s, `reference` 22). Held out:
    490 real photos, then 105 held out      images   squared error   bits per number   class survives
        reference                             4000          0.0403              8.06             27 %
        reference                             8000          0.0312              8.00             36 %
        recommended                           4000          0.0107              6.93             82 %
        autoencoder                           4000          0.0128                 –             82 %
    1470 synthetic scenes, then 315
        reference                             2512          0.0402              8.06             27 %
        recommended                           2512          0.0056              6.42             90 %
Errors are of 0..1. Bits are the evidence bound as a price for stored bytes; those of `reference` are spoilt by its σ.
Survival is judged by scene_classifier:small on test: 34 other real photos (22 are called right: a photo is 5 %), 315
synthetic scenes (292 called right). New pictures are poor with either: grey clouds, and texture without a scene in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from waterscape.nn.ladder import Ascent, Descent, map_sides
from waterscape.nn.losses import gaussian_divergence
from waterscape.nn.photo_views import Views
from waterscape.randomness import Draw, hash64
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Progress, Recipe

SIDE = 150
SEEN = (64, 32, 32)
"""C H W of what the published convolutions make of a photo: 65 536 numbers."""
NUMBERS = 3 * SIDE**2
STEP = 2 / 255
"""Between two neighbouring values of a stored pixel, in −1..1."""
VIEWS = Views(mirrored=0.5, area=(0.6, 1.0), brightness=0.2, black=False)


def published_encoder() -> nn.Sequential:
    """Three convolutions: N 3 150 150 → N 64 32 32 (150 → 75 → 38 → 32)."""
    first, second = nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.Conv2d(16, 32, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(32, 64, 7))


def published_decoder() -> nn.Sequential:
    """Three transposed convolutions: N 64 32 32 → N 3 150 150 (32 → 38 → 76 → 150), unbounded."""
    doubled = nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1)
    last = nn.ConvTranspose2d(16, 3, 3, stride=2, padding=2, output_padding=1)
    return nn.Sequential(nn.ConvTranspose2d(64, 32, 7), nn.ReLU(), doubled, nn.ReLU(), last)


class Encoder(nn.Module):
    """Photo (N 3 150 150, −1..1) → mean and log-variance of its latent vector (N D each)."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.body = nn.Sequential(published_encoder(), nn.Flatten())
        self.mean = nn.Linear(math.prod(SEEN), latent)
        self.log_variance = nn.Linear(math.prod(SEEN), latent)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(image)
        return self.mean(seen), self.log_variance(seen)


class Deviation(nn.Module):
    """→ the logarithm of σ, one number for all pixels (Rybkin 2021, arXiv:2006.13202)."""

    def __init__(self) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.tensor(-1.0))

    def forward(self) -> Tensor:
        return self.logarithm.clamp(min=-6)


@dataclass(frozen=True)
class SceneAutoencoder(Recipe):
    """Options of the autoencoder."""

    learning_rate: float = 1e-3
    """Of Adam."""
    weight_decay: float = 1e-5
    """Of Adam, added to the gradient."""

    def inputs(self) -> Mapping[str, Input]:
        return {"image": Input("jpg", (3, SIDE, SIDE), stored=(0, 255))}

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        return {"encoder": published_encoder(), "decoder": nn.Sequential(published_decoder(), nn.Sigmoid())}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("error", ("encoder", "decoder"), self.error),)

    def error(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """Mean squared error."""
        made = networks["decoder"](networks["encoder"](batch["image"]))
        return {"loss": (made - batch["image"]).square().mean()}

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        parameters = network.parameters()
        return torch.optim.Adam(parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Held-out photos and what becomes of them."""
        return {"held out": batch["image"], "reconstructed": self.reconstruct(networks, batch)}

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Squared and absolute error per number (0..1)."""
        return errors(self.reconstruct(networks, batch), batch["image"])

    def reconstruct(self, networks: Networks, batch: Batch) -> Tensor:
        made: Tensor = networks["decoder"](networks["encoder"](batch["image"]))
        return made


@dataclass(frozen=True)
class SceneVAE(Recipe):
    """Options of the VAE."""

    kind: Literal["vector", "ladder"] = "vector"
    """vector: the published networks. ladder: latent maps from coarse to fine."""
    latent: int = 64
    """Numbers in the latent vector."""
    widths: tuple[int, ...] = (24, 48, 96, 96, 96, 96, 96)
    """Channels of the ladder's maps, multiples of 8; their sides are 38, 19, 10, 5, 3, 2, 1."""
    latents: tuple[int, ...] = (4, 4, 8, 16, 16, 16, 32)
    """Channels of the ladder's latent maps."""
    beta: float = 1.0
    """β on the divergence (Higgins 2017, openreview Sy2fzU9gl); at 1 the evidence bound is descended."""
    deviation: float = math.sqrt(0.5)
    """σ of a pixel about the decoded one, in −1..1; 0: learned."""
    learning_rate: float = 1e-4
    """Of Adam."""
    deviation_rate: float = 1e-2
    """Of Adam, for ln σ."""
    warm_up_images: int = 0
    """The rate rises linearly over so many images."""
    average_images: int = 0
    """Half-life in images of a running average of the weights; 0: none is kept."""
    views: bool = False
    """Train on views of the photos: mirrored, cut, lighter and darker."""

    def inputs(self) -> Mapping[str, Input]:
        return {"image": Input("jpg", (3, SIDE, SIDE), stored=(0, 255), range=(-1, 1))}

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        learned = {} if self.deviation else {"deviation": Deviation()}
        if self.kind == "ladder":
            return {"encoder": Ascent(self.widths), "decoder": Descent(SIDE, self.widths, self.latents), **learned}
        unfold = nn.Sequential(nn.Linear(self.latent, math.prod(SEEN)), nn.ReLU(), nn.Unflatten(1, SEEN))
        decoder = nn.Sequential(unfold, published_decoder(), nn.Tanh())
        return {"encoder": Encoder(self.latent), "decoder": decoder, **learned}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("bound", ("encoder", "decoder", *(() if self.deviation else ("deviation",))), self.bound),)

    def decoded(self, networks: Networks, image: Tensor, draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Photos (N 3 S S, −1..1) → the same decoded, and the divergence (nats, mean over the batch).

        Latents come from the posterior by `draw`; without one they are its means.
        """
        if self.kind == "ladder":
            means = [image.new_zeros(len(image), *shape) for shape in self.latent_shapes()]
            noise = self.noise(draw) if draw else means
            made, nats = networks["decoder"](noise, networks["encoder"](image))
            return made, nats.mean()
        mean, log_variance = networks["encoder"](image)
        latent = mean + torch.exp(0.5 * log_variance) * self.noise(draw)[0] if draw else mean
        made = networks["decoder"](latent)
        return made, gaussian_divergence(mean, log_variance)

    def latent_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each latent, for one sample."""
        if self.kind == "vector":
            return [(self.latent,)]
        return [(z, s, s) for z, s in zip(self.latents, map_sides(SIDE, len(self.widths)), strict=True)]

    def noise(self, draw: Draw) -> list[Tensor]:
        """Standard normal numbers for each latent."""
        return [draw.normal(f"latent {level}", *shape) for level, shape in enumerate(self.latent_shapes())]

    def log_deviation(self, networks: Networks, like: Tensor) -> Tensor:
        """Ln σ."""
        if self.deviation:
            return like.new_full((), math.log(self.deviation))
        found: Tensor = networks["deviation"]()
        return found

    def parts(self, networks: Networks, image: Tensor, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        """Of photos: −ln p(photo | latents) of a Gaussian, and the divergence, in nats, means over the batch; ln σ."""
        made, divergence = self.decoded(networks, image, draw)
        log_deviation = self.log_deviation(networks, image)
        squared = (made - image).square().sum() / len(image)
        misfit = 0.5 * squared * torch.exp(-2 * log_deviation) + NUMBERS * (log_deviation + 0.5 * math.log(2 * math.pi))
        return misfit, divergence, log_deviation

    def bound(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The negative evidence bound with β, in nats."""
        image = 2 * VIEWS.of(0.5 + 0.5 * batch["image"], draw) - 1 if self.views else batch["image"]
        misfit, divergence, log_deviation = self.parts(networks, image, draw)
        loss = misfit + self.beta * divergence
        return {"loss": loss, "divergence": divergence, "deviation": log_deviation.exp()}

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        rate = self.deviation_rate if name == "deviation" else self.learning_rate
        return torch.optim.Adam(network.parameters(), lr=rate, fused=True)

    def rate(self, name: str, progress: Progress) -> float:
        return min(1.0, (progress.images + 1) / self.warm_up_images) if self.warm_up_images else 1.0

    def averages(self) -> Mapping[str, float]:
        return dict.fromkeys(("encoder", "decoder"), float(self.average_images)) if self.average_images else {}

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Held-out photos, the same decoded, and new ones from fixed noise."""
        return {
            "held out": 0.5 + 0.5 * batch["image"],
            "reconstructed": self.reconstruct(networks, batch),
            "new": self.sample(networks, draw, torch.zeros(len(draw), dtype=torch.int64)),
        }

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Errors of what is decoded from the latents' means (0..1), the divergence in nats, and the bound.

        The bound (β = 1) is told as the bits that a number of a photo, a byte, would be stored in. Its latents are
        drawn by fixed noise.
        """
        image = batch["image"]
        draw = Draw(hash64(0, "bound"), torch.arange(len(image), device=image.device), image.dtype)
        misfit, divergence, _ = self.parts(networks, image, draw)
        bits = ((misfit + divergence) / NUMBERS - math.log(STEP)) / math.log(2)
        found = errors(self.reconstruct(networks, batch), 0.5 + 0.5 * image)
        return {**found, "divergence": divergence * len(image), "bits per number": bits * len(image)}

    def reconstruct(self, networks: Networks, batch: Batch) -> Tensor:
        return 0.5 + 0.5 * self.decoded(networks, batch["image"], None)[0]

    def draw_latent(self, draw: Draw) -> Tensor:
        return torch.cat([level.flatten(1) for level in self.noise(draw)], 1)

    def generate(self, networks: Networks, latent: Tensor, classes: Tensor) -> Tensor:
        shapes = self.latent_shapes()
        levels = torch.split(latent, [math.prod(shape) for shape in shapes], 1)
        noise = [level.reshape(-1, *shape) for level, shape in zip(levels, shapes, strict=True)]
        made: Tensor = networks["decoder"](noise)[0] if self.kind == "ladder" else networks["decoder"](noise[0])
        return 0.5 + 0.5 * made


def errors(made: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Squared and absolute error per number, summed over the pictures (N C H W, 0..1)."""
    error = made - true
    return {
        "squared error per pixel": error.square().mean((1, 2, 3)).sum(),
        "absolute error per pixel": error.abs().mean((1, 2, 3)).sum(),
    }


PRESETS = {
    "autoencoder": SceneAutoencoder(),
    "reference": SceneVAE(),
    "recommended": SceneVAE(
        kind="ladder", deviation=0, learning_rate=1e-3, warm_up_images=1000, average_images=1000, views=True
    ),
}
