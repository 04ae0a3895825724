"""Earth Engine as a source of satellite tiles: the cloudless median around a place, in its zone of UTM."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from PIL import Image

from waterscape.errors import UserError
from waterscape.sources import earthengine
from waterscape.sources.earthengine import (
    EarthEngineError,
    RefusedError,
    UnreachableError,
    connect,
    disconnect,
    explained,
)
from waterscape.sources.satellite.chip import CLEAR, COLOURS, IMAGERY, ChipGrid, Imagery, Satellite, Seasons, chip
from waterscape.sources.satellite.picture import PNG_LEVEL, check_not_blank
from waterscape.sources.satellite.source import (
    CLOUDED,
    NO_PICTURE,
    NO_ZONE,
    REFUSED,
    Demand,
    DeniedError,
    NoTileError,
    SatelliteTile,
    UnansweredError,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.web import Limits

ATTEMPTS = 3  # at an answer that is no GeoTIFF of the chip
LEAST_CLEAR = 0.98
"""Share of a tile's pixels that were clear in some scene; the others are black."""
IN_STEP = 1e-6  # of a pixel by which the answer's corner may be off
MOST_SIDE = 2000
QUOTA = "Earth Engine's usual quota: 40 requests at a time, 100 a second, counted to your project; 48 MB a request"


