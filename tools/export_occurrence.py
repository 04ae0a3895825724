"""Export the water occurrence of a country or an area from Earth Engine, as tiles true to scale.

    python tools/export_occurrence.py --country RS --out exports --dry-run
    python tools/export_occurrence.py --country RS --out exports
    python tools/export_occurrence.py --country RS --out exports --projection equal-area
    python tools/export_occurrence.py --country RS --out exports --reference --to drive
    python tools/export_occurrence.py --area area.geojson --out exports --to gs://my-bucket/water
    python tools/pack_occurrence.py exports --out shards/water

A country is two letters of FIPS 10-4 (RS is Russia, not Serbia); its outline is asked for once and kept in the folder.
The project is that of --project or GOOGLE_CLOUD_PROJECT; credentials are those of `earthengine authenticate`, or of the
key file that GOOGLE_APPLICATION_CREDENTIALS names. Stopped at any moment, the same command goes on.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from waterscape.errors import UserError, run_command
from waterscape.options import comma_separated, parse
from waterscape.pages import occurrence_export as page
from waterscape.pages import occurrence_tasks as tasks
from waterscape.sources.area import box_area
from waterscape.sources.earthengine import LIMITS, MOST_AT_ONCE, connect, disconnect
from waterscape.sources.occurrence_export import outline
from waterscape.sources.occurrence_export.covered import uncovered
from waterscape.sources.occurrence_export.distortion import Distortion, distortion, write_table
from waterscape.sources.occurrence_export.download import REQUEST_PIXELS, blocks_of
from waterscape.sources.occurrence_export.folder import TABLE, Folder, Plan
from waterscape.sources.occurrence_export.parts import (
    REFERENCE_COUNTRY,
    REFERENCE_CUTS,
    Cut,
    Part,
    apply_cuts,
    halved,
    safe_name,
)
from waterscape.sources.occurrence_export.parts_map import draw_parts
from waterscape.sources.occurrence_export.sheets import Sheet, Way, sheets_over
from waterscape.sources.server_tasks.file_export import Destination

IMAGE, REFERENCE_IMAGE = "JRC/GSW1_4/GlobalSurfaceWater", "JRC/GSW1_3/GlobalSurfaceWater"

MOST_PARTS = 1000


@dataclass(frozen=True)
class Command:
    """Export water occurrence (JRC Global Surface Water) over a country or an area: GeoTIFFs of whole percent."""

    out: Path
    """The folder to put the tiles into; one that was begun by the same words is taken up."""
    country: str | None = None
    """Two letters of FIPS 10-4, by which USDOS/LSIB_SIMPLE/2017 calls it: RS is Russia."""
    area: Path | None = None
    """Instead: GeoJSON; each feature of a FeatureCollection is a part, by its name."""
    box: Annotated[tuple[float, ...], comma_separated(float, "S,W,N,E")] = ()
    """Instead: degrees; W greater than E crosses the antimeridian."""
    project: str | None = None
    """Google Cloud project that Earth Engine counts the work to; or set GOOGLE_CLOUD_PROJECT."""
    to: str = "download"
    """Straight into the folder; or `drive` or `gs://BUCKET/FOLDER`, by tasks on the servers."""
    projection: Literal["utm", "equal-area"] | None = None
    """utm where left out: squares in its zones, which keep shapes; lengths are off by 0.1 % at most. equal-area: in
    blocks of 12°, each in Lambert's azimuthal projection about its middle, which keeps areas; lengths are off by some
    0.3 % at most, and shapes stretched by twice that."""
    reference: bool = False
    """The reference's way: degrees (EPSG:4326) instead of metres, GSW1_3, Russia's part `lena` cut by two boxes. Tiles
    of the north come out stretched."""
    image: str | None = None
    """With a band `occurrence`: JRC/GSW1_4/GlobalSurfaceWater, with --reference JRC/GSW1_3/GlobalSurfaceWater."""
    metres: float = 100.0
    """Side of a pixel."""
    tile_size: int = 256
    """Pixels a side."""
    cut: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=S,W,N,E, or PART/NAME=S,W,N,E: a box that becomes a part of its own; may be given again and again."""
    largest_km2: float = 4_000_000.0
    """A part with more ground is halved until none has."""
    request_pixels: int = REQUEST_PIXELS
    """Side of what is asked for at once, in whole tiles; fewer where Earth Engine runs out of memory."""
    at_once: int = LIMITS.at_once
    """Requests at a time; a project's usual quota is 40."""
    wait: bool = True
    """Whether to look after the tasks until all have ended; the same command does so later."""
    again: tuple[str, ...] = ()
    """Sheets whose task is started anew, whatever became of it."""
    poll_seconds: float = 10.0
    """Between looks at the tasks; doubled while nothing changes, up to two minutes."""
    dry_run: bool = False
    """Count, estimate, list the parts and draw them, OUT.parts.png; only a country's outline is asked for."""


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "export_occurrence.py")
    _check(command)
    try:
        return _export(command)
    finally:
        disconnect()


