"""How far pictures that were made again are from the true ones, picture by picture."""

from __future__ import annotations

import torch
from pytorch_msssim import ssim
from torch import Tensor

HIGHER_IS_BETTER = ("PSNR", "SSIM")
"""Of the figures that evaluations have; all others are the better the lower."""


def reconstruction_errors(made: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Errors of each picture: two of N C H W, in 0..1 → by name, N each (float32).

    Mean squared and mean absolute error, peak signal-to-noise ratio (in dB, of a peak of 1; at most 100), and SSIM
    (structural similarity, Wang 2004, doi:10.1109/TIP.2003.819861: Gaussian window of 11, σ = 1.5).

    Raises:
        ValueError: pictures of different shapes, or smaller than the window.
    """
    if made.shape != true.shape or made.ndim != 4 or min(made.shape[2:]) < 11:
        raise ValueError(f"errors are of pictures N C H W, 11 pixels or more, not {made.shape} and {true.shape}")
    made, true = made.float(), true.float()
    squared = (made - true).square().mean((1, 2, 3))
    return {
        "squared error": squared,
        "absolute error": (made - true).abs().mean((1, 2, 3)),
        "PSNR": -10 * torch.log10(squared.clamp(min=1e-10)),
        "SSIM": ssim(made, true, data_range=1.0, size_average=False),
    }
