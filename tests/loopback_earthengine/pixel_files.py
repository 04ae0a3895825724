"""Pixels as the files that the service answers with."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from loopback_earthengine.assumptions import Assumptions
from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Band, Grid, Image, Pixels, Projection, evaluate
from loopback_earthengine.values import as_projection

MOST_BYTES = 50_331_648
"""A request's uncompressed pixels (48 MB), as the service limits them."""
LONGEST_SIDE = 32_768


def grid_of(request: Mapping[str, Any], image: Image) -> Grid:
    """The grid that a request describes."""
    grid = request.get("grid") or {}
    size, affine = grid.get("dimensions"), grid.get("affineTransform")
    if not size or not affine:
        raise ServiceError(501, "the loopback wants a grid with dimensions and affineTransform")
    numbers = [
        float(affine.get(key, 0)) for key in ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    ]
    if "[" in grid.get("crsCode", ""):
        raise ServiceError(400, f"Unable to parse the CRS code '{grid['crsCode']}'.")  # well-known text is `crsWkt`
    crs = grid.get("crsCode") or grid.get("crsWkt") or (image.bands[0].projection.crs if image.bands else "EPSG:4326")
    width, height = int(size.get("width", 0)), int(size.get("height", 0))
    if width < 1 or height < 1:
        raise ServiceError(400, "Image dimensions must be positive.")
    return Grid(Projection(as_projection(crs).crs, tuple(numbers)), 0, 0, width, height)


def compute(request: Mapping[str, Any], image: Image, assumptions: Assumptions) -> tuple[bytes, str]:
    """The body of a `computePixels` answer, and its type."""
    bands = image.bands
    if request.get("bandIds"):
        named = {band.name: band for band in bands}
        missing = [name for name in request["bandIds"] if name not in named]
        if missing:
            raise ServiceError(400, f"Image.select: Band pattern '{missing[0]}' did not match any bands.")
        bands = [named[name] for name in request["bandIds"]]
    if not bands:
        raise ServiceError(400, "The image has no bands.")
    if any(band.axes for band in bands):
        raise ServiceError(400, "Pixels of array bands cannot be computed; use arrayFlatten.")
    grid = grid_of(request, image)
    size = grid.width * grid.height * sum(np.dtype(band.kind).itemsize for band in bands)
    if size > MOST_BYTES:
        raise ServiceError(400, f"Total request size ({size} bytes) must be less than or equal to {MOST_BYTES} bytes.")
    if max(grid.width, grid.height) > LONGEST_SIDE:
        raise ServiceError(
            400, f"Pixel grid dimensions ({grid.width}x{grid.height}) must be less than or equal to 32768."
        )
    planes = numbers(bands, evaluate([band.node for band in bands], grid), assumptions)
    kind = request.get("fileFormat", "AUTO_JPEG_PNG")
    if kind == "NPY":
        return as_npy(bands, planes), "application/octet-stream"
    if kind == "GEO_TIFF":
        return as_geotiff(bands, planes, grid), "image/tiff"
    raise ServiceError(501, f"the loopback writes no pixels as {kind}")


def numbers(bands: Sequence[Band], pixels: Sequence[Pixels], assumptions: Assumptions) -> list[np.ndarray]:
    """Each band's numbers (H W) in its type, masked pixels as the service gives them."""
    planes = []
    for band, each in zip(bands, pixels, strict=True):
        real = not band.kind.startswith(("int", "uint"))
        fill = np.nan if real and assumptions.masked_pixels == "nan" else 0
        values = np.where(each.mask > 0, each.values, fill)
        if not real:
            values = np.clip(np.trunc(values), np.iinfo(band.kind).min, np.iinfo(band.kind).max)
        planes.append(values.astype(band.kind))
    return planes


def as_npy(bands: Sequence[Band], planes: Sequence[np.ndarray]) -> bytes:
    """A structured array with a field a band."""
    table = np.zeros(planes[0].shape, [(band.name, plane.dtype) for band, plane in zip(bands, planes, strict=True)])
    for band, plane in zip(bands, planes, strict=True):
        table[band.name] = plane
    stream = io.BytesIO()
    np.save(stream, table)
    return stream.getvalue()


def as_geotiff(bands: Sequence[Band], planes: Sequence[np.ndarray], grid: Grid) -> bytes:
    """A GeoTIFF of one type of numbers, bands described by name."""
    stack = np.stack(planes).astype(np.result_type(*planes))
    if stack.dtype == np.int64:
        stack = stack.astype(np.float64)
    facts = {"count": len(bands), "height": grid.height, "width": grid.width, "dtype": stack.dtype}
    with MemoryFile() as memory:
        place = {"crs": grid.projection.crs, "transform": Affine(*grid.projection.transform)}
        with memory.open(driver="GTiff", **facts, **place) as file:
            file.write(stack)
            file.descriptions = [band.name for band in bands]
        return memory.read()
