"""Composites of a study area, tile by tile, from Earth Engine into a folder: each tile whole or absent."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from waterscape.durable import Lines
from waterscape.sources.earthengine import EarthEngineError, RefusedError, UnreachableError, explained
from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.composite import COLLECTION, LABEL, composite
from waterscape.sources.landsat.export_folder import EMPTY, SOFTWARE, Folder
from waterscape.sources.landsat.export_tile import NODATA, TileError, clear_share, tile_bands, write_tile
from waterscape.sources.requests_at_once import in_any_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from waterscape.sources.landsat.grid import GridTile

ATTEMPTS = 3  # at a tile whose answer is none
FAILURES_IN_A_ROW = 5  # to reach the service, after which it is not asked again
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


@dataclass
class Outcome:
    """What became of the tiles that were asked for."""

    written: int = 0
    empty: int = 0
    """No scene saw them clearly."""
    failed: dict[str, str] = field(default_factory=dict)
    """Key → reason. They are absent; the same command asks for them again."""


def export(tiles: Sequence[GridTile], year: int, folder: Folder, at_once: int) -> Iterator[Outcome]:
    """Ask for tiles and put them into a folder that was begun; `waterscape.sources.earthengine` is connected.

    Yields the same `Outcome` after each tile.

    Raises:
        EarthEngineError: access is refused, or the service is out of reach. What was written stays.
    """
    outcome, in_a_row = Outcome(), 0
    results = in_any_order(tiles, lambda tile: _export_tile(tile, year, folder.path), at_once, EarthEngineError)
    with closing(results), closing(Lines(folder.path / EMPTY)) as empty:
        for tile, result in results:
            in_a_row = in_a_row + 1 if isinstance(result, UnreachableError) else 0  # others are the tile's own
            if isinstance(result, EarthEngineError):
                outcome.failed[tile.key] = str(result)
                if isinstance(result, RefusedError):
                    raise result
                if in_a_row >= FAILURES_IN_A_ROW:
                    raise UnreachableError(
                        f"{in_a_row} tiles in a row failed, the last: {result}. {outcome.written} are written; the "
                        "same command goes on"
                    )
            elif result:
                outcome.written += 1
            else:
                outcome.empty += 1
                empty.write(f"{tile.key}\n")
                empty.sync()
            yield outcome


def _export_tile(tile: GridTile, year: int, folder: Path) -> bool:
    """Ask for a tile, and write it unless no scene saw it clearly. Raises `EarthEngineError`."""
    for attempt in range(1, ATTEMPTS + 1):
        with explained(f"tile {tile.key}"):
            content = _computed(tile, year)
        try:
            bands = tile_bands(content, tile)
            break
        except TileError as error:
            if attempt == ATTEMPTS:
                raise EarthEngineError(f"tile {tile.key}: {error}, {ATTEMPTS} times") from error
    if not clear_share(bands):
        return False
    write_tile(folder / f"{tile.key}.tif", tile, bands, _tags(tile, year))
    return True


def _computed(tile: GridTile, year: int) -> bytes:
    """A GeoTIFF of the tile's pixels, as the servers compute it."""
    import ee

    image = composite(_region(tile), year, southern=tile.southern)
    a, b, c, d, e, f = tile.transform
    affine = {"scaleX": a, "shearX": b, "translateX": c, "shearY": d, "scaleY": e, "translateY": f}
    content: bytes = ee.data.computePixels(
        {
            "expression": image.unmask(NODATA, False).toFloat(),
            "fileFormat": "GEO_TIFF",
            "bandIds": [*BANDS, LABEL],
            "grid": {
                "dimensions": {"width": tile.width, "height": tile.height},
                "affineTransform": affine,
                "crsCode": tile.crs,
            },
        }
    )
    return content


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
