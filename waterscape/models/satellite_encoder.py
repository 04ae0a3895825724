"""Satellite encoder: what would an observer see here? A satellite tile → four numbers → a photo of the landscape.

Source: the landscape encoder of "What would an observer see here?" (714 436 parameters). A generator of landscapes,
trained before (`landscape_gan`), stays frozen; the encoder learns which of its four numbers make a picture like the
photo that was taken at the tile's middle. The tile of 450 pixels is brought to 360, of which the middle 128 are seen.
Alike means one of three: squared error; 1 − SSIM; or squared error between what a frozen network of scenes says of both
(365 classes of Places365, before their softmax). A prior term, 0.5·(mean² + (1 − variance)²) of all numbers of the
global batch, keeps them where the generator was trained.

There the generator stood in training mode and the network of scenes got photos in −1..1; here the one is in evaluation
mode and the other gets them as it was trained, unless `--original-normalisation`.

Commands; Places365's weights come from a file of yours, or a trained scene_classifier takes their place:
    python tools/make_world.py world --views 1000 --seed 7
    python tools/pack_pairs.py --photos world/photos --satellite world/satellite --out shards/pairs
    waterscape train landscape_gan:small --data shards/pairs --columns jpg=photo.jpg --out runs/views --batch 16
    waterscape train satellite_encoder --data shards/pairs --start generator=runs/views --out runs/encoder --images 6000
    waterscape train satellite_encoder:reference … --places365 resnet18_places365.pth.tar
    waterscape predict runs/encoder tile.jpg --out predicted
Result of one run of `recommended` (batch 32) on 700 synthetic pairs, with a generator of 64×64 (landscape_gan:small,
40 000 images), 6000 images in 158 s on a busy core; held out 150:
    images                                          0    1504    3008    4512    6016
    squared error                               0.227   0.170   0.161   0.167   0.163
    nearer to its own photo than to another      0.52    0.64    0.59    0.63    0.62
    variance of the numbers                      0.00    0.81    1.05    0.83    0.94
(0.5 would be chance). It tells open ground from a forest's edge; no tile tells the sky. Lakes and snow are never
predicted: that generator makes none. Neither real pairs nor Places365's weights were tried.

Result of one run of `reference` (batch 64, its loss asked of a scene_classifier:small of 4000 images in Places365's
place: --start scenes=RUN) on 210 synthetic pairs, with a landscape_gan:small of 8000 images; held out 45; stopped after
1280 and resumed, 3840 images in 54 s of one core:
    images                                          0    1280    2560    3840
    squared error of scenes, in training         0.96    0.44    0.29    0.26
    the same, held out                           0.57    0.56    0.65    0.68
    nearer to its own photo than to another      0.51    0.62    0.58    0.60
    variance of the numbers, held out            0.00    0.02    0.11    0.31
It trains, and learns so few pairs by heart: a field is predicted otherwise than a river's meadow, in blurs, and nothing
held out gets nearer after 1280. The source had some 3000 pairs for ten epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from waterscape.nn.batchnorm import GlobalBatchNorm2d
from waterscape.nn.differentiable import mirrored
from waterscape.nn.doubling import Generator
from waterscape.nn.global_batch import gather_batch
from waterscape.nn.losses import moments_apart
from waterscape.nn.unlikeness import (
    TOLD,
    Loss,
    fill_places,
    is_places,
    places_network,
    resized,
    scene_network,
    unlikeness,
)
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Recipe

SEEN = 128  # pixels a side of the tile's middle that the encoder sees


class Encoder(nn.Module):
    """The middle of a satellite tile (N 3 128 128, −1..1) → the generator's numbers (N D), of any size."""

    def __init__(self, latent: int, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2)]
        for _ in range(4):
            down = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)
            layers += [down, GlobalBatchNorm2d(2 * width), nn.LeakyReLU(0.2)]
            width *= 2
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * (SEEN // 32) ** 2, latent))

    def forward(self, tile: Tensor) -> Tensor:
        """See the class."""
        numbers: Tensor = self.body(tile)
        return numbers


@dataclass(frozen=True)
class SatelliteEncoder(Recipe):
    """Options of the satellite encoder."""

    starts: ClassVar[Mapping[str, str]] = {"generator": "landscape_gan"}
    may_start: ClassVar[Mapping[str, str]] = {"scenes": "scene_classifier"}

    loss: Loss = "perceptual"
    """What makes two pictures unlike: mse, ssim, or perceptual: what a network of scenes says of them."""
    places365: str = ""
    """Of perceptual: a file with the weights of ResNet-18 trained on Places365. Left out: --start scenes=RUN."""
    scene_side: int = 96
    """Of perceptual with --start scenes: pixels a side of the photos that it was trained on."""
    original_normalisation: bool = False
    """Of perceptual with --places365: give it pictures in −1..1, as the source did, not as it was trained."""
    prior: float = 0.5
    """Weight of the prior term."""
    side: int = 128
    """Pixels a side that photos are read at; where the generator's are smaller, photos are brought to those."""
    resized: int = 360
    """Pixels a side that tiles are brought to; the encoder sees the middle 128 of them."""
    mirrors: bool = False
    """Mirror tile and photo together, west to east and left to right, or not, by chance."""
    learning_rate: float = 3e-5
    """Of Adam."""
    average_images: int = 0
    """Half-life in images of a running average of the encoder's weights; 0: none is kept."""

    def inputs(self) -> Mapping[str, Input]:
        return {
            "satellite": Input("satellite.jpg", (3, self.resized, self.resized), stored=(0, 255), range=(-1, 1)),
            "photo": Input("photo.jpg", (3, self.side, self.side), stored=(0, 255), range=(-1, 1)),
        }

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        if self.resized < SEEN:
            raise ValueError(f"--resized {self.resized}: the encoder sees {SEEN} pixels, so give as many or more")
        generator = starts["generator"]["generator"].eval()
        assert isinstance(generator, Generator)
        made = _side(generator)
        if made > self.side:
            raise ValueError(f"the generator makes pictures of {made} × {made}: say --side {made}")
        found: dict[str, nn.Module] = {"encoder": Encoder(generator.latent), "generator": generator}
        scenes = starts.get("scenes")
        if self.loss != "perceptual":
            if scenes or self.places365:
                raise ValueError(f"--loss {self.loss} asks no network of scenes: leave it out, or --loss perceptual")
            return found
        if not scenes:
            return found | {"scenes": places_network(original_normalisation=self.original_normalisation)}
        if self.places365 or self.original_normalisation:
            raise ValueError("--start scenes takes the place of --places365 and --original-normalisation: give one")
        return found | {"scenes": scene_network(scenes["features"], scenes["head"], self.scene_side)}

    def fill(self, networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
        if "scenes" in networks and self.places365:
            fill_places(networks["scenes"], Path(self.places365))
        elif "scenes" in networks and is_places(networks["scenes"]):
            raise ValueError(
                "--loss perceptual asks a network of scenes: say --places365 FILE with the weights of ResNet-18 "
                "trained on Places365, or --start scenes=RUN with a scene_classifier of yours; or another --loss"
            )
        return networks

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("encoder", ("encoder",), self.unlike),)

    def unlike(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """How unlike made and true photos are, and the prior term of the global batch's numbers."""
        satellite, photo = batch["satellite"], batch["photo"]
        if self.mirrors:
            satellite, photo = mirrored(satellite, draw), mirrored(photo, draw)  # one draw: both or neither
        numbers = networks["encoder"](middle(satellite))
        made = networks["generator"](numbers)
        apart = self.apart(networks, made, resized(photo, made.shape[2]), self.loss).mean()
        everybody = gather_batch(numbers)
        prior = moments_apart(everybody)
        return {
            "loss": apart + self.prior * prior,
            TOLD[self.loss]: apart,
            "prior": prior,
            "numbers' mean": everybody.mean(),
            "numbers' variance": everybody.var(correction=0),
        }

    def apart(self, networks: Networks, made: Tensor, true: Tensor, loss: Loss) -> Tensor:
        """How unlike each pair of pictures is (N 3 S S in −1..1 twice → N)."""
        return unlikeness(made, true, loss, networks["scenes"] if loss == "perceptual" else None)

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)

    def averages(self) -> Mapping[str, float]:
        return {"encoder": float(self.average_images)} if self.average_images else {}

    def encode(self, networks: Networks, batch: Batch) -> Tensor:
        numbers: Tensor = networks["encoder"](middle(batch["satellite"]))
        return numbers

    def decode(self, networks: Networks, numbers: Tensor) -> Tensor:
        made: Tensor = networks["generator"](numbers)
        return (made + 1) / 2

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """What the encoder sees of held-out tiles, the photos made of it, and those that were taken there."""
        made = self.decode(networks, self.encode(networks, batch))
        return {
            "satellite, as\nthe encoder\nsees it": (middle(batch["satellite"]) + 1) / 2,
            "what an\nobserver sees:\npredicted": resized(made, SEEN).clamp(0, 1),
            "photographed": resized((batch["photo"] + 1) / 2, SEEN).clamp(0, 1),
        }

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """All losses that there are, and whether a prediction is nearer to its own photo than to another tile's."""
        numbers = self.encode(networks, batch)
        made = networks["generator"](numbers)
        photo = resized(batch["photo"], made.shape[2])
        known: list[Loss] = [loss for loss in TOLD if loss != "perceptual" or self.loss == loss]
        found = {TOLD[loss]: self.apart(networks, made, photo, loss) for loss in known}
        others = self.apart(networks, made, photo.roll(1, 0), self.loss)
        nearer = (found[TOLD[self.loss]] < others).float() if len(photo) > 1 else found[TOLD[self.loss]] * 0 + 0.5
        return {
            **{name: value.sum() for name, value in found.items()},
            "nearer to its own photo than to another": nearer.sum(),
            "numbers' mean": numbers.mean(1).sum(),
            "numbers' square": numbers.square().mean(1).sum(),
        }

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        kept = {name: value for name, value in means.items() if name != "numbers' square"}
        return kept | {"numbers' variance": means["numbers' square"] - means["numbers' mean"] ** 2}


def middle(tile: Tensor) -> Tensor:
    """The part of a tile (N 3 R R) that the encoder sees: N 3 128 128."""
    top, left = ((side - SEEN) // 2 for side in tile.shape[2:])
    return tile[:, :, top : top + SEEN, left : left + SEEN]


@torch.no_grad()
def _side(generator: Generator) -> int:
    return int(generator(torch.zeros(1, generator.latent)).shape[2])


BATCH = {"reference": 64}
"""Images a step as the source states them; `--batch` overrides."""

PRESETS = {
    "reference": SatelliteEncoder(),
    "recommended": SatelliteEncoder(loss="mse", resized=240, mirrors=True, learning_rate=1e-3, average_images=2000),
}
