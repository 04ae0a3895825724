"""New pictures of a recipe: each the same whatever their number, and that of the processes which share the work."""

from __future__ import annotations

import torch
from torch import Tensor

from waterscape.randomness import Draw
from waterscape.recipe import Networks, Recipe

AT_ONCE = 16
"""Pictures computed together: fixed, since a network may round differently for another number of them."""


@torch.no_grad()
def sample(
    recipe: Recipe,
    networks: Networks,
    classes: Tensor,
    seed: int,
    *,
    dtype: torch.dtype = torch.float32,
    rank: int = 0,
    world: int = 1,
    at_once: int = AT_ONCE,
) -> Tensor:
    """New pictures, one for each of `classes` (N, int64, on the networks' device): N C H W, in 0..1.

    `networks` are in evaluation mode. Of several ranks each computes whole chunks and leaves zeros in the others'
    places, so that the sum over them is what one would compute.
    """
    total = len(classes)
    made: Tensor | None = None
    for number, start in enumerate(range(0, total, at_once)):
        mine = number % world == rank
        if not mine and made is not None:
            continue  # all compute the first one, to know the pictures' shape
        numbers = torch.arange(start, start + at_once, device=classes.device)
        part = recipe.sample(networks, Draw(seed, numbers, dtype), classes[numbers % total])
        if made is None:
            made = part.new_zeros(total + at_once, *part.shape[1:])
        if mine:
            made[start : start + at_once] = part
    if made is None:
        raise ValueError("no pictures were asked for")
    return made[:total]
