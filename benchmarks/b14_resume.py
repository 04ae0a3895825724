"""B14: the first batch of a run resumed in the middle of 100 000 samples, against accelerate's `skip_first_batches`.

Theirs reads the same tars as a plain `webdataset` pipeline, the usual way to train from shards; `skip_first_batches`
reads and throws away what was trained on before. (Over a map-style data set it skips numbers, not samples.) Ours opens
the set and begins at its cursor. The limit is the work that any resumed run has: verifying and loading the weights.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from accelerate import Accelerator, skip_first_batches

from benchmarks.figure import Figure, note
from waterscape import models
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.training import checkpoint
from waterscape.training.keeping import Keeping
from waterscape.training.writer import Writer

SAMPLES, BATCH = 100_000, 64
TURNS = 7
SIDE = 16  # pixels: small, so that what is skipped costs theirs as little as can be
PLACES = (0.05, 0.5, 0.95)  # of the epoch
BRIEF = {"SAMPLES": 2_000, "TURNS": 1}


def figures() -> Iterator[Figure]:
    """Theirs over ours in mid-epoch; ours late in the epoch over early; the loading of weights over ours altogether."""
    with tempfile.TemporaryDirectory() as directory:
        tiles = Path(directory) / "tiles"
        with SetWriter(tiles, facts={"synthetic": True}, samples_per_shard=5_000) as writer:
            tile = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
            for _ in range(SAMPLES):
                writer.add("train", {"tile.npy": tile})
        recipe = models.presets("water_vae")["reference"]
        networks = recipe.networks({})
        files = checkpoint.tensors(networks, {}, {})
        saved = Path(directory) / "checkpoints"
        saved.mkdir()
        Writer(saved, Keeping(1)).save(files, {"images": 1, "optimizers": {}})

        ours: dict[float, list[float]] = {place: [] for place in PLACES}
        loading, theirs = [], []
        for _ in range(TURNS):
            for place in PLACES:
                ours[place].append(first_batch(tiles, int(place * SAMPLES) // BATCH * BATCH))
            loading.append(load(saved, networks))
            theirs.append(their_first_batch(tiles, SAMPLES // 2 // BATCH))
    early, middle, late = (np.array(ours[place]) for place in PLACES)
    peer, weights = np.array(theirs), np.array(loading)
    told = {"ours early": early, "in the middle": middle, "late in the epoch": late, "loading weights": weights}
    told["skip_first_batches"] = peer
    note("B14 ms: " + ", ".join(f"{name} {1000 * np.median(seconds):.1f}" for name, seconds in told.items()))
    yield Figure.over("B14", "skip_first_batches", peer / middle, ">=", 10)
    yield Figure.over("B14", "constant", late / early, "<=", 1.25)
    yield Figure.over("B14", "with weights", peer / (middle + weights), ">=", 10)


def first_batch(tiles: Path, start: int) -> float:
    """Seconds from nothing to the batch at place `start`."""
    began = time.perf_counter()
    shards = ShardSet(tiles, "train")
    with Batches(shards, ["tile.npy"], batch=BATCH, order=Order(shards.counts, 0), start=start) as stream:
        loaded = next(stream)
        seconds = time.perf_counter() - began
    assert loaded.position == start
    return seconds


def load(saved: Path, networks: dict[str, torch.nn.Module]) -> float:
    """Seconds that it takes to verify and load a checkpoint's weights."""
    began = time.perf_counter()
    found = checkpoint.newest(saved)
    assert found is not None
    checkpoint.load_networks(found, networks)
    return time.perf_counter() - began


def their_first_batch(tiles: Path, batches: int) -> float:
    """Seconds until a webdataset pipeline that skips so many batches gives one."""
    os.environ["WDS_SECURE"] = "1"

    def decode(sample: dict[str, Any]) -> torch.Tensor:
        return torch.from_numpy(np.load(io.BytesIO(sample["tile.npy"])))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = sorted(str(path) for path in tiles.glob("*.tar"))
        began = time.perf_counter()
        pipeline = webdataset.WebDataset(names, shardshuffle=False).map(decode)
        accelerator = Accelerator(cpu=True)
        loader = accelerator.prepare(torch.utils.data.DataLoader(pipeline, batch_size=BATCH))
        first = next(iter(skip_first_batches(loader, batches)))
        seconds = time.perf_counter() - began
    assert len(first) == BATCH
    return seconds
