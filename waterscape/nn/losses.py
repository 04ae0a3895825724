"""Terms of losses that several models descend; each a mean over the batch unless it says otherwise."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the field's own abbreviation

WINDOW = 11
"""Pixels a side of SSIM's window."""


def squared_error(made: Tensor, true: Tensor) -> Tensor:
    """Sum of squared errors over a sample's elements, mean over the batch: N C H W twice → scalar.

    With the KL term at weight one this is the evidence bound of a Gaussian with variance ½ (Kingma & Welling 2014,
    arXiv:1312.6114).
    """
    return F.mse_loss(made, true, reduction="sum") / len(true)


def structural_dissimilarity(made: Tensor, true: Tensor) -> Tensor:
    """1 − SSIM of pictures N C H W, in 0..1, twice; mean over the batch (see `structural_dissimilarities`)."""
    return structural_dissimilarities(made, true, span=1.0).mean()


def structural_dissimilarities(made: Tensor, true: Tensor, span: float) -> Tensor:
    """1 − SSIM of each pair (Wang 2004, doi:10.1109/TIP.2003.819861): N C H W twice, a range of `span` → N, 0 to 2.

    Gaussian window of 11 with σ 1.5, K 0.01 and 0.03, no padding; so sides are 11 pixels or more. In float32 at least:
    squared means of bfloat16 leave nothing of a small variance. One scale: a pyramid of five, as MS-SSIM's default has
    it, takes sides of more than 160 pixels.

    The same as pytorch-msssim's `ssim`, whose convolutions by windows of 11 were a third of a step of `water_enlarger`
    on a CPU. Here a window is laid on by two products with dense matrices, O(side) a pixel. Measured (B10): faster at
    sides of 64 and 256 on one thread of a CPU; neither larger sides nor a GPU were measured.
    """
    if made.shape != true.shape or min(made.shape[2:]) < WINDOW:
        raise ValueError(f"{tuple(made.shape)} and {tuple(true.shape)}: give two of one size, {WINDOW} a side or more")
    exact = torch.promote_types(made.dtype, torch.float32)
    with torch.autocast(made.device.type, enabled=False):
        made, true = made.to(exact), true.to(exact)
        down, across = (_windows(side, exact, made.device) for side in made.shape[2:])

        def windowed(*pictures: Tensor) -> tuple[Tensor, ...]:
            return (down @ torch.cat(pictures) @ across.mT).chunk(len(pictures))

        mean_true, square_true = windowed(true, true * true)  # apart: no gradient goes there
        mean_made, square_made, product = windowed(made, made * made, made * true)
        squares, means = mean_made.square() + mean_true.square(), mean_made * mean_true
        first, second = (0.01 * span) ** 2, (0.03 * span) ** 2
        structure = (2 * (product - means) + second) / (square_made + square_true - squares + second)
        likeness = (2 * means + first) / (squares + first) * structure
        return 1 - likeness.flatten(1).mean(1)


@cache
def _windows(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The Gaussian at each of its places along a side (side − 10, side), kept on the device.

    Brought there each time, the host would wait.
    """
    with torch.inference_mode(False):
        gaussian = torch.exp(-((torch.arange(WINDOW, dtype=torch.float32) - WINDOW // 2) ** 2) / (2 * 1.5**2))
        gaussian /= gaussian.sum()
        places = side - WINDOW + 1
        laid = torch.zeros(places, side)
        for place in range(places):
            laid[place, place : place + WINDOW] = gaussian
        return laid.to(device, dtype)


def moments_apart(numbers: Tensor) -> Tensor:
    """mean² + (1 − variance)² of all numbers of a batch: how far their distribution is from N(0, 1), by two moments.

    The batch must be the global one (`nn.global_batch.gather_batch`). Divided by the number of numbers, not one less.
    """
    return numbers.mean().square() + (1 - numbers.var(correction=0)).square()


def gaussian_divergence(mean: Tensor, log_variance: Tensor, floor: float = 0.0) -> Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)), summed over the latent, mean over the batch: N D twice → scalar.

    `floor` in nats: each number of each sample counts for at least so much.
    """
    nats = -0.5 * (1 + log_variance - mean.square() - log_variance.exp())
    return nats.clamp(min=floor).sum(1).mean()


def kernel_penalty(network: nn.Module, strengths: dict[type[nn.Module], float]) -> Tensor:
    """λ·Σw² over the kernels of each layer of a type in `strengths`: L2 as Keras means it (gradient 2λw; no biases)."""
    layers = list(network.modules())
    terms = [
        strength * torch.stack([kernel.square().sum() for kernel in kernels]).sum()  # type: ignore[operator]
        for kind, strength in strengths.items()
        if (kernels := [layer.weight for layer in layers if isinstance(layer, kind)])
    ]
    return torch.stack(terms).sum()


def judged_true(logits: Tensor) -> Tensor:
    """−log D: how wrong the discriminator is about samples that are true (Goodfellow 2014, arXiv:1406.2661)."""
    return F.softplus(-logits).mean()


def judged_false(logits: Tensor) -> Tensor:
    """−log(1 − D): how wrong the discriminator is about samples that are false."""
    return F.softplus(logits).mean()


def gradient_penalty(logits: Tensor, inputs: Tensor) -> Tensor:
    """½·‖∂D/∂x‖², mean over the batch: R1 (Mescheder 2018, arXiv:1801.04406). `inputs` must require gradients."""
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1).mean()
