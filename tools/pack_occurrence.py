"""Folders of water occurrence tiles → shards, split by place, with the shapes of their waters.

    python tools/pack_occurrence.py exports/moscow exports/lena --out shards/water
    python tools/pack_occurrence.py tiles --tile-size 128 --group file --out shards/small

Reads GeoTIFF as Earth Engine exports it and PNG in percent; drops unfit tiles, each counted with its reason.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.errors import run_command
from waterscape.metrics import morphology
from waterscape.options import parse
from waterscape.sources.occurrence_pack import USUAL_PACKING, Labelling, Packing, pack


@dataclass(frozen=True)
class Command:
    """Pack tiles of water occurrence into shards, with a manifest and a picture of kept and dropped tiles.

    Tiles are GeoTIFF (one band of 0-100 percent with or without a mask, or three equal 8-bit bands of
    the visualised form, 0-255) or PNG (8-bit grey, percent).
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of tiles, searched recursively, or tiles: .tif, .tiff, .png."""
    out: Path
    """The directory to make."""
    replace: bool = False
    """Replace the set of shards that stands there."""
    processes: int = os.cpu_count() or 1
    """How many processes share the work. What is written does not depend on it."""
    packing: Packing = USUAL_PACKING


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_occurrence.py")
    labelling = Labelling(morphology.bodies, morphology.dominant, morphology.CLASSES, morphology.COLUMNS)
    began = time.monotonic()
    summary = pack(
        command.sources,
        command.out,
        labelling,
        command.packing,
        replace=command.replace,
        processes=command.processes,
    )
    seconds = time.monotonic() - began
    print(summary.table())
    print(f"{command.out}: {summary.came_in} tiles in {seconds:.1f} s, {summary.came_in / seconds:.0f}/s")
    print(f"{command.out / 'contact.png'}: look at what was kept and what was dropped")
    return 0


if __name__ == "__main__":
    run_command(main)