def _export(command: Command) -> int:
    """List and tell, then do; returns the exit code."""
    to = None if command.to == "download" else Destination.read(command.to, safe_name(command.out.resolve().name))
    parts = _cut_up(command, _parts(command))
    way: Way = "degrees" if command.reference else command.projection or "utm"
    sheets = sheets_over(parts, way, command.metres, command.tile_size)
    image = command.image or (REFERENCE_IMAGE if command.reference else IMAGE)
    ground = command.country or "area"
    plan, folder = Plan.of(ground, image, way, command.metres, command.tile_size, sheets), Folder(command.out)
    folder.check(plan)
    found = [distortion(sheet) for sheet in sheets]
    page.tell_parts(parts, sheets, reference=command.country == REFERENCE_COUNTRY)
    page.tell_distortion(found, way)
    lost = uncovered(parts, sheets)
    page.tell_uncovered(lost, way)
    left = folder.left(sheets)
    blocks = [block for sheet, tiles in left for block in blocks_of(sheet, tiles, command.request_pixels)]
    if to is None:
        page.tell_damaged(folder, left)
        page.tell_requests(sheets, blocks, command.at_once, LIMITS.per_second)
    else:
        stand = tasks.standing(folder, left, to, command.again)
        tasks.tell_tasks(folder, sheets, stand, to)
    if command.dry_run:
        _draw(folder, ground, parts, sheets, found)
        print("a dry run: no tile was asked for")
        return 0
    seed = folder.begin(plan, [part.name for part in parts])
    write_table(folder.path / TABLE, sheets, found)
    rest = left if to is None else stand.to_make
    if rest:
        _connect(command)
    if to is not None:
        if rest:
            tasks.look_after(folder, image, rest, to, seed, command.wait, command.again, command.poll_seconds)
        tasks.check_damaged(stand)
    elif rest:
        page.download_all(folder, image, blocks, command.at_once)
    if not rest:
        print(f"{folder.path}: nothing is left to ask for")
    page.tell_uncovered(lost, way)
    return 0


def _check(command: Command) -> None:
    """Raises `UserError` for words that do not fit."""
    if [command.country is not None, command.area is not None, bool(command.box)].count(True) != 1:
        raise UserError("give one of --country CODE, --area FILE and --box S,W,N,E")
    if command.country is not None:
        outline.check_code(command.country)
    if command.box and len(command.box) != 4:
        raise UserError(f"--box has {len(command.box)} numbers; give S,W,N,E in degrees")
    if not 1 <= command.at_once <= MOST_AT_ONCE:
        raise UserError(f"--at-once is {command.at_once}; give 1 to {MOST_AT_ONCE}, Earth Engine's quota")
    if not 10 <= command.metres <= 10_000:
        raise UserError(f"--metres is {command.metres:g}; give 10 to 10000 (the data has 30)")
    if command.tile_size not in range(16, 2049, 16):
        raise UserError(f"--tile-size is {command.tile_size}; give a multiple of 16 from 16 to 2048")
    if not command.reference and command.tile_size * command.metres > 100_000:
        raise UserError(f"tiles of {command.tile_size * command.metres / 1000:g} km: a zone of UTM is narrow; take 100")
    if command.reference and command.projection:
        raise UserError(f"--reference is in degrees, not --projection {command.projection}: give one of them")
    if not command.tile_size <= command.request_pixels <= 6144:
        raise UserError(f"--request-pixels is {command.request_pixels}; give {command.tile_size} to 6144")
    if not 0.01 <= command.poll_seconds <= 3600:
        raise UserError(f"--poll-seconds is {command.poll_seconds:g}; give 0.01 to 3600")
    if command.again and command.to == "download":
        raise UserError(
            f"--again {command.again[0]} starts a task anew: give --to drive or --to gs://BUCKET/FOLDER too"
        )
    if not command.largest_km2 >= 1:
        raise UserError(f"--largest-km2 is {command.largest_km2:g}; give 1 or more")


def _parts(command: Command) -> list[Part]:
    """The ground; a country's outline is asked for where the folder does not hold it yet."""
    if command.area is not None:
        return outline.file_parts(command.area)
    if command.country is None:
        return [Part("box", box_area(*command.box))]
    kept = outline.kept_outline(command.out, command.country)
    if kept is None:
        _connect(command)
        kept = outline.ask_outline(command.out, command.country)
    return outline.country_parts(kept)


def _connect(command: Command) -> None:
    connect(command.project, limits=dataclasses.replace(LIMITS, at_once=command.at_once))


def _cut_up(command: Command, parts: list[Part]) -> list[Part]:
    preset = command.reference and command.country == REFERENCE_COUNTRY and not command.cut
    words = REFERENCE_CUTS if preset and any(part.name == "lena" for part in parts) else command.cut
    parts = apply_cuts(parts, [Cut.read(each) for each in words])
    if sum(part.km2 for part in parts) > MOST_PARTS * command.largest_km2:
        raise UserError(f"--largest-km2 {command.largest_km2:g} makes more than {MOST_PARTS} parts: give more")
    return [piece for part in parts for piece in halved(part, command.largest_km2)]


def _draw(folder: Folder, ground: str, parts: list[Part], sheets: list[Sheet], found: list[Distortion]) -> None:
    """Map and table of the plan, for people to look at before it is carried out."""
    folder.path.mkdir(parents=True, exist_ok=True)
    title = f"{ground}: {len(parts)} parts, {sum(part.km2 for part in parts):,.0f} km²"
    draw_parts(folder.map, parts, sheets, found, title)
    write_table(folder.path / TABLE, sheets, found)
    print(f"{folder.map}: parts and tiles; {folder.path / TABLE}: what is predicted of each tile")


if __name__ == "__main__":
    run_command(main)
