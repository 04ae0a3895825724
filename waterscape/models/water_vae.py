"""Variational autoencoder of water occurrence: 64×64 tiles ↔ a latent vector of 16 numbers.

Source: the water generator's VAE (encoder 208 792 and decoder 127 737 parameters; squared error + KL, L2 of 0.01 on the
encoder and the decoder's dense layer, 0.02 on the transposed convolutions). The source leaves open the weighting (here
the evidence bound: squared error summed over a tile, plus KL), the optimizer (Adam, 0.001) and the batch.

Command, on two cores some minutes:
    waterscape train water_vae:reference --data shards/water --out runs/vae --images 20000

`recommended` against `reference`, held-out synthetic tiles, after 60 s of one core each, six pairs of equal seed, five
trials each before (`python tools/compare_presets.py water_vae --seconds 60 --seeds 6 --trials 5 --trial-seconds 20`,
1 758 tiles, machine busy): squared error 0.033 against 0.056 (difference −0.043 … −0.003), SSIM 0.46 against
0.25 (0.03 … 0.39), kernel distance of new tiles 23 against 88 (−133 … 4: undecided). It makes 2.3 times as many images
a second.

Which shapes survive, on 400 tiles of `tools/make_world.py --seed 11`, after 12 000 images (26 s of one core):
    waterscape judge runs/vae runs/shapes --new 64
shape_classifier (8000 images, `--balance shape.npy`) calls 30 of the 32 test tiles right, and 3 of those still when
they are decoded: to it nearly all blurred bodies are wetlands, and deltas are coasts. So are 69 % and 27 % of 64 new
tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle

from waterscape.nn.augment import turn_and_mirror
from waterscape.nn.blocks import glorot
from waterscape.nn.losses import gaussian_divergence, kernel_penalty, squared_error
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Progress, Recipe

LATENT = 16


class Encoder(nn.Module):
    """Tile (N 1 64 64, 0..1) → mean and log-variance of its latent vector (N 16 each).

    Squares of `fold` pixels a side are the first layer's channels (space to depth; Shi 2016, arXiv:1609.05158).
    """

    def __init__(self, widths: tuple[int, ...], fold: int = 1) -> None:
        super().__init__()
        self.fold = fold
        layers: list[nn.Module] = []
        before = fold**2
        for width, stride in zip(widths, strides(len(widths), fold), strict=True):
            layers += [nn.Conv2d(before, width, 3, stride=stride, padding=1), nn.ReLU()]
            before = width
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * before, 128), nn.ReLU())
        self.mean = nn.Linear(128, LATENT)
        self.log_variance = nn.Linear(128, LATENT)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.body(pixel_unshuffle(image, self.fold))
        return self.mean(seen), self.log_variance(seen)


class Decoder(nn.Module):
    """Latent vector (N 16) → tile (N 1 64 64, 0..1)."""

    def __init__(self, widths: tuple[int, ...], fold: int = 1) -> None:
        super().__init__()
        before = widths[-1]
        layers: list[nn.Module] = [nn.Linear(LATENT, 16 * before), nn.ReLU(), nn.Unflatten(1, (before, 4, 4))]
        for width, stride in zip(reversed(widths), reversed(strides(len(widths), fold)), strict=True):
            up = nn.ConvTranspose2d(before, width, 3, stride=stride, padding=1, output_padding=stride - 1)
            layers += [up, nn.ReLU()]
            before = width
        # The source's text gives this layer stride 2, which would make 128×128.
        last = nn.ConvTranspose2d(before, fold**2, 3, padding=1)
        self.body = nn.Sequential(*layers, last, nn.PixelShuffle(fold), nn.Sigmoid())

    def forward(self, latent: Tensor) -> Tensor:
        image: Tensor = self.body(latent)
        return image


def strides(layers: int, fold: int) -> list[int]:
    """2 where a layer of the encoder halves its picture: spread evenly, early, from 64 pixels, folded, down to 4."""
    halvings = {1: 4, 2: 3, 4: 2, 8: 1}.get(fold, layers + 1)
    if layers < halvings:
        raise ValueError(f"--fold {fold} with {layers} --widths: fold 1, 2, 4 or 8 with 4, 3, 2 or 1 widths at least")
    return [1 + (-(-(n + 1) * halvings // layers) > -(-n * halvings // layers)) for n in range(layers)]


@dataclass(frozen=True)
class WaterVAE(Recipe):
    """Options of the water VAE."""

    widths: tuple[int, ...] = (8, 8, 16, 16, 32, 32, 64, 64)
    """Channels of the encoder's convolutions; the decoder's are the reverse."""
    fold: int = 1
    """Squares of so many pixels a side are the first layer's channels: 1, 2, 4 or 8."""
    learning_rate: float = 1e-3
    """Of Adam."""
    warm_up_images: int = 0
    """The rate rises linearly over so many images."""
    l2_dense: float = 0.01
    """λ of λ·Σw² on the encoder's kernels and the decoder's dense kernel."""
    l2_transposed: float = 0.02
    """λ of λ·Σw² on the decoder's transposed convolutions."""
    error_weight: float = 1.0
    """On the squared error."""
    divergence_weight: float = 1.0
    """β on the KL term."""
    free_nats: float = 0.0
    """Each latent number costs at least this, so that none is given up early (Kingma 2016, arXiv:1606.04934)."""
    turns: bool = False
    """Show each tile in a random one of its eight orientations."""
    average_images: int = 0
    """Half-life of the running average of the weights, which is shown, measured and sampled; 0: none is kept."""

    def inputs(self) -> Mapping[str, Input]:
        return {"image": Input("occurrence64.npy", (1, 64, 64), stored=(0, 100))}

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        return {
            "encoder": glorot(Encoder(self.widths, self.fold)),
            "decoder": glorot(Decoder(self.widths, self.fold)),
        }

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("bound", ("encoder", "decoder"), self.bound),)

    def bound(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The negative evidence bound, plus the penalty on kernels."""
        image = turn_and_mirror(batch["image"], draw) if self.turns else batch["image"]
        mean, log_variance = networks["encoder"](image)
        latent = mean + torch.exp(0.5 * log_variance) * draw.normal("latent", LATENT)
        error = squared_error(networks["decoder"](latent), image)
        divergence = gaussian_divergence(mean, log_variance)
        charged = gaussian_divergence(mean, log_variance, self.free_nats) if self.free_nats else divergence
        loss = self.error_weight * error + self.divergence_weight * charged
        parts = {"squared error": error, "divergence": divergence}
        if self.l2_dense or self.l2_transposed:
            dense = {nn.Conv2d: self.l2_dense, nn.Linear: self.l2_dense}
            penalty = kernel_penalty(networks["encoder"], dense)
            penalty = penalty + kernel_penalty(
                networks["decoder"], {nn.Linear: self.l2_dense, nn.ConvTranspose2d: self.l2_transposed}
            )
            parts["penalty"] = penalty
            loss = loss + penalty
        return {"loss": loss, **parts}

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)

    def rate(self, name: str, progress: Progress) -> float:
        return min(1.0, (progress.images + 1) / self.warm_up_images) if self.warm_up_images else 1.0

    def averages(self) -> Mapping[str, float]:
        return dict.fromkeys(("encoder", "decoder"), self.average_images) if self.average_images else {}

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Held-out tiles, their reconstructions, and new tiles from fixed noise."""
        mean, _ = networks["encoder"](batch["image"])
        return {
            "true": batch["image"],
            "reconstructed": networks["decoder"](mean),
            "new": networks["decoder"](draw.normal("latent", LATENT)),
        }

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Of the reconstruction from the latent mean: squared and absolute error per pixel (0..1), and the KL term."""
        image = batch["image"]
        mean, log_variance = networks["encoder"](image)
        error = networks["decoder"](mean) - image
        return {
            "squared error per pixel": error.square().mean((1, 2, 3)).sum(),
            "absolute error per pixel": error.abs().mean((1, 2, 3)).sum(),
            "divergence": gaussian_divergence(mean, log_variance) * len(image),
        }

    def reconstruct(self, networks: Networks, batch: Batch) -> Tensor:
        mean, _ = networks["encoder"](batch["image"])
        image: Tensor = networks["decoder"](mean)
        return image

    def draw_latent(self, draw: Draw) -> Tensor:
        return draw.normal("latent", LATENT)

    def generate(self, networks: Networks, latent: Tensor, classes: Tensor) -> Tensor:
        image: Tensor = networks["decoder"](latent)
        return image


SEARCH = {"batch": (8, 16, 32, 64), "learning_rate": (5e-4, 1e-3, 2e-3, 4e-3), "error_weight": (0.25, 1.0, 4.0, 16.0)}
"""What the source leaves open: where to look, the same for each preset, when two are compared."""

PRESETS = {
    "reference": WaterVAE(),
    "recommended": WaterVAE(
        widths=(64, 64),
        fold=4,
        learning_rate=2e-3,
        warm_up_images=1000,
        l2_dense=0,
        l2_transposed=0,
        free_nats=0.25,
        turns=True,
        average_images=2000,
    ),
}
