"""From operations to calls of Earth Engine's algorithms: each operation on the bands of one image.

The bands of every tensor are called c0, c1, …, since the service pairs the bands of two images by name where the names
agree. A convolution has two forms. Matrices: the neighbours of a pixel as bands, these as a column, one matrix product.
Kernels: one `convolve` for each channel in and out. Each convolution takes the form of fewer bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from waterscape.earthengine.conventions import Conventions
from waterscape.earthengine.expression import PICTURE, Call, call, constant, in_pairs
from waterscape.earthengine.operations import Alignment, Convolution, Offset, Program
from waterscape.earthengine.pointwise import POINTWISE, numbers

Backend: TypeAlias = Literal["kernels", "matrices"]
CONVOLVE_BYTES = 330
"""About what a `convolve` and its addition take besides the weights."""
MATRIX_BYTES = 900
"""About what a matrix product takes besides the weights and the names of its bands."""


def lowered(program: Program, bands: Sequence[str], backend: Backend | None, conventions: Conventions) -> Call:
    """The output as an image with bands c0, c1, … of the image `PICTURE`, of which `bands` are the input.

    A pixel is masked where any pixel that it depends on is masked in any band, whatever the service makes of masked
    neighbours by itself: it computes with zeros there, and the mask is laid over the result.
    """
    names = [names_of(count) for count in program.channels()]
    alignments = program.alignments()
    chosen = call("Image.select", PICTURE, list(bands), names[0])
    images = [call("Image.toFloat", _unmasked(chosen))]
    for number, operation in enumerate(program.operations, 1):
        sources = [images[source] for source in operation.sources]
        if isinstance(operation, Convolution):
            channels = len(names[operation.sources[0]])
            offsets = _offsets(operation, alignments[operation.sources[0]], alignments[number])
            form = backend or smaller(operation, channels)
            make = by_kernels if form == "kernels" else by_matrices
            images.append(make(operation, channels, offsets, sources[0], conventions))
        else:
            images.append(POINTWISE[type(operation)](operation, names[number], *sources))
    return call("Image.updateMask", images[-1], _known(chosen, alignments[-1].seen(), conventions))


def names_of(channels: int) -> list[str]:
    """What the bands of a tensor are called."""
    return [f"c{number}" for number in range(channels)]


def smaller(operation: Convolution, channels: int) -> Backend:
    """The form that takes fewer bytes, by an estimate of what each takes besides the weights."""
    nodes = operation.weight.shape[0] * operation.weight.shape[1]
    zeros = len("0.0, ") * operation.weight.size * (channels / operation.weight.shape[1] - 1)  # between the groups
    matrices = MATRIX_BYTES + 8 * len(operation.weight) + zeros
    return "kernels" if CONVOLVE_BYTES * nodes < matrices else "matrices"


def _offsets(operation: Convolution, source: Alignment, made: Alignment) -> list[Offset]:
    """Of each tap, the pixel that it sees, from the pixel whose value is computed."""
    down, right = (there - here for there, here in zip(made.anchor, source.anchor, strict=True))
    return [(row - down, column - right) for row, column in operation.taps()]


def by_matrices(
    operation: Convolution, channels: int, offsets: Sequence[Offset], source: Call, conventions: Conventions
) -> Call:
    """Neighbours as bands, bands as a column of numbers, and one product with a matrix of all weights."""
    seen = sorted({*offsets, *((-down, -right) for down, right in offsets)})  # alike both ways round: no matter which
    if seen != [(0, 0)]:
        source = call("Image.neighborhoodToBands", source, fixed(dict.fromkeys(seen, 1)))
    column = call("Image.toArray", call("Image.toArray", source), 1)
    dense = _dense(operation, channels)
    of_tap = {offset: dense[:, :, tap] for tap, offset in enumerate(offsets)}
    none = np.zeros(dense.shape[:2])
    columns = [of_tap.get(offset, none)[:, channel] for channel, offset in conventions.neighbours(channels, seen)]
    matrix = constant(call("Array", numbers(np.stack(columns, 1))))
    product = call("Image.arrayProject", call("Image.matrixMultiply", matrix, column), [0])
    return _shifted(call("Image.arrayFlatten", product, [names_of(len(dense))]), operation)


def _dense(operation: Convolution, channels: int) -> np.ndarray:
    """Weights O I taps, with zeros between the groups."""
    outputs, inside = operation.weight.shape[:2]
    dense = np.zeros((outputs, channels, *operation.weight.shape[2:]))
    for group in range(operation.groups):
        rows = slice(group * outputs // operation.groups, (group + 1) * outputs // operation.groups)
        dense[rows, group * inside : (group + 1) * inside] = operation.weight[rows]
    return dense.reshape(outputs, channels, -1)


def by_kernels(
    operation: Convolution, channels: int, offsets: Sequence[Offset], source: Call, conventions: Conventions
) -> Call:
    """A `convolve` for each channel in and out, and their sums."""
    outputs, inside = operation.weight.shape[:2]
    bands = [call("Image.select", source, [channel]) for channel in range(channels)]
    turn = -1 if conventions.turned_kernels else 1

    def filtered(output: int, channel: int) -> Call:
        weights = numbers(operation.weight[output, channel].reshape(-1))
        kernel = fixed(
            {(turn * down, turn * right): weight for (down, right), weight in zip(offsets, weights, strict=True)}
        )
        first = output * operation.groups // outputs * inside
        return call("Image.convolve", bands[first + channel], kernel)

    add, beside = partial(call, "Image.add"), partial(call, "Image.addBands")
    sums = [in_pairs(add, [filtered(output, channel) for channel in range(inside)]) for output in range(outputs)]
    return _shifted(call("Image.rename", in_pairs(beside, sums), names_of(outputs)), operation)


def _shifted(image: Call, operation: Convolution) -> Call:
    return call("Image.add", image, constant(numbers(operation.bias))) if operation.bias.any() else image


def fixed(weights: dict[Offset, float]) -> Call:
    """A kernel with its focus in the middle: weights at offsets (pixels down, pixels right), zeros between."""
    down, right = (max(abs(offset[axis]) for offset in weights) for axis in (0, 1))
    rows = [[weights.get((row, column), 0) for column in range(-right, right + 1)] for row in range(-down, down + 1)]
    return call("Kernel.fixed", 2 * right + 1, 2 * down + 1, rows)


def _unmasked(image: Call) -> Call:
    return call("Image.unmask", image, constant(0), False)  # beyond the image's footprint too


def _known(picture: Call, seen: Sequence[Offset], conventions: Conventions) -> Call:
    """1 where all bands of all the pixels that are seen are unmasked, else 0."""
    masks = call("Image.reduce", call("Image.mask", picture), call("Reducer.min"))
    here = call("Image.gt", _unmasked(masks), constant(0))
    if list(seen) == [(0, 0)]:
        return here
    turn = -1 if conventions.turned_kernels else 1
    kernel = fixed({(turn * down, turn * right): 1 for down, right in seen})
    return call("Image.gte", call("Image.convolve", here, kernel), constant(len(seen) - 0.5))
