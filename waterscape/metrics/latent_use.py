"""What a generator makes of its numbers: how much each of them changes its pictures.

Sobol's total-effect indices by Jansen's estimator (Jansen 1999, doi:10.1016/S0010-4655(98)00154-4; Saltelli 2010,
doi:10.1016/j.cpc.2009.09.018): exchange one number for another draw of it, and see how far the pictures move.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Generate = Callable[[Tensor], Tensor]
"""Numbers (N D) → pictures (N × any shape)."""


@torch.no_grad()
def total_effects(generate: Generate, one: Tensor, other: Tensor, groups: int) -> Tensor:
    """How far the pictures move where a group of neighbouring numbers is exchanged: mean square per pixel, G (float64).

    `one`, `other`: two independent sets of numbers, N D each. At most `groups` groups, or D where that is less.
    """
    before = generate(one)
    found = []
    for group in torch.arange(one.shape[1], device=one.device).tensor_split(min(groups, one.shape[1])):
        exchanged = one.clone()
        exchanged[:, group] = other[:, group]
        found.append((generate(exchanged) - before).double().square().mean() / 2)
    return torch.stack(found).cpu()


def share_used(effects: Tensor) -> float:
    """Of total effects (G): how many count, as a share of all: exp of the entropy of their shares, over G.

    1 where all move the pictures alike, 1/G where one alone does, 0 where none does.
    """
    total = effects.sum()
    if not total > 1e-12:
        return 0.0
    shares = effects[effects > 0] / total
    return float(torch.exp(-(shares * shares.log()).sum()) / len(effects))
