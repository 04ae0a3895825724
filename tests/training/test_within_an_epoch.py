"""Killed three times within one epoch, by SIGKILL at random moments: no sample twice or never, little work lost."""

import random
import signal
import time
from collections import Counter

import pytest
from ranks import words
from waiting import until

from waterscape.data.balance import planned_order
from waterscape.data.shards import ShardSet
from waterscape.proof.compare import planned
from waterscape.training import checkpoint
from waterscape.training.events import read_events, read_ledger

BATCH, EVERY = 6, 12
EPOCH = 180
PAUSE = 1.0  # seconds before each save, so that who looks on finds it within the epoch on any machine


def newest(out):
    return max((int(path.name) for path in checkpoint.every(out / "checkpoints")), default=0)


def reported(out):
    return max((event["images"] for event in read_events(out) if event["event"] == "report"), default=0)


@pytest.mark.long
@pytest.mark.parametrize(("world", "writer"), [(1, "background"), (2, "foreground")])
@pytest.mark.parametrize("balance", [None, "shape.npy"], ids=["each once", "weighted"])
def test_resumed_three_times_within_an_epoch_it_reads_what_was_planned(balance, world, writer, born, tiles, tmp_path):
    out, moment = tmp_path / "run", random.Random(time.time_ns())
    more = ["--batch", BATCH, "--report-every", BATCH, "--checkpoint-every", EVERY, "--checkpoint-writer", writer]
    more += ["--balance", balance] if balance else []
    slow = words(tiles, out, *more, "--picture-every", EVERY)
    for kill in range(3):
        # What was reported last may not have been saved yet; in the background, what was saved last may not be written.
        behind = 1 if writer == "foreground" else 2
        least = newest(out) + EVERY * moment.uniform(behind + 0.5, behind + 1.5)
        ranks = born(world, slow, tmp_path / f"killed-{kill}", pause=PAUSE)
        until(lambda: reported(out) >= least, told=lambda: ranks.log(0))  # noqa: B023 at once
        time.sleep(moment.uniform(0, 0.5))
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none sees another's end
            for rank in range(world):
                ranks.signal(rank, number)
        assert [ranks.ended(rank) for rank in range(world)] == [-signal.SIGKILL] * world, ranks.log(0)
        whole = checkpoint.newest(out / "checkpoints").images
        assert whole >= (-(-reported(out) // EVERY) - behind) * EVERY, "more than an interval and a write is lost"
    for run, logs in ((out, "last"), (tmp_path / "undisturbed", "undisturbed")):
        ended = born(world, words(tiles, run, *more, "--images", 2 * EPOCH), tmp_path / logs)
        assert [ended.ended(rank) for rank in range(world)] == [0] * world, ended.log(0)

    starts = [event["images"] for event in read_events(out) if event["event"] == "start"]
    assert [starts[0], len(set(starts))] == [0, 4]
    assert starts == sorted(starts)
    assert starts[-1] < EPOCH, "resumed three times, but not within the epoch"
    shards, ledger = ShardSet(tiles, "train"), read_ledger(out)
    assert ledger == planned(shards, planned_order(shards, 0, balance), 2 * EPOCH)
    for epoch in range(2):
        times = Counter(ledger[place] for place in range(epoch * EPOCH, (epoch + 1) * EPOCH))
        assert (set(times.values()) == {1}) == (balance is None)
    ours, theirs = (checkpoint.newest(run / "checkpoints").state for run in (out, tmp_path / "undisturbed"))
    assert ours == theirs, "not bitwise: the files' sha256 are in it"
