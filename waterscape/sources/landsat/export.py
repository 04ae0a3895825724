"""Composites of a study area, tile by tile, from Earth Engine into a folder: each tile whole or absent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.composite import COLLECTION, LABEL, composite
from waterscape.sources.landsat.export_folder import EMPTY, SOFTWARE, Folder
from waterscape.sources.landsat.export_tile import NODATA, clear_share, tile_bands, write_tile
from waterscape.sources.tile_requests import Done, Outcome, answered, computed, each

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from waterscape.sources.landsat.grid import GridTile

REQUEST_SECONDS = (5.0, 30.0)
"""What a tile may take the servers: an assumption, for lack of figures in the documentation."""


@dataclass(frozen=True)
class Estimate:
    """What is left to do, told before it is done."""

    requests: int
    megabytes: float
    """At most: without compression."""
    seconds: tuple[float, float]
    """If a request takes `REQUEST_SECONDS`."""

    @classmethod
    def of(cls, tiles: Sequence[GridTile], at_once: int, per_second: float) -> Estimate:
        """Of so many tiles, `at_once` at a time and no more than `per_second`."""
        pixels = sum(tile.width * tile.height for tile in tiles)
        low, high = (max(len(tiles) * seconds / at_once, len(tiles) / per_second) for seconds in REQUEST_SECONDS)
        return cls(len(tiles), pixels * 4 * (len(BANDS) + 1) / 1e6, (low, high))


def export(tiles: Sequence[GridTile], year: int, folder: Folder, at_once: int) -> Iterator[Outcome]:
    """Ask for tiles and put them into a folder that was begun; `waterscape.sources.earthengine` is connected.

    Those that no scene saw clearly are listed as empty. Yields the same `Outcome` after each tile.

    Raises:
        EarthEngineError: access is refused, or the service is out of reach. What was written stays.
    """
    fetch = partial(_export_tile, year=year, folder=folder.path)
    return each(tiles, fetch, lambda tile: tile.key, folder.path / EMPTY, at_once)


def _export_tile(tile: GridTile, year: int, folder: Path) -> Done:
    """Ask for a tile, and write it unless no scene saw it clearly. Raises `EarthEngineError`."""
    bands = answered(f"tile {tile.key}", lambda: _computed(tile, year), lambda content: tile_bands(content, tile))
    if not clear_share(bands):
        return Done(0, [tile.key])
    write_tile(folder / f"{tile.key}.tif", tile, bands, _tags(tile, year))
    return Done(1)


def _computed(tile: GridTile, year: int) -> bytes:
    image = composite(_region(tile), year, southern=tile.southern).unmask(NODATA, False).toFloat()
    return computed(image, [*BANDS, LABEL], tile.crs, tile.transform, tile.width, tile.height)


def _region(tile: GridTile) -> Any:
    """A tile's box in degrees; in two parts where it crosses the antimeridian."""
    import ee

    west, south, east, north = tile.bounds
    boxes = [(west, east)]
    if west < -180:
        boxes = [(west + 360, 180.0), (-180.0, east)]
    elif east > 180:
        boxes = [(west, 180.0), (-180.0, east - 360)]
    if len(boxes) == 1:
        return ee.Geometry.Rectangle([west, south, east, north], "EPSG:4326", False)
    rings = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in boxes]
    return ee.Geometry.MultiPolygon(rings, "EPSG:4326", False)


def _tags(tile: GridTile, year: int) -> Mapping[str, str]:
    season = "December of the year before to February" if tile.southern else "June to August"
    return {"key": tile.key, "year": str(year), "season": season, "collection": COLLECTION, "software": SOFTWARE}
