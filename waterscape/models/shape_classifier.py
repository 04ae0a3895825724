"""Shape classifier: a tile of water occurrence → the class of its water by shape, and what its main body measures.

The source planned it and never built it. There are no labels but the rules of `metrics.shape_classes`, which measure
the full tile; the network sees 64 × 64 pixels and learns class and descriptors together.

On a synthetic world of 1600 tiles (tools/make_world.py --seed 11, packed by tools/pack_occurrence.py), one thread:
    waterscape train shape_classifier --data shards/water --out runs/shape --balance shape.npy --images 16000
    waterscape classify runs/shape --data shards/water --drawn world/world.json
16 000 images at some 400 a second. Of the 132 tiles held out for test it calls 95.5 % as the rules do (calibration
error 0.03). What it adds: 98.5 % agree with what the world drew, of the rules' own labels 93.9 %; in each of the 6
tiles where the two differ, the network names what was drawn: four reservoirs, a wetland and a braided river that fall
short of a threshold. One seed and one world, whose tiles are plainer than real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.metrics import classification
from waterscape.metrics.morphology import CLASSES, COLUMNS
from waterscape.nn.augment import turn_and_mirror
from waterscape.nn.blocks import glorot
from waterscape.nn.residual import Residual
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Progress, Recipe

DESCRIPTORS = {  # free of units; with them what makes each about as wide as one
    "tile_share": 0.2,
    "border_share": 0.15,
    "solidity": 0.25,
    "elongation": 0.8,
    "shoreline_development": 0.6,
    "sinuosity": 0.3,
    "branch_points": 1.5,
    "holes": 1.3,
    "mean_occurrence": 20.0,
    "occurrence_gradient": 20.0,
}
LOGARITHMIC = ("elongation", "shoreline_development", "sinuosity")  # natural logarithm: they are 1 or more
COUNTED = ("branch_points", "holes")  # logarithm of one more
PLACES = tuple(COLUMNS.index(name) for name in DESCRIPTORS)


def plain_features() -> nn.Module:
    """The source's VAE encoder up to its dense layer: N 1 64 64 → N 128."""
    layers: list[nn.Module] = []
    before = 1
    for number, width in enumerate((8, 8, 16, 16, 32, 32, 64, 64)):
        layers += [nn.Conv2d(before, width, 3, stride=2 - number % 2, padding=1), nn.ReLU()]
        before = width
    return glorot(nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 128), nn.ReLU()))


def residual_features(widths: tuple[int, ...]) -> nn.Module:
    """Residual blocks with group normalisation, halving the side; mean and greatest over places: N 1 64 64 → N 2C."""
    layers: list[nn.Module] = [nn.Conv2d(1, widths[0], 5, stride=2, padding=2)]
    layers += [Residual(before, width) for before, width in pairwise(widths)]
    return nn.Sequential(*layers, nn.GroupNorm(8, widths[-1]), nn.ReLU(), MeanAndGreatest())


class MeanAndGreatest(nn.Module):
    """N C H W → N 2C: over all places the mean, and the greatest, since a body may be small in its tile."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


def standardised(bodies: Tensor) -> Tensor:
    """A body's `COLUMNS` (N 25) as numbers about as wide as one: N 10, in the order of `DESCRIPTORS`."""
    values = []
    for (name, width), place in zip(DESCRIPTORS.items(), PLACES, strict=True):
        value = bodies[:, place]
        if name in LOGARITHMIC:
            value = value.clamp(min=1).log()
        elif name in COUNTED:
            value = value.clamp(min=0).log1p()
        values.append(value / width)
    return torch.stack(values, 1)


def restored(standard: Tensor) -> Tensor:
    """The reverse of `standardised`: N 10 → the descriptors themselves, N 10."""
    values = []
    for number, (name, width) in enumerate(DESCRIPTORS.items()):
        value = standard[:, number] * width
        values.append(value.exp() if name in LOGARITHMIC else value.exp() - 1 if name in COUNTED else value)
    return torch.stack(values, 1)


