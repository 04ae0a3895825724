"""Random networks of the family that the compiler supports, and images to run them on."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import strategies as st
from torch import nn

BANDS = ("B2", "B3", "B4")
CRS = "EPSG:32718"
TRANSFORM = (30.0, 0.0, 500000.0, 0.0, -30.0, 9000000.0)


class Grown(nn.Module):
    """Steps in a row; skip connections go to the input and to the step before."""

    def __init__(self, steps, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.steps, self.layers = steps, nn.ModuleList()
        channels, self.rows, self.columns = len(BANDS), 0, 0
        for kind, *given in steps:
            layer = nn.Identity()
            if kind == "convolution":
                outputs, kernel, dilation, bias = given
                layer = nn.Conv2d(channels, outputs, kernel, dilation=dilation, bias=bias)
                channels = outputs
                self.rows += dilation * (kernel[0] - 1)
                self.columns += dilation * (kernel[1] - 1)
            elif kind == "depthwise":
                layer = nn.Conv2d(channels, channels, 3, groups=channels)
            elif kind == "norm":
                layer = nn.BatchNorm2d(channels)
                with torch.no_grad():
                    layer.running_mean.uniform_(-0.3, 0.3)
                    layer.running_var.uniform_(0.5, 2)
                    layer.weight.uniform_(0.5, 1.5)
                    layer.bias.uniform_(-0.3, 0.3)
            elif kind == "skip" and not (self.rows % 2 or self.columns % 2):
                channels += len(BANDS)
            elif kind == "residual":
                layer = nn.Conv2d(channels, channels, 3)
            elif kind == "activation":
                layer = {
                    "relu": nn.ReLU(),
                    "relu6": nn.ReLU6(),
                    "leaky": nn.LeakyReLU(0.2),
                    "sigmoid": nn.Sigmoid(),
                    "softmax": nn.Softmax(1),
                    "hardtanh": nn.Hardtanh(-0.5, 0.5),
                }[given[0]]
            if kind in ("depthwise", "residual"):
                self.rows, self.columns = self.rows + 2, self.columns + 2
            self.layers.append(layer)
        self.channels = channels
        self.eval()

    def forward(self, x):
        y, rows, columns = x, 0, 0
        for (kind, *given), layer in zip(self.steps, self.layers, strict=True):
            if kind == "skip":
                if not (rows % 2 or columns % 2):
                    down, right = rows // 2, columns // 2
                    shorter = x[:, :, down : -down or None, right : -right or None]
                    y = torch.cat([y, shorter], 1)
            elif kind == "residual":
                y = layer(y) + y[..., 1:-1, 1:-1]
            elif kind == "arithmetic":
                y = (1 - y * 1.5) / 2 + 0.25
            else:
                y = layer(y)
            if kind == "convolution":
                _, kernel, dilation, _ = given
                rows, columns = rows + dilation * (kernel[0] - 1), columns + dilation * (kernel[1] - 1)
            elif kind in ("depthwise", "residual"):
                rows, columns = rows + 2, columns + 2
        return y


KERNELS = [(1, 1), (3, 3), (3, 3), (2, 2), (1, 3), (3, 2), (5, 1)]
CONVOLUTION = st.tuples(
    st.just("convolution"), st.integers(1, 5), st.sampled_from(KERNELS), st.integers(1, 2), st.booleans()
)
ACTIVATION = st.tuples(
    st.just("activation"), st.sampled_from(["relu", "relu6", "leaky", "sigmoid", "softmax", "hardtanh"])
)
OTHER = st.sampled_from([("norm",), ("skip",), ("residual",), ("arithmetic",), ("depthwise",)])


@st.composite
def networks(draw):
    """A network of one to six steps, at least one of them a convolution."""
    steps = draw(st.lists(st.one_of(CONVOLUTION, ACTIVATION, OTHER), max_size=5))
    at = draw(st.integers(0, len(steps)))
    return Grown([*steps[:at], draw(CONVOLUTION), *steps[at:]], draw(st.integers(0, 2**31)))


def picture(rows, columns, seed=0):
    """Bands (C H W, float32) of random numbers in −1 … 1, those that compiling measures its rounding on."""
    return np.random.default_rng(seed).uniform(-1, 1, (len(BANDS), rows, columns)).astype(np.float32)
