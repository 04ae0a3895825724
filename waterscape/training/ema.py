"""Running averages of weights (exponential, with a half-life in images): steadier pictures than the last step's.

Source: Karras 2018 (arXiv:1710.10196), Yazıcı 2019 (arXiv:1806.04498).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

YOUNG = 0.05
"""The longest half-life, as a share of the run so far (Karras 2020, arXiv:2006.06676, calls it the EMA ramp-up)."""


class Averages:
    """The averages of some networks; `half_lives` in images by network name. Buffers are copied, not averaged."""

    def __init__(self, networks: Mapping[str, nn.Module], half_lives: Mapping[str, float]) -> None:
        self.half_lives = half_lives
        self.networks = {name: networks[name] for name in half_lives}
        self.shown = {name: copy.deepcopy(network).requires_grad_(False) for name, network in self.networks.items()}

    @torch.no_grad()
    def update(self, batch: int, images: int, good: Tensor) -> None:
        """Move each average towards the weights after a step of `batch` images, the last of `images`, if good."""
        for name, network in self.networks.items():
            weight = self.weight(name, batch, images)
            average = self.shown[name]
            ways = torch._foreach_sub(list(network.parameters()), list(average.parameters()))
            torch._foreach_mul_(ways, good.to(ways[0].dtype) * weight)  # `good` stays on the device: no waiting
            torch._foreach_add_(list(average.parameters()), ways)
            for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
                kept.copy_(torch.where(good, buffer, kept))

    def weight(self, name: str, batch: int, images: int) -> float:
        """Of the new weights in a network's average, after a step of `batch` images, the last of `images`.

        The half-life is at most a twentieth of the run so far, so that the first, poor weights are soon forgotten.
        """
        moved: float = 1 - 0.5 ** (batch / min(self.half_lives[name], YOUNG * images))
        return moved

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The averages' tensors by network."""
        return {name: dict(network.state_dict()) for name, network in self.shown.items()}

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up averages that `state` gave."""
        for name, tensors in state.items():
            self.shown[name].load_state_dict(tensors)
