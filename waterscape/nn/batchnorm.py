"""Batch normalisation over the global batch (Ioffe & Szegedy 2015, arXiv:1502.03167), on CPU and GPU alike.

In place of `nn.BatchNorm1d` and `nn.BatchNorm2d`, with the same parameters, buffers and checkpoints. Torch's own
`SyncBatchNorm` refuses tensors on a CPU. Each process gathers all others' mean, variance and number of values, and
combines them (Chan, Golub & LeVeque 1979); the gradient goes the same way back. In evaluation mode, and wherever this
process is alone, the layer is torch's own.

As with torch's, the mode decides, not whether the weights are frozen: a network in training mode uses the batch's
statistics and moves the running ones at each call, in phases that do not train it too. Networks that no phase trains
are in evaluation mode.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from waterscape.nn.global_batch import Shares, current, gather_rows
from waterscape.training.pulse import pulse


class _GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What both share; N C, N C L or N C H W as torch's class of that name."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 torch's own name
        held = current()
        batch_statistics = self.training or self.running_mean is None
        if held is None or not batch_statistics:
            return super().forward(input)
        self._check_input_dim(input)  # type: ignore[no-untyped-call]
        x = input.to(torch.float32) if input.dtype in (torch.bfloat16, torch.float16) else input
        y: Tensor
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps, held)  # type: ignore[no-untyped-call]
        if self.training and self.running_mean is not None:
            self._move(mean, variance, count)
        return y.to(input.dtype)

    @torch.no_grad()
    def _move(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Running statistics, as torch moves them: towards the mean and the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1 / self.num_batches_tracked.to(mean.dtype) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), weight)


class GlobalBatchNorm1d(_GlobalBatchNorm, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the global batch: N C or N C L."""


class GlobalBatchNorm2d(_GlobalBatchNorm, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the global batch: N C H W."""


class _Normalise(torch.autograd.Function):
    """`_composed`, and its statistics, in as few walks through memory as torch's own layer takes.

    The gradient is that of Ioffe & Szegedy's section 3; its two sums are taken over all processes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, held: Shares
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _statistics(x, held)
        ctx.eps, ctx.held = eps, held
        ctx.save_for_backward(x, weight, bias, mean, variance, count)
        ctx.mark_non_differentiable(mean, variance, count)
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps), mean, variance, count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, variance, count = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself, as a gradient penalty does
            inputs = [tensor for tensor in (x, weight, bias) if tensor is not None and tensor.requires_grad]
            y = _composed(x, weight, bias, ctx.eps, ctx.held)
            found = iter(torch.autograd.grad(y, inputs, gradient, create_graph=True))
            given = [tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)]
            return *(next(found) if there else None for there in given), None, None
        wanted = (ctx.needs_input_grad[0], True, True)
        ones = torch.ones_like(mean) if weight is None else weight
        # As if the statistics were constants: the first term, and the sums of gradient · normalised x and of gradient.
        first, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, ones, mean, variance, None, None, False, ctx.eps, wanted
        )
        if ctx.needs_input_grad[0]:
            sums = torch.stack([of_weight, of_bias])
            with pulse.waiting("all_reduce of batch statistics' gradients"):
                torch.distributed.all_reduce(sums)
            scale = torch.rsqrt(variance + ctx.eps)
            slope = sums[0] * scale.square() * ones / -count
            level = sums[1] * scale * ones / -count - slope * mean
            along = _along(x)
            if not _stands_in(ctx.held):  # else the statistics do not depend on x
                first.add_(torch.addcmul(level.view(along), x, slope.view(along)))
        kept = ctx.needs_input_grad[1:3]
        return first, of_weight if kept[0] else None, of_bias if kept[1] else None, None, None


def _composed(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, held: Shares) -> Tensor:
    """Normalised x, of operations that can be differentiated as often as one likes."""
    mean, variance, _ = _statistics(x, held)
    along = _along(x)
    y = (x - mean.view(along)) * torch.rsqrt(variance + eps).view(along)
    if weight is not None:
        y = y * weight.view(along)
    return y if bias is None else y + bias.view(along)


def _along(x: Tensor) -> tuple[int, ...]:
    return 1, -1, *[1] * (x.ndim - 2)


def _stands_in(held: Shares) -> bool:
    """Whether what this process computes with only stands in for samples that it has not: no statistic counts it."""
    return held.sizes[held.rank] == 0


def _statistics(x: Tensor, held: Shares) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (C each) over all processes' values, and how many values a channel has (a scalar)."""
    if _stands_in(held):
        x = x[:0]
    channels = x.shape[1]
    values = x.numel() // channels
    if values:
        variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
    else:  # no NaN from a process without rows
        mean, variance = x.sum([0, *range(2, x.ndim)]), x.new_zeros(channels)
    own = torch.cat([mean, variance, x.new_full((1,), float(values))])
    every = gather_rows(own[None], Shares((1,) * len(held.sizes), held.rank))
    means, variances, counts = every[:, :channels], every[:, channels:-1], every[:, -1:]
    count = counts.detach().sum()
    weights = counts.detach() / count
    mean = (weights * means).sum(0)
    variance = (weights * (variances + (means - mean).square())).sum(0)
    return mean, variance, count
