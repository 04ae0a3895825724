"""A satellite tile as a satellite_encoder reads it, and the landscape that an observer in its middle would see."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from waterscape.data.pictures import decode_picture
from waterscape.errors import UserError
from waterscape.models import Trained
from waterscape.pages.samples import checked_finite
from waterscape.recipe import Input
from waterscape.sources.photo_file import GREY, Photo, as_jpeg, decode
from waterscape.sources.place import locate
from waterscape.sources.satellite.choosing import SERVICES, source_at_scale
from waterscape.sources.satellite.source import TileSource
from waterscape.sources.tile_at import tile_at
from waterscape.training.exhibit import as_array

SCALES_AGREE = 0.05  # a share by which metres per pixel may differ from training's


@dataclass(frozen=True)
class Tile:
    """A satellite tile: where it comes from, the JPEG that a set would store, what was done to the file for that."""

    name: str
    stored: bytes
    done: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """A tile as the encoder sees it (S S 3, 0..1), its numbers (D), and the landscape (H W 3, 0..1).

    `done`: as the tile has it.
    """

    name: str
    tile: NDArray[np.floating[Any]]
    numbers: torch.Tensor
    landscape: NDArray[np.floating[Any]]
    done: tuple[str, ...] = ()


def tile_from(source: str, latitude: float, longitude: float, pixels: tuple[int, int], metres: float) -> bytes:
    """The tile around a point as JPEG, from a mosaic or from a service. Raises `UserError` where there is none."""
    if source not in SERVICES:
        return as_jpeg(Image.fromarray(tile_at(Path(source), latitude, longitude, pixels, metres)))
    with source_at_scale(source, pixels, metres, latitude) as service:
        print(f"{latitude},{longitude}: {service.name}, {service.licence}", file=sys.stderr)
        return tile_of(service, latitude, longitude, metres)


def tile_of(service: TileSource, latitude: float, longitude: float, metres: float) -> bytes:
    """The tile around a point as JPEG, from a connected service. Raises `UserError`: none, or of another scale."""
    tile = service.tile_at(latitude, longitude)
    if abs(tile.metres_per_pixel / metres - 1) > SCALES_AGREE:
        raise UserError(
            f"{service.name} has {tile.metres_per_pixel:.3g} m per pixel at {latitude:g}° and the run was trained on "
            f"{metres:g}: give a GeoTIFF or earthengine to --source"
        )
    return decode(tile.content).stored()


def stored_tile(photo: Photo, usual: Mapping[str, Any], metres_per_pixel: float | None = None) -> bytes:
    """A tile that was read, as JPEG. `usual`: size and scale of those that the run was trained on, where known.

    Raises:
        UserError: it is no tile like those.
    """
    if any("16 bits" in told for told in photo.done):
        raise UserError("16 bits a colour: give red, green and blue of 8 bits, as the run was trained on")
    if photo.image.mode != "RGB" or GREY in photo.told:
        raise UserError("a single channel: give red, green and blue")
    wanted = usual.get("pixels")
    if wanted and [photo.width, photo.height] != wanted:
        raise UserError(
            f"{photo.width} × {photo.height} pixels, and the run was trained on {wanted[0]} × {wanted[1]}: cut it to "
            "that at the same scale, or give a GeoTIFF to --source and the point to --at"
        )
    metres = metres_per_pixel or usual.get("metres_per_pixel")
    scale = _scale(photo.content) if metres else None
    if metres and scale and abs(scale / metres - 1) > SCALES_AGREE:
        raise UserError(
            f"{scale:.3g} m per pixel, and the run was trained on {metres:g}: give it to --source, the point to --at"
        )
    return photo.stored()


def _scale(content: bytes) -> float | None:
    """Metres per pixel of a GeoTIFF that has a place; None of any other picture. Raises `UserError`: it is no place."""
    if content[:2] not in (b"II", b"MM"):
        return None
    from rasterio import MemoryFile
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
                if dataset.crs is None:
                    return None
                place = locate(dataset.crs.to_string(), dataset.transform, dataset.width, dataset.height)
        except (ValueError, RuntimeError, RasterioError) as error:  # RuntimeError: pyproj's own
            why = " ".join(str(error).split())[:100]
            raise UserError(f"its place cannot be read ({why}): give it a CRS of the Earth, or none") from error
    return sum(place.metres_per_pixel) / 2


@torch.no_grad()
def predicted(trained: Trained, tile: Tile) -> Prediction:
    """One tile by itself, so that what is predicted does not depend on others. Raises `UserError`: not finite."""
    name = trained.recipe.pictured()
    entry: Input = trained.recipe.inputs()[name]
    assert entry.picture is not None
    stored = decode_picture(tile.stored, entry.picture)  # as training reads it
    batch = {name: entry.numbers(torch.from_numpy(stored.copy())[None], torch.float32)}
    numbers = checked_finite(trained, trained.recipe.encode(trained.networks, batch))
    landscape = checked_finite(trained, trained.recipe.decode(trained.networks, numbers))
    return Prediction(tile.name, stored / 255, numbers[0], as_array(landscape)[0], tile.done)
