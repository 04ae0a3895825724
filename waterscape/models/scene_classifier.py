"""Scene classifier: a photo of a landscape → one of seven classes (buildings, desert, forest, glacier, …).

Source: the landscape classifier's baseline (11 235 271 parameters) and EfficientNetV2-L with frozen features (head
788 999), cross-entropy, weighted sampling, augmentation in training only; with 20 323 photos its baseline reached
69.7 %. `small` is ours: residual blocks at 96 × 96, 304 103 parameters.

    waterscape train scene_classifier:baseline --data shards/scenes --out runs/b --balance class.npy
    waterscape train scene_classifier:small --data shards/scenes --out runs/scenes --balance class.npy --images 6000
    waterscape classify runs/scenes --data shards/scenes; waterscape classify runs/scenes photo.jpg …
On 210 real photos (147 to train on), three seeds each, called right, mean ± standard deviation over the seeds:
    small, 6000 images, one minute on one thread: test 65.7 ± 1.7 %, valid 59.8 ± 2.0 %
    baseline, 1500 images (ten epochs as published), the same minute: test 61.8 ± 5.9 %, valid 46.0 ± 7.2 %
There are only 34 photos in test and 29 in valid, so a photo is 3 %: on test the two are not told apart, on both
together small is better (63 against 55 %). Sea, of which 16 photos are trained on, is hardly ever found by either.
EfficientNet was tried with small networks of its family and random weights only.
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
from waterscape.nn.normalised import Normalised
from waterscape.nn.photo_views import Views
from waterscape.nn.pretrained import feature_network, fill_features, missing_library
from waterscape.nn.residual import Residual
from waterscape.randomness import Draw
from waterscape.recipe import Batch, Input, Losses, Networks, Phase, Progress, Recipe

SCENES = ("buildings", "desert", "forest", "glacier", "mountain", "sea", "street")
STATED = Views(crop=125 / 150, degrees=45, mirrored=0.5, upside_down=0.05, area=(0.8, 1.0), brightness=0.4)
WIDER = Views(
    crop=0.9, degrees=15, mirrored=0.5, area=(0.5, 1.0), brightness=0.4, contrast=0.3, saturation=0.4, black=False
)
NONE = Views()
RIGHT, WRONG = (0.13, 0.55, 0.27), (0.80, 0.18, 0.16)  # frames of photos in a run's picture

Kind = Literal["baseline", "efficientnet", "small"]


def baseline_features() -> nn.Module:
    """Two convolutions, each followed by ReLU and a maximum of 2 × 2: N 3 S S → N 64·(S/4)² (150 → 87 616)."""
    first = (nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    second = (nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    return nn.Sequential(Normalised(), *first, *second, nn.Flatten())


def small_features(widths: tuple[int, ...]) -> nn.Module:
    """Residual blocks with group normalisation, halving the side at each width; the mean over places: N 3 S S → N C."""
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, stride=2, padding=2)]
    layers += [Residual(before, width) for before, width in pairwise(widths)]
    return nn.Sequential(
        Normalised(), *layers, nn.GroupNorm(8, widths[-1]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def head(*widths: int) -> nn.Module:
    """Dense layers with ReLU between: N D → N classes."""
    layers: list[nn.Module] = []
    for before, width in pairwise(widths):
        layers += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class SceneClassifier(Recipe):
    """Options of the scene classifier."""

    kind: Kind = "baseline"
    """Which features: two convolutions, EfficientNetV2-L frozen with its statistics, or small residual blocks."""
    classes: tuple[str, ...] = SCENES
    """The shards' classes in the order of their numbers."""
    side: int = 150
    """Pixels a side: photos are cut square from their middle and brought to this. EfficientNetV2-L was designed for
    480; the source trained at 150."""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Channels of the small network, multiples of 8."""
    features: str = "tf_efficientnetv2_l.in21k_ft_in1k"
    """The frozen network's name in timm."""
    weights: str = ""
    """Its weights: a file (safetensors or .pth). Left out: the Hugging Face hub's cache, or its server."""
    learning_rate: float = 1e-4
    """Of Adam, of SGD with momentum 0.9 (efficientnet), of AdamW (small)."""
    rate_epochs: int = 0
    """Epochs after which the rate falls to a tenth, each time; 0: never."""
    weight_decay: float = 0.0
    """Of AdamW."""
    smoothing: float = 0.0
    """Share of a label that is spread over all classes (Szegedy 2016, arXiv:1512.00567)."""
    average_images: int = 0
    """Half-life in images of a running average of the weights; 0: none is kept."""
    augmentation: Literal["stated", "wider", "none"] = "stated"
    """stated: as published. wider: larger crops, smaller angles, colours too. Training only."""

    def inputs(self) -> Mapping[str, Input]:
        return {
            "image": Input("jpg", (3, self.side, self.side), stored=(0, 255)),
            "class": Input("class.npy", classes=self.classes),
        }

    def wants(self) -> str:
        return missing_library() if self.kind == "efficientnet" else ""

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        count = len(self.classes)
        if self.kind == "efficientnet":
            features = feature_network(self.features)
            return {"features": features, "head": head(features.width, 512, 256, count)}
        if self.kind == "small":
            return {"features": small_features(self.widths), "head": head(self.widths[-1], count)}
        return {"features": baseline_features(), "head": head(64 * (self.side // 4) ** 2, 128, count)}

    def fill(self, networks: dict[str, nn.Module]) -> dict[str, nn.Module]:
        if self.kind == "efficientnet":
            fill_features(networks["features"], self.weights)
        return networks

    def phases(self) -> tuple[Phase, ...]:
        frozen = self.kind == "efficientnet"
        return (Phase("classes", ("head",) if frozen else ("features", "head"), self.wrong),)

    @property
    def views(self) -> Views:
        """The augmentation."""
        return {"stated": STATED, "wider": WIDER, "none": NONE}[self.augmentation]

    def logits(self, networks: Networks, image: Tensor) -> Tensor:
        """Photos (N 3 S S) → unnormalised log-probabilities of the classes (N C)."""
        found: Tensor = networks["head"](networks["features"](image))
        return found

    def wrong(self, networks: Networks, batch: Batch, draw: Draw) -> Losses:
        """Cross-entropy on views of the photos."""
        image = batch["image"] if self.augmentation == "none" else self.views.of(batch["image"], draw)
        logits = self.logits(networks, image)
        right = (logits.argmax(1) == batch["class"]).to(logits.dtype).mean()
        return {
            "loss": F.cross_entropy(logits, batch["class"], label_smoothing=self.smoothing),
            "accuracy in training": right,
        }

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        parameters = network.parameters()
        if self.kind == "efficientnet":
            return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=0.9, fused=True)
        if self.kind == "small":
            return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        return torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)

    def rate(self, name: str, progress: Progress) -> float:
        return float(0.1 ** (progress.epochs // self.rate_epochs)) if self.rate_epochs else 1.0

    def averages(self) -> Mapping[str, float]:
        kept = ("features", "head") if self.kind != "efficientnet" else ("head",)
        return dict.fromkeys(kept, float(self.average_images)) if self.average_images else {}

    def picture(self, networks: Networks, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Held-out photos, framed by whether they are called right, and how training sees them."""
        right = self.logits(networks, batch["image"]).argmax(1) == batch["class"]
        return {
            "held out:\ngreen is called\nright, red wrong": framed(batch["image"], right),
            "as training\nsees them": self.views.of(batch["image"], draw),
        }

    def measure(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """What `metrics.classification` sums."""
        return classification.sums(self.logits(networks, batch["image"]), batch["class"], self.classes)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        return classification.figures(means, self.classes)

    def classify(self, networks: Networks, batch: Batch) -> Tensor:
        return self.logits(networks, batch["image"]).float().softmax(1)

    def embed(self, networks: Networks, batch: Batch) -> Tensor:
        """What the last layer sees."""
        before_last: Tensor = networks["head"][:-1](networks["features"](batch["image"]))  # type: ignore[index]
        return before_last


def framed(images: Tensor, right: Tensor, width: int = 5) -> Tensor:
    """Photos (N 3 H W) in frames: green where `right` (N, bool), else red."""
    made = images.clone()
    colour = torch.where(right[:, None], images.new_tensor(RIGHT), images.new_tensor(WRONG))[:, :, None, None]
    for edge in (made[:, :, :width], made[:, :, -width:], made[..., :width], made[..., -width:]):
        edge[:] = colour
    return made


BATCH = {"reference": 64, "baseline": 64}
"""Images a step as the source states them; `--batch` overrides."""

PRESETS = {
    "reference": SceneClassifier(),
    "baseline": SceneClassifier(),
    "efficientnet": SceneClassifier(kind="efficientnet", learning_rate=1e-3, rate_epochs=7),
    "small": SceneClassifier(
        kind="small",
        side=96,
        learning_rate=1e-3,
        weight_decay=0.05,
        smoothing=0.1,
        average_images=1000,
        augmentation="wider",
    ),
}
PRESETS["recommended"] = PRESETS["small"]
