"""Enlarger of water occurrence: a tile of 64×64 → the same tile in 256×256.

The source planned "a network that improves image quality, 64×64 → 256×256" and never built it; it also asked whether
sinusoids can make convolution layers: `--harmonic 9` makes them so, and `nn/harmonic.py` answers. So `reference` is the
plainest network that does what was planned: residual blocks (Lim 2017, arXiv:1707.02921), finer pixels from channels
(Shi 2016, arXiv:1609.05158), absolute error and SSIM (Zhao 2017, doi:10.1109/TCI.2016.2644865), then a discriminator
besides (Ledig 2017, arXiv:1609.04802). `recommended` adds R1, averaged weights and turned tiles. Either reduces again
to its input, by construction: to 1e-6 in floating point, and exactly in the files of `waterscape enlarge`, so the
occurrence that a tile holds stays what it is, too.

On a synthetic world of 1200 tiles (tools/make_world.py --seed 7, packed by tools/pack_occurrence.py), one thread of a
busy machine, 8000 images at some 20 to 40 a second:
    waterscape train water_enlarger --data shards/water --out runs/enlarger --batch 8 --images 8000
    waterscape enlarge runs/enlarger tile.png
Its averaged weights on tiles that were held out, one seed:
                            101 synthetic tiles for test          79 real tiles, 128×128, reduced to 32×32
                            PSNR    SSIM   shoreline wet area     PSNR    SSIM   shoreline wet area
    first part alone (5600) 33.27   0.968  0.330 px  0.88 %       32.84   0.959  0.302 px  1.20 %
    both parts              33.46   0.968  0.326 px  0.81 %       33.02   0.961  0.292 px  1.15 %
    bicubic                 28.26   0.938  0.426 px  1.49 %       28.21   0.907  0.447 px  1.96 %
    bicubic conserved       28.98   0.949  0.486 px  1.32 %       28.85   0.926  0.551 px  1.41 %
Shoreline and wet area (error of the area within the 50 % line) as `metrics/enlargement.py` defines them. The expected
area of water is off by 0.04 %, which is the rounding of the given tile. Fine speckle that the given
tile does not show is not made up.

What the second part adds seems to be its lower rate: the discriminator adds nothing yet. Trained on forty real tiles,
one rate throughout, and asked for the other 39, 6000 images (--side 32 --adversarial-rate 1), PSNR, shoreline and wet
area are 33.13, 0.355 px and 0.79 % with it from 2000 images on, 33.11, 0.356 px and 0.77 % without, 33.08, 0.357 px and
0.75 % at ten times its weight; neighbouring pixels differ by 1.57 % of occurrence in each, where true ones do by 1.87.
After these 500 steps 0.56 of its verdicts are right. Longer ones were not tried.

Nearly all of the wet area's error on real tiles is of one sign (in a run like these 1.22 %, in sum -1.17 %; bicubic
-1.94 %): the synthetic world's shores are not quite real ones. Trained on real tiles and asked for others, whose ground
it has not seen (the 79 in the two halves of tests/models/test_water_enlarger.py, each in its turn; --side 32, the first
part alone, 4000 images), it keeps the area of a tile of 128×128 to 0.76 %, of four together, as large as one of
256×256, to 0.43 %, and of all to -0.14 %; PSNR is 32.5, SSIM 0.957, the shoreline's error 0.309 px. So where the area
counts, train on tiles like those to be enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.metrics import enlargement
from waterscape.nn.augment import cut, turn_and_mirror
from waterscape.nn.conserving import conserved
from waterscape.nn.harmonic import HarmonicConv2d
from waterscape.nn.losses import gradient_penalty, judged_false, judged_true, structural_dissimilarity
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Progress, Recipe

FACTOR = 4
FINE = 4
"""Channels in the enlarged picture's pixels, where a channel costs sixteen times as much."""
OURS = "enlarged"


