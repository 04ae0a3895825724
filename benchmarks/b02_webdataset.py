"""B2: the same tars through a plain `webdataset` pipeline, which checks nothing.

Ours as in B1. Peer: `WebDataset` over the tars with a shuffle buffer of 1000, told by `select_files` to pass over the
columns that are not wanted, decoding the `.npy` and batching within its workers, at the best of 0, 1 and 2 of them,
which stay alive. Both deliver uint8 batches of 256 tiles. The limits are B1's, and so is what keeps ours from them
(`python -m benchmarks.reading_steps`). The share is told, not judged: only the ratio to the peer is to be reached here.
It was below the 0.6 that B1 must reach.

The peer's turn is counted from its first batch on, so that starting an epoch costs it nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import webdataset

from benchmarks.figure import Figure
from benchmarks.tiles import COLUMNS, ours_and_limits, tell_into_rows, write_shards
from benchmarks.turns import best, take_turns, time_epoch
from waterscape.training.torch_threads import torch_threads

TILES = 3072
BATCH = 256
TURN_IMAGES = 8 * TILES
BRIEF = {"TILES": 512, "BATCH": 64, "TURN_IMAGES": 512}


def figures() -> Iterator[Figure]:
    """Ratio to the peer and the share of the limit."""
    with torch_threads(1), tempfile.TemporaryDirectory() as directory:
        shards = write_shards(Path(directory) / "shards", TILES)
        tars = [str(Path(directory) / "shards" / f"{shard.name}.tar") for shard in shards.shards]
        sides = ours_and_limits("B2", shards, 256, BATCH, TURN_IMAGES)
        workers = best("B2", {n: Peer(tars, n) for n in (0, 1, 2)}, "webdataset, workers")
        rates = take_turns("B2", {"webdataset": Peer(tars, workers), **sides})
        yield Figure.over("B2", "webdataset", rates["ours"] / rates["webdataset"], ">=", 5)
        yield Figure.over("B2", "limit", rates["ours"] / rates["limit"])
        tell_into_rows("B2", rates)


class Peer:
    """Images a second of a `WebDataset` pipeline."""

    def __init__(self, tars: list[str], workers: int) -> None:
        column = COLUMNS[256]
        samples = webdataset.WebDataset(
            tars, shardshuffle=len(tars), workersplitter=webdataset.split_by_worker, select_files=column_only
        )
        batches = samples.shuffle(1000).decode().to_tuple(column).batched(BATCH, collation_fn=stack)
        self.loader = webdataset.WebLoader(
            batches, batch_size=None, num_workers=workers, persistent_workers=workers > 0
        )

    def __call__(self) -> float:
        """One turn: an epoch."""
        return time_epoch(len(tiles) for tiles in self.loader)


def column_only(name: str) -> bool:
    """Members that are decoded."""
    return name.endswith(COLUMNS[256])


def stack(samples: list[tuple[np.ndarray]]) -> torch.Tensor:
    """A batch as one tensor, which travels from a worker through shared memory."""
    return torch.from_numpy(np.stack([tile for (tile,) in samples]))
