"""Pixels of a region: reduced to one number a band, or as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Grid, Image, Projection, evaluate
from loopback_earthengine.operations import World, operation
from loopback_earthengine.values import Feature, Geometry, Reducer


def window(projection: Projection, region: Geometry) -> Grid:
    """The pixels of a projection that the bounding box of a region touches."""
    import shapely

    from loopback_earthengine.images import transformed

    ring = shapely.segmentize(region.shape, max(region.shape.length / 64, 1e-9))
    places = shapely.get_coordinates(ring)
    columns, rows = projection.lattice(*transformed(*places.T, region.crs, projection.crs))
    left, top = int(np.floor(columns.min() + 1e-6)), int(np.floor(rows.min() + 1e-6))
    right, bottom = int(np.ceil(columns.max() - 1e-6)), int(np.ceil(rows.max() - 1e-6))
    return Grid(projection, left, top, max(right - left, 1), max(bottom - top, 1))


@operation("Image.reduceRegion")
def reduce_region(
    _world: World,
    image: Image,
    reducer: Reducer,
    geometry: Geometry | None,
    scale: float | None,
    crs: Projection | None,
    transform: list | None,
    _best: bool,
    most: int,
    _tile: float,
) -> dict:
    from loopback_earthengine.neighbours import _pinned

    if not image.bands:
        return {}
    there = _pinned(crs or image.bands[0].projection, transform, scale, "Image.reduceRegion")
    if geometry is None and image.footprint is None:
        raise ServiceError(400, "Image.reduceRegion: Provide 'geometry' parameter for an unbounded image.")
    region = geometry or Geometry(image.footprint)
    if region.shape.geom_type == "Point":
        grid, inside = window(there, region), np.ones((1, 1), bool)
        grid = Grid(there, grid.left, grid.top, 1, 1)
    else:
        grid = window(there, region)
        if grid.width * grid.height > most:
            pixels = grid.width * grid.height
            message = f"Image.reduceRegion: Too many pixels in the region. Found {pixels}, but maxPixels allows only "
            raise ServiceError(400, f"{message}{most}. Ensure that you are not aggregating at a higher resolution.")
        inside = region.contains(*grid.centres(), there.crs)
    found = {}
    for band, pixels in zip(image.bands, evaluate([band.node for band in image.bands], grid), strict=True):
        known = inside & (pixels.mask > 0)
        if band.axes:
            chosen = pixels.values[known]
            found[band.name] = chosen[0] if len(chosen) and reducer.name == "first" else None
            continue
        value = reducer.reduce(pixels.values[None, ...].reshape(-1), known.reshape(-1))
        if isinstance(value, list):
            found[band.name] = value[0]
        else:
            found[band.name] = None if np.isnan(value) else float(value)
    return found


@operation("Image.sampleRectangle")
def sample_rectangle(
    _world: World, image: Image, region: Geometry | None, _properties: Any, default: float | None, _array: Any
) -> Feature:
    properties = {}
    where = region or Geometry(image.footprint)
    for band in image.bands:
        grid = window(band.projection, where)
        if grid.width * grid.height > 262144:
            found = grid.width * grid.height
            message = f"Image.sampleRectangle: Too many pixels in sample; must be <= 262144. Got {found}."
            raise ServiceError(400, message)
        (pixels,) = evaluate([band.node], grid)
        if (pixels.mask == 0).any() and default is None:
            message = "Image.sampleRectangle: Fully or partially masked pixels / pixels outside of image footprint "
            raise ServiceError(400, message + f"when sampling band '{band.name}' with no default value set.")
        known = (pixels.mask > 0).reshape(pixels.mask.shape + (1,) * band.axes)
        properties[band.name] = np.where(known, pixels.values, 0 if default is None else default)
    return Feature(where, properties)