class Enlarger(nn.Module):
    """N 1 H W, in 0..1 → N 1 4H 4W, in 0..1, whose blocks of 4 × 4 have the input's pixels as their means.

    Residual blocks without normalisation (Lim 2017, arXiv:1707.02921) see the coarse pixels; their channels become
    finer pixels (Shi 2016, arXiv:1609.05158) that correct the logit of the bicubic enlargement.
    """

    def __init__(self, width: int, blocks: int, harmonic: int) -> None:
        super().__init__()
        conv = partial(HarmonicConv2d, frequencies=harmonic) if harmonic else _plain
        self.head = conv(1, width)
        self.blocks = nn.ModuleList(Block(conv(width, width), conv(width, width)) for _ in range(blocks))
        self.finer = nn.Sequential(conv(width, FACTOR**2 * FINE), nn.PixelShuffle(FACTOR), nn.ReLU())
        self.fine = nn.Sequential(conv(FINE + 1, FINE), nn.ReLU(), conv(FINE, 1))

    def forward(self, low: Tensor) -> Tensor:
        first = seen = self.head(low)
        for block in self.blocks:
            seen = block(seen)
        smooth = enlargement.bicubic(low, FACTOR)
        correction = self.fine(torch.cat([self.finer(first + seen), smooth], 1))
        return conserved(torch.sigmoid(torch.logit(smooth, eps=0.01) + correction), low)


class Block(nn.Module):
    """N C H W → N C H W: the input and a correction of it."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        correction: Tensor = self.second(F.relu(self.first(x)))
        return x + correction


class Discriminator(nn.Module):
    """Tiles (N 1 H W, in 0..1) → logits (N H/8 W/8) that each part of them is true (Isola 2017, arXiv:1611.07004)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for after in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.layers(image).squeeze(1)
        return logits


def _plain(before: int, after: int) -> nn.Module:
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")


