"""The operations that look at one pixel alone, as calls of Earth Engine's algorithms on all bands of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from waterscape.earthengine.expression import Call, call, constant, in_pairs
from waterscape.earthengine.operations import (
    Affine,
    Channels,
    Clamp,
    Concatenation,
    Crop,
    Leaky,
    Numbers,
    Operation,
    Sigmoid,
    Softmax,
    Sum,
)

STEEPEST = 80.0
"""Beyond it the logistic function is 0 or 1 in float32, and its exponential is still finite."""


def numbers(values: Numbers) -> list[Any]:
    """As Python's own numbers, nested: JSON writes each of them the shortest way."""
    listed: list[Any] = values.tolist()
    return listed


def _affine(operation: Affine, _names: Sequence[str], image: Call) -> Call:
    for algorithm, values, neutral in (("Image.multiply", operation.scale, 1.0), ("Image.add", operation.shift, 0.0)):
        if (values != neutral).any():
            image = call(
                algorithm, image, constant(numbers(values) if (values != values[0]).any() else float(values[0]))
            )
    return image


def _clamp(operation: Clamp, _names: Sequence[str], image: Call) -> Call:
    if operation.low is not None:
        image = call("Image.max", image, constant(operation.low))
    return image if operation.high is None else call("Image.min", image, constant(operation.high))


def _leaky(operation: Leaky, _names: Sequence[str], image: Call) -> Call:
    steeper = "Image.max" if operation.slope <= 1 else "Image.min"
    return call(steeper, image, call("Image.multiply", image, constant(operation.slope)))


def _sigmoid(_operation: Sigmoid, _names: Sequence[str], image: Call) -> Call:
    steep = call("Image.min", call("Image.multiply", image, constant(-1)), constant(STEEPEST))
    return call("Image.pow", call("Image.add", call("Image.exp", steep), constant(1)), constant(-1))


def _softmax(_operation: Softmax, _names: Sequence[str], image: Call) -> Call:
    highest = call("Image.reduce", image, call("Reducer.max"))
    powers = call("Image.exp", call("Image.subtract", image, highest))  # at most 1: nothing overflows
    return call("Image.divide", powers, call("Image.reduce", powers, call("Reducer.sum")))


def _concatenation(_operation: Concatenation, names: Sequence[str], *images: Call) -> Call:
    return call("Image.rename", in_pairs(partial(call, "Image.addBands"), images), list(names))


def _channels(operation: Channels, names: Sequence[str], image: Call) -> Call:
    return call("Image.select", image, list(operation.chosen), list(names))


def _sum(_operation: Sum, _names: Sequence[str], one: Call, other: Call) -> Call:
    return call("Image.add", one, other)


def _crop(_operation: Crop, _names: Sequence[str], image: Call) -> Call:
    return image  # a pixel stays where it is: what is cut off lies outside what is known


POINTWISE: dict[type[Operation], Callable[..., Call]] = {
    Affine: _affine,
    Channels: _channels,
    Clamp: _clamp,
    Concatenation: _concatenation,
    Crop: _crop,
    Leaky: _leaky,
    Sigmoid: _sigmoid,
    Softmax: _softmax,
    Sum: _sum,
}
"""Each takes the operation, the names of the bands that come out, and the images of its sources."""
