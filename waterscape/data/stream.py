"""Tars without index to batches, through webdataset: shuffled within a buffer, each rank its share, without end.

What a plan gives and this cannot: a sample once an epoch over all ranks, the same batches on any number of processes,
and a resumed run that is the undisturbed one.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from queue import SimpleQueue
from typing import Any

os.environ.setdefault("WDS_SECURE", "1")  # webdataset reads it when it is imported: no pickles, no pipes

import numpy as np
import torch
from webdataset.filters import shuffle
from webdataset.tariterators import group_by_keys, tar_file_expander

from waterscape.data.batches import Loaded
from waterscape.data.pictures import Size, decode_picture
from waterscape.data.plan import reading
from waterscape.data.renamed import decode_as
from waterscape.data.shard import ShardError
from waterscape.data.tars import Tar, TarSet, split_name
from waterscape.errors import UserError
from waterscape.randomness import hash64

SHUFFLED = 1000  # samples in the buffer that each next one is drawn from

Sample = dict[str, Any]  # __key__: "tar/key"; each column of the tars that is wanted: its bytes


class Streamed(Iterator[Loaded]):
    """Batches as `Batches` gives them, from tars that have no index.

    In each epoch the tars are shuffled; a rank reads each `world`-th of them, or, where there are fewer tars than
    ranks, each `world`-th sample of all. At the end of its share it begins the next epoch, so none starves. The order
    is a function of (seed, start, rank, world): a run that goes on at `start` images reads in a new order. The ids are
    "tar/key". A thread of this process reads ahead.

    Args:
        tars: where from.
        columns: which columns, as the model calls them.
        batch: images of the global batch.
        seed: of the shuffles.
        rank: of this process.
        world: number of processes.
        start: images consumed before.
        pictures: photo columns that are decoded, and their height and width.
        sources: what the tars call a column, where the model calls it otherwise.
        prefetch: batches read ahead.

    Raises:
        UserError: a column that some sample has not, or fewer samples than processes.
        ShardError: from `next`, a tar that gives fewer samples than its headers promised, or a value that is none.
    """

    def __init__(
        self,
        tars: TarSet,
        columns: Sequence[str],
        *,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        pictures: Mapping[str, Size] | None = None,
        sources: Mapping[str, str] | None = None,
        prefetch: int = 2,
    ) -> None:
        if len(tars) < world:
            raise UserError(f"{tars.directory}: {len(tars)} samples cannot feed {world} processes: use fewer")
        self.tars, self.batch = tars, batch
        self.part, self.stands_in = reading(batch, rank, world), rank >= batch
        self.readers = min(batch, world)  # whoever has no image of a batch reads what another one reads
        self.reader = rank % self.readers
        self.sources = {column: (sources or {}).get(column, column) for column in columns}
        for source in self.sources.values():
            tars.check(source)
        self.pictures = dict(pictures or {})
        self.seed = seed, start
        self._ended = False
        self._room = threading.Semaphore(prefetch)
        self._ready: SimpleQueue[Loaded | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(start,), daemon=True)
        self._thread.start()

    def __next__(self) -> Loaded:
        if self._ended:
            raise StopIteration
        loaded = self._ready.get()
        self._room.release()
        if isinstance(loaded, BaseException):
            self.close()
            raise loaded
        return loaded

    def halt(self) -> None:
        """Nothing here waits for what is afar."""

    def close(self) -> None:
        """Stop reading ahead and wait for the thread to end."""
        self._ended = True
        self._room.release()
        self._thread.join()

    def _work(self, start: int) -> None:
        try:
            mine, samples = self.part, self._samples()
            for position in count(start, self.batch):
                self._room.acquire()
                if self._ended:
                    return
                numbers = torch.arange(position + mine.start, position + mine.stop)
                self._ready.put(self._load(list(islice(samples, len(mine))), numbers, position))
        except BaseException as error:
            self._ready.put(error)

    def _load(self, samples: list[Sample], numbers: torch.Tensor, position: int) -> Loaded:
        keys = [str(sample["__key__"]) for sample in samples]
        columns: dict[str, torch.Tensor | list[bytes]] = {}
        for column in self.sources:
            values = [self._value(sample, column) for sample in samples]
            shapes = {value.shape for value in values if isinstance(value, np.ndarray)}
            if len(shapes) > 1:
                raise ShardError(
                    f"{keys[0]} and others of its batch: {column} has the shapes {sorted(shapes)}: pack anew"
                )
            columns[column] = torch.from_numpy(np.stack(values)) if shapes else values
        return Loaded(columns, numbers, keys, position, self.batch, stands_in=self.stands_in)

    def _value(self, sample: Sample, column: str) -> Any:
        """An array, or the bytes of what is none."""
        payload: bytes = sample[self.sources[column]]
        try:
            if column in self.pictures:
                return decode_picture(payload, self.pictures[column])
            return decode_as(column, self.sources[column], payload) if column.endswith("npy") else payload
        except ValueError as error:
            raise ShardError(f"{self.tars.directory}, sample {sample['__key__']}, column {column}: {error}") from error

    def _samples(self) -> Iterator[Sample]:
        """This rank's samples without end, shuffled anew in each epoch."""
        for epoch in count():
            tars = list(self.tars.tars)
            random.Random(hash64(*self.seed, "tars", epoch)).shuffle(tars)  # noqa: S311 an order, no secret
            by_tar = len(tars) >= self.readers  # webdataset's split_by_node
            samples = self._read(islice(tars, self.reader, None, self.readers) if by_tar else tars)
            if not by_tar:
                samples = islice(samples, self.reader, None, self.readers)
            mixing = random.Random(hash64(*self.seed, "samples", epoch, self.reader))  # noqa: S311
            yield from shuffle(SHUFFLED, initial=SHUFFLED, rng=mixing)(samples)

    def _read(self, tars: Iterator[Tar] | Sequence[Tar]) -> Iterator[Sample]:
        """The samples of tars, with nothing but what the model wants. Raises `ShardError` where some are missing."""
        for tar in tars:
            found = 0
            try:
                with tar.path.open("rb") as stream:
                    source = [{"url": str(tar.path), "stream": stream}]
                    files = tar_file_expander(source, select_files=lambda name: bool(split_name(name)[1]))
                    for sample in group_by_keys(files):
                        found += 1
                        wanted = {name: sample[name] for name in self.sources.values()}
                        yield {"__key__": f"{tar.name}/{sample['__key__']}", **wanted}
            except Exception as error:  # tarfile's, webdataset's and the disk's
                what = f"sample {found} lacks {error}" if isinstance(error, KeyError) else str(error)
                raise ShardError(f"{tar.path}: {' '.join(what.split())[:200]}: copy it again") from error
            if found != tar.samples:
                raise ShardError(
                    f"{tar.path} gave {found} samples, its headers promised {tar.samples}: it was damaged or replaced"
                )
