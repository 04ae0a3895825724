"""The steps of torch networks that have an exact form on Earth Engine's servers, by layer and by function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from waterscape.earthengine.operations import (
    Channels,
    Clamp,
    Concatenation,
    Convolution,
    Crop,
    Leaky,
    Numbers,
    Sigmoid,
    Softmax,
    Sum,
)
from waterscape.earthengine.writing import AXES, Argument, Value, Writing

KNOWN = (
    "Conv2d, Linear, BatchNorm, ReLU, ReLU6, LeakyReLU, Hardtanh, Sigmoid, Softmax, cat, crops, sums of tensors, and "
    "products with constants"
)


def convolution(writing: Writing, module: nn.Conv2d, x: Argument) -> Value:
    """Stride 1 and no padding; any kernel, dilation and groups."""
    x = writing.tensor(x)
    if x.layout not in ("", "N C H W"):
        writing.refuse(f"a convolution of a tensor {x.layout}")
    if any(step != 1 for step in module.stride):
        writing.refuse(f"stride {module.stride} makes coarser pixels, and only stride 1 is known")
    at_edges = "valid" if module.padding == "same" and max(module.kernel_size) == 1 else module.padding
    if at_edges != "valid" and any(at_edges):
        writing.refuse(
            f"padding {module.padding} fills in pixels beyond a tensor's edges, and images there have none: take "
            "padding 0, and crop what is joined to it"
        )
    writing.expect(x, module.in_channels)
    made = Convolution(
        sources=(x.position,),
        weight=module.weight.detach().numpy(),
        bias=_bias(module),
        dilation=(module.dilation[0], module.dilation[1]),
        groups=module.groups,
    )
    return writing.add(made, x, "N C H W")


def linear(writing: Writing, module: nn.Linear, x: Argument) -> Value:
    """A convolution of kernel 1 × 1; after `flatten`, of the square that is left of a patch."""
    x = writing.tensor(x)
    if x.layout == "N C H W" and not x.flattened:
        writing.refuse(
            "a Linear goes over the last axis, which is the width here: permute the channels to the end first"
        )
    channels = writing.channels[x.position]
    side = round((module.in_features / channels) ** 0.5) if x.flattened else 1
    if side * side * channels != module.in_features:
        writing.expect(x, module.in_features)
    weight = module.weight.detach().numpy().reshape(module.out_features, channels, side, side)
    layout = "N C" if x.flattened else x.layout
    return writing.add(Convolution(sources=(x.position,), weight=weight, bias=_bias(module)), x, layout)


def _bias(module: nn.Conv2d | nn.Linear) -> Numbers:
    return np.zeros(len(module.weight)) if module.bias is None else module.bias.detach().numpy()


def batch_norm(writing: Writing, module: nn.BatchNorm2d, x: Argument) -> Value:
    """In evaluation mode: the running statistics."""
    if module.running_var is None or module.running_mean is None:
        writing.refuse("it keeps no running statistics, so a pixel's result would depend on its picture")
    scale = (module.running_var + module.eps).rsqrt() * (1.0 if module.weight is None else module.weight)
    shift = (0.0 if module.bias is None else module.bias) - module.running_mean * scale
    shape = (-1, 1, 1) if AXES[writing.tensor(x).layout][-1] == -3 else (-1,)
    return writing.affine(x, scale.reshape(shape), shift.reshape(shape))


def add(writing: Writing, x: Argument, y: Argument, sign: float = 1.0) -> Value:
    """`x + sign · y`, of two tensors, or a tensor and a constant."""
    if not isinstance(x, Value):
        return writing.affine(y, sign, x)
    if not isinstance(y, Value):
        return writing.affine(x, 1.0, sign * y if isinstance(y, int | float | Tensor) else y)
    if writing.channels[x.position] != writing.channels[y.position]:
        counts = " and ".join(str(writing.channels[value.position]) for value in (x, y))
        writing.refuse(f"tensors of {counts} channels are added; only as many to as many is known")
    y = y if sign == 1 else writing.affine(y, sign, 0.0)
    return writing.add(Sum(sources=(x.position, y.position)), x, x.layout or y.layout)


def multiply(writing: Writing, x: Argument, y: Argument) -> Value:
    """A tensor times a constant."""
    if isinstance(x, Value) and isinstance(y, Value):
        writing.refuse("two tensors are multiplied; only products with constants are known")
    return writing.affine(x, y, 0.0) if isinstance(x, Value) else writing.affine(y, x, 0.0)


def divide(writing: Writing, x: Argument, y: Argument) -> Value:
    """A tensor divided by a constant."""
    if not isinstance(y, int | float | Tensor):
        writing.refuse("a division by a tensor; only quotients by constants are known")
    return writing.affine(x, 1.0 / y, 0.0)


def concatenate(writing: Writing, tensors: Argument, dim: int = 0) -> Value:
    """Channels beside channels."""
    values = [writing.tensor(value) for value in tensors]
    layout = next((value.layout for value in values if value.layout), "")
    if dim not in AXES[layout]:
        writing.refuse(f"it concatenates along axis {dim}; only channels can be put beside one another")
    return writing.add(Concatenation(sources=tuple(value.position for value in values)), values[0], layout)


def softmax(writing: Writing, x: Argument, dim: int | None = None) -> Value:
    """Over the channels."""
    x = writing.tensor(x)
    if dim not in AXES[x.layout]:
        writing.refuse(f"a softmax over axis {dim}; only one over the channels is known")
    return writing.add(Softmax(sources=(x.position,)), x)


def clamp(writing: Writing, x: Argument, low: float | None = None, high: float | None = None) -> Value:
    """Values held between two numbers: ReLU and its like."""
    x = writing.tensor(x)
    return writing.add(Clamp(sources=(x.position,), low=low, high=high), x)


def leaky(writing: Writing, x: Argument, slope: float) -> Value:
    """Leaky ReLU."""
    x = writing.tensor(x)
    return writing.add(Leaky(sources=(x.position,), slope=float(slope)), x)


def sigmoid(writing: Writing, x: Argument) -> Value:
    """The logistic function."""
    x = writing.tensor(x)
    return writing.add(Sigmoid(sources=(x.position,)), x)


def permute(writing: Writing, x: Argument, *axes: Argument) -> Value:
    """Channels to the end, and back."""
    value = writing.tensor(x)
    order = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
    layouts = {(0, 2, 3, 1): ("N C H W", "N H W C"), (0, 3, 1, 2): ("N H W C", "N C H W")}.get(order)
    if not layouts or value.layout not in ("", layouts[0]) or value.flattened:
        writing.refuse(f"the permutation {order}; known are those of the channels to the end and back")
    return replace(value, layout=layouts[1])


def flatten(writing: Writing, x: Argument, start: int = 0, end: int = -1) -> Value:
    """What is left of a patch as one row of numbers, for a Linear."""
    value = writing.tensor(x)
    if start != 1 or end not in (-1, 3) or value.layout not in ("", "N C H W"):
        writing.refuse("only flatten(1) of N C H W before a Linear is known")
    return replace(value, flattened=True)


def index(writing: Writing, x: Argument, which: Argument) -> Value:
    """A crop by fixed numbers of pixels from the edges, and a choice of channels."""
    value = writing.tensor(x)
    words = list(which) if isinstance(which, tuple) else [which]
    if value.layout not in ("", "N C H W") or not all(isinstance(word, slice) or word is Ellipsis for word in words):
        writing.refuse("this index is not known; known are slices of the channels, rows and columns of N C H W")
    if Ellipsis in words:
        at = words.index(Ellipsis)
        words[at : at + 1] = [slice(None)] * (5 - len(words))
    words += [slice(None)] * (4 - len(words))
    if words[0] != slice(None):
        writing.refuse("it takes some pictures of a batch")
    everything = tuple(range(writing.channels[value.position]))
    if (chosen := everything[words[1]]) != everything:
        value = writing.add(Channels(sources=(value.position,), chosen=chosen), value)
    (top, bottom), (left, right) = (_cut(writing, word) for word in words[2:])
    if top or bottom or left or right:
        value = writing.add(
            Crop(sources=(value.position,), top=top, left=left, bottom=bottom, right=right), value, "N C H W"
        )
    return value


def _cut(writing: Writing, word: slice) -> tuple[int, int]:
    start, stop = word.start or 0, word.stop or 0
    fixed = isinstance(start, int) and isinstance(stop, int) and start >= 0 >= stop and word.stop != 0
    if not fixed or word.step not in (None, 1):
        writing.refuse(f"the crop {word.start}:{word.stop}; known are those by fixed numbers from both edges, as 2:-2")
    return start, -stop


def _same(writing: Writing, x: Argument, *_: Argument, **__: Argument) -> Value:
    return writing.tensor(x)


def _no_sizes(writing: Writing, *_: Argument) -> Value:
    writing.refuse("it asks for a tensor's shape, and an image has none: crop by fixed numbers, as x[:, :, 2:-2, 2:-2]")


LAYERS: Mapping[type[nn.Module], Callable[[Writing, Any, Argument], Value]] = {
    nn.Conv2d: convolution,
    nn.Linear: linear,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.ReLU: lambda writing, _, x: clamp(writing, x, 0.0),
    nn.ReLU6: lambda writing, _, x: clamp(writing, x, 0.0, 6.0),
    nn.Hardtanh: lambda writing, module, x: clamp(writing, x, module.min_val, module.max_val),
    nn.LeakyReLU: lambda writing, module, x: leaky(writing, x, module.negative_slope),
    nn.Sigmoid: lambda writing, _, x: sigmoid(writing, x),
    nn.Softmax: lambda writing, module, x: softmax(writing, x, module.dim),
    nn.Softmax2d: lambda writing, _, x: softmax(writing, x, 1),
    nn.Flatten: lambda writing, module, x: flatten(writing, x, module.start_dim, module.end_dim),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d), lambda writing, _, x: writing.tensor(x)),
}
FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "relu": lambda writing, x, **_: clamp(writing, x, 0.0),
    "relu6": lambda writing, x, **_: clamp(writing, x, 0.0, 6.0),
    "clamp": lambda writing, x, min=None, max=None: clamp(writing, x, min, max),  # noqa: A006
    "leaky_relu": lambda writing, x, negative_slope=0.01, **_: leaky(writing, x, negative_slope),
    "sigmoid": sigmoid,
    "softmax": lambda writing, x, dim=None, **_: softmax(writing, x, dim),
    **dict.fromkeys(("cat", "concat"), concatenate),
    **dict.fromkeys(("add", "iadd"), lambda writing, x, y: add(writing, x, y)),
    **dict.fromkeys(("sub", "isub"), lambda writing, x, y: add(writing, x, y, -1.0)),
    **dict.fromkeys(("mul", "imul"), multiply),
    **dict.fromkeys(("truediv", "div"), divide),
    "neg": lambda writing, x: writing.affine(x, -1.0, 0.0),
    "getitem": index,
    "permute": permute,
    "flatten": lambda writing, x, start_dim=0, end_dim=-1: flatten(writing, x, start_dim, end_dim),
    **dict.fromkeys(("contiguous", "float", "double", "dropout", "clone"), _same),
    **dict.fromkeys(("getattr", "size"), _no_sizes),
}
"""By the function's name, `torch.relu` and `Tensor.relu` alike; the arguments as torch takes them."""