@dataclass(frozen=True)
class ShapeClassifier(Recipe):
    """Options of the shape classifier."""

    kind: Literal["plain", "residual"] = "plain"
    """Which features: the convolutions of the source's VAE, or residual blocks."""
    widths: tuple[int, ...] = (16, 32, 64, 96)
    """Channels of the residual network, multiples of 8."""
    learning_rate: float = 1e-3
    """Of Adam (plain) or AdamW (residual)."""
    weight_decay: float = 0.0
    """Of AdamW."""
    descriptor_weight: float = 0.1
    """On the descriptors' error."""
    smoothing: float = 0.0
    """Share of a label that is spread over all classes: the rules are not always right."""
    warm_up_images: int = 0
    """The rate rises linearly over so many images."""
    average_images: int = 0
    """Half-life in images of a running average of the weights; 0: none is kept."""
    turns: bool = True
    """Show each tile in a random one of its eight orientations: the rules give all of them the same class."""

    def inputs(self) -> Mapping[str, Input]:
        return {
            "image": Input("occurrence64.npy", (1, 64, 64), stored=(0, 100)),
            "class": Input("shape.npy", classes=CLASSES),
            "body": Input("body.npy", (len(COLUMNS),)),
        }

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        features = plain_features() if self.kind == "plain" else residual_features(self.widths)
        width = 128 if self.kind == "plain" else 2 * self.widths[-1]
        return {
            "features": features,
            "classes": glorot(nn.Linear(width, len(CLASSES))),
            "descriptors": glorot(nn.Linear(width, len(DESCRIPTORS))),
        }

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("shape", ("features", "classes", "descriptors"), self.wrong),)

    def wrong(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """Cross-entropy of the class, and the descriptors' error where there is a body."""
        image = turn_and_mirror(batch["image"], draw) if self.turns else batch["image"]
        seen = networks["features"](image)
        logits = networks["classes"](seen)
        kind = F.cross_entropy(logits, batch["class"], label_smoothing=self.smoothing)
        error = self.errors(networks["descriptors"](seen), batch["body"]).mean()
        right = (logits.argmax(1) == batch["class"]).to(logits.dtype).mean()
        loss = kind + self.descriptor_weight * error
        return {"loss": loss, "cross-entropy": kind, "descriptor error": error, "accuracy in training": right}

    def errors(self, found: Tensor, body: Tensor) -> Tensor:
        """Error of each sample's descriptors (N), quadratic when small and linear when large; 0 without a body."""
        there = (body[:, COLUMNS.index("area")] > 0).to(found.dtype)
        return F.smooth_l1_loss(found, standardised(body), reduction="none").sum(1) * there

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        if self.kind == "plain":
            return torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        return torch.optim.AdamW(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )

    def rate(self, name: str, progress: Progress) -> float:
        return min(1.0, (progress.images + 1) / self.warm_up_images) if self.warm_up_images else 1.0

    def averages(self) -> Mapping[str, float]:
        kept = ("features", "classes", "descriptors")
        return dict.fromkeys(kept, float(self.average_images)) if self.average_images else {}

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Held-out tiles: those that are called as the rules call them, and those that are not."""
        called = self.classify(networks, batch).argmax(1)
        agreed = (called == batch["class"])[:, None, None, None]
        image = batch["image"]
        return {
            "called as the\nrules do": torch.where(agreed, image, torch.zeros_like(image)),
            "called\notherwise": torch.where(agreed, torch.zeros_like(image), image),
        }

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """What `metrics.classification` sums, and the error of each descriptor."""
        seen = networks["features"](batch["image"])
        found = restored(networks["descriptors"](seen).float())
        true = batch["body"][:, list(PLACES)].float()
        there = batch["body"][:, COLUMNS.index("area")] > 0
        errors = ((found - true).abs() * there[:, None]).sum(0)
        return {
            **classification.sums(networks["classes"](seen), batch["class"], CLASSES),
            "has a body": there.sum().float(),
            **{f"error: {name}": errors[number] for number, name in enumerate(DESCRIPTORS)},
        }

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        share = means["has a body"] or 1.0
        errors = {f"{name}, mean absolute error": means[f"error: {name}"] / share for name in DESCRIPTORS}
        return {**classification.figures(means, CLASSES), **errors}

    def classify(self, networks: Networks, batch: Batch) -> Tensor:
        logits: Tensor = networks["classes"](networks["features"](batch["image"]))
        return logits.float().softmax(1)

    def embed(self, networks: Networks, batch: Batch) -> Tensor:
        found: Tensor = networks["features"](batch["image"])
        return found

    def describe(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        found = restored(networks["descriptors"](networks["features"](batch["image"])).float())
        return {name: found[:, number] for number, name in enumerate(DESCRIPTORS)}


PRESETS = {
    "reference": ShapeClassifier(),
    "recommended": ShapeClassifier(
        kind="residual",
        learning_rate=2e-3,
        weight_decay=0.02,
        smoothing=0.05,
        warm_up_images=1000,
        average_images=2000,
    ),
}
