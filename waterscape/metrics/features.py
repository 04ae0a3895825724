"""What a picture looks like, as numbers: random convolutional features, the same on every machine.

A network that was trained on photographs says little about water seen from above, and its weights would have to be
fetched. A random one is a fair judge of other kinds of pictures (Naeem 2020, arXiv:2002.09797, there VGG16; this one is
smaller). Its kernels are draws of a fixed seed, and its layers are brought to mean zero and spread one over pictures of
fractal noise, made of the same draws (as Mishkin 2016, arXiv:1511.06422, does over data): so the features know nothing
of any data set, and distances to different sets can be compared. `FEATURES` names them by the kernels' hash.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

from waterscape.randomness import Draw

SEED = 20_200_227
WIDTHS = (16, 32, 64, 128)
"""Channels of the convolutions, each at half the resolution of the one before."""
FEATURES = "random-237f9f93d6a8"
"""The features' name: their kind, and the beginning of the kernels' sha256."""
AT_ONCE = 64
"""Pictures in one batch: fixed, so that the same pictures have the same features."""
OCTAVES = (4, 8, 16, 32, 64)
"""Pixels across of the noises that a fractal picture is the sum of."""

Norm = tuple[Tensor, Tensor]  # mean and spread of each channel or feature


@torch.no_grad()
def random_features(images: Tensor) -> Tensor:
    """Mean and log-spread of each channel at each scale: pictures (N C H W, in 0..1, C = 1 or 3) → N × 2·ΣWIDTHS.

    Computed in float32 on the pictures' device. Raises `ValueError` for pictures of another shape, or smaller than 16
    pixels.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < 16:
        raise ValueError(f"features are of pictures N C H W, 1 or 3 channels, 16 pixels or more: not {images.shape}")
    norms, (mean, spread) = _calibrated()
    parts = [_look(part, norms)[0].cpu() for part in torch.split(images, AT_ONCE)]
    return (torch.cat(parts) - mean) / spread


@cache
def kernels() -> list[Tensor]:
    """The kernels of each convolution (out, in, 3, 3). Half of the first ones see contrast alone, not brightness."""
    found = []
    before = 3
    for number, width in enumerate(WIDTHS):
        kernel = Draw(SEED + number, torch.arange(width)).normal("kernel", before, 3, 3)
        if number == 0:
            kernel[width // 2 :] -= kernel[width // 2 :].mean((2, 3), keepdim=True)
        found.append(kernel)
        before = width
    return found


def kernels_sha256() -> str:
    """The kernels' hash, by which `FEATURES` names them."""
    return hashlib.sha256(b"".join(kernel.numpy().tobytes() for kernel in kernels())).hexdigest()


def fractal_pictures(count: int) -> Tensor:
    """Pictures of fractal noise, smooth to rough, dark to bright: `count` × 3 × 64 × 64, in 0..1."""
    draw = Draw(SEED, torch.arange(count))
    roughness = 2.0 ** -(0.25 + 1.5 * draw.uniform("roughness", 3, 1, 1))
    total = torch.zeros(count, 3, OCTAVES[-1], OCTAVES[-1])
    for octave, across in enumerate(OCTAVES):
        noise = draw.normal(f"octave {octave}", 3, across, across)
        total += F.interpolate(noise, size=total.shape[2:], mode="bilinear") * roughness**octave
    total = (total - total.mean((2, 3), keepdim=True)) / total.std((2, 3), keepdim=True)
    return (0.5 + 0.35 * total + 0.5 * draw.normal("brightness", 3, 1, 1)).clamp(0, 1)


@cache
@torch.no_grad()
def _calibrated() -> tuple[list[Norm], Norm]:
    """The norm of each layer, and of the features, over fractal pictures."""
    features, norms = _look(fractal_pictures(128), None)
    return norms, (features.mean(0), features.std(0))


def _look(images: Tensor, norms: list[Norm] | None) -> tuple[Tensor, list[Norm]]:
    """Features before their own norm, and the layers' norms: those given, or else those of these pictures."""
    seen = 2 * images.float().expand(-1, 3, -1, -1) - 1
    found, used = [], []
    for number, kernel in enumerate(kernels()):
        seen = F.conv2d(seen, kernel.to(seen.device), padding=1)
        mean, spread = norms[number] if norms else (seen.mean((0, 2, 3)), seen.std((0, 2, 3)))
        used.append((mean, spread))
        seen = (seen - mean.to(seen.device)[:, None, None]) / spread.to(seen.device)[:, None, None]
        seen = F.leaky_relu(seen, 0.2)
        found += [seen.mean((2, 3)), (seen.std((2, 3)) + 0.05).log()]
        seen = F.avg_pool2d(seen, 2)
    return torch.cat(found, 1), used
