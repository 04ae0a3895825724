"""The folder of an export: what belongs into it, and what of it is there already.

plan.json      area, year, grid, collection: another export into the same folder is refused
area.geojson   the study area
KEY.tif        a tile: `BANDS` and `LABEL` in float32, NaN where no scene was clear
empty.txt      the keys of tiles that no scene saw clearly, so that they are not asked for again
failed.jsonl   tiles that were asked for in vain, with the reasons, until they are there
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from waterscape.durable import write_text
from waterscape.sources.landsat.bands import BANDS
from waterscape.sources.landsat.composite import COLLECTION, LABEL
from waterscape.sources.landsat.export_tile import is_whole
from waterscape.sources.landsat.grid import PIXELS
from waterscape.sources.planned_folder import check_plan, sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.sources.area import Area
    from waterscape.sources.landsat.grid import GridTile, Kind

SOFTWARE = f"waterscape {version('waterscape')}"
EMPTY = "empty.txt"


@dataclass(frozen=True)
class Plan:
    """What an export folder is for; another one in the same folder is refused."""

    area_sha256: str
    bounds: tuple[float, ...]
    """West, south, east, north in degrees."""
    year: int
    grid: Kind
    tile_size: int
    """Pixels."""
    tiles: int
    collection: str = COLLECTION
    bands: tuple[str, ...] = (*BANDS, LABEL)

    @classmethod
    def of(cls, area: Area, year: int, grid: Kind, tile_size: int | None, tiles: Sequence[GridTile]) -> Plan:
        """The plan for an area's tiles."""
        return cls(area.digest, tuple(area.shape.bounds), year, grid, tile_size or PIXELS[grid], len(tiles))


class Folder:
    """The folder of an export."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, plan: Plan) -> None:
        """Raises `UserError` where the folder is for something else, or is not ours."""
        check_plan(self.path, asdict(plan))

    def begin(self, plan: Plan, area: Area) -> None:
        """Make the folder, or take it up where it was left."""
        self.check(plan)
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / "plan.json", json.dumps({**asdict(plan), "software": SOFTWARE}, indent=1) + "\n")
        write_text(self.path / "area.geojson", json.dumps(area.geojson()) + "\n")
        sweep(self.path)

    def left_of(self, tiles: Sequence[GridTile]) -> list[GridTile]:
        """Those of the tiles that are neither there nor known to be empty."""
        empty: set[str] = set()
        with suppress(FileNotFoundError):
            empty.update((self.path / EMPTY).read_text().split("\n"))
        return [tile for tile in tiles if tile.key not in empty and not is_whole(self.path / f"{tile.key}.tif", tile)]
