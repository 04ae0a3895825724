"""The engine: the only training loop. It knows how to train; what, the recipe says.

Load the newest whole checkpoint, then for each batch take a step, and at stated image counts report, measure, picture
and write a checkpoint. Progress is counted in images of the global batch. A run is the same on any number of processes:
the order of samples and every draw are functions of the seed and of the place in the stream alone, and each loss is the
mean over the global batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from waterscape.data.opening import batches_of
from waterscape.data.samples import Samples
from waterscape.data.staging import Staged
from waterscape.training.council import Council
from waterscape.training.exhibit import Exhibit
from waterscape.training.learner import Learner
from waterscape.training.outcome import Outcome
from waterscape.training.owner import Owner
from waterscape.training.pulse import pulse
from waterscape.training.records import Records
from waterscape.training.signals import Request
from waterscape.training.taking_up import resume, roll_back
from waterscape.training.watcher import Advice, Sight, Watcher

if TYPE_CHECKING:
    from waterscape.data.batches import Batches
    from waterscape.data.resident import Resident
    from waterscape.data.stream import Streamed

__all__ = ["Records", "Sight", "Watcher", "resume", "train"]


def train(
    learner: Learner,
    samples: Samples,
    exhibit: Exhibit,
    name: str,
    watchers: Sequence[Watcher] = (),
    *,
    request: Request | None = None,
    owner: Owner | None = None,
) -> Outcome:
    """From the newest whole checkpoint, or from the start, to the run's number of images, or until asked to stop.

    The last checkpoint is durable when it returns, on every process.

    Raises:
        UserError: a checkpoint that not every process can load, one that could not be written, or too many steps in a
            row that were skipped.
        ShardError: a shard that is not as its index says, with shard and sample.
    """
    run, processes = learner.run, learner.processes
    unseen = [watcher.name for watcher in watchers] if resume(learner) else []
    records = Records(learner, name, owner=owner, unseen=unseen)
    council = Council(records, request or Request())
    stream = stream_of(learner, samples)
    with contextlib.closing(stream), contextlib.closing(records):
        if learner.images == 0:
            records.picture(exhibit)
            records.look([watcher for watcher in watchers if watcher.ends])
            records.is_best()
        else:
            missed = [w for w in watchers if w.steers and w.name in unseen and _due(learner, w.every)]
            if _heed(records, records.look(missed)):
                records.save()
        leaving = ""
        while learner.images < run.images:
            pulse.doing("reading")
            loaded = next(stream)
            pulse.read(loaded.keys[0].rpartition("/")[0] if loaded.keys else "")
            losses = learner.step(loaded.columns, loaded.numbers, loaded.count)
            pulse.doing("records")
            records.note(losses, loaded)

            done, leaving = learner.images >= run.images, council.meet()
            if leaving and not done:
                records.save(unseen=True)  # and no picture before it: who asks to stop does not wait for long
                break
            if done or learner.steps == 1 or _due(learner, run.report_every):
                records.report()
            pictured = done or _due(learner, run.picture_every)
            if pictured:
                records.picture(exhibit)
            looking = [w for w in watchers if _due(learner, w.every) or (done and w.ends)]
            kept = _heed(records, records.look(looking))
            best = bool(pictured or looking) and records.is_best()
            if done or best or kept or any(_due(learner, every) for every in run.saves_every):
                records.save()
        records.finish()
    processes.close()
    if learner.images < run.images:
        return Outcome("continue", f"{leaving} after {learner.images} of {run.images} images")
    return Outcome("done", f"{learner.images} images")


def stream_of(learner: Learner, samples: Samples) -> Batches | Streamed | Resident | Staged:
    """This process's part of the run's batches, from where the learner stands."""
    run, processes = learner.run, learner.processes
    pulse.taking_long("reading into memory" if run.cache != "none" else "reading")
    stream = batches_of(
        samples,
        learner.columns,
        pictures=learner.pictures,
        batch=run.batch,
        seed=run.seed,
        rank=processes.rank,
        world=processes.world,
        start=learner.images,
        skip_damaged=run.skip_damaged,
        balance=run.balance,
        cache=run.cache,
        device=processes.device,
        readers=run.readers,
    )
    ahead = run.ahead == "yes" or (run.ahead == "auto" and processes.device.type == "cuda")
    return Staged(stream, processes.device) if ahead else stream


def _heed(records: Records, advice: Advice) -> bool:
    """Take a watcher's advice; whether the networks as they are now are to be kept as good ones."""
    good = roll_back(records, advice.roll_back) if advice.roll_back else advice.good
    if good:
        records.call_good()
    return good


def _due(learner: Learner, every: int) -> bool:
    """Whether the last step passed a multiple of `every` images."""
    return learner.images // every > (learner.images - learner.run.batch) // every
