"""Images whose pixels are arrays: values are H W and then the array's own axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Band, Image, Node, Pixels
from loopback_earthengine.operations import World, operation, paired, pointwise, wider
from loopback_earthengine.values import Reducer


def _single(image: Image, name: str) -> Band:
    if len(image.bands) != 1:
        raise ServiceError(400, f"{name}: The image must have one band, it has {len(image.bands)}.")
    return image.bands[0]


@operation("Image.toArray")
def to_array(world: World, image: Image, axis: int) -> Image:
    if not image.bands:
        raise ServiceError(400, "Image.toArray: The image has no bands.")
    axes = {band.axes for band in image.bands}
    if len(axes) > 1 or not 0 <= axis <= min(axes):
        raise ServiceError(400, f"Image.toArray: Bands of {sorted(axes)} dimensions cannot be joined at {axis}.")

    def compute(*values: np.ndarray) -> np.ndarray:
        grown = [each[..., None] if axis == each.ndim - 2 else each for each in values]
        return np.concatenate(grown, axis + 2)

    kind = wider(*(band.kind for band in image.bands))
    made = max(min(axes), axis + 1)
    band = Band("array", pointwise(world, image.bands, compute, kind), kind, image.bands[0].projection, made)
    return image.with_bands([band])


@operation("Image.arrayFlatten")
def array_flatten(world: World, image: Image, labels: list[list[str]], separator: str) -> Image:
    band = _single(image, "Image.arrayFlatten")
    if len(labels) != band.axes:
        message = f"Image.arrayFlatten: {len(labels)} axes of labels for arrays of {band.axes} dimensions."
        raise ServiceError(400, message)
    lengths = tuple(map(len, labels))

    def element(place: tuple[int, ...]) -> Node:
        def compute(values: np.ndarray) -> np.ndarray:
            if values.shape[2:] != lengths:
                message = f"Image.arrayFlatten: The arrays are {values.shape[2:]}, the labels {lengths}."
                raise ServiceError(400, message)
            return values[(..., *place)]

        return pointwise(world, [band], compute, band.kind)

    places = list(np.ndindex(*lengths))
    names = [separator.join(labels[axis][number] for axis, number in enumerate(place)) for place in places]
    if len(set(names)) < len(names):
        raise ServiceError(400, "Image.arrayFlatten: Duplicate band names.")
    return image.with_bands(
        [replace(band.with_node(element(place), axes=0), name=name) for place, name in zip(places, names, strict=True)]
    )


@operation("Image.arrayProject")
def array_project(world: World, image: Image, axes: list[int]) -> Image:
    def compute(values: np.ndarray) -> np.ndarray:
        dropped = [axis for axis in range(values.ndim - 2) if axis not in axes]
        if any(values.shape[axis + 2] > 1 for axis in dropped):
            raise ServiceError(400, f"Image.arrayProject: An axis of {values.shape[2:]} to drop is longer than 1.")
        order = [axis + 2 for axis in axes]
        moved = values.transpose(0, 1, *order, *(axis + 2 for axis in dropped))
        return moved.reshape(moved.shape[: 2 + len(axes)])

    for band in image.bands:
        if any(not 0 <= axis < band.axes for axis in axes):
            raise ServiceError(400, f"Image.arrayProject: Axes {axes} of arrays of {band.axes} dimensions.")
    return image.with_bands(
        [band.with_node(pointwise(world, [band], compute, band.kind), axes=len(axes)) for band in image.bands]
    )


@operation("Image.arrayTranspose", "Image.matrixTranspose")
def array_transpose(world: World, image: Image, one: int, other: int) -> Image:
    def compute(values: np.ndarray) -> np.ndarray:
        return np.swapaxes(values, one + 2, other + 2)

    return image.with_bands([band.with_node(pointwise(world, [band], compute, band.kind)) for band in image.bands])


@operation("Image.arrayCat")
def array_cat(world: World, first: Image, second: Image, axis: int) -> Image:
    bands = []
    for one, other, name in paired(first, second, "Image.arrayCat"):
        if one.axes != other.axes or not 0 <= axis <= one.axes:
            message = f"Image.arrayCat: Arrays of {one.axes} and {other.axes} dimensions along axis {axis}."
            raise ServiceError(400, message)

        def compute(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            if axis == left.ndim - 2:
                left, right = left[..., None], right[..., None]
            try:
                return np.concatenate([left, right], axis + 2)
            except ValueError as error:
                raise ServiceError(400, f"Image.arrayCat: {error}") from None

        kind = wider(one.kind, other.kind)
        node = pointwise(world, [one, other], compute, kind)
        bands.append(replace(one.with_node(node, kind, max(one.axes, axis + 1)), name=name))
    return first.with_bands(bands)


@operation("Image.matrixMultiply")
def matrix_multiply(world: World, first: Image, second: Image) -> Image:
    bands = []
    for one, other, name in paired(first, second, "Image.matrixMultiply"):
        if (one.axes, other.axes) != (2, 2):
            message = f"Image.matrixMultiply: Arrays of {one.axes} and {other.axes} dimensions; both must have 2."
            raise ServiceError(400, message)

        def compute(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            if world.assumptions.matrix_rows == "second axis":
                left, right = right, left
            if left.shape[3] != right.shape[2]:
                shapes = f"{left.shape[2]} x {left.shape[3]} and {right.shape[2]} x {right.shape[3]}"
                raise ServiceError(400, f"Image.matrixMultiply: The inner dimensions of {shapes} differ.")
            if left.strides[:2] == (0, 0) and right.shape[3] == 1:  # one matrix for all pixels: a single product
                return (right[..., 0] @ left[0, 0].T)[..., None]
            if right.strides[:2] == (0, 0) and left.shape[2] == 1:
                return (left[:, :, 0] @ right[0, 0])[:, :, None]
            return left @ right

        kind = wider(one.kind, other.kind)
        node = pointwise(world, [one, other], compute, kind)
        bands.append(replace(one.with_node(node, kind, 2), name=name))
    return first.with_bands(bands)


@operation("Image.arrayGet")
def array_get(world: World, image: Image, position: Image) -> Image:
    places = list(position.bands)

    def got(band: Band) -> Band:
        if len(places) == 1 and places[0].axes == 1:
            spread = False
        elif len(places) == band.axes:
            spread = True
        else:
            raise ServiceError(400, f"Image.arrayGet: {len(places)} coordinates for {band.axes} dimensions.")

        def compute(values: np.ndarray, *at: np.ndarray) -> np.ndarray:
            indices = at if spread else [at[0][..., axis] for axis in range(values.ndim - 2)]
            rows, columns = np.indices(values.shape[:2])
            try:
                return values[(rows, columns, *(index.astype(int) for index in indices))]
            except IndexError:
                raise ServiceError(400, f"Image.arrayGet: Position out of the array's {values.shape[2:]}.") from None

        return band.with_node(pointwise(world, [band, *places], compute, band.kind), axes=0)

    return image.with_bands([got(band) for band in image.bands])


@operation("Image.arraySlice")
def array_slice(world: World, image: Image, axis: int, start: Image | None, end: Image | None, step: int) -> Image:
    bounds = [bound.bands[0] for bound in (start, end) if bound is not None]

    def compute(values: np.ndarray, *given: np.ndarray) -> np.ndarray:
        numbers = [np.unique(each) for each in given]
        if any(len(each) > 1 for each in numbers):
            raise ServiceError(501, "the loopback slices all pixels' arrays alike only")
        found = iter(int(each[0]) for each in numbers)
        first = next(found) if start is not None else None
        last = next(found) if end is not None else None
        return values[(slice(None),) * (axis + 2) + (slice(first, last, step),)]

    return image.with_bands(
        [band.with_node(pointwise(world, [band, *bounds], compute, band.kind)) for band in image.bands]
    )


@operation("Image.arrayReshape")
def array_reshape(world: World, image: Image, lengths: Image, dimensions: int) -> Image:
    def compute(values: np.ndarray, shape: np.ndarray) -> np.ndarray:
        wanted = shape[0, 0].astype(int).ravel()
        if len(wanted) != dimensions:
            raise ServiceError(400, f"Image.arrayReshape: {len(wanted)} lengths for {dimensions} dimensions.")
        try:
            return values.reshape(values.shape[:2] + tuple(wanted))
        except ValueError as error:
            raise ServiceError(400, f"Image.arrayReshape: {error}") from None

    by = lengths.bands[0]
    return image.with_bands(
        [band.with_node(pointwise(world, [band, by], compute, band.kind), axes=dimensions) for band in image.bands]
    )


@operation("Image.arrayRepeat")
def array_repeat(world: World, image: Image, axis: int, copies: Image) -> Image:
    def compute(values: np.ndarray, number: np.ndarray) -> np.ndarray:
        if axis == values.ndim - 2:
            values = values[..., None]
        return np.concatenate([values] * int(number.flat[0]), axis + 2)

    by = copies.bands[0]
    return image.with_bands(
        [
            band.with_node(pointwise(world, [band, by], compute, band.kind), axes=max(band.axes, axis + 1))
            for band in image.bands
        ]
    )


@operation("Image.arrayReduce")
def array_reduce(world: World, image: Image, reducer: Reducer, axes: list[int], _field: Any) -> Image:
    def compute(values: np.ndarray) -> np.ndarray:
        for axis in axes:
            moved = np.moveaxis(values, axis + 2, -1)
            values = np.expand_dims(reducer.reduce(moved, np.ones(moved.shape, bool)), axis + 2)
        return values

    return image.with_bands([band.with_node(pointwise(world, [band], compute, band.kind)) for band in image.bands])


@operation("Image.arrayLength")
def array_length(world: World, image: Image, axis: int) -> Image:
    def compute(values: np.ndarray) -> np.ndarray:
        return np.full(values.shape[:2], values.shape[axis + 2])

    return image.with_bands(
        [band.with_node(pointwise(world, [band], compute, "int32"), "int32", 0) for band in image.bands]
    )


@operation("Image.arrayDotProduct")
def array_dot_product(world: World, first: Image, second: Image) -> Image:
    bands = []
    for one, other, name in paired(first, second, "Image.arrayDotProduct"):
        kind = wider(one.kind, other.kind)
        node = pointwise(world, [one, other], lambda left, right: (left * right).sum(-1), kind)
        bands.append(replace(one.with_node(node, kind, 0), name=name))
    return first.with_bands(bands)


@operation("Image.neighborhoodToArray")
def neighbourhood_to_array(_world: World, image: Image, kernel: Any, default: float) -> Image:
    from loopback_earthengine.neighbours import _around, _moved

    height, width = kernel.weights.shape

    def compute(grid: Any, pixels: Pixels) -> Pixels:
        seen = np.where(pixels.mask > 0, pixels.values, default)
        places = [[_moved(seen, row, column, grid) for column in range(width)] for row in range(height)]
        stacked = np.moveaxis(np.array(places), (0, 1), (2, 3))
        return Pixels(stacked, _moved(pixels.mask, kernel.row, kernel.column, grid))

    around = _around(kernel)
    return image.with_bands(
        [band.with_node(Node(compute, [band.node], lambda grid: grid.padded(*around)), axes=2) for band in image.bands]
    )
