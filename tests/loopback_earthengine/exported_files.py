"""Exports to Drive and Cloud Storage: a raster as the GeoTIFFs that the service writes, below a folder on this machine.

More than one file is named by the pixel offsets of its corner, `-{row:010d}-{column:010d}.tif`, a single one not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine

from loopback_earthengine.faults import ServiceError
from loopback_earthengine.images import Raster


def beginning(options: Mapping[str, Any]) -> str:
    """Where the files go, up to the beginning of their names; raises `ServiceError` for what the service refuses."""
    if options.get("fileFormat") != "GEO_TIFF":
        raise ServiceError(501, f"the loopback writes no {options.get('fileFormat')}")
    size, shard = (options["geoTiffOptions"].get(key) for key in ("tileDimensions", "tileSize"))
    if size and shard and (size["width"] % shard["value"] or size["height"] % shard["value"]):
        raise ServiceError(400, "fileDimensions must be a multiple of shardSize.")
    if "driveDestination" in options:
        place = options["driveDestination"]
        return f"{place['folder']}/{place['filenamePrefix']}"
    place = options["cloudStorageDestination"]
    return f"gs/{place['bucket']}/{place['filenamePrefix']}"


def write(root: Path | None, start: str, raster: Raster, options: Mapping[str, Any]) -> None:
    """Write the files of a raster. Drive keeps two files of a name, which on this machine is an error."""
    if root is None:
        raise ServiceError(501, "the loopback has no place for files: serve(…, drive=FOLDER)")
    told = options["geoTiffOptions"]
    height, width = raster.shape
    size = told.get("tileDimensions") or {"width": width, "height": height}
    several = size["height"] < height or size["width"] < width
    nodata = told.get("noData", {}).get("floatValue")
    for row in range(0, height, size["height"]):
        for column in range(0, width, size["width"]):
            part = slice(row, row + size["height"]), slice(column, column + size["width"])
            known = np.asarray(raster.mask)[part]
            if told.get("skipEmptyFiles") and not known.any():
                continue
            path = root / f"{start}{f'-{row:010d}-{column:010d}' if several else ''}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise ServiceError(500, f"the loopback wrote {path.name} already")
            _write(path, raster, part, known, nodata)


def _write(path: Path, raster: Raster, part: tuple[slice, slice], known: np.ndarray, nodata: float | None) -> None:
    planes = [np.where(known, plane[part], 0 if nodata is None else nodata) for plane in raster.bands.values()]
    stack = np.stack(planes).astype(np.result_type(*raster.bands.values()))
    transform = Affine(*raster.transform) @ Affine.translation(part[1].start, part[0].start)
    facts = {"count": len(stack), "height": stack.shape[1], "width": stack.shape[2], "dtype": stack.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=raster.crs, transform=transform, nodata=nodata, **facts) as file:
        file.write(stack)
        file.descriptions = tuple(raster.bands)
