"""A network's gradients as one tensor, added up over the processes by one call.

In the order of the parameters, whatever order backward finds them in: so sums are taken in one order at every start,
and a resumed run is bitwise the uninterrupted one. DistributedDataParallel reorders its buckets after the first
backward, which breaks this from three processes on; it also needs every parameter to have a gradient, calls through its
own wrapper, and must be told which micro-batch is the last. What it gains in return is that it sends while backward
still runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gradients:
    """The gradients of one network; each parameter's `grad` is a part of `flat`.

    A parameter that a loss does not reach has the gradient zero. The last number of `flat` is the loss itself, so that
    one sum tells all processes whether both are finite.
    """

    def __init__(self, network: nn.Module) -> None:
        parameters = list(network.parameters())
        first = parameters[0]
        count = sum(parameter.numel() for parameter in parameters)
        self.flat = torch.zeros(count + 1, dtype=first.dtype, device=first.device)
        start = 0
        for parameter in parameters:
            # Fused optimizers walk memory: a gradient lies in it as its parameter does (channels last, say).
            parameter.grad = self.flat.as_strided(parameter.shape, parameter.stride(), start)
            start += parameter.numel()

    def clear(self) -> None:
        """All zero: backward adds to them."""
        self.flat.zero_()

    def note_loss(self, share: Tensor) -> None:
        """Add this process's share of the loss."""
        self.flat[-1] += share.detach()

    @property
    def finite(self) -> Tensor:
        """Whether all of it is finite (a scalar, on the device): the sum is not, where one number is not."""
        return self.flat.sum().isfinite()
