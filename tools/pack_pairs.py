"""Photos from the ground and satellite tiles of their places → shards of pairs, split by place.

    python tools/pack_pairs.py --photos photos --satellite tiles --out shards/pairs
    python tools/pack_pairs.py --photos photos --satellite chips --by coordinates --within-metres 300 --out shards/pairs
    python tools/pack_pairs.py --photos photos --satellite yandex --zoom 15 --out shards/pairs
    python tools/pack_pairs.py --photos photos --satellite tiles --out shards/pairs --part 1/8     # … 8/8; then --join

Coordinates stand in a name (latitude first: 55.1234,37.5678.jpg), in a .json beside the picture, in its EXIF, or in a
GeoTIFF. A plain RGB or grey JPEG is stored byte for byte; what is done to any other picture is counted.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from waterscape.errors import run_command
from waterscape.options import parse
from waterscape.sources.making_command import USUAL_WAY, Way, make
from waterscape.sources.pairs import USUAL_JOINING, Joining, Pairs


@dataclass(frozen=True)
class Command:
    """Pack photos and their satellite tiles into shards, with a manifest and a picture of some pairs."""

    photos: Path
    """The folder of photos, searched recursively."""
    satellite: Path
    """The folder of satellite tiles, searched recursively."""
    out: Path
    """The directory to make."""
    options: Joining = USUAL_JOINING
    way: Way = USUAL_WAY


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "pack_pairs.py")
    origin = Pairs.find(command.photos, command.satellite, command.out, command.options)
    return make(origin, command.out, command.way)


if __name__ == "__main__":
    run_command(main)
