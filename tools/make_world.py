"""Make a synthetic world of water occurrence, in folders of GeoTIFF as Earth Engine would export them.

    python tools/make_world.py OUT --tiles 2000 --seed 7
    python tools/make_world.py OUT --lakes-at 45,60,70,78
    python tools/make_world.py OUT --views 1000 --seed 7
    python tools/make_world.py OUT --scenes 2000 --seed 7
    python tools/make_world.py OUT --landsat 40 --seed 7

No tile shows a real place. `OUT/world.json` says so, and what was drawn in each tile.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from waterscape.errors import run_command
from waterscape.options import comma_separated, parse
from waterscape.sources.world.circles import write_lakes
from waterscape.sources.world.export import write_world
from waterscape.sources.world.landsat_export import write_landsat
from waterscape.sources.world.scenes.scene import write_scenes
from waterscape.sources.world.views.place import write_views


@dataclass(frozen=True)
class Command:
    """Make a synthetic world of water occurrence tiles (256x256 pixels of 100 m)."""

    out: tyro.conf.Positional[Path]
    """The directory to make."""
    tiles: int = 2000
    """How many tiles."""
    seed: int = 0
    """Which world: the same seed and number of tiles give the same bytes."""
    visualised: bool = False
    """Write three equal 8-bit bands of 0-255, as visualize(min 0, max 100) exports them, not one of 0-100 percent."""
    lakes_at: Annotated[tuple[float, ...], comma_separated(float, "LATITUDE,...")] = ()
    """Instead of all this, circular lakes at these latitudes, in tiles in degrees, which are stretched in the north."""
    views: int = 0
    """Instead of all this, so many places, each as a satellite tile and as a photo from its middle, for pack_pairs."""
    scenes: int = 0
    """Instead of all this, so many painted photos of landscapes in folders of seven classes, for pack_scenes."""
    landsat: int = 0
    """Instead of all this, so many Landsat scenes with masks of water, for pack_landsat."""
    replace: bool = False
    """Replace the synthetic world that stands there."""
    processes: int = os.cpu_count() or 1
    """How many processes share the work. What is written does not depend on it."""


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "make_world.py")
    began = time.monotonic()
    if command.lakes_at:
        tiles = write_lakes(command.out, command.lakes_at, replace=command.replace)
        print(f"{command.out}: {tiles} synthetic tiles of circular lakes in {time.monotonic() - began:.1f} s")
        return 0
    if command.views:
        facts = write_views(
            command.out, command.views, command.seed, replace=command.replace, processes=command.processes
        )
        drawn = Counter(entry["setting"] for entry in facts["files"])
        print(", ".join(f"{name} {count}" for name, count in drawn.most_common()))
        seconds = time.monotonic() - began
        print(f"{command.out}: {command.views} synthetic places, two views of each, in {seconds:.0f} s")
        return 0
    if command.scenes:
        write_scenes(command.out, command.scenes, command.seed, replace=command.replace, processes=command.processes)
        print(f"{command.out}: {command.scenes} synthetic scenes in {time.monotonic() - began:.0f} s")
        return 0
    if command.landsat:
        write_landsat(command.out, command.landsat, command.seed, replace=command.replace, processes=command.processes)
        print(f"{command.out}: {command.landsat} synthetic Landsat scenes in {time.monotonic() - began:.0f} s")
        return 0
    facts = write_world(
        command.out,
        command.tiles,
        command.seed,
        visualised=command.visualised,
        replace=command.replace,
        processes=command.processes,
    )
    seconds = time.monotonic() - began
    drawn = Counter(entry["setting"] for entry in facts["files"])
    print(", ".join(f"{name} {count}" for name, count in drawn.most_common()))
    print(f"{command.out}: {command.tiles} synthetic tiles in {seconds:.1f} s, {command.tiles / seconds:.0f}/s")
    return 0


if __name__ == "__main__":
    run_command(main)
