"""B11: what the engine's step costs beyond a bare loop, written by hand, of the same model.

Ours: `water_vae:reference` as `waterscape train` runs it: batches read live from shards with their checksums,
counter-based draws, rates, ledger, sums of losses. Peer and limit, `loop`: forward, loss, backward and optimizer alone,
on tensors that already lie in memory. In turn in one process, so the loop is lent our setting of the heap
(`training/heap.py`); `as-started` is the same loop in a process of its own, as torch starts up. The same number of
threads and the same batch.

`ledger` is told: the part of a bare step that it takes to write down a step's samples, forced to disk once in `STEPS`
steps, more often than checkpoints have it. It is in `loop` too, but not forced there.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from scipy import ndimage

from benchmarks.figure import Figure
from benchmarks.served import Served, serve
from benchmarks.turns import take_turns
from waterscape import models
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.training.engine import Records
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

BATCH = 64
TILES = 1024
STEPS = 12  # in a row, before the other's turn, in which up to two batches are read ahead
TURNS = 25
BRIEF = {"TILES": 128, "STEPS": 2, "TURNS": 1}


def figures() -> Iterator[Figure]:
    """The engine's time for a step, over the bare loop's."""
    with tempfile.TemporaryDirectory() as directory:
        tiles = write_tiles(Path(directory) / "tiles")
        with EngineSteps(tiles, Path(directory) / "run") as ours, Served(__name__, [tiles], [os.environ]) as started:
            sides = {"ours": ours, "loop": bare_steps(tiles), "as-started": started, "ledger": ours.write_ledger}
            rates = take_turns("B11", {name: partial(turns_a_second, steps) for name, steps in sides.items()}, TURNS)
    for name in ("loop", "as-started"):
        yield Figure.over("B11", name, rates[name] / rates["ours"], "<=", 1.03)
    yield Figure.over("B11", "ledger", rates["loop"] / rates["ledger"])


def turns_a_second(steps: Callable[[], object]) -> float:
    """By one of them."""
    began = time.perf_counter()
    steps()
    return 1 / (time.perf_counter() - began)


def write_tiles(out: Path) -> Path:
    """Synthetic tiles of 64×64 in shards."""
    random = np.random.default_rng(0)
    with SetWriter(out, facts={"synthetic": True}) as writer:
        for _ in range(TILES):
            field = ndimage.gaussian_filter(random.normal(size=(64, 64)), 5)
            tile = np.clip(50 + 60 * field / field.std(), 0, 100).astype(np.uint8)
            writer.add("train", {"occurrence64.npy": tile})
    return out


class EngineSteps:
    """Takes some steps of the engine at each call."""

    def __init__(self, tiles: Path, out: Path) -> None:
        recipe = models.presets("water_vae")["reference"]
        run = Run(out=out, data=tiles, batch=BATCH, images=10**9, tensorboard=False)
        out.mkdir()
        shards = ShardSet(tiles, "train")
        self.learner = Learner(recipe, run, recipe.networks({}), Processes(None, "float32", out), len(shards))
        self.records = Records(self.learner, "B11", quiet=True)
        self.stream = Batches(shards, self.learner.columns, batch=BATCH, order=Order(shards.counts, 0))
        self.noted = [next(self.stream) for _ in range(STEPS)]

    def __call__(self) -> None:
        """One turn."""
        for _ in range(STEPS):
            loaded = next(self.stream)
            self.records.note(self.learner.step(loaded.columns, loaded.numbers, loaded.count), loaded)

    def write_ledger(self) -> None:
        """The samples of as many steps written down and forced to disk."""
        for loaded in self.noted:
            self.records.ledger.write(loaded.numbers.tolist(), loaded.keys)
        self.records.ledger.sync()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads that read, and close the files."""
        self.stream.close()
        self.records.close()


def bare_steps(
    tiles: Path,
    count: int = STEPS,
    batch: int = BATCH,
    wrap: Callable[[torch.nn.Module], torch.nn.Module] = lambda network: network,
    noise: Callable[[torch.Tensor], torch.Tensor] = torch.randn_like,
) -> Callable[[], None]:
    """The same model and batch, by hand; `wrap` is laid around each network, `noise` is drawn like a given tensor."""
    recipe = models.presets("water_vae")["reference"]
    networks = recipe.networks({})
    encoder, decoder = networks["encoder"], networks["decoder"]
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3, fused=True) for network in (encoder, decoder)]
    shards = ShardSet(tiles, "train")
    stored = np.stack([np.asarray(shards.read(number)["occurrence64.npy"]) for number in range(len(shards))])
    images = torch.from_numpy(stored).float().div(100)[:, None]
    kernels = [(0.01, m.weight) for m in encoder.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    kernels += [(0.01, m.weight) for m in decoder.modules() if isinstance(m, torch.nn.Linear)]
    kernels += [(0.02, m.weight) for m in decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]

    encoder, decoder = wrap(encoder), wrap(decoder)

    def steps() -> None:
        for step in range(count):
            start = step * batch % len(images)
            image = images[start : start + batch]
            for optimizer in optimizers:
                optimizer.zero_grad()
            mean, log_variance = encoder(image)
            made = decoder(mean + (0.5 * log_variance).exp() * noise(mean))
            error = (made - image).square().sum() / batch
            divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / batch
            penalty = sum(strength * kernel.square().sum() for strength, kernel in kernels)
            (error + divergence + penalty).backward()
            for optimizer in optimizers:
                optimizer.step()

    return steps


if __name__ == "__main__":
    serve(bare_steps(Path(sys.argv[1])))
