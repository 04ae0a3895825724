"""Photos from the ground and satellite tiles of their places → shards of pairs, split by place.

    python tools/pack_pairs.py --ledger photos.db --out shards/pairs --dry-run      # what would be packed, and what not
    python tools/pack_pairs.py --ledger photos.db --out shards/pairs [--tiles yandex]
    python tools/pack_pairs.py --ledger photos.db --out shards/pairs --submit 32    # parts as jobs, then the join
    python tools/pack_pairs.py --photos photos --satellite tiles --out shards/pairs
    python tools/pack_pairs.py --photos photos --satellite chips --by coordinates --within-metres 300 --out shards/pairs
    python tools/pack_pairs.py --photos photos --satellite tiles --out shards/pairs --part 1/8     # … 8/8; then --join

Of a ledger (tools/fetch_photos.py) those photos are packed that were fetched, that nobody rejected, and whose tile is
there (tools/fetch_satellite.py). Of folders, photos and tiles are joined by their names or places: coordinates stand in
a name (latitude first: 55.1234,37.5678.jpg), in a .json beside the picture, in its EXIF, or in a GeoTIFF. A plain RGB
or grey JPEG is stored byte for byte; what is done to any other picture is counted.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waterscape.cluster.array import USUAL_SUBMISSION, Submission, submit_parts
from waterscape.data.address import is_remote
from waterscape.errors import UserError, run_command
from waterscape.options import parse
from waterscape.sources.destination import deliver, working_place
from waterscape.sources.making_command import USUAL_WAY, Way, make
from waterscape.sources.pairs import USUAL_JOINING, Joining, Pairs


@dataclass(frozen=True)
class Command:
    """Pack photos and their satellite tiles into shards, with a manifest and a picture of some pairs."""

    out: str
    """The directory to make, or a URL that fsspec writes to, such as s3://bucket/pairs."""
    ledger: Path | None = None
    """Of the photos and tiles: --photos and --satellite are left out then."""
    tiles: str | None = None
    """With --ledger: of which source the tiles are. Left out: the only one that the ledger has."""
    photos: Path | None = None
    """The folder of photos, searched recursively."""
    satellite: Path | None = None
    """The folder of satellite tiles, searched recursively."""
    options: Joining = USUAL_JOINING
    way: Way = USUAL_WAY
    submission: Submission = USUAL_SUBMISSION


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_pairs.py")
    if command.submission.submit is not None and not command.way.dry_run:
        return submit_parts(Path(__file__), sys.argv[1:], working_place(command.out, command.way), command.submission)
    return deliver(command.out, command.way, lambda out: pack(command, out))


def pack(command: Command, out: Path) -> int:
    """Make the set in a directory, or tell what it would be."""
    origin = find(command, out)
    print(origin.outlook() if command.way.dry_run else origin.announcement(), flush=True)
    return make(origin, out, command.way)


def find(command: Command, out: Path) -> Any:
    """The pairs of a ledger or of two folders. Raises `UserError`."""
    if command.ledger is None:
        if command.photos is None or command.satellite is None:
            raise UserError("say what to pack: --ledger photos.db, or --photos FOLDER --satellite FOLDER")
        if command.tiles is not None:
            raise UserError(f"--tiles {command.tiles} chooses among a ledger's tiles: name the --ledger")
        return Pairs.find(command.photos, command.satellite, out, command.options)
    if command.photos is not None or command.satellite is not None:
        raise UserError("--ledger knows where photos and tiles lie: leave out --photos and --satellite")
    for name in ("by", "within_metres", "zoom", "tile_size"):
        if getattr(command.options, name) != getattr(USUAL_JOINING, name):
            raise UserError(f"--{name.replace('_', '-')} is for folders: a ledger knows which tile is whose")
    from waterscape.sources.ledger_pairs import LedgerPairs

    there = None if is_remote(command.out) else out
    return LedgerPairs.find(command.ledger, there, command.tiles, command.options)


if __name__ == "__main__":
    run_command(main)
