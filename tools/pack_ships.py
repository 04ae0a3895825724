"""Satellite chips with and without ships → shards, whole scenes in one split.

    python tools/pack_ships.py shipsnet --out shards/ships              # files named label__scene__lon_lat.png
    python tools/pack_ships.py shipsnet.json --out shards/ships         # rows of 19 200 numbers
    python tools/pack_ships.py scenes --cut --out shards/scenes         # whole scenes, cut into 80 × 80
    python tools/pack_ships.py shipsnet --out shards/ships --part 1/8   # … 8/8, in any order; then --join

The pixels are stored as arrays, as they are: `image.npy`, 80 × 80 × 3.
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
from waterscape.sources.making_command import USUAL_WAY, Way, make
from waterscape.sources.ships import USUAL_CHIPS, Chips, Ships


@dataclass(frozen=True)
class Command:
    """Pack satellite chips into shards, with a manifest and a picture of each class."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders, searched recursively, or files: chips by their names, .json of rows, scenes with --cut."""
    out: str
    """The directory to make, or a URL that fsspec writes to, such as s3://bucket/set."""
    options: Chips = USUAL_CHIPS
    way: Way = USUAL_WAY
    submission: Submission = USUAL_SUBMISSION


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_ships.py")
    if command.submission.submit is not None and not command.way.dry_run:
        return submit_parts(Path(__file__), sys.argv[1:], working_place(command.out, command.way), command.submission)
    return deliver(
        command.out, command.way, lambda out: make(Ships.find(command.sources, out, command.options), out, command.way)
    )


if __name__ == "__main__":
    run_command(main)
