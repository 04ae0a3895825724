"""B7: a folder of photos → shards, against `img2dataset` that has the same photos from a loopback server.

Ours: `pack_scenes`, from the folder to a whole set under its name. A first reading of every photo decodes it to its
end, though at half its size and without colours, which is enough for fingerprints, and takes its sha256; near
duplicates and split follow; a second reading, which takes the sha256 again, brings the bytes into shards with crc32,
sha256, index, contact sheet, fsync; all threads and processes started and ended. Each photo has some ten near
duplicates here, all of which are found and told. Peer: `img2dataset` into WebDataset tars, as many processes, no
resizing, JPEG kept as it is after decoding (`skip_reencode`), which is what ours does, and less work than resizing and
encoding each, its usual way; its time is what it states itself, from its first download to its last shard, without its
start and end. Its server is a process of ours on the same cores: reading over HTTP is part of what is compared, since
that is what `img2dataset` does. Its processes have as many threads as serve it best, of `THREADS`. Photos are
synthetic, 640 × 480.

A second figure (`-undecoded`) has the peer copy bytes and decode nothing, so that a damaged photo goes into the shards.

Limit, in the notes: decoding and encoding the photos alone, in as many processes as there are cores.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.figure import Figure, note
from benchmarks.peers import PeerProcess, versions_of
from benchmarks.photos import make_photo
from benchmarks.turns import best, take_turns
from waterscape.cores import cores
from waterscape.sources import making
from waterscape.sources.photo_set import Sharing
from waterscape.sources.scenes import Classes, Scenes

VERSIONS = versions_of("img2dataset")
PHOTOS = 1024
MADE = 96  # different ones
ROUNDS = 7
CORES = cores()
PER_SHARD = PHOTOS // (2 * CORES)  # the peer has a process for each shard
FORMS = {"img2dataset": "decoded", "img2dataset-undecoded": "undecoded"}
THREADS = (4, 16, 64)  # of each of the peer's processes; its own 256 are for many far servers
BRIEF = {"PHOTOS": 32, "MADE": 8, "ROUNDS": 1, "PER_SHARD": 8, "THREADS": (4,)}


def figures() -> Iterator[Figure]:
    """Ratios to the peer."""
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        photos = write_folder(here / "photos")
        server = Server(here / "photos")
        peers = {}
        for name, form in FORMS.items():
            words = (server.urls, here / form, CORES, PER_SHARD, form)
            tried = {threads: PeerProcess("img2dataset", *words, threads) for threads in THREADS}
            threads = best("B7", dict(tried), f"{name}, threads", 1)
            peers[name] = tried.pop(threads)
            for peer in tried.values():
                peer.close()
        rates = take_turns("B7", {"ours": Ours(here), **peers, "decode + encode alone": Limit(photos)}, ROUNDS)
        for peer in peers.values():
            peer.close()
        server.close()
        note(f"B7 ours {np.median(rates['ours'] / rates['decode + encode alone']):.2f} of decoding and encoding alone")
        for name in peers:
            yield Figure.over("B7", name, rates["ours"] / rates[name], ">=", 1.5)


def write_folder(root: Path) -> list[bytes]:
    """Photos in two classes; returns the different ones."""
    random = np.random.default_rng(0)
    photos = [make_photo(random) for _ in range(MADE)]
    for number in range(PHOTOS):
        path = root / ("lake" if number % 2 else "field") / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photos[number % MADE] + number.to_bytes(4, "big"))  # no two files alike
    return photos


class Ours:
    """Photos a second of a whole packing."""

    def __init__(self, here: Path) -> None:
        self.photos, self.out = here / "photos", here / "shards"

    def __call__(self) -> float:
        """One turn."""
        shutil.rmtree(self.out, ignore_errors=True)
        began = time.perf_counter()
        options = Classes(sharing=Sharing(samples_per_shard=PER_SHARD))
        making.pack(Scenes.find((self.photos,), self.out, options), self.out, processes=CORES)
        return PHOTOS / (time.perf_counter() - began)


class Limit:
    """Photos a second that all cores decode and encode, if that is all there is to do."""

    def __init__(self, photos: list[bytes]) -> None:
        self.pool = multiprocessing.get_context("fork").Pool(CORES)
        self.photos = photos * 4

    def __call__(self) -> float:
        """One turn."""
        began = time.perf_counter()
        for _ in self.pool.imap_unordered(decode_and_encode, self.photos, chunksize=16):
            pass
        return len(self.photos) / (time.perf_counter() - began)


def decode_and_encode(photo: bytes) -> int:
    """As a packer would that trusts no file's bytes."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as image:
        image.save(stream, "JPEG", quality=95)
    return stream.tell()


class Server:
    """The photos by HTTP, from a process of its own that holds them in memory; `urls`: a list of them, as a file."""

    def __init__(self, root: Path) -> None:
        content = {f"/{path.relative_to(root)}": path.read_bytes() for path in sorted(root.rglob("*.jpg"))}

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = await reader.readuntil(b"\r\n\r\n")
            body = content[request.split(maxsplit=2)[1].decode()]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            writer.close()

        async def serve() -> None:
            server = await asyncio.start_server(answer, sock=listening, backlog=512)
            await server.serve_forever()

        listening = socket.create_server(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.urls = root.parent / "urls.txt"
        self.urls.write_text("".join(f"{address}{name}\n" for name in content))
        self.process = multiprocessing.get_context("fork").Process(target=lambda: asyncio.run(serve()), daemon=True)
        self.process.start()
        listening.close()
        note(
            f"B7 {np.mean([len(body) for body in content.values()]) / 1024:.0f} KiB a synthetic photo, {PHOTOS} of them"
        )

    def close(self) -> None:
        """End it."""
        self.process.terminate()
