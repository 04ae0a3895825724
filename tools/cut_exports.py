"""Large exports of water occurrence → tiles of the usual size, which `pack_occurrence.py` takes.

    python tools/cut_exports.py siberia.tif --out exports/siberia
    python tools/pack_occurrence.py exports/siberia --out shards/water

Not needed with `pack_occurrence.py --true-scale`, which cuts exports in degrees itself.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.errors import UserError, run_command
from waterscape.options import parse
from waterscape.sources.cutting import cut_up
from waterscape.sources.occurrence import find


@dataclass(frozen=True)
class Command:
    """Cut large GeoTIFF exports into whole tiles, from their north-western corners on; edges that are left are told."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of exports, searched recursively, or exports: .tif, .tiff."""
    out: Path
    """The folder to put the tiles into."""
    tile_size: int = 256
    """Side of a tile in pixels."""


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "cut_exports.py")
    if command.tile_size < 1:
        raise UserError(f"--tile-size is {command.tile_size}; give 1 or more")
    paths = [path for path in find(list(command.sources)).values() if path.suffix.lower() != ".png"]
    if not paths:
        raise UserError("no GeoTIFF was named: give .tif or .tiff, or folders of them")
    began = told = time.monotonic()
    tiles = 0

    def advance(count: int) -> None:
        nonlocal tiles, told
        tiles += count
        if time.monotonic() - told > 5:
            told = time.monotonic()
            print(f"{tiles} tiles, {tiles / (told - began):.0f}/s", file=sys.stderr, flush=True)

    done = cut_up(paths, command.out, command.tile_size, advance)
    seconds = time.monotonic() - began
    print(f"{command.out}: {done.tiles} tiles of {len(paths)} files in {seconds:.1f} s")
    if done.pixels_left:
        print(f"{done.pixels_left} pixels at the edges make no whole tile and were left out")
    return 0


if __name__ == "__main__":
    run_command(main)
