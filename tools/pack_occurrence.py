"""Folders of water occurrence tiles → shards, split by place, with the shapes of their waters.

    python tools/pack_occurrence.py exports/moscow exports/lena --out shards/water
    python tools/pack_occurrence.py tiles --tile-size 128 --group file --out shards/small
    python tools/pack_occurrence.py exports --out shards/water --true-scale --part 1/8     # … 8/8, in any order
    python tools/pack_occurrence.py exports --out shards/water --true-scale --join

Reads GeoTIFF as Earth Engine exports it and PNG in percent; drops unfit tiles, each counted with its reason.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.errors import UserError, run_command
from waterscape.metrics.labelling import LABELLING
from waterscape.options import parse
from waterscape.sources.occurrence_pack import USUAL_PACKING, Packing, pack
from waterscape.sources.occurrence_parts import join, pack_part


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
    part: str | None = None
    """I/N, as in 3/8: make only this part, in the directory OUT.parts. Parts may run at once, on machines that share
    it, and in any order; one that failed is run again alone, and goes on where it was."""
    join: bool = False
    """Make the set of all parts, given the same sources and options. It is the one that is packed without parts."""
    processes: int = os.cpu_count() or 1
    """How many processes share the work. What is written does not depend on it."""
    packing: Packing = USUAL_PACKING


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_occurrence.py")
    if command.part is not None and command.join:
        raise UserError("--part and --join exclude each other: join when all parts are complete")
    began = time.monotonic()
    words = (command.sources, command.out, LABELLING, command.packing)
    if command.part is not None:
        part, parts = part_of(command.part)
        done = pack_part(*words, part=part, parts=parts, replace=command.replace, processes=command.processes)
        stood = f"{done.made} made now, {done.shards - done.made} stood"
        seconds = time.monotonic() - began
        print(f"{command.out}: part {part}/{parts} is complete: {done.shards} shards ({stood}), {seconds:.1f} s")
        return 0
    if command.join:
        summary = join(*words, replace=command.replace)
    else:
        summary = pack(*words, replace=command.replace, processes=command.processes)
    seconds = time.monotonic() - began
    print(summary.table())
    print(f"{command.out}: {summary.came_in} tiles in {seconds:.1f} s, {summary.came_in / seconds:.0f}/s")
    print(f"{command.out / 'contact.png'}: look at what was kept and what was dropped")
    return 0


def part_of(word: str) -> tuple[int, int]:
    """I and N of I/N. Raises `UserError` for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", word)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= 9999:
        raise UserError(f"--part {word}: give I/N with I from 1 to N, and N up to 9999, as in 3/8")
    return int(match[1]), int(match[2])


if __name__ == "__main__":
    run_command(main)
