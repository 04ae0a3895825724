"""Numbers that stay on the device: brought there anew in each step, they would make the host wait for it."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def constant(like: Tensor, *values: float) -> Tensor:
    """The values as one row, in the dtype and on the device of `like`; not to be changed."""
    return _kept(values, like.dtype, like.device)


@cache
def _kept(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)
