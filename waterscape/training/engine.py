"""The engine: the only training loop. It knows how to train; what, the recipe says.

Load the newest whole checkpoint, then for each batch take a step, and at stated image counts report, measure, picture
and write a checkpoint. Progress is counted in images of the global batch. A run is the same on any number of processes:
the order of samples and every draw are functions of the seed and of the place in the stream alone, and each loss is the
mean over the global batch.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from waterscape.data.batches import Batches, Loaded, ShardSet
from waterscape.data.order import Order
from waterscape.errors import UserError
from waterscape.training import checkpoint
from waterscape.training.events import Events, Ledger, Watch
from waterscape.training.exhibit import Exhibit
from waterscape.training.learner import Learner

Watcher = Callable[[Path, int], None]
"""Called on the first process with the run's directory and the images so far, after each picture."""


def train(learner: Learner, shards: ShardSet, exhibit: Exhibit, name: str, watchers: Sequence[Watcher] = ()) -> None:
    """From the newest whole checkpoint, or from the start, to the run's number of images.

    Raises:
        UserError: a checkpoint that not every process can load, or a loss that is no longer finite.
        ShardError: a shard that is not as its index says, with shard and sample.
    """
    run, processes = learner.run, learner.processes
    resume(learner)
    records = Records(learner, name)
    stream = Batches(
        shards,
        learner.columns,
        batch=run.batch,
        order=Order(shards.counts, run.seed),
        rank=processes.rank,
        world=processes.world,
        start=learner.images,
    )
    with contextlib.closing(stream), contextlib.closing(records):
        if learner.images == 0:
            records.picture(exhibit, watchers)
        while learner.images < run.images:
            loaded = next(stream)
            losses = learner.step(loaded.columns, loaded.numbers, loaded.count)
            records.note(losses, loaded)

            done = learner.images >= run.images
            if done or learner.steps == 1 or _due(learner, run.report_every):
                records.report()
            if done or _due(learner, run.picture_every):
                records.picture(exhibit, watchers)
            if done or _due(learner, run.checkpoint_every):
                records.save()
    processes.close()


def _due(learner: Learner, every: int) -> bool:
    """Whether the last step passed a multiple of `every` images."""
    return learner.images // every > (learner.images - learner.run.batch) // every


def resume(learner: Learner) -> None:
    """Load the newest whole checkpoint: the first process checks and chooses, every process loads that one or all stop.

    Nodes may see different directories, so each process verifies for itself that it holds the chosen one.
    """
    directory, processes = learner.run.out / "checkpoints", learner.processes
    found = checkpoint.newest(directory) if processes.first else None
    chosen = processes.broadcast((found.path.name, found.sha256) if found else None)
    if chosen is None:
        return
    path, problem = directory / chosen[0], ""
    try:
        found = found or checkpoint.verify(path)
        if found.sha256 != chosen[1]:
            raise ValueError("it is not the one that the first process sees")
        learner.load(found)
    except (OSError, ValueError) as error:
        problem = str(error)
    processes.agree(problem, f"cannot resume from {path}")


class Records:
    """What a run writes while it goes on: events, ledger, pictures and checkpoints, cut back to where it stands."""

    def __init__(self, learner: Learner, name: str, *, quiet: bool = False) -> None:
        run, processes = learner.run, learner.processes
        self.learner, self.name, self.out, self.processes = learner, name, run.out, processes
        self.events = None
        if processes.first:
            self.events = Events(run.out, learner.images)
            Ledger.cut(run.out, learner.images)
            self.events.write("start", learner.images, processes=processes.world, threads=torch.get_num_threads())
        processes.wait()
        self.ledger = Ledger(run.out, processes.rank)
        self.watch = Watch(name, learner.images, run.images, quiet=quiet or not processes.first)
        processes.track(learner.images)
        self._open_window()

    def note(self, losses: dict[str, Tensor], loaded: Loaded) -> None:
        """One step: its samples into the ledger, its losses into the next report."""
        self.ledger.write(loaded.numbers.tolist(), loaded.keys)
        for name, value in losses.items():
            total, steps = self.sums.get(name, (torch.zeros_like(value), 0))
            self.sums[name] = total + value, steps + 1
        self.seen += loaded.count
        self.watch.step(loaded.count)

    def report(self) -> None:
        """Log the mean losses since the last report. Raises `UserError` where one is not finite."""
        images, seconds = self.learner.images, time.monotonic() - self.began
        means = torch.stack([total.double() / steps for total, steps in self.sums.values()])
        losses = dict(zip(self.sums, self.processes.sum(means).tolist(), strict=True))
        images_per_second = self.seen / seconds
        if self.events:
            self.events.write("report", images, losses=losses, images_per_second=images_per_second)
            self.processes.log({f"train/{name}": value for name, value in losses.items()}, images)
            self.watch.report(images, losses, images_per_second)
        self._open_window()
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise UserError(
                f"{', '.join(bad)} is not finite after {images} images; the last checkpoint stands in {self.out}: "
                "try a lower learning rate in another --out"
            )

    def _open_window(self) -> None:
        self.sums: dict[str, tuple[Tensor, int]] = {}
        self.seen, self.began = 0, time.monotonic()

    def picture(self, exhibit: Exhibit, watchers: Sequence[Watcher]) -> None:
        """Measure held-out samples on all processes; on the first, draw the picture and call the watchers."""
        images, began = self.learner.images, time.monotonic()
        measured = exhibit.measure(self.learner)
        if self.events:
            exhibit.draw(self.learner, f"{self.name}, {images} images")
            self.events.write("picture", images, measured=measured)
            self.processes.log({f"held out/{name}": value for name, value in measured.items()}, images)
            for watcher in watchers:
                watcher(self.out, images)
        self.began += time.monotonic() - began  # throughput is that of training alone

    def save(self) -> None:
        """Write a checkpoint of all that must survive; every process's ledger is on disk before it appears."""
        learner, began = self.learner, time.monotonic()
        self.ledger.sync()
        self.processes.wait()
        if self.events:
            self.events.write("checkpoint", learner.images)
            self.events.sync()
            checkpoint.save(
                self.out / "checkpoints",
                learner.networks,
                learner.averages.state(),
                learner.optimizers,
                {"images": learner.images, "steps": learner.steps, "processes": self.processes.world},
                learner.run.keep,
            )
        self.began += time.monotonic() - began

    def close(self) -> None:
        """Close the files and the progress."""
        self.watch.close()
        self.ledger.close()
        if self.events:
            self.events.close()
