"""Running averages of weights (exponential, with a half-life in images): steadier pictures than the last step's.

Source: Karras 2018 (arXiv:1710.10196), Yazıcı 2019 (arXiv:1806.04498).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Averages:
    """The averages of some networks; `half_lives` in images by network name. Buffers are copied, not averaged."""

    def __init__(self, networks: Mapping[str, nn.Module], half_lives: Mapping[str, float]) -> None:
        self.half_lives = half_lives
        self.networks = {name: networks[name] for name in half_lives}
        self.shown = {name: copy.deepcopy(network).requires_grad_(False) for name, network in self.networks.items()}

    @torch.no_grad()
    def update(self, batch: int) -> None:
        """Move each average towards the weights after a step of `batch` images."""
        for name, network in self.networks.items():
            weight = 1 - 0.5 ** (batch / self.half_lives[name])
            average = self.shown[name]
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), weight)
            for kept, buffer in zip(average.buffers(), network.buffers(), strict=True):
                kept.copy_(buffer)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The averages' tensors by network."""
        return {name: dict(network.state_dict()) for name, network in self.shown.items()}

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up averages that `state` gave."""
        for name, tensors in state.items():
            self.shown[name].load_state_dict(tensors)
