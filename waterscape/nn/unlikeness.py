"""How unlike two pictures are, three ways: in their pixels, in their structure, in the scene that a network sees.

Source: the losses that "What would an observer see here?" compares: squared error; 1 − SSIM; squared error between the
365 outputs, before the softmax, of a network trained on Places365.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.errors import UserError
from waterscape.nn.losses import structural_dissimilarities
from waterscape.nn.normalised import Normalised
from waterscape.nn.resnet18 import ResNet18, fill_resnet18

PLACES = 365  # classes
SPAN = 2.0  # of a picture in −1..1

Loss = Literal["mse", "ssim", "perceptual"]
TOLD: dict[Loss, str] = {"mse": "squared error", "ssim": "1 - SSIM", "perceptual": "squared error of scenes"}


def unlikeness(made: Tensor, true: Tensor, loss: Loss, scenes: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """How unlike each pair is: pictures N 3 S S in −1..1 twice → N. `scenes`, of perceptual: pictures → N C."""
    if loss == "mse":
        return (made - true).square().mean((1, 2, 3))
    if loss == "ssim":
        return structural_dissimilarities(made, true, SPAN)
    assert scenes is not None, "perceptual asks a network of scenes"
    with torch.no_grad():
        wanted = scenes(true)
    return (scenes(made) - wanted).square().mean(1)


class Shown(nn.Module):
    """Pictures in −1..1 (N 3 S S) as 0..1, of a side: N 3 `side` `side`; 0: their own."""

    def __init__(self, side: int = 0) -> None:
        super().__init__()
        self.side = side

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        shown = (pictures + 1) / 2
        return resized(shown, self.side) if self.side else shown


def resized(pictures: Tensor, side: int) -> Tensor:
    """Square pictures (N C H H) brought to a side, by a bilinear filter as wide as the step between pixels."""
    if pictures.shape[2] == side:
        return pictures
    return F.interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)


def places_network(*, original_normalisation: bool = False) -> nn.Module:
    """Pictures in −1..1 (N 3 S S) → logits of Places365's classes (N 365), of a ResNet-18 with random weights.

    It sees them normalised as it was trained; or, as the source had it by mistake, as they are.
    """
    network = ResNet18(PLACES)
    return network if original_normalisation else nn.Sequential(Shown(), Normalised(), network)


def is_places(network: nn.Module) -> bool:
    """Whether it is a `places_network`."""
    return any(isinstance(layer, ResNet18) for layer in network.modules())


def fill_places(network: nn.Module, weights: Path) -> None:
    """Load the weights of a file named by `--places365`. Raises `UserError` where they are none of ResNet-18's."""
    (found,) = (layer for layer in network.modules() if isinstance(layer, ResNet18))
    fill_resnet18(found, weights, "--places365")


def scene_network(features: nn.Module, head: nn.Module, side: int) -> nn.Module:
    """A trained scene classifier's networks as one: pictures in −1..1 (N 3 S S) → logits (N C).

    `side`: of the photos that it was trained on. Raises `UserError` where it cannot take such.
    """
    network = nn.Sequential(Shown(side), features, head).eval()
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, side, side))
    except RuntimeError as error:
        raise UserError(
            f"the scene classifier takes no photos of {side} × {side}: say --scene-side as the side in its run.json"
        ) from error
    return network
