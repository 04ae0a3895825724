"""New pictures by a handful of sliders: along the numbers themselves, or along the ways in which pictures differ most.

A generator of few numbers has a slider for each. One of many has sliders along directions of its numbers, found thus:
pictures of random numbers are taken apart into principal components, and each component's regression on the numbers,
which are white, is the direction that moves it most. The directions are made orthonormal, so that the place of a random
picture along each is standard normal too, and whatever is not along any of them stays as it was drawn.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from waterscape.errors import UserError
from waterscape.pages.samples import checked_finite
from waterscape.randomness import Draw, hash64
from waterscape.training.exhibit import as_array
from waterscape.training.sampling import AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from waterscape.models import Trained

MOST = 8
"""Sliders."""
LOOKED_AT = 128  # pictures, to find directions
LOOKED_SIDE = 32  # pixels of them
REACH = 3.0
"""Standard deviations to either side that are shown."""
FURTHEST = 10.0
STEPS = 9  # pictures along a slider


class Sliders:
    """A run's pictures as a function of a few numbers. Safe to use from one thread at a time."""

    def __init__(self, trained: Trained) -> None:
        """`trained`: of a model that generates pictures, or decodes numbers to some."""
        self.trained, self.recipe = trained, trained.recipe
        self.classes = trained.classes
        self.numbers = self._count()
        self.count = min(self.numbers, MOST)
        self._axes: Tensor | None = None
        self._finding = threading.Lock()

    @property
    def names(self) -> list[str]:
        """What the sliders are called."""
        word = "number" if self.numbers == self.count else "direction"
        return [f"{word} {place + 1}" for place in range(self.count)]

    def places(self, sample: int | None) -> list[float]:
        """Where sample number `sample` (as `waterscape sample` counts them, seed 0) stands; None: the middle."""
        return [round(float(amount), 4) for amount in self.axes() @ self._drawn(sample)]

    def pictures(self, sample: int | None, places: Sequence[Sequence[float]], kind: int) -> NDArray[np.floating]:
        """The pictures (N H W, or N H W 3, in 0..1) at places on the sliders; the rest is sample number `sample`'s.

        Raises `UserError` for places or a class that there are not.
        """
        amounts = torch.tensor(places, dtype=torch.float32)
        if amounts.ndim != 2 or amounts.shape[1] != self.count or not (amounts.abs() <= FURTHEST).all():
            raise UserError(f"{self.count} numbers from -{FURTHEST:g} to {FURTHEST:g} are wanted")
        if not 0 <= kind < max(1, len(self.classes)):
            raise UserError(f"there is no class number {kind}")
        axes, rest = self.axes(), self._drawn(sample)
        rest = rest - (axes @ rest) @ axes
        return as_array(self._made(rest + amounts @ axes, kind))

    def along(self, sample: int | None, places: Sequence[float], axis: int, kind: int) -> NDArray[np.floating]:
        """Pictures along one slider, from one end to the other; the other sliders stay where they are."""
        if not 0 <= axis < self.count:
            raise UserError(f"there is no slider {axis}")
        steps = np.linspace(-REACH, REACH, STEPS)
        return self.pictures(sample, [[*places[:axis], step, *places[axis + 1 :]] for step in steps.tolist()], kind)

    def axes(self) -> Tensor:
        """The sliders' directions (K D), orthonormal."""
        with self._finding:
            if self._axes is None:
                self._axes = torch.eye(self.numbers) if self.numbers == self.count else self._directions()
            return self._axes

    @torch.no_grad()
    def _directions(self) -> Tensor:
        numbers = self.recipe.draw_latent(Draw(hash64(0, "sliders"), torch.arange(LOOKED_AT)))
        made = self._made(numbers, 0)
        small = interpolate(made, LOOKED_SIDE, mode="area") if made.shape[-1] > LOOKED_SIDE else made
        flat = small.flatten(1) - small.flatten(1).mean(0)
        left, sizes, _ = torch.linalg.svd(flat, full_matrices=False)
        ways = (numbers - numbers.mean(0)).T @ (left * sizes)[:, : self.count]
        axes: Tensor = torch.linalg.qr(ways)[0].T
        return axes * torch.sign(axes.sum(1, keepdim=True) + 1e-9)  # else a direction's sign is an accident

    @torch.no_grad()
    def _made(self, numbers: Tensor, kind: int) -> Tensor:
        networks = self.trained.networks
        parts = torch.split(numbers, AT_ONCE)
        if self.recipe.can("generate"):
            kinds = [torch.full((len(part),), kind) for part in parts]
            made = [self.recipe.generate(networks, *both) for both in zip(parts, kinds, strict=True)]
        else:
            made = [self.recipe.decode(networks, part) for part in parts]
        return checked_finite(self.trained, torch.cat(made))

    def _drawn(self, sample: int | None) -> Tensor:
        if sample is None:
            return torch.zeros(self.numbers)
        draw = Draw(0, torch.tensor([sample]))
        return (
            self.recipe.draw_latent(draw)[0] if self.recipe.can("generate") else draw.normal("noise", self.numbers)[0]
        )

    @torch.no_grad()
    def _count(self) -> int:
        if self.recipe.can("generate"):
            return self.recipe.draw_latent(Draw(0, torch.tensor([0]))).shape[1]
        name = self.recipe.pictured()
        empty = torch.zeros(1, *self.recipe.inputs()[name].shape)
        return self.recipe.encode(self.trained.networks, {name: empty}).shape[1]
