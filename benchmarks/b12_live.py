"""B12: a training step on batches that are read live, against the same step on one batch that is kept.

`tiles`: `water_vae:reference` on tiles of 64 pixels, torch on all cores. `photos`: a small convolutional autoencoder on
JPEG photos (640 × 480, synthetic) brought to 128 × 128, where torch leaves one core to the loader on both sides. The
same learner takes both, in turn; while it takes the kept one, the loader sleeps, its batches ready.
"""

# ruff: noqa: ARG002, D102 -- the contract in recipe.py says what each method means

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.figure import Figure, note
from benchmarks.photos import write_photos
from benchmarks.tiles import write_shards
from waterscape import models
from waterscape.data.batches import Batches, Loaded, ShardSet
from waterscape.data.order import Order
from waterscape.randomness import Draw
from waterscape.recipe import Input, Networks, Phase, Recipe
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

TURNS = 7
STEPS = 3  # in a row, before the other's turn
TILES, PHOTOS = 1024, 512
BRIEF = {"TURNS": 1, "STEPS": 1, "TILES": 128, "PHOTOS": 32}


@dataclass(frozen=True)
class Autoencoder(Recipe):
    """Gives photos back through 32 × 32 × 32 numbers."""

    def inputs(self) -> Mapping[str, Input]:
        return {"photo": Input("jpg", shape=(3, 128, 128), stored=(0, 255))}

    def networks(self, starts: Mapping[str, Networks]) -> dict[str, nn.Module]:
        layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU()]
        layers += [nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU()]
        layers += [nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1)]
        return {"autoencoder": nn.Sequential(*layers)}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("copy", ("autoencoder",), self.error),)

    def error(self, networks: Networks, batch: Mapping[str, Tensor], draw: Draw) -> Mapping[str, Tensor]:
        return {"loss": (networks["autoencoder"](batch["photo"]) - batch["photo"]).square().mean()}

    def optimizer(self, name: str, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=1e-3)

    def picture(self, networks: Networks, batch: Mapping[str, Tensor], draw: Draw) -> Mapping[str, Tensor]:
        return {}


def figures() -> Iterator[Figure]:
    """Seconds of a step on live batches over those on a kept one."""
    cores = torch.get_num_threads()
    try:
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            recipe = models.presets("water_vae")["reference"]
            ratios = measure("tiles", recipe, write_shards(root / "tiles", TILES), 128, root)
            yield Figure.over("B12", "tiles", ratios, "<=", 1.05)
            photos = write_photos(root / "photos", PHOTOS)
            torch.set_num_threads(max(1, cores - 1))
            ratios = measure("photos", Autoencoder(), photos, 32, root)
            yield Figure.over("B12", "photos", ratios, "<=", 1.1)
    finally:
        torch.set_num_threads(cores)


def measure(name: str, recipe: Recipe, shards: ShardSet, batch: int, root: Path) -> Sequence[float]:
    """The ratio of each turn."""
    run = Run(out=root / name, batch=batch, images=10**9, tensorboard=False)
    learner = Learner(recipe, run, recipe.networks({}), Processes(None, "float32", run.out), len(shards))
    order = Order(shards.counts, 0)
    with Batches(shards, learner.columns, pictures=learner.pictures, batch=batch, order=order) as stream:
        kept = next(stream)

        def seconds(live: bool) -> float:
            began = time.perf_counter()
            for _ in range(STEPS):
                take(learner, next(stream) if live else kept)
            return (time.perf_counter() - began) / STEPS

        seconds(live=True)
        turns = []
        for turn in range(TURNS):
            order_of_turns = (True, False) if turn % 2 == 0 else (False, True)
            took = {live: seconds(live) for live in order_of_turns}
            turns.append((took[True], took[False]))
    live, cached = np.median(turns, axis=0)
    threads = torch.get_num_threads()
    note(
        f"B12 {name}: {1e3 * live:.0f} ms a step live, {1e3 * cached:.0f} ms on a kept one, torch on {threads} threads"
    )
    return [one / other for one, other in turns]


def take(learner: Learner, loaded: Loaded) -> None:
    """One step."""
    learner.step(loaded.columns, loaded.numbers, loaded.count)
