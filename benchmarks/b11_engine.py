"""B11: what the engine's step costs beyond a bare loop, written by hand, of the same model.

Ours: `water_vae:reference` as `waterscape train` runs it: batches read live from shards with their checksums,
counter-based draws, rates, ledger, sums of losses. Peer and limit: forward, loss, backward and optimizer alone, on
tensors that already lie in memory. In turn in one process, the same number of threads and the same batch.

`ledger` is told: the part of a bare step that it takes to write down a step's samples, forced to disk once in `STEPS`
steps, more often than checkpoints have it. It is in `loop` too, but not forced there.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from benchmarks.figure import Figure
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


def figures() -> Iterator[Figure]:
    """The engine's time for a step, over the bare loop's."""
    with tempfile.TemporaryDirectory() as directory:
        tiles = write_tiles(Path(directory) / "tiles")
        ours = EngineSteps(tiles, Path(directory) / "run")
        bare = bare_steps(tiles)
        for steps in (ours, bare):
            steps()  # warm up
        ratios, shares = [], []
        for turn in range(TURNS):
            first, second = (ours, bare) if turn % 2 == 0 else (bare, ours)
            seconds = {}
            for steps in (first, second):
                began = time.perf_counter()
                steps()
                seconds[steps] = time.perf_counter() - began
            ratios.append(seconds[ours] / seconds[bare])
            shares.append(ours.ledger_seconds() / seconds[bare])
        ours.close()
    yield Figure.over("B11", "loop", ratios, "<=", 1.03)
    yield Figure.over("B11", "ledger", shares)


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

    def __call__(self) -> None:
        """One turn."""
        for _ in range(STEPS):
            loaded = next(self.stream)
            self.records.note(self.learner.step(loaded.columns, loaded.numbers, loaded.count), loaded)

    def ledger_seconds(self) -> float:
        """That the samples of as many steps take to be written down and forced to disk."""
        loaded = [next(self.stream) for _ in range(STEPS)]
        began = time.perf_counter()
        for one in loaded:
            self.records.ledger.write(one.numbers.tolist(), one.keys)
        self.records.ledger.sync()
        return time.perf_counter() - began

    def close(self) -> None:
        """End the threads that read, and close the files."""
        self.stream.close()
        self.records.close()


def bare_steps(
    tiles: Path,
    count: int = STEPS,
    batch: int = BATCH,
    wrap: Callable[[torch.nn.Module], torch.nn.Module] = lambda network: network,
) -> Callable[[], None]:
    """The same model and batch, by hand; `wrap` is laid around each network."""
    recipe = models.presets("water_vae")["reference"]
    networks = recipe.networks({})
    encoder, decoder = networks["encoder"], networks["decoder"]
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3, fused=True) for network in (encoder, decoder)]
    shards = ShardSet(tiles, "train")
    stored = np.stack([np.asarray(shards.read(number)["occurrence64.npy"]) for number in range(TILES)])
    images = torch.from_numpy(stored).float().div(100)[:, None]
    kernels = [(0.01, m.weight) for m in encoder.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    kernels += [(0.01, m.weight) for m in decoder.modules() if isinstance(m, torch.nn.Linear)]
    kernels += [(0.02, m.weight) for m in decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]

    encoder, decoder = wrap(encoder), wrap(decoder)

    def steps() -> None:
        for step in range(count):
            start = step * batch % TILES
            image = images[start : start + batch]
            for optimizer in optimizers:
                optimizer.zero_grad()
            mean, log_variance = encoder(image)
            made = decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
            error = (made - image).square().sum() / batch
            divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum() / batch
            penalty = sum(strength * kernel.square().sum() for strength, kernel in kernels)
            (error + divergence + penalty).backward()
            for optimizer in optimizers:
                optimizer.step()

    return steps
