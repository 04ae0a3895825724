"""Folders of labelled landscape photos → shards, split within each class, copies of a photo held together.

    python tools/pack_scenes.py intel landscape-recognition --map coast=sea --out shards/scenes
    python tools/pack_scenes.py intel --split given --map street=- --out shards/intel
    python tools/pack_scenes.py photos --out shards/scenes --part 1/8        # … 8/8, in any order
    python tools/pack_scenes.py photos --out shards/scenes --join

A root holds a folder for each class, or folders such as train and test that hold these. A plain RGB or grey JPEG is
stored byte for byte; what is done to any other picture is counted.
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
from waterscape.sources.scenes import USUAL_CLASSES, Classes, Scenes


@dataclass(frozen=True)
class Command:
    """Pack folders of labelled photos into shards, with a manifest and a picture of each class."""

    roots: tyro.conf.Positional[tuple[Path, ...]]
    """Folders that hold a folder for each class."""
    out: str
    """The directory to make, or a URL that fsspec writes to, such as s3://bucket/set."""
    options: Classes = USUAL_CLASSES
    way: Way = USUAL_WAY
    submission: Submission = USUAL_SUBMISSION


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_scenes.py")
    if command.submission.submit is not None and not command.way.dry_run:
        return submit_parts(Path(__file__), sys.argv[1:], working_place(command.out, command.way), command.submission)
    return deliver(
        command.out, command.way, lambda out: make(Scenes.find(command.roots, out, command.options), out, command.way)
    )


if __name__ == "__main__":
    run_command(main)
