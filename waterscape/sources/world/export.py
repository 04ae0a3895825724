"""The synthetic world on disk, as Earth Engine would export it.

A folder a region, in it single-band uint8 GeoTIFF of 256×256 pixels of 100 m in the region's UTM zone, masked
(nodata 0) where there was never water, named by pixel offsets in the region's grid:
`{region}-{row:010d}-{column:010d}.tif`. A region's last row and column of tiles are smaller, as the edge of an area is.
Beside the folders `world.json` tells the seed, and for each tile what was drawn.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio import Affine

from waterscape.durable import sync, write_text
from waterscape.errors import UserError
from waterscape.sources.parallel import Workers, progress
from waterscape.sources.world import regions
from waterscape.sources.world.terrain import SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FORMAT = 1
FACTS = "world.json"
REGION_TILES = 1024  # most tiles of one region: 32 × 32 are 819 km, more than a UTM zone is wide
EDGE_FROM = 4  # tiles in a row or column from which its last tile is a smaller one
EDGE = (180, 212)  # height of a region's last row, width of its last column


@dataclass(frozen=True)
class Sheet:
    """Where a tile lies: its number in the world, folder, offsets in pixels, size, and place on Earth."""

    number: int
    folder: str
    row: int
    column: int
    height: int
    width: int
    crs: str
    easting: float
    northing: float

    @property
    def file(self) -> str:
        """Path below the world's directory."""
        return f"{self.folder}/{self.folder}-{self.row:010d}-{self.column:010d}.tif"


def layout(tiles: int) -> list[Sheet]:
    """Where each of a world's tiles 0 … tiles - 1 lies: each region's in rows from the north-west."""
    names = list(regions.REGIONS)
    sheets = []
    for number in range(tiles):
        name, within = names[number % len(names)], number // len(names)
        lap, place = divmod(within, REGION_TILES)
        count = min(len(range(number % len(names), tiles, len(names))) - lap * REGION_TILES, REGION_TILES)
        columns = math.isqrt(count - 1) + 1
        rows = -(-count // columns)
        row, column = divmod(place, columns)
        region = regions.REGIONS[name]
        pixels, metres = SIZE, SIZE * regions.METRES_PER_PIXEL
        sheets.append(
            Sheet(
                number=number,
                folder=name if not lap else f"{name}-{lap + 1}",
                row=row * pixels,
                column=column * pixels,
                height=EDGE[0] if rows >= EDGE_FROM and row == rows - 1 else pixels,
                width=EDGE[1] if columns >= EDGE_FROM and column == columns - 1 else pixels,
                crs=f"EPSG:{32600 + (region.utm_zone + lap - 1) % 60 + 1}",
                easting=500_000 + (column - columns / 2) * metres,
                northing=region.northing + (rows / 2 - row) * metres,
            )
        )
    return sheets


def write_world(
    out: Path, tiles: int, seed: int = 0, *, visualised: bool = False, replace: bool = False, processes: int = 1
) -> dict[str, Any]:
    """Write a world of so many tiles under `out`, and return what its `world.json` says.

    The same seed and number of tiles give the same bytes, for any number of `processes`. `visualised` writes three
    equal bands of 0–255 instead, as `visualize(min 0, max 100)` does. `out` appears once all of it is on the disk.

    Raises:
        UserError: fewer than one tile, or `out` exists (and is no synthetic world, or `replace` is False).
    """
    if tiles < 1:
        raise UserError(f"--tiles is {tiles}; give 1 or more")
    sheets = layout(tiles)
    with being_made(out, replace=replace) as beside, Workers(processes) as workers:
        for folder in dict.fromkeys(sheet.folder for sheet in sheets):
            (beside / folder).mkdir()
        export = partial(_export, directory=beside, seed=seed, visualised=visualised)
        entries = list(progress(workers.in_order(export, sheets), tiles, "making a synthetic world"))
        facts = _facts(seed, tiles, visualised) | {"files": entries}
        write_text(beside / FACTS, listed(facts))
    return facts


@contextmanager
def being_made(out: Path, *, replace: bool) -> Iterator[Path]:
    """A directory beside `out` to make a world in; it takes the name `out` once the block ends without error.

    Raises:
        UserError: `out` exists, and is no synthetic world or `replace` is False.
    """
    _check_target(out, replace)
    beside = out.absolute().parent / f".{out.absolute().name}.partial-{os.getpid()}"
    try:
        beside.mkdir(parents=True)
        yield beside
        _publish(beside, out, replace)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _export(sheet: Sheet, directory: Path, seed: int, *, visualised: bool) -> dict[str, Any]:
    """Make and write one tile; what `world.json` says of it."""
    tile = regions.tile(seed, sheet.number).cropped(sheet.height, sheet.width)
    bands = tile.occurrence[None]
    if visualised:
        bands = np.rint(bands * 2.55).astype(np.uint8).repeat(3, axis=0)
    path = directory / sheet.file
    options = {
        "crs": sheet.crs,
        "transform": Affine(regions.METRES_PER_PIXEL, 0, sheet.easting, 0, -regions.METRES_PER_PIXEL, sheet.northing),
        "nodata": 0,
        "compress": "deflate",
    }
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=len(bands), height=sheet.height, width=sheet.width, **options
    ) as dataset:
        dataset.write(bands)
        dataset.update_tags(synthetic="true", generator="waterscape synthetic world", seed=seed, tile=sheet.number)
    sync(path)
    entry = {"file": sheet.file, "number": tile.number, "setting": tile.setting}
    return entry | {"bodies": [asdict(body) for body in tile.bodies()]}


def _facts(seed: int, tiles: int, visualised: bool) -> dict[str, Any]:
    climates = {
        name: {"shares_percent": region.shares, "utm_zone": region.utm_zone} for name, region in regions.REGIONS.items()
    }
    return {
        "synthetic": True,
        "about": "A synthetic world: no tile shows a real place. Made by waterscape (tools/make_world.py).",
        "format": FORMAT,
        "seed": seed,
        "tiles": tiles,
        "visualised": visualised,
        "metres_per_pixel": regions.METRES_PER_PIXEL,
        "bodies_are_water_percent": regions.WATER,
        "bodies_smallest_pixels": regions.SMALLEST,
        "regions": climates,
    }


def listed(facts: Mapping[str, Any]) -> str:
    """A world's facts as JSON, with a line for each of its files."""
    head = json.dumps({name: value for name, value in facts.items() if name != "files"}, indent=1)
    lines: Iterable[str] = (json.dumps(entry) for entry in facts["files"])
    return head.removesuffix("\n}") + ',\n "files": [\n' + ",\n".join(lines) + "\n]}\n"


def _check_target(out: Path, replace: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / FACTS).is_file():
        raise UserError(f"{out} exists and is no synthetic world: choose another directory")
    if not replace:
        raise UserError(f"{out} exists: choose another directory, or add --replace")


def _publish(beside: Path, out: Path, replace: bool) -> None:
    """Give the whole world its name; an older one steps aside first and is removed last."""
    _check_target(out, replace)
    for folder in (*(entry for entry in beside.iterdir() if entry.is_dir()), beside):
        sync(folder)
    old = beside.with_name(beside.name + ".old")
    if out.exists():
        out.rename(old)
    beside.rename(out)
    sync(beside.parent)
    shutil.rmtree(old, ignore_errors=True)
