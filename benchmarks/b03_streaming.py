"""B3: the same tiles through LitData and through MosaicML Streaming, in formats of their own; they check nothing.

Ours as in B1, with crc on. Peers: a shuffled epoch of their own data set and loader at the best of 0, 1 and 2 workers,
which stay alive, LitData also at the better of two forms of samples; each in an environment of its own
(`benchmarks/peers`), as a process that sleeps while others have their turn. Their turns are counted from the first
batch on, so that starting an epoch costs them nothing. All deliver uint8 batches of 128 tiles. The limits are B1's, and
so is what keeps ours from them; batches of half the size cost as much each to plan, name and hand over. Their share is
told, not judged: only the ratios to the peers are to be reached here. It was below the 0.6 that B1 must reach.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, note
from benchmarks.peers import PeerProcess, versions_of
from benchmarks.tiles import make_tiles, ours_and_limits, tell_into_rows, write_shards
from benchmarks.turns import take_turns
from waterscape.training.torch_threads import torch_threads

VERSIONS = versions_of("litdata", "streaming")
TILES = 4096
BATCH = 128
TURN_IMAGES = 6 * TILES
GOALS = {"litdata": 1, "streaming": 6}
SETTINGS = {  # the samples' form, and workers
    "litdata": ("tensors-0", "tensors-1", "tensors-2", "bytes-0", "bytes-2"),
    "streaming": ("arrays-0", "arrays-1", "arrays-2"),
}
BRIEF = {"TILES": 512, "TURN_IMAGES": 1024, "SETTINGS": {name: settings[:1] for name, settings in SETTINGS.items()}}


def figures() -> Iterator[Figure]:
    """Ratio to each peer and the share of the limit."""
    with torch_threads(1), tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        shards = write_shards(root / "shards", TILES)
        np.save(root / "tiles.npy", np.stack([tile for tile, _ in make_tiles(TILES)]))
        sides = ours_and_limits("B3", shards, 256, BATCH, TURN_IMAGES)
        rates = take_turns("B3", {**{peer: best_peer(peer, root) for peer in GOALS}, **sides})
        for peer, goal in GOALS.items():
            yield Figure.over("B3", peer, rates["ours"] / rates[peer], ">=", goal)
        yield Figure.over("B3", "limit", rates["ours"] / rates["limit"])
        tell_into_rows("B3", rates)


def best_peer(name: str, root: Path) -> PeerProcess:
    """A peer at its best setting; one process at a time, since two on one set may stand in each other's way."""
    rates: dict[str, float] = {}
    for setting in SETTINGS[name]:
        peer = PeerProcess(name, root / "tiles.npy", root / name, BATCH, setting)
        peer()
        rates[setting] = max(peer() for _ in range(3))
        peer.close()
    note(f"B3 {name}: " + ", ".join(f"{setting}: {rate:,.0f}/s" for setting, rate in rates.items()))
    return PeerProcess(name, root / "tiles.npy", root / name, BATCH, max(rates, key=rates.__getitem__))
