"""The embedded data set: a synthetic world, made and packed once, for whoever trains without data of their own."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from waterscape.data.manifest import FILE
from waterscape.training.processes import Processes

PLACE = Path("shards/world")
TILES = 2000
SEED = 7


def provide(place: Path | str, processes: Processes, tiles: int = TILES) -> None:
    """Make the set where `place` is its own and it does not stand there yet; the first process does, all wait.

    Raises `UserError` on every process where that fails.
    """
    data = Path(place)
    if data != PLACE or (data / FILE).exists():
        return
    # These take a second to import, which only the first run without data needs.
    from waterscape.metrics.labelling import LABELLING
    from waterscape.sources.occurrence_pack import USUAL_PACKING, pack
    from waterscape.sources.world.export import write_world

    problem = ""
    if processes.first:
        print(f"no --data given: making a SYNTHETIC world of {tiles} tiles, once, in {data}", file=sys.stderr)
        try:
            data.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=data.parent, prefix=".world-") as directory:
                exports, cores = Path(directory) / "world", os.cpu_count() or 1
                write_world(exports, tiles, SEED, processes=cores)
                pack([exports], data, LABELLING, USUAL_PACKING, processes=cores)
        except (OSError, ValueError) as error:
            problem = str(error)
    processes.agree(problem, f"the synthetic world cannot be made in {data}")
