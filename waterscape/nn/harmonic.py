r"""Convolutions made of sinusoids: each kernel is a sum of the cosines that JPEG is made of.

Source: harmonic blocks (Ulicny, Krylov & Dahyot 2019, arXiv:1812.03205). Every input channel is filtered by the fixed
basis of the discrete cosine transform, and the filtered ones are summed with weights that are learnt. Since both steps
are linear, this is one convolution whose kernel is that weighted sum (there, "memory efficient harmonic block"), and it
costs what an ordinary one costs. With all frequencies the basis spans every kernel; with fewer, kernels are smoother
and have fewer weights.

Can sinusoids make convolution layers? Yes, and with all nine they make the very same ones: plain gradient descent takes
the same step in either basis, since it is orthonormal; only an optimizer that scales each weight by itself, as Adam,
goes another way. Measured with the enlarger of water occurrence on 64 held-out synthetic tiles (1200 of
`tools/make_world.py --seed 7`) at equal images, seeds 1, 2 and 3, mean ± standard deviation:
    waterscape train water_enlarger --harmonic 0|9|6 --seed 1|2|3 --batch 8 --images 1600 --width 16 --blocks 2 \
        --window 16 --adversarial-images 100000 --half-life-images 300 --held-out 64 --data … --out …
                        parameters   PSNR            SSIM              shoreline error in pixels
    ordinary                18 941   30.29 ± 0.49    0.9487 ± 0.0018   0.385 ± 0.011
    all 9 frequencies       18 941   30.65 ± 0.16    0.9513 ± 0.0007   0.368 ± 0.005
    the 6 lowest            12 677   30.33 ± 0.12    0.9493 ± 0.0006   0.380 ± 0.005
    bicubic                      0   27.34           0.9202            0.426
So they are as good here and learn no slower; with each seed all nine were a little ahead (by 0.1 to 0.7 dB). A third of
the weights can go at no loss that three seeds would show. These are short runs of a small network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation


def cosine_basis(side: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The orthonormal DCT-II basis of a picture: side² side side, from the lowest frequency to the highest.

    Basis picture (u, v) is c_u c_v cos(π/side (x + ½) u) cos(π/side (y + ½) v), with c_0 = √(1/side), else √(2/side).
    They come as JPEG reads them: by u + v, then by the larger of the two, then by u.
    """
    place = torch.arange(side, dtype=torch.float64)
    waves = torch.cos(math.pi / side * (place + 0.5) * place[:, None]) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    order = sorted(((u, v) for u in range(side) for v in range(side)), key=lambda uv: (sum(uv), max(uv), uv))
    return torch.stack([waves[u][:, None] * waves[v][None, :] for u, v in order]).to(dtype)


class HarmonicConv2d(nn.Module):
    """N C H W → N C′ H W: a convolution whose kernels are made of the lowest `frequencies` of side² cosines.

    The picture goes on beyond its edge as it ends there. The weights begin so that what comes out is as large as after
    torch's own convolution: as those of a random kernel.

    Raises:
        ValueError: more frequencies than the kernel has places, or none; an even side.
    """

    basis: Tensor

    def __init__(self, before: int, after: int, side: int = 3, frequencies: int | None = None) -> None:
        super().__init__()
        frequencies = side**2 if frequencies is None else frequencies
        if side % 2 == 0 or not 1 <= frequencies <= side**2:
            raise ValueError(f"{frequencies} frequencies of {side} × {side}: an odd side, and from 1 to all {side**2}")
        self.register_buffer("basis", cosine_basis(side)[:frequencies])
        like = nn.Conv2d(before, after, side)
        with torch.no_grad():
            weight = torch.einsum("oixy,fxy->oif", like.weight, self.basis) * math.sqrt(side**2 / frequencies)
        self.weight, self.bias = nn.Parameter(weight), like.bias

    def kernel(self) -> Tensor:
        """The convolution's kernel: C′ C side side."""
        return torch.einsum("oif,fxy->oixy", self.weight, self.basis)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.conv2d(F.pad(x, [self.basis.shape[-1] // 2] * 4, mode="replicate"), self.kernel(), self.bias)
