"""Export a summer of Landsat 8 over a study area from Earth Engine: tiles of eight bands and a water label.

    python tools/export_landsat.py --area area.geojson --year 2020 --out exports --project my-project --dry-run
    python tools/export_landsat.py --area area.geojson --year 2020 --out exports --project my-project
    python tools/pack_landsat.py exports --labels water --out shards/landsat

Credentials are those of `earthengine authenticate`, or of the key file that GOOGLE_APPLICATION_CREDENTIALS names.
Stopped at any moment, the same command goes on. Of a year, summer is June to August; for a tile whose centre is south
of the equator it is December of the year before to February.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from waterscape.errors import UserError, run_command
from waterscape.options import comma_separated, parse
from waterscape.sources.area import area_from
from waterscape.sources.earthengine import LIMITS, MOST_AT_ONCE, connect, disconnect
from waterscape.sources.landsat.composite import summer
from waterscape.sources.landsat.export import REQUEST_SECONDS, Estimate, export
from waterscape.sources.landsat.export_folder import Folder, Plan
from waterscape.sources.landsat.grid import GridTile, Kind, tiles_over
from waterscape.sources.landsat.grid_map import draw_grid
from waterscape.sources.parallel import progress, told_duration
from waterscape.sources.tile_requests import FAILED, Outcome

SHOWN = 5  # failures
UNITS = {"degrees": "degrees", "utm": "metres (UTM)"}


@dataclass(frozen=True)
class Command:
    """Export tiles of a summer's cloud-free median over an area: GeoTIFFs of eight bands and a water label."""

    year: int
    """Of the summer: June to August; in the south December of the year before to February."""
    out: Path
    """The folder to put the tiles into; one that was begun by the same words is taken up."""
    area: Path | None = None
    """GeoJSON: Polygon, MultiPolygon, Feature or FeatureCollection."""
    box: Annotated[tuple[float, ...], comma_separated(float, "S,W,N,E")] = ()
    """Instead of an area: degrees; W greater than E crosses the antimeridian."""
    project: str | None = None
    """Google Cloud project that Earth Engine counts the work to; or set GOOGLE_CLOUD_PROJECT."""
    grid: Kind = "utm"
    """Tiles of metres in the zones of UTM, or of 0.135°, whose pixels are narrower than high away from the equator."""
    tile_size: int | None = None
    """Pixels of 30 m a side: 512 in UTM, 501 in degrees; fewer where Earth Engine runs out of memory."""
    at_once: int = LIMITS.at_once
    """Requests at a time; a project's usual quota is 40."""
    dry_run: bool = False
    """Count, estimate and draw a map, OUT.grid.png; ask for nothing."""


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "export_landsat.py")
    if not 1 <= command.at_once <= MOST_AT_ONCE:
        raise UserError(f"--at-once is {command.at_once}; give 1 to {MOST_AT_ONCE}, Earth Engine's quota")
    area = area_from(command.area, command.box)
    tiles = tiles_over(area, command.grid, command.tile_size)
    for southern in {tile.southern for tile in tiles}:
        summer(command.year, southern=southern)
    plan, folder = Plan.of(area, command.year, command.grid, command.tile_size, tiles), Folder(command.out)
    folder.check(plan)
    left = folder.left_of(tiles)
    _tell(command, tiles, left)
    if command.dry_run:
        chart = command.out.with_name(f"{command.out.name}.grid.png")
        chart.parent.mkdir(parents=True, exist_ok=True)
        draw_grid(
            chart, area, tiles, left, f"{len(tiles)} tiles, grid in {UNITS[command.grid]}, summer of {command.year}"
        )
        print(f"{chart}: the tiles over the area; nothing was asked for")
        return 0
    connect(command.project, limits=dataclasses.replace(LIMITS, at_once=command.at_once))
    folder.begin(plan, area)
    outcome = Outcome()
    for outcome in progress(export(left, command.year, folder, command.at_once), len(left), "exporting"):  # noqa: B007
        pass
    disconnect()
    empty = f", {outcome.empty} have no clear pixel (empty.txt)" if outcome.empty else ""
    print(f"{command.out}: {outcome.written} of {len(left)} tiles written{empty}, {len(outcome.failed)} failed")
    for reason in list(outcome.failed.values())[:SHOWN]:
        print(f"  {reason}", file=sys.stderr)
    if outcome.failed:
        raise UserError(
            f"{len(outcome.failed)} tiles are absent; run the same command again to ask for them alone. "
            f"{command.out / FAILED} lists them all, each with its reason"
        )
    return 0


def _tell(command: Command, tiles: list[GridTile], left: list[GridTile]) -> None:
    """What there is to do, and what it takes."""
    done = f", {len(tiles) - len(left)} of them done" if len(left) < len(tiles) else ""
    estimate = Estimate.of(left, command.at_once, LIMITS.per_second)
    low, high = (told_duration(seconds) for seconds in estimate.seconds)
    each = estimate.megabytes / max(estimate.requests, 1)
    print(f"{len(tiles)} tiles{done}")
    print(f"{estimate.requests} requests, {command.at_once} at a time (quota: {MOST_AT_ONCE}, and 100 a second)")
    print(f"at most {estimate.megabytes:.0f} MB, {each:.1f} MB a request (limit: 48)")
    print(f"{low} to {high}, if a tile takes the servers {REQUEST_SECONDS[0]:g} to {REQUEST_SECONDS[1]:g} s (assumed)")
    if len({tile.crs for tile in tiles}) > 1:
        print("where two zones of UTM meet, a strip is in no tile: the map shows it")
    if any(tile.southern for tile in tiles):
        print(f"summer of tiles south of the equator: December {command.year - 1} to February {command.year}")


if __name__ == "__main__":
    run_command(main)
