"""What a run writes while it goes on: events, ledger, pictures and checkpoints."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from waterscape.cores import processes_here
from waterscape.data.batches import Loaded
from waterscape.errors import UserError
from waterscape.training.events import Events, Ledger, Watch
from waterscape.training.exhibit import Exhibit
from waterscape.training.learner import Learner
from waterscape.training.owner import OutdatedError, Owner
from waterscape.training.pulse import pulse
from waterscape.training.skips import Skips
from waterscape.training.watcher import Advice, Sight, Watcher
from waterscape.training.writer import NotFiniteError, Writer, core_is_free


class Records:
    """A run's records, cut back to where it stands. `saved` is the number of images of the newest checkpoint.

    `unseen`: names of watchers that have not seen the run as it stands, whatever a start before has written of it.
    """

    def __init__(
        self,
        learner: Learner,
        name: str,
        *,
        owner: Owner | None = None,
        quiet: bool = False,
        unseen: Sequence[str] = (),
    ) -> None:
        run, processes = learner.run, learner.processes
        self.learner, self.name, self.out, self.processes = learner, name, run.out, processes
        self.events, self.writer = None, None
        if processes.first:
            self.events = Events(run.out, learner.images, undone=(*unseen, "rollback") if unseen else ())
            Ledger.cut(run.out, learner.images)
            self.events.write("start", learner.images, processes=processes.world, threads=torch.get_num_threads())
            self.writer = self._writer(owner)
        processes.wait()
        self.ledger = Ledger(run.out, processes.rank)
        self.skips = Skips(run.out, processes, run.skip_damaged)
        self.watch = Watch(name, learner.images, run.images, quiet=quiet or not processes.first)
        self.saved = learner.images
        self.failure: Exception | None = None  # of the last save
        self.figures: dict[str, float] = {}  # of held-out samples and of watchers, on the first process
        self.figures_at = self.good_at = -1  # images
        self.steps_skipped = 0
        self.pauses = 0.0  # seconds that are not training
        processes.track(learner.images)
        self._open_window()

    def _writer(self, owner: Owner | None) -> Writer:
        run, processes = self.learner.run, self.processes
        directory = run.out / "checkpoints"
        directory.mkdir(exist_ok=True)
        local = processes_here(processes.world)
        free = processes.device.type != "cpu" or core_is_free(torch.get_num_threads(), local)
        background = free if run.checkpoint_writer == "auto" else run.checkpoint_writer == "background"
        fence = owner.fence if owner else contextlib.nullcontext
        return Writer(directory, run.keeping, background=background, fence=fence)

    def note(self, losses: dict[str, Tensor], loaded: Loaded) -> None:
        """One step: its samples into the ledger, its losses into the next report."""
        if not loaded.stands_in:  # another process notes that sample
            self.ledger.write(loaded.numbers.tolist(), loaded.keys, self.learner.drawn)
            self.skips.note(loaded.skipped)
        values = torch.stack([*losses.values(), self.learner.good])  # a skipped step has no losses
        names = tuple(losses)
        self.sums[names] = self.sums[names] + values if names in self.sums else values
        self.seen += loaded.count
        self.watch.step(loaded.count)

    def report(self) -> None:
        """Log the mean losses since the last report. Raises `UserError` after too many skipped steps in a row."""
        images = self.learner.images
        self.skips.gather(self.events, images)
        totals: dict[str, Tensor] = {}  # of each loss, and the number of steps that had it
        for names, values in self.sums.items():
            for place, name in enumerate(names):
                totals[name] = totals.get(name, 0) + torch.stack([values[place], values[-1]]).double()
        means = torch.stack([total[0] / total[1] for total in totals.values()])
        found = dict(zip(totals, self.processes.sum(means).tolist(), strict=True))
        losses = {name: value for name, value in found.items() if math.isfinite(value)}  # else every step was skipped
        # The device has done all of these steps only now that their losses are here.
        images_per_second = self.seen / (time.monotonic() - self.began - self.pauses)
        skipped, before = int(self.learner.skipped), self.steps_skipped
        self.steps_skipped = skipped
        if self.events:
            facts = {"skipped_steps": skipped - before} if skipped > before else {}
            self.events.write("report", images, losses=losses, images_per_second=images_per_second, **facts)
            self._log("train", losses)
            self.watch.report(images, losses, images_per_second)
            if facts:
                told = f"{skipped - before} steps were skipped: a loss or its gradients were not finite"
                print(f"{self.name}: {told}", file=sys.stderr, flush=True)
        self._open_window()
        self.check_steps()

    def check_steps(self) -> None:
        """Raise `UserError`, on all processes alike, where too many steps in a row were skipped."""
        skipped, images = int(self.learner.skipped_in_a_row), self.learner.images
        if skipped >= self.learner.run.stop_after_bad_steps:
            if self.events:
                told = int(self.learner.skipped) - self.steps_skipped
                self.events.write("stopped", images, skipped_steps=told)
            raise UserError(
                f"the last {skipped} steps up to {images} images were skipped, since a loss or its gradients are not "
                f"finite; the checkpoints in {self.out} stand: try a lower learning rate in another --out"
            )

    def _open_window(self) -> None:
        self.sums: dict[tuple[str, ...], Tensor] = {}  # by the names of losses that come in one step; last, the steps
        self.seen, self.began, self.pauses = 0, time.monotonic(), 0.0

    @contextlib.contextmanager
    def _pausing(self, what: str) -> Iterator[None]:
        """Throughput is that of training alone, and `what` is done meanwhile may take long."""
        began = time.monotonic()
        pulse.taking_long(what)
        yield
        self.pauses += time.monotonic() - began

    def picture(self, exhibit: Exhibit) -> None:
        """Measure held-out samples on all processes; on the first, draw the picture."""
        images = self.learner.images
        with self._pausing("picture and held-out samples"):
            measured = exhibit.measure(self.learner)
            if self.events:
                with self._surviving():
                    exhibit.draw(self.learner, f"{self.name}, {images} images")
                self.events.write("picture", images, measured=measured)
                self._log("held out", measured)
            self._measured(measured)

    def look(self, watchers: Sequence[Watcher]) -> Advice:
        """On the first process, let watchers look and write down what they saw; on all, the advice of who steers."""
        advice = Advice()
        for watcher in watchers if self.events else ():
            seen = self._seen(watcher)
            advice = seen.advice if watcher.steers else advice
        if not any(watcher.steers for watcher in watchers):
            return advice
        told: Advice = self.processes.broadcast(advice)
        return told

    def _seen(self, watcher: Watcher) -> Sight:
        with self._pausing(watcher.name):
            began, seen = time.monotonic(), Sight()
            with self._surviving():
                seen = watcher.look(self.learner)
            if seen.warning:
                print(f"{self.name}: {seen.warning}", file=sys.stderr, flush=True)
            if self.events and seen.figures:
                told = {"warning": seen.warning} if seen.warning else {}
                facts = {**watcher.facts, "figures": seen.figures, **seen.facts, **told}
                self.events.write(watcher.name, self.learner.images, **facts, seconds=time.monotonic() - began)
                self._log(watcher.name, seen.figures)
            self._measured(seen.figures)
        return seen

    def call_good(self) -> None:
        """The networks as they are now are worth going back to; their checkpoint says so, though it stands already."""
        self.good_at, self.saved = self.learner.images, -1

    def went_back(self) -> None:
        """The networks are others now: figures of those before say nothing of them."""
        self.figures, self.figures_at = {}, -1

    def settle(self) -> None:
        """Until no checkpoint is being written."""
        if self.writer:
            self.writer.wait()

    @contextlib.contextmanager
    def _surviving(self) -> Iterator[None]:
        """Where a failed save is to be survived, so is a picture or curve that cannot be written."""
        try:
            yield
        except OSError as error:
            if self.learner.run.on_failed_save == "stop":
                raise
            print(f"{self.name}: {error}; training goes on", file=sys.stderr, flush=True)

    def _log(self, group: str, values: Mapping[str, float]) -> None:
        """Curves for TensorBoard."""
        with self._surviving():
            self.processes.log({f"{group}/{name}": value for name, value in values.items()}, self.learner.images)

    def _measured(self, found: Mapping[str, float]) -> None:
        """Figures of the networks as they are now; they go into a checkpoint of as many images only."""
        if self.figures_at != self.learner.images:
            self.figures, self.figures_at = {}, self.learner.images
        self.figures |= found

    def is_best(self) -> bool:
        """Whether the figures just measured are the best of all checkpoints so far, on all processes alike.

        Raises `UserError` at the start of a run, where everything is measured, if nothing has the stated name.
        """
        keeping, problem, better = self.learner.run.keeping, "", False
        if keeping.figure is None:
            return False
        if self.writer:
            name, _ = keeping.figure
            if self.learner.images == 0 and name not in self.figures:
                problem = f"it measures {', '.join(self.figures) or 'nothing'}"
            better = keeping.cost(self.figures) < keeping.best_cost(self.out / "checkpoints")
        self.processes.agree(problem, f"--best {keeping.best} names no figure of this run")
        return bool(self.processes.broadcast(better))

    def save(self, *, unseen: bool = False) -> None:
        """Write a checkpoint of all that must survive; every process's ledger is on disk before it appears.

        `unseen`: no watcher has looked yet at the run as it stands.
        """
        learner, run = self.learner, self.learner.run
        if self.saved == learner.images:
            return
        with self._pausing("saving"):
            self.skips.gather(self.events, learner.images)
            if not self._synced():
                return
            if self.writer:
                facts = {
                    "processes": self.processes.world,
                    "figures": self.figures if self.figures_at == learner.images else {},
                    "milestone": run.keeping.is_milestone(learner.images, learner.images - run.batch),
                    "good": self.good_at == learner.images,
                    "unseen": unseen,
                }
                self.writer.save(learner.tensors(), {**learner.progress(), **facts})
        self.saved = learner.images

    def _synced(self) -> bool:
        """Whether every process's ledger, and the events, are on disk."""
        try:
            self.ledger.sync()
            if self.events:
                self.events.sync()
        except OSError as error:
            self.failure = error
        return not any(self.processes.tally([float(self.failure is not None)]))

    def problem(self, *, last: bool = False) -> str:
        """Note the checkpoints that were written. Returns why the run must end: one could not be; empty if it need not.

        Where a failed save is to be survived it is told, and the next one tries again, unless it was the `last`.
        """
        if self.writer and self.events:
            while self.writer.written:
                written = self.writer.written.pop(0)
                facts = {"sha256": written.sha256, "bytes": written.bytes, "seconds": written.seconds}
                self.events.write("checkpoint", written.images, **facts)
            if self.writer.failure:
                self.failure, self.writer.failure = self.writer.failure, None
        if self.failure is None:
            return ""
        self.saved = -1
        if not isinstance(self.failure, OSError):
            known = isinstance(self.failure, OutdatedError | NotFiniteError)
            return str(self.failure) if known else f"{self.failure!r} while saving"
        told = f"no checkpoint could be written: {self.failure}; the one before it stands: mend that and give the same "
        told += "command again"
        if last or self.learner.run.on_failed_save == "stop":
            return told
        if self.events:
            self.events.write("unsaved", self.learner.images, reason=str(self.failure))
        print(f"{self.name}: {told}; training goes on", file=sys.stderr, flush=True)
        self.failure = None
        return ""

    def finish(self) -> None:
        """Until the last checkpoint is durable: no process leaves before. Raises `UserError` where it could not be."""
        pulse.taking_long("finishing")
        self.settle()
        self.processes.agree(self.problem(last=True), f"{self.out} is not saved")

    def close(self) -> None:
        """Close the files and the progress."""
        self.settle()
        self.watch.close()
        self.ledger.close()
        if self.events:
            self.events.close()
