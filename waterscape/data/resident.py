"""A whole split in memory, of the host or of the device: read once, then batches are rows of it.

For a set that fits. The order, the numbers and the names of samples are those of the shards, so a run is the same with
and without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor
from tqdm import tqdm

from waterscape.cores import processes_here
from waterscape.data.batches import Batches, Loaded
from waterscape.data.order import Order
from waterscape.data.pictures import Size
from waterscape.data.plan import part, reading
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError

READ_AT_ONCE = 256  # samples
KEPT_FREE, KEPT_FREE_ON_DEVICE = 0.1, 0.25  # of the memory that is free: for what else the run needs


class Resident(Iterator[Loaded]):
    """Batches as `Batches` gives them, without end, their columns on `device`; each sample was verified once.

    Args:
        shards: where from.
        columns: which, arrays of one shape or photos that `pictures` names.
        batch: images of the global batch.
        order: which sample stands at which position.
        device: where the samples lie, and the batches.
        rank: of this process, which holds all samples of the split.
        world: number of processes.
        start: images consumed before.
        pictures: photo columns, and their height and width.
        sources: what a column is called in the shards.
        threads: that read.

    Raises:
        UserError: not enough memory is free, or a column that has no one shape.
        ShardError: a damaged sample.
    """

    def __init__(
        self,
        shards: ShardSet,
        columns: Sequence[str],
        *,
        batch: int,
        order: Order,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        pictures: Mapping[str, Size] | None = None,
        sources: Mapping[str, str] | None = None,
        threads: int | None = None,
    ) -> None:
        self.shards, self.order, self.batch, self.device = shards, order, batch, torch.device(device)
        self.mine, self.stands_in = (part if batch >= world else reading)(batch, rank, world), rank >= batch
        self.position, self.world = start, world
        self.firsts = np.cumsum(shards.counts) - shards.counts
        stored = Batches(
            shards,
            columns,
            batch=min(READ_AT_ONCE, len(shards)),
            order=Order.sequential(shards.counts),
            stop=len(shards),
            pictures=pictures,
            sources=sources,
            threads=threads,
        )
        with stored:
            self.table = self._fill(stored)

    def __next__(self) -> Loaded:
        numbers = torch.arange(self.position + self.mine.start, self.position + self.mine.stop)
        shard, row = self.order.locate(self.position + self.mine.start, len(self.mine))
        place = torch.from_numpy(self.firsts[shard] + row)
        if self.device.type == "cuda":
            place, numbers = place.pin_memory(), numbers.pin_memory()
        place = place.to(self.device, non_blocking=True)
        columns: dict[str, Tensor | list[bytes]] = {n: held.index_select(0, place) for n, held in self.table.items()}
        keys = [self._key(one, other) for one, other in zip(shard.tolist(), row.tolist(), strict=True)]
        loaded = Loaded(columns, numbers, keys, self.position, self.batch, stands_in=self.stands_in)
        self.position += self.batch
        return loaded

    def halt(self) -> None:
        """Nothing here waits for what is afar."""

    def close(self) -> None:
        """Let the memory go."""
        self.table = {}

    def _fill(self, stored: Batches) -> dict[str, Tensor]:
        table: dict[str, Tensor] = {}
        told = f"{self.shards.split} into memory"
        with contextlib.closing(tqdm(total=len(self.shards), unit="image", desc=told, delay=5, disable=None)) as bar:
            for loaded in stored:
                table = table or self._room(loaded)
                rows = slice(loaded.position, loaded.position + loaded.count)
                for name, value in loaded.columns.items():
                    if isinstance(value, Tensor):
                        table[name][rows] = value
                bar.update(loaded.count)
        return table

    def _room(self, loaded: Loaded) -> dict[str, Tensor]:
        """Memory for all samples, as large as the first ones say."""
        ragged = [name for name, value in loaded.columns.items() if not isinstance(value, Tensor)]
        if ragged:
            raise UserError(f"column {ragged[0]} has no one shape and cannot be kept in memory: leave --cache out")
        values = {name: value for name, value in loaded.columns.items() if isinstance(value, Tensor)}
        needed = len(self.shards) * sum(value[0].nbytes for value in values.values())
        free, sharing = free_bytes(self.device), 1
        if self.device.type == "cpu":
            sharing = processes_here(self.world)  # each of them holds the split
        kept_free = KEPT_FREE if self.device.type == "cpu" else KEPT_FREE_ON_DEVICE  # steps need theirs there
        if sharing * needed > (1 - kept_free) * free:
            raise UserError(
                f"the split {self.shards.split!r} takes {needed / 1e9:.3g} GB in memory"
                f"{f' for each of {sharing} processes' if sharing > 1 else ''} and {free / 1e9:.3g} GB of "
                f"{'the device' if self.device.type != 'cpu' else 'this machine'} are free: leave --cache out"
            )
        shapes = {name: (len(self.shards), *value.shape[1:]) for name, value in values.items()}
        return {name: torch.empty(shapes[name], dtype=v.dtype, device=self.device) for name, v in values.items()}

    def _key(self, shard: int, row: int) -> str:
        """By shard and key of the index, which the records' own headers were compared with when they were read."""
        return f"{self.shards.shards[shard].name}/{self.shards.indexes[shard]['key'][row].decode()}"


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses, and on a GPU what torch keeps for its next tensors."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)
