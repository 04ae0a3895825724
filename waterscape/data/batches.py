"""Shards to batches: threads of the training process read straight into batch buffers, in the planned order."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Self

import numpy as np
import torch

from waterscape.data.buffers import Pool, record_bytes
from waterscape.data.damage import Damage, Skipped
from waterscape.data.manifest import Column
from waterscape.data.open_file import OpenFile
from waterscape.data.order import Order
from waterscape.data.pictures import Size, decode_samples
from waterscape.data.plan import Planned, plan, reading
from waterscape.data.renamed import decode_as
from waterscape.data.shard import ShardError
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError

__all__ = ["Batches", "Loaded", "ShardSet"]

MANY = 8
SMALL = 1 << 20
"""Bytes of a process's part of a batch up to which `MANY` are read ahead, some in a row: where training takes every
core, each wake of a reading thread delays it, by more than it takes to read so little."""


@dataclass
class Loaded:
    """This rank's part of one global batch.

    `columns`: arrays of fixed shape as one tensor, N × shape, in their stored dtype (a sample's values are contiguous,
    the samples lie a record apart); photos that are decoded as N × H × W × 3, uint8; others as a list of N payloads.
    `numbers` (N, int64): the samples' positions in the run's global stream. `keys`: "shard/key" of each sample, taken
    from the records' own tar headers. `position` and `count` are of the global batch. `skipped`: readings of this part
    that were replaced, since the planned sample is damaged. `stands_in`: the batch is smaller than the world and this
    rank has no image of it; what it holds is the batch's first, which belongs to another rank.

    The tensors are the holder's for as long as it keeps them: their memory is used again only when they are gone.
    """

    columns: dict[str, torch.Tensor | list[bytes]]
    numbers: torch.Tensor
    keys: list[str]
    position: int
    count: int
    skipped: list[Skipped] = field(default_factory=list)
    stands_in: bool = False


class Batches(Iterator[Loaded]):
    """Batches in the planned order, from `start` (in images) up to `stop`, or without end.

    Of each global batch, positions `p` … `p + batch - 1`, a rank gets one contiguous part; where the world does not
    divide the batch, the first ranks get one more (5 on 2 ranks: 3 and 2). The last batch before `stop` may be smaller,
    and a rank's part of it even empty. Only the named columns are read. Every record is verified by its crc.

    Args:
        shards: where from.
        columns: which columns.
        pictures: photo columns that are decoded, and the height and width they are brought to (`decode_picture`). The
            threads do it; where every core trains, leave them one: `torch.set_num_threads(cores - 1)`.
        batch: images of the global batch.
        order: which sample stands at which position.
        rank: of this process.
        world: number of processes.
        start: images consumed before, by all ranks together: the cursor of a resumed run.
        stop: images at which the stream ends; None never ends.
        threads: that read, each a whole batch at a time. None: one.
        prefetch: batches read ahead, half of them asked for at a time. None: two, or as many as there are threads, or
            `MANY` where they are `SMALL` and all within a block of the order, since what comes after the next block is
            not fetched yet.
        sources: what a column is called in the shards, where `columns` calls it otherwise (`decode_as`).
        skip_damaged: so many damaged samples are replaced by whole ones, as `damage` tells; 0: the first ends it.
        look_ahead: look at the indexes of all shards now, where they are at hand (`Indexes.at_hand`), and else, of a
            set of this machine, by a thread from now on; without, at those of a block when it comes.

    Raises:
        UserError: a column that some sample of the first block has not, or of the shards looked at; of later ones, from
            `next`.
        ShardError: an index that is not the one the manifest speaks of, told when a missing column would be; from
            `next`, as soon as a thread met a record that fails its checks, or one more of them than may be skipped.
    """

    def __init__(
        self,
        shards: ShardSet,
        columns: Sequence[str],
        *,
        batch: int,
        order: Order,
        pictures: Mapping[str, Size] | None = None,
        sources: Mapping[str, str] | None = None,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        stop: int | None = None,
        threads: int | None = None,
        prefetch: int | None = None,
        skip_damaged: int = 0,
        look_ahead: bool = False,
    ) -> None:
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} does not exist in a world of {world}")
        if not np.array_equal(order.counts, shards.counts):
            raise ValueError(f"the order is of other shards than split {shards.split!r} of {shards.directory}")
        if not columns or (prefetch is not None and prefetch < 1) or (threads is not None and threads < 1):
            raise ValueError("batches need at least one column, one thread and one batch read ahead")
        self.shards = shards
        self.pictures = dict(pictures or {})
        for name in self.pictures:
            if name not in columns or not name.endswith("jpg"):
                raise UserError(f"column {name!r} cannot be decoded: name photos (.jpg) that are among the columns")
        self.columns = {name: (sources or {}).get(name, name) for name in columns}
        self.pictures = {self.columns[name]: size for name, size in self.pictures.items()}
        stored = list(dict.fromkeys(self.columns.values()))
        self.stands_in = rank >= batch
        share = len(reading(batch, rank, world))
        for name in stored:
            shards.column(name)
        at_hand = look_ahead and shards.indexes.at_hand
        shards.require(stored, range(len(shards.shards)) if at_hand else next(order.blocks(start))[1].tolist())
        self._pools = {name: Pool(column, share) for name in stored if (column := self._fixed(name))}
        prefetch = prefetch or max(threads or 1, self._usual_prefetch(stored, share, batch, order))
        self._at_once = max(1, prefetch // 2)
        self._plan = plan(shards, stored, order, batch=batch, rank=rank, world=world, start=start, stop=stop)
        self._damage = Damage(shards, skip_damaged, stored)
        self._ahead = shards.ahead(order, start, stop)
        self._planning = threading.Lock()
        self._failure: BaseException | None = None
        self._ended = False
        # Ticket k asks for the k-th batch and is answered in slot k modulo their number: answers keep their order.
        self._tickets: SimpleQueue[int] = SimpleQueue()
        self._slots: list[SimpleQueue[Loaded | None]] = [SimpleQueue() for _ in range(prefetch + self._at_once)]
        self._taken = 0
        for ticket in range(prefetch):
            self._tickets.put(ticket)
        works = [self._work] * (threads or 1)
        if look_ahead and not at_hand and not shards.store.remote:
            works.append(partial(self._look_at_all, stored))
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def __next__(self) -> Loaded:
        loaded = None
        if self._failure is None and not self._ended:
            if self._taken % self._at_once == 0:
                last = self._taken + len(self._slots)
                for ticket in range(last - self._at_once, last):
                    self._tickets.put(ticket)
            loaded = self._slots[self._taken % len(self._slots)].get()
            self._taken += 1
            if loaded is not None:
                self._ahead.reach(loaded.position + loaded.count)
        if loaded is None:
            self.close()
            if self._failure is not None:
                raise self._failure
            raise StopIteration
        return loaded

    def halt(self) -> None:
        """Fetch no more: what waits for a tar ends soon, in an error. From any thread; `close` is still to come."""
        self._ahead.halt()

    def close(self) -> None:
        """Stop reading ahead and wait for the threads to end."""
        self._ended = True
        self._ahead.halt()
        for _ in self._threads:
            self._tickets.put(0)  # wakes a thread that waits for a ticket
        for thread in self._threads:
            thread.join()
        self._threads = []
        self._ahead.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fixed(self, name: str) -> Column | None:
        """The column, if its arrays are all of one shape and can be read in place; None if not."""
        column = self.shards.column(name)
        return None if column.shape is None else column

    def _usual_prefetch(self, stored: Sequence[str], share: int, batch: int, order: Order) -> int:
        sample = sum(record_bytes(self.shards.column(name)) if name in self._pools else SMALL for name in stored)
        blocks = -(-len(order.counts) // order.block)
        under_way = (MANY + MANY // 2) * batch  # with those that are asked for before the first is taken
        return MANY if share * sample <= SMALL and under_way * blocks <= order.total else 2

    def _work(self) -> None:
        """A thread's life: take a ticket, plan its batch, read it."""
        while True:
            loaded = None
            try:
                with self._planning:
                    ticket = self._tickets.get()
                    if self._ended:
                        return
                    planned = next(self._plan, None)
                loaded = None if planned is None else self._read(planned)
            except BaseException as error:
                self._failure = self._failure or (None if self._ended else error)
            self._slots[ticket % len(self._slots)].put(loaded)

    def _look_at_all(self, columns: Sequence[str]) -> None:
        """A thread's life: look at each shard's index, so that what is wrong with one is told at the next batch."""
        try:
            for shard in range(len(self.shards.shards)):
                if self._ended:
                    return
                self.shards.look_at(columns, shard)
        except BaseException as error:
            self._failure = self._failure or (None if self._ended else error)

    def _read(self, planned: Planned) -> Loaded:
        """The batch, with whole samples in place of damaged ones; each that is found makes it be read once more."""
        while True:
            whole, skipped = self._damage.avoid(planned)
            try:
                loaded = self._assemble(whole)
            except ShardError as error:
                if not self.shards.renew(error):
                    self._damage.note(error)
            else:
                loaded.skipped = skipped
                return loaded

    def _assemble(self, planned: Planned) -> Loaded:
        shards = planned.shards.tolist()
        files = self._open(planned, shards)  # held, so that none is closed meanwhile
        descriptors = [files[shard].descriptor for shard in shards]
        columns: dict[str, torch.Tensor | list[bytes]] = {}
        keys: list[str] = []
        for name, entries in planned.entries.items():
            if name in self._pools:
                rows = self._pools[name].take()
                failed = rows.fill(descriptors, entries["offset"].tolist(), entries["crc32"], entries["name"])
                if failed is not None:
                    raise self.shards.diagnose(shards[failed], int(planned.rows[failed]), name)
                columns[name] = self._pools[name].tensor(rows, len(shards))
            else:
                places = list(zip(shards, planned.rows.tolist(), strict=True))
                if name in self.pictures:
                    columns[name] = decode_samples(self.shards, places, name, self.pictures[name])
                else:
                    columns[name] = [bytes(self.shards.payload(shard, row, name)) for shard, row in places]
            keys = keys or self._keys(shards, entries["name"].tolist(), name)  # found in the records' own headers
        named = {name: self._named(name, columns[source], planned) for name, source in self.columns.items()}
        numbers = torch.from_numpy(planned.numbers)
        return Loaded(named, numbers, keys, planned.position, planned.count, stands_in=self.stands_in)

    def _named(self, name: str, stored: torch.Tensor | list[bytes], planned: Planned) -> torch.Tensor | list[bytes]:
        """A column as it was asked for: decoded, where it is stored as something else than the array it should be."""
        source = self.columns[name]
        if name == source or isinstance(stored, torch.Tensor) or not name.endswith("npy"):
            return stored
        values = []
        for shard, row, payload in zip(planned.shards.tolist(), planned.rows.tolist(), stored, strict=True):
            try:
                values.append(np.asarray(decode_as(name, source, payload)))
                if values[0].shape != values[-1].shape:
                    raise ValueError(f"its shape is {values[-1].shape}, that of others {values[0].shape}")
            except ValueError as error:
                raise self.shards.fault(shard, row, source, str(error)) from error
        return torch.from_numpy(np.stack(values))

    def _open(self, planned: Planned, shards: list[int]) -> dict[int, OpenFile]:
        files: dict[int, OpenFile] = {}
        for shard in set(shards):
            try:
                files[shard] = self.shards.file(shard)
            except OSError as error:
                row = int(planned.rows[shards.index(shard)])
                raise self.shards.diagnose(shard, row, next(iter(planned.entries))) from error
        return files

    def _keys(self, shards: list[int], members: list[bytes], column: str) -> list[str]:
        titles = {shard: self.shards.shards[shard].name for shard in set(shards)}
        end = -1 - len(column)
        return [f"{titles[shard]}/{member[:end].decode()}" for shard, member in zip(shards, members, strict=True)]
