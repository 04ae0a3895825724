"""B4: JPEG photos from shards to uint8 batches of 128 × 128, against `webdataset` with Pillow on the same tars.

Ours: `Batches` with `pictures`, at the best of 1 and 2 threads. Peers: `WebDataset`, a shuffle buffer of 256,
decoding, cutting and batching in its workers, at the best of 0, 1 and 2, which stay alive. `webdataset` decodes as
its `decode("pil")` does, whole photos, and makes them smaller by Pillow; `webdataset-draft` has Pillow's decoder give
photos of half the size, by a handler of our own: the same pixels as ours.

Limit: our decoding alone, of photos that lie in memory, in as many processes at once as there are cores: nothing is
read, nothing verified, no lock shared. Photos are synthetic, 640 × 480, JPEG of quality 85.

A turn is several epochs: of one alone, eight batches, a quarter of a second, more hung on what was ready before than on
the speed. Against `webdataset-draft` the goal is to be no slower: the peer reaches 0.94 of the limit, so that 1.2 times
its rate, which was the goal once, would be more than decoding alone gives. Both call the same decoder, 0.99 ms of
processor time a photo by ours and 1.00 ms by the peer's handler, of which 0.66 are the decoder and 0.26 the resizing.
Reading and crc32 cost hundredths of that, and two threads that decode at once as much a photo as two processes: the
threads' lock on Python is held for 0.04 ms of a photo.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch
import webdataset
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.figure import Figure, note
from benchmarks.photos import write_photos
from benchmarks.turns import best, take_turns, time_epoch
from waterscape.cores import cores
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pictures import decode_picture
from waterscape.training.torch_threads import torch_threads

PHOTOS = 512
EPOCHS = 4  # in a turn: what is ready at its first batch, and what is begun at its end, weigh little then
SIZE = (128, 128)
BATCH = 64
BRIEF = {"PHOTOS": 256, "EPOCHS": 1}


def figures() -> Iterator[Figure]:
    """Ratio to the peer, as it comes and with a handler of our own, and the share of the limit."""
    with torch_threads(1), tempfile.TemporaryDirectory() as directory:
        shards = write_photos(Path(directory) / "photos", PHOTOS)
        tars = [str(Path(directory) / "photos" / f"{shard.name}.tar") for shard in shards.shards]
        limit = Limit(shards)
        threads = best("B4", {n: Ours(shards, n) for n in (1, 2)}, "ours, threads", 2)
        sides: dict[str, Callable[[], float]] = {"ours": Ours(shards, threads)}
        for name, decode in (("webdataset", decode_whole), ("webdataset-draft", decode_draft)):
            check_same_photos(shards, decode)
            workers = best("B4", {n: Peer(tars, decode, n) for n in (0, 1, 2)}, f"{name}, workers", 2)
            sides[name] = Peer(tars, decode, workers)
        rates = take_turns("B4", {**sides, "limit": limit}, rounds=7)
        note(f"B4 {np.mean([len(photo) for photo in limit.photos]) / 1024:.0f} KiB a synthetic photo")
        limit.close()
        for name, goal in (("webdataset", 1.2), ("webdataset-draft", 1)):
            yield Figure.over("B4", name, rates["ours"] / rates[name], ">=", goal)
        yield Figure.over("B4", "limit", rates["ours"] / rates["limit"], ">=", 0.9)


class Ours:
    """Photos a second of `Batches`."""

    def __init__(self, shards: ShardSet, threads: int) -> None:
        self.stream = Batches(
            shards, ["jpg"], batch=BATCH, order=Order(shards.counts, 0), pictures={"jpg": SIZE}, threads=threads
        )

    def __call__(self) -> float:
        """One turn, from its first batch on."""
        return time_epoch(len(next(self.stream).keys) for _ in range(EPOCHS * PHOTOS // BATCH))

    def __del__(self) -> None:
        self.stream.close()


def decode_whole(photo: bytes) -> NDArray[np.uint8]:
    """As `webdataset.decode("pil")`, then cut from the middle and made smaller."""
    with Image.open(io.BytesIO(photo)) as image:
        whole = image.convert("RGB")
    return np.asarray(ImageOps.fit(whole, SIZE, Image.Resampling.BILINEAR))


def decode_draft(photo: bytes) -> NDArray[np.uint8]:
    """The decoder gives a photo of half the size."""
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", SIZE)
        return np.asarray(ImageOps.fit(image, SIZE, Image.Resampling.BILINEAR))


class Peer:
    """Photos a second of a `WebDataset` pipeline."""

    def __init__(self, tars: list[str], decode: Callable[[bytes], NDArray[np.uint8]], workers: int) -> None:
        samples = webdataset.WebDataset(tars, shardshuffle=len(tars), workersplitter=webdataset.split_by_worker)
        batches = samples.shuffle(256).to_tuple("jpg").map_tuple(decode).batched(BATCH, collation_fn=stack)
        self.loader = webdataset.WebLoader(
            batches.repeat(EPOCHS), batch_size=None, num_workers=workers, persistent_workers=workers > 0
        )

    def __call__(self) -> float:
        """One turn, from its first batch on."""
        return time_epoch(len(photos) for photos in self.loader)


def stack(samples: list[tuple[NDArray[np.uint8]]]) -> torch.Tensor:
    """A batch as one tensor, which travels from a worker through shared memory."""
    return torch.from_numpy(np.stack([photo for (photo,) in samples]))


class Limit:
    """Photos a second that all cores decode, if decoding is all there is to do."""

    def __init__(self, shards: ShardSet) -> None:
        self.photos = [bytes(shards.payload(0, row, "jpg")) for row in range(int(shards.counts[0]))]
        self.rounds = EPOCHS * PHOTOS // len(self.photos)
        context = multiprocessing.get_context("fork")
        self.ends = []
        for _ in range(cores()):
            ours, theirs = context.Pipe()
            context.Process(target=self._decode, args=(theirs,), daemon=True).start()
            self.ends.append(ours)

    def __call__(self) -> float:
        """One turn: the sum over the processes, each of which decodes as many photos."""
        for end in self.ends:
            end.send("go")
        return float(sum(end.recv() for end in self.ends))

    def close(self) -> None:
        """End the processes."""
        for end in self.ends:
            end.send("end")

    def _decode(self, end: Connection) -> None:
        while end.recv() == "go":
            end.send(
                time_epoch(1 for _ in range(self.rounds) for photo in self.photos if len(decode_picture(photo, SIZE)))
            )


def check_same_photos(shards: ShardSet, decode: Callable[[bytes], NDArray[np.uint8]]) -> None:
    """Both sides deliver the same pictures, or there is nothing to compare."""
    for row in range(0, 100, 10):
        photo = bytes(shards.payload(0, row, "jpg"))
        difference = np.abs(decode_picture(photo, SIZE).astype(float) - decode(photo))
        assert difference.mean() < 2, "the peer's photo is another one"
