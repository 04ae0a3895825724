"""The folder of an export: what belongs into it, and what of it is there already.

plan.json         country or area, image, pixels, projection, cuts: another export into the same folder is refused
outline.geojson   a country's outline as Earth Engine gave it, asked for once
tiles.csv         what distortion is predicted of each tile
PART/SHEET-ROW-COLUMN.tif   a tile, rows and columns in pixels from its sheet's corner, as Earth Engine names them
empty.txt         the tiles without any water, so that they are not asked for again
failed.jsonl      requests for tiles that came to nothing, with the reasons, until they are there
tasks.jsonl       the tasks on Earth Engine's servers, of exports to Drive or Cloud Storage

Beside it stands FOLDER.parts.png, a map of parts and tiles: within it would be taken for a tile.
"""

from __future__ import annotations

import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import TYPE_CHECKING

from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.sources.occurrence_export.outline import OUTLINE
from waterscape.sources.occurrence_export.tile_file import is_whole
from waterscape.sources.parallel import Workers, progress
from waterscape.sources.planned_folder import PLAN, check_plan, sweep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.sources.occurrence_export.sheets import Sheet, Way

SOFTWARE = f"waterscape {version('waterscape')}"
EMPTY, TABLE, TASKS = "empty.txt", "tiles.csv", "tasks.jsonl"
BEFORE = (OUTLINE, TABLE)  # what a dry run leaves

BAND = "occurrence"
PROCESSES = min(os.cpu_count() or 1, 8)  # that check tiles: most of it is Python, so threads gain nothing
FEW, CHUNK = 2000, 200  # tiles that are checked before other processes have started; and handed to one at once

Left = list[tuple["Sheet", list[tuple[int, int]]]]
"""Each sheet of which something is left to do, with those of its tiles that are."""


@dataclass(frozen=True)
class Plan:
    """What an export folder is for; another one in the same folder is refused."""

    ground: str
    """The country's code, or `area`."""
    image: str
    projection: Way
    metres: float
    tile_size: int
    """Pixels."""
    tiles: int
    sheets_sha256: str
    """Of all sheets: names, places and tiles."""
    band: str = BAND

    @classmethod
    def of(cls, ground: str, image: str, way: Way, metres: float, tile_size: int, sheets: Sequence[Sheet]) -> Plan:
        """The plan for sheets."""
        told = json.dumps([asdict(sheet) for sheet in sheets]).encode()
        tiles = sum(len(sheet.tiles) for sheet in sheets)
        return cls(ground, image, way, metres, tile_size, tiles, sha256(told).hexdigest())


class Folder:
    """The folder of an export."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def map(self) -> Path:
        """Where parts and tiles are drawn."""
        return self.path.with_name(f"{self.path.name}.parts.png")

    def check(self, plan: Plan) -> None:
        """Raises `UserError` where the folder is for something else, or is not ours."""
        check_plan(self.path, asdict(plan), before=BEFORE)

    def begin(self, plan: Plan, parts: Sequence[str]) -> str:
        """Make the folder, or take it up where it was left; returns what makes this export's requests its own.

        Raises `UserError` (see `check`), and where nothing can be written.
        """
        stands = check_plan(self.path, asdict(plan), before=BEFORE)
        seed = str(stands.get("id") or uuid.uuid4().hex)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(  # before all else: by it the folder is known as ours, wherever this is stopped
                self.path / PLAN, json.dumps({**asdict(plan), "software": SOFTWARE, "id": seed}, indent=1) + "\n"
            )
            for name in parts:
                (self.path / name).mkdir(exist_ok=True)
            sweep(self.path)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written ({error.strerror}): give --out another folder") from error
        return seed

    def left(self, sheets: Sequence[Sheet]) -> Left:
        """What is left to do: tiles that are neither there, whole, nor known to be empty. Shows how far it is."""
        done = set(self._empty())
        files = {
            sheet.path(tile): (self.path / sheet.path(tile), sheet.crs, sheet.transform(tile), sheet.tile_size)
            for sheet in sheets
            for tile in sheet.tiles
            if sheet.path(tile) not in done and (self.path / sheet.path(tile)).is_file()
        }
        with Workers(PROCESSES, few=FEW, chunk=CHUNK) as workers:
            checked = progress(workers.in_order(_is_whole, list(files.values())), len(files), "checking what is there")
            done.update(path for path, whole in zip(files, checked, strict=True) if whole)
        rest = ((sheet, [tile for tile in sheet.tiles if sheet.path(tile) not in done]) for sheet in sheets)
        return [(sheet, tiles) for sheet, tiles in rest if tiles]

    def _empty(self) -> frozenset[str]:
        with suppress(FileNotFoundError):
            return frozenset((self.path / EMPTY).read_text().split("\n"))
        return frozenset()


def _is_whole(file: tuple[Path, str, tuple[float, ...], int]) -> bool:
    return is_whole(*file)
