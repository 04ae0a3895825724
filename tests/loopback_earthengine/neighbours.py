"""What a pixel's neighbours have a part in, and where pixels lie: kernels, projections, clipping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Band, Grid, Image, Node, Pixels, Projection
from loopback_earthengine.operations import SMALL, World, operation, rounded
from loopback_earthengine.values import Feature, Geometry, Kernel, as_geometry


@operation("Kernel.fixed")
def fixed(_w: World, width: int, height: int, weights: list, x: int, y: int, normalize: bool) -> Kernel:
    rows = [list(row) for row in weights]
    if len({len(row) for row in rows}) > 1:
        raise ServiceError(400, "Kernel.fixed: The rows of weights must be of equal length.")
    numbers = np.asarray(rows, np.float64)
    if (height not in (-1, numbers.shape[0])) or (width not in (-1, numbers.shape[1])):
        shape = f"{numbers.shape[1]} x {numbers.shape[0]}"
        raise ServiceError(400, f"Kernel.fixed: The weights are {shape}, width and height say {width} x {height}.")
    return _kernel(numbers, y, x, normalize)


def _kernel(weights: np.ndarray, row: int = -1, column: int = -1, normalize: bool = False) -> Kernel:
    height, width = weights.shape
    if normalize and weights.sum():
        weights = weights / weights.sum()
    return Kernel(weights, height // 2 if row < 0 else row, width // 2 if column < 0 else column)


@operation("Kernel.square")
def square(_w: World, radius: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    return rectangle(_w, radius, radius, units, normalize, magnitude)


@operation("Kernel.rectangle")
def rectangle(_w: World, x: float, y: float, units: str, normalize: bool, magnitude: float) -> Kernel:
    if units not in ("pixels", "pixel"):
        raise ServiceError(501, "the loopback knows kernels in pixels only")
    weights = np.full((2 * int(y) + 1, 2 * int(x) + 1), magnitude)
    kernel = _kernel(weights, normalize=normalize)
    return replace(kernel, weights=kernel.weights * magnitude) if normalize else kernel


def _around(kernel: Kernel) -> tuple[int, int, int, int]:
    height, width = kernel.weights.shape
    return kernel.column, kernel.row, width - 1 - kernel.column, height - 1 - kernel.row


def _moved(values: np.ndarray, row: int, column: int, grid: Grid) -> np.ndarray:
    return values[row : row + grid.height, column : column + grid.width]


@operation("Image.convolve")
def convolve(world: World, image: Image, kernel: Kernel) -> Image:
    if world.assumptions.convolve_kernel == "flipped":
        height, width = kernel.weights.shape
        focus = height - 1 - kernel.row, width - 1 - kernel.column
        kernel = Kernel(kernel.weights[::-1, ::-1], *focus)
    weights = kernel.weights
    around = _around(kernel)
    skip = world.assumptions.masked_neighbours == "skipped"

    def compute(grid: Grid, pixels: Pixels) -> Pixels:
        total, known = np.zeros((grid.height, grid.width)), np.ones((grid.height, grid.width))
        seen = np.where(pixels.mask > 0, pixels.values, 0)
        for row, column in np.argwhere(weights):
            total += weights[row, column] * _moved(seen, row, column, grid)
            known = np.minimum(known, _moved(pixels.mask, row, column, grid))
        if skip:
            known = _moved(pixels.mask, kernel.row, kernel.column, grid)
        return Pixels(rounded(world, total, kind), known)

    bands = []
    for band in image.bands:
        if band.axes:
            raise ServiceError(400, "Image.convolve: The bands must be scalar, not arrays.")
        kind = "float32" if band.kind in SMALL else "float64"
        bands.append(band.with_node(Node(compute, [band.node], lambda grid: grid.padded(*around)), kind))
    return image.with_bands(bands)


@operation("Image.neighborhoodToBands")
def neighbourhood_to_bands(world: World, image: Image, kernel: Kernel) -> Image:
    order, around = world.assumptions.neighbour_order, _around(kernel)
    places = [tuple(place) for place in np.argwhere(kernel.weights)]
    if order == "columns":
        places.sort(key=lambda place: (place[1], place[0]))
    elif order == "rows northward":
        places.sort(key=lambda place: (-place[0], place[1]))
    elif order == "rows flipped":
        places.reverse()

    def neighbour(band: Band, row: int, column: int) -> Band:
        def compute(grid: Grid, pixels: Pixels) -> Pixels:
            return Pixels(_moved(pixels.values, row, column, grid), _moved(pixels.mask, row, column, grid))

        name = f"{band.name}_{column - kernel.column}_{row - kernel.row}"
        node = Node(compute, [band.node], lambda grid: grid.padded(*around))
        return replace(band.with_node(node), name=name)

    if world.assumptions.neighbour_bands == "band first":
        return image.with_bands([neighbour(band, *place) for band in image.bands for place in places])
    return image.with_bands([neighbour(band, *place) for place in places for band in image.bands])


def _pinned(projection: Projection, transform: Sequence[float] | None, scale: float | None, name: str) -> Projection:
    if transform is not None and scale is not None:
        raise ServiceError(400, f"{name}: Cannot specify both crsTransform and scale.")
    if transform is not None:
        return Projection(projection.crs, tuple(transform))
    return projection.at_scale(scale) if scale is not None else projection


@operation("Image.setDefaultProjection")
def set_default_projection(_w: World, image: Image, crs: Projection, transform: list, scale: float) -> Image:
    there = _pinned(crs, transform, scale, "Image.setDefaultProjection")
    return image.with_bands([replace(band, projection=there) for band in image.bands])


@operation("Image.reproject")
def reproject(world: World, image: Image, crs: Projection, transform: list, scale: float) -> Image:
    there = _pinned(crs, transform, scale, "Image.reproject")

    def window(grid: Grid) -> Grid:
        if grid.projection == there:
            return grid
        columns, rows = grid.pixels_of(there, world.assumptions.shared_edge)
        left, top = int(columns.min()), int(rows.min())
        width, height = int(columns.max()) - left + 1, int(rows.max()) - top + 1
        if width * height > 1e8:
            message = f"Image.reproject: Reprojection output too large ({width} x {height} pixels)."
            raise ServiceError(400, message)
        return Grid(there, left, top, width, height)

    def compute(grid: Grid, pixels: Pixels) -> Pixels:
        if grid.projection == there:
            return pixels
        columns, rows = grid.pixels_of(there, world.assumptions.shared_edge)
        columns, rows = columns - columns.min(), rows - rows.min()
        return Pixels(pixels.values[rows, columns], pixels.mask[rows, columns])

    if world.assumptions.reprojected_scale == "request":
        return image.with_bands([replace(band, projection=there) for band in image.bands])
    return image.with_bands(
        [replace(band.with_node(Node(compute, [band.node], window)), projection=there) for band in image.bands]
    )


@operation("Image.clip")
def clip(_world: World, image: Image, geometry: Any) -> Image:
    try:
        within = as_geometry(geometry)
    except TypeError:
        raise ServiceError(400, "Image.clip, argument 'geometry': Invalid type.\nExpected type: Geometry.") from None
    return _clipped(image, within)


def _clipped(image: Image, within: Geometry) -> Image:
    def compute(grid: Grid, pixels: Pixels) -> Pixels:
        inside = within.contains(*grid.centres(), grid.projection.crs)
        return Pixels(pixels.values, pixels.mask * inside)

    footprint = within.degrees() if image.footprint is None else image.footprint.intersection(within.degrees())
    bands = [band.with_node(Node(compute, [band.node])) for band in image.bands]
    return replace(image.with_bands(bands), footprint=footprint)


@operation("Image.clipToBoundsAndScale")
def clip_to_bounds_and_scale(
    _world: World, image: Image, geometry: Geometry | None, width: int, height: int, longest: int, scale: float
) -> Image:
    if width or height or longest:
        raise ServiceError(501, "the loopback clips to bounds by scale only")
    if geometry is not None:
        image = replace(image, footprint=geometry.degrees(), region=geometry)
    if scale is None:
        return image
    bands = [replace(band, projection=band.projection.at_scale(scale)) for band in image.bands]
    return image.with_bands(bands)


@operation("Image.projection")
def projection(_world: World, image: Image) -> Projection:
    if not image.bands:
        raise ServiceError(400, "Image.projection: The image has no bands.")
    if len({band.projection for band in image.bands}) > 1:
        raise ServiceError(400, "Image.projection: The bands of the specified image contains different projections.")
    return image.bands[0].projection


@operation("Image.geometry", "Element.geometry", "Feature.geometry")
def geometry_of(_world: World, element: Image | Feature, *_: Any) -> Geometry:
    return as_geometry(element)


@operation("Image.pixelLonLat")
def pixel_lon_lat(_world: World) -> Image:
    from loopback_earthengine.images import transformed

    def place(axis: int) -> Node:
        def compute(grid: Grid) -> Pixels:
            found = transformed(*grid.centres(), grid.projection.crs, "EPSG:4326")[axis]
            return Pixels(found, np.ones(found.shape))

        return Node(compute)

    return Image((Band("longitude", place(0)), Band("latitude", place(1))))


@operation("Image.pixelCoordinates")
def pixel_coordinates(_world: World, projection: Projection) -> Image:
    from loopback_earthengine.images import transformed

    def place(axis: int) -> Node:
        def compute(grid: Grid) -> Pixels:
            found = projection.lattice(*transformed(*grid.centres(), grid.projection.crs, projection.crs))[axis]
            return Pixels(np.asarray(found), np.ones(found.shape))

        return Node(compute)

    return Image((Band("x", place(0), projection=projection), Band("y", place(1), projection=projection)))
