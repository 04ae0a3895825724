"""Landsat scenes with masks or QA bits → shards of windows, split by place: eight bands, and where water is.

    python tools/pack_landsat.py exports --out shards/landsat               # as tools/export_landsat.py writes them
    python tools/pack_landsat.py scenes --masks masks --out shards/landsat  # GeoTIFFs whose bands are named
    python tools/pack_landsat.py products --labels qa --qa-bit 7 --hide-bits 1,2,3,4 --out shards/landsat
    python tools/pack_landsat.py images --bands B2=2,B3=3,B4=4,B5=5,B6=6,elevation=10,qa=8,cover=11 \
        --scale 0.0001 --offset 0 --metres-per-pixel 30 --group band:10 --masks labels --out shards/hls
    python tools/pack_landsat.py scenes --masks masks --out shards/landsat --part 1/8   # … 8/8, then --join

Reflectances are scaled once, indices are computed of the whole raster, nodata stays nodata and has no label. Files of
one band each (`..._SR_B2.TIF`, `lake_B2.tif`, `lake_elevation.tif`) are put together. With QA bits as labels, masks are
kept as the truth that judges them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.cluster.array import USUAL_SUBMISSION, Submission, submit_parts
from waterscape.errors import run_command
from waterscape.options import parse
from waterscape.sources.destination import deliver, working_place
from waterscape.sources.landsat.packing import USUAL_PACKING, Packing
from waterscape.sources.landsat.tiles import Tiles
from waterscape.sources.making_command import USUAL_WAY, Way, make


@dataclass(frozen=True)
class Command:
    """Pack Landsat scenes into shards of windows, with a manifest and a picture of some."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders, searched recursively, or GeoTIFFs."""
    out: str
    """The directory to make, or a URL that fsspec writes to, such as s3://bucket/set."""
    options: Packing = USUAL_PACKING
    way: Way = USUAL_WAY
    submission: Submission = USUAL_SUBMISSION


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_landsat.py")
    if command.submission.submit is not None and not command.way.dry_run:
        return submit_parts(Path(__file__), sys.argv[1:], working_place(command.out, command.way), command.submission)
    return deliver(
        command.out, command.way, lambda out: make(Tiles.find(command.sources, out, command.options), out, command.way)
    )


if __name__ == "__main__":
    run_command(main)
