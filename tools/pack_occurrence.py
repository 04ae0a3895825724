"""Folders of water occurrence tiles → shards, split by place, with the shapes of their waters.

    python tools/pack_occurrence.py exports/moscow exports/lena --out shards/water
    python tools/pack_occurrence.py tiles --tile-size 128 --group file --out shards/small
    python tools/pack_occurrence.py exports --out shards/water --true-scale --part 1/8     # … 8/8, in any order
    python tools/pack_occurrence.py exports --out shards/water --true-scale --join

Reads GeoTIFF as Earth Engine exports it and PNG in percent; drops unfit tiles, each counted with its reason.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.cluster.array import USUAL_SUBMISSION, Submission, submit_parts
from waterscape.errors import run_command
from waterscape.metrics.labelling import LABELLING
from waterscape.options import parse
from waterscape.sources.destination import deliver, working_place
from waterscape.sources.making_command import USUAL_WAY, Way, make
from waterscape.sources.occurrence_pack import USUAL_PACKING, Packing, Tiles


@dataclass(frozen=True)
class Command:
    """Pack tiles of water occurrence into shards, with a manifest and a picture of kept and dropped tiles.

    Tiles are GeoTIFF (one band of 0-100 percent with or without a mask, or three equal 8-bit bands of
    the visualised form, 0-255) or PNG (8-bit grey, percent).
    """

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of tiles, searched recursively, or tiles: .tif, .tiff, .png."""
    out: str
    """The directory to make, or a URL that fsspec writes to, such as s3://bucket/set."""
    way: Way = USUAL_WAY
    submission: Submission = USUAL_SUBMISSION
    packing: Packing = USUAL_PACKING


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_occurrence.py")
    if command.submission.submit is not None and not command.way.dry_run:
        return submit_parts(Path(__file__), sys.argv[1:], working_place(command.out, command.way), command.submission)
    return deliver(
        command.out,
        command.way,
        lambda out: make(Tiles.find(command.sources, out, LABELLING, command.packing), out, command.way),
    )


if __name__ == "__main__":
    run_command(main)