@dataclass
class EarthEngine:
    """A `TileSource`; credentials as `sources.earthengine.connect` finds them."""

    satellite: Satellite = "sentinel-2"
    size: tuple[int, int] = (450, 450)
    seasons: Seasons = field(default_factory=Seasons)
    reflectance: tuple[float, float] = (0.0, 0.3)
    """Those that become 0 and 255."""
    metres_per_pixel: float | None = None
    """None: the satellite's own."""
    project: str | None = None
    limits: Limits = field(default_factory=lambda: earthengine.LIMITS)

    def __post_init__(self) -> None:
        low, high = self.reflectance
        if not -0.2 <= low < high <= 2:
            raise UserError(f"--reflectance {low:g},{high:g}: give those that become black and white, as in 0,0.3")
        if not all(1 <= side <= MOST_SIDE for side in self.size):
            raise UserError(f"--size {self.size[0]},{self.size[1]}: give at most {MOST_SIDE} pixels a side")
        if not 1 <= self.metres <= 1000:
            raise UserError(f"--metres-per-pixel {self.metres:g}: give 1 to 1000")

    @property
    def imagery(self) -> Imagery:
        """The collection."""
        return IMAGERY[self.satellite]

    @property
    def metres(self) -> float:
        """Of a pixel."""
        return self.metres_per_pixel or self.imagery.metres

    @property
    def name(self) -> str:
        """As the ledger calls it."""
        return f"earthengine:{self.satellite}"

    @property
    def licence(self) -> str:
        """As the satellite's owner wants it told."""
        return self.imagery.licence.format(years=self.seasons.years)

    @property
    def plan(self) -> dict[str, Any]:
        """Of what, and how it is stretched."""
        months = list(self.seasons.months) if self.seasons.months else "summer"
        return {
            "collection": self.imagery.collection,
            "years": self.seasons.years,
            "months": months,
            "reflectance": list(self.reflectance),
            "size": list(self.size),
            "metres_per_pixel": self.metres,
        }

    @property
    def finest_metres(self) -> float:
        """That of all."""
        return self.metres

    @property
    def demand(self) -> Demand:
        """Of a project."""
        megabytes = self.size[0] * self.size[1] * (len(COLOURS) + 1) / 1e6
        season = "{}-{}".format(*self.seasons.months) if self.seasons.months else "summer (south of the equator 12-2)"
        low, high = self.reflectance
        made = (
            f"median of {self.imagery.collection} in {self.seasons.years}, months: {season}, without clouds; "
            f"reflectances of {low:g} to {high:g} become 0 to 255"
        )
        notes = (made, QUOTA, f"terms: {self.licence}")
        return Demand(self.limits.at_once, self.limits.per_second, (5.0, 30.0), megabytes, notes)

    def __enter__(self) -> Self:
        connect(self.project, limits=self.limits)
        return self

    def __exit__(self, *_: object) -> None:
        disconnect()

    def tile_at(self, latitude: float, longitude: float) -> SatelliteTile:
        """See `TileSource`."""
        try:
            grid = ChipGrid.around(latitude, longitude, self.size, self.metres, self._corner)
        except ValueError as error:
            raise NoTileError(NO_ZONE, str(error)) from None
        bands = self._bands(grid, latitude)
        clear = float((bands[len(COLOURS)] > 0).mean())
        if clear < LEAST_CLEAR:
            raise NoTileError(CLOUDED, f"{100 * clear:.0f} % of the tile was clear in {self.seasons.years}")
        pixels = np.ascontiguousarray(bands[: len(COLOURS)].transpose(1, 2, 0))
        check_not_blank(pixels)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", compress_level=PNG_LEVEL)
        facts = {
            **self.plan,
            "months": list(self.seasons.months_at(latitude)),
            "crs": grid.crs,
            "transform": list(grid.transform),
            "clear": round(clear, 4),
            "asked": [latitude, longitude],
        }
        return SatelliteTile(stream.getvalue(), ".png", *self.size, self.metres, facts)

    @property
    def _corner(self) -> float:
        return self.imagery.corner if self.metres == self.imagery.metres else 0.0

    def _bands(self, grid: ChipGrid, latitude: float) -> NDArray[np.uint8]:
        """Red, green, blue and whether it was clear (4 H W)."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with explained("satellite tile"):
                    content = self._computed(grid, latitude)
            except RefusedError as error:
                raise DeniedError(str(error)) from None
            except UnreachableError as error:
                raise UnansweredError(str(error)) from None
            except EarthEngineError as error:
                raise NoTileError(REFUSED, str(error)) from None
            try:
                return _read(content, grid)
            except NoTileError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError

    def _computed(self, grid: ChipGrid, latitude: float) -> bytes:
        import ee

        image = chip(self.imagery, grid.region(), self.seasons, latitude, self.reflectance)
        a, b, c, d, e, f = grid.transform
        content: bytes = ee.data.computePixels(
            {
                "expression": image,
                "fileFormat": "GEO_TIFF",
                "bandIds": [*COLOURS, CLEAR],
                "grid": {
                    "dimensions": {"width": grid.width, "height": grid.height},
                    "affineTransform": {
                        "scaleX": a,
                        "shearX": b,
                        "translateX": c,
                        "shearY": d,
                        "scaleY": e,
                        "translateY": f,
                    },
                    "crsCode": grid.crs,
                },
            }
        )
        return content


def _read(content: bytes, grid: ChipGrid) -> NDArray[np.uint8]:
    """The bands of an answer (4 H W). Raises `NoTileError` where it is not the chip that was asked for."""
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError
    from rasterio.io import MemoryFile

    if not content:
        raise NoTileError(NO_PICTURE, "it is empty")
    try:
        with MemoryFile(content) as memory, memory.open(driver="GTiff") as dataset:
            shape = (dataset.count, dataset.height, dataset.width)
            apart = np.abs(np.subtract(tuple(dataset.transform)[:6], grid.transform)) / grid.metres
            if shape != (len(COLOURS) + 1, grid.height, grid.width) or set(dataset.dtypes) != {"uint8"}:
                raise NoTileError(NO_PICTURE, f"{shape} numbers of {', '.join(sorted(set(dataset.dtypes)))}")
            if dataset.crs != CRS.from_user_input(grid.crs) or apart.max() > IN_STEP:
                raise NoTileError(NO_PICTURE, "it lies elsewhere")
            bands: NDArray[np.uint8] = dataset.read()
            return bands
    except RasterioError as error:
        raise NoTileError(NO_PICTURE, "it is no GeoTIFF that can be read") from error