@dataclass(frozen=True)
class WaterEnlarger(Recipe):
    """Options of the enlarger."""

    side: Literal[16, 32, 64] = 64
    """Pixels a side of the tiles to enlarge, from the column occurrence<side>.npy; those of occurrence.npy have 4 ×."""
    window: int = 32
    """Pixels of the part of a tile that a training step sees, anywhere in it."""
    width: int = 32
    """Channels of the residual blocks."""
    blocks: int = 4
    """Residual blocks."""
    discriminator_width: int = 16
    """Channels of the discriminator's first layer."""
    harmonic: int = 0
    """Frequencies of the cosines that the kernels are made of, 1 to 9 (all); 0: ordinary convolutions."""
    learning_rate: float = 1e-3
    """Of Adam, both networks."""
    adversarial_rate: float = 0.3
    """Share of the rate that the enlarger has in the adversarial part."""
    warm_up_images: int = 1000
    """The rate rises linearly over so many images."""
    ssim_weight: float = 0.1
    """On 1 − SSIM, beside the absolute error."""
    adversarial_images: int = 5_600
    """Images after which the adversarial part begins."""
    adversarial_weight: float = 0.002
    """On the discriminator's verdict, beside absolute error and SSIM."""
    gradient_penalty: float = 0.0
    """γ of R1 on true tiles; 0 leaves it out."""
    gradient_penalty_every: int = 8
    """Steps between two descents of R1."""
    half_life_images: float = 0.0
    """Half-life of the averaged enlarger, in images; 0 keeps no average."""
    turns: bool = False
    """Show each tile in a random one of its eight orientations."""

    def inputs(self) -> Mapping[str, Input]:
        fine = FACTOR * self.side
        return {
            "high": Input("occurrence.npy", (1, fine, fine), stored=(0, 100)),
            "low": Input(f"occurrence{self.side}.npy", (1, self.side, self.side), stored=(0, 100)),
        }

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        return {
            "enlarger": Enlarger(self.width, self.blocks, self.harmonic),
            "discriminator": Discriminator(self.discriminator_width),
        }

    def phases(self) -> tuple[Phase, ...]:
        then = self.adversarial_images
        phases = [
            Phase("reconstruction", ("enlarger",), self.rebuild, until=then),
            Phase("discriminator", ("discriminator",), self.judge, since=then),
        ]
        if self.gradient_penalty:
            every = self.gradient_penalty_every
            phases.append(Phase("penalty", ("discriminator",), self.smooth, every=every, since=then))
        return (*phases, Phase("adversarial", ("enlarger",), self.deceive, since=then))

    def seen(self, batch: Batch, draw: Draw) -> tuple[Tensor, Tensor]:
        """Parts of the tiles, enlarged and as they are to be enlarged: N 1 4W 4W, N 1 W W."""
        high, low = batch["high"], batch["low"]
        if self.window < self.side:
            top, left = draw.integers("window", self.side - self.window + 1, 2).unbind(1)
            high, low = cut(high, FACTOR * top, FACTOR * left, FACTOR * self.window), cut(low, top, left, self.window)
        return (turn_and_mirror(high, draw), turn_and_mirror(low, draw)) if self.turns else (high, low)

    def rebuild(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """Absolute error and dissimilarity of the enlarged tiles."""
        high, low = self.seen(batch, draw)
        return self.errors(networks["enlarger"](low), high)

    def errors(self, made: Tensor, true: Tensor) -> dict[str, Tensor]:
        """The loss of the first part."""
        absolute, dissimilar = (made - true).abs().mean(), structural_dissimilarity(made, true)
        return {"loss": absolute + self.ssim_weight * dissimilar, "absolute error": absolute, "1 - SSIM": dissimilar}

    def judge(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The discriminator's loss on true and enlarged tiles."""
        high, low = self.seen(batch, draw)
        with torch.no_grad():
            made = networks["enlarger"](low)
        on_true, on_made = networks["discriminator"](high), networks["discriminator"](made)
        told = 0.5 * ((on_true > 0).float().mean() + (on_made < 0).float().mean())
        true, false = judged_true(on_true), judged_false(on_made)
        return {"loss": true + false, "true": true, "made": false, "accuracy": told}

    def smooth(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """R1 on the true tiles, for each part that is judged."""
        image = self.seen(batch, draw)[0].detach().requires_grad_()
        logits = networks["discriminator"](image).flatten(1)
        whole = logits.sum(1) / math.sqrt(logits.shape[1])
        return {"loss": self.gradient_penalty * gradient_penalty(whole, image)}

    def deceive(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """The first part's loss, and the enlarger's non-saturating one."""
        high, low = self.seen(batch, draw)
        made = networks["enlarger"](low)
        losses, taken = self.errors(made, high), judged_true(networks["discriminator"](made))
        return {**losses, "loss": losses["loss"] + self.adversarial_weight * taken, "judged": taken}

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate, betas=(0.9, 0.99), fused=True)

    def rate(self, name: str, progress: Progress) -> float:
        if progress.images >= self.adversarial_images:
            return self.adversarial_rate if name == "enlarger" else 1.0
        return min(1.0, (progress.images + 1) / self.warm_up_images) if self.warm_up_images else 1.0

    def averages(self) -> Mapping[str, float]:
        return {"enlarger": self.half_life_images} if self.half_life_images else {}

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The middle of held-out tiles: as given, enlarged by bicubic interpolation and by the network, and true."""
        ways = enlargement.simple_ways(batch["low"], FACTOR)
        rows = {"given": ways["nearest"], "bicubic": ways["bicubic"], OURS: self.reconstruct(networks, batch)}
        edge = FACTOR * ((self.side - min(self.window, self.side)) // 2)
        shown = slice(edge, FACTOR * self.side - edge)
        return {name: row[..., shown, shown] for name, row in {**rows, "true": batch["high"]}.items()}

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """What `metrics.enlargement` sums, for the network and for each simple way."""
        high, low = batch["high"], batch["low"]
        ways = {OURS: self.enlarge(networks, low), **enlargement.simple_ways(low, FACTOR)}
        return {
            f"{name}: {way}": value
            for way, made in ways.items()
            for name, value in enlargement.sums(made, high, low).items()
        }

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        by_way: dict[str, dict[str, float]] = {}
        for named, mean in means.items():
            name, way = named.split(": ")
            by_way.setdefault(way, {})[name] = mean
        found = {way: enlargement.figures(its) for way, its in by_way.items()}
        return {f"{name}: {way}": found[way][name] for name in found[OURS] for way in found}

    def enlarge(self, networks: Networks, low: Tensor) -> Tensor:
        made: Tensor = networks["enlarger"](low)
        return made

    def reconstruct(self, networks: Networks, batch: Batch) -> Tensor:
        return self.enlarge(networks, batch["low"])


SEARCH = {
    "learning_rate": (3e-4, 1e-3, 2e-3),
    "ssim_weight": (0.03, 0.1, 0.3),
    "adversarial_weight": (5e-4, 2e-3, 8e-3),
}
"""What nobody published: where to look, the same for each preset, when two are compared."""

PRESETS = {
    "reference": WaterEnlarger(),
    "recommended": WaterEnlarger(gradient_penalty=0.02, half_life_images=2000, turns=True),
}
