"""A mosaic on the disk as a source of satellite tiles: a GeoTIFF of red, green and blue, in any coordinate system."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from PIL import Image

from waterscape.errors import UserError
from waterscape.sources.place import locate
from waterscape.sources.satellite.picture import PNG_LEVEL, check_not_blank
from waterscape.sources.satellite.source import NO_DATA, OUTSIDE, Demand, NoTileError, SatelliteTile
from waterscape.sources.tile_at import HoleError, OutsideError, opened, tile_at

if TYPE_CHECKING:
    from pathlib import Path

MOST_SIDE = 4000


@dataclass
class MosaicFile:
    """A `TileSource`: tiles at true scale, in the azimuthal equidistant projection about their middle."""

    path: Path
    size: tuple[int, int] = (450, 450)
    metres_per_pixel: float | None = None
    """None: the mosaic's own, in its middle."""
    at_once: int = 2
    licence: str = ""
    """The mosaic's own, from its TIFFTAG_COPYRIGHT, where nobody gives one."""

    def __post_init__(self) -> None:
        if not all(1 <= side <= MOST_SIDE for side in self.size):
            raise UserError(f"--size {self.size[0]},{self.size[1]}: give at most {MOST_SIDE} pixels a side")
        with opened(self.path) as dataset:
            place = locate(dataset.crs.to_string(), dataset.transform, dataset.width, dataset.height)
            told = dataset.tags().get("TIFFTAG_COPYRIGHT", "")
        self.licence = self.licence or " ".join(told.split()) or f"as {self.path.name}, whose file does not tell"
        self.metres: float = self.metres_per_pixel or round(sum(place.metres_per_pixel) / 2, 4)
        if not 0.01 <= self.metres <= 100_000:
            raise UserError(f"--metres-per-pixel {self.metres:g}: give 0.01 to 100 000")

    @property
    def name(self) -> str:
        """As the ledger calls it."""
        return f"mosaic:{self.path.name}"

    @property
    def plan(self) -> dict[str, Any]:
        """Which file, by its size and beginning, and at which scale."""
        with self.path.open("rb") as file:
            begins = hashlib.sha256(file.read(1 << 16)).hexdigest()[:16]
        about = {"bytes": self.path.stat().st_size, "begins": begins}
        return {"mosaic": self.path.name, **about, "size": list(self.size), "metres_per_pixel": self.metres}

    @property
    def finest_metres(self) -> float:
        """That of all."""
        return self.metres

    @property
    def demand(self) -> Demand:
        """Of this machine."""
        megabytes = self.size[0] * self.size[1] * 2 / 1e6
        notes = ("cut from the disk: no requests, no quota", f"licence: {self.licence}")
        return Demand(self.at_once, 1000.0, (0.02, 0.5), megabytes, notes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tile_at(self, latitude: float, longitude: float) -> SatelliteTile:
        """See `TileSource`."""
        try:
            pixels = tile_at(self.path, latitude, longitude, self.size, self.metres)
        except OutsideError:
            raise NoTileError(OUTSIDE, f"of {self.path.name}") from None
        except HoleError as error:
            raise NoTileError(NO_DATA, f"{100 * error.share:.1f} % of the tile is in {self.path.name}") from None
        check_not_blank(pixels)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", compress_level=PNG_LEVEL)
        facts = {"mosaic": self.path.name, "projection": "azimuthal equidistant", "asked": [latitude, longitude]}
        return SatelliteTile(stream.getvalue(), ".png", *self.size, self.metres, facts)
