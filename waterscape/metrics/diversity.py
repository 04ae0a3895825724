"""How unlike pictures of one set are to one another: a generator that has collapsed makes one picture again and again.

Of random pairs, 1 − MS-SSIM (Wang 2003, doi:10.1109/ACSSC.2003.1292216), as Odena 2017 (arXiv:1610.09585) uses it; of
pictures too small for five scales (160 pixels or less), 1 − SSIM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pytorch_msssim import ms_ssim, ssim
from torch import Tensor

from waterscape.randomness import permutation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST_SIDE = 161  # pixels that the five scales of MS-SSIM need
AT_ONCE = 32


def unlike_pairs(pictures: Tensor, seed: int = 0) -> NDArray[np.float64]:
    """1 − (MS-)SSIM of N // 2 disjoint random pairs of pictures (N C H W, in 0..1, 11 pixels or more): N // 2.

    0 for equal ones; about 1 for unrelated ones, or a little more. Raises `ValueError` for fewer than two pictures.
    """
    if len(pictures) < 2 or min(pictures.shape[2:]) < 11:
        raise ValueError(f"pairs are of two pictures or more, of 11 pixels or more: not {tuple(pictures.shape)}")
    alike = ms_ssim if min(pictures.shape[2:]) >= LEAST_SIDE else ssim
    order = torch.from_numpy(permutation(len(pictures), seed, "pairs")[: len(pictures) // 2 * 2])
    one, other = order.reshape(2, -1)
    found = [
        1 - alike(pictures[a].float(), pictures[b].float(), data_range=1.0, size_average=False)
        for a, b in zip(one.split(AT_ONCE), other.split(AT_ONCE), strict=True)
    ]
    values: NDArray[np.float64] = torch.cat(found).double().numpy()
    return values
