"""Random signals to any process of a tree, launcher and ranks alike: all of it ends, and nothing is torn."""

import contextlib
import os
import random
import signal
import time

import psutil
import pytest
from programs import finish, start
from test_signals import FOR_EVER, launched, torchrun, words
from waiting import until

from waterscape.training import checkpoint
from waterscape.training.events import read_ledger
from waterscape.training.outcome import read_outcome

KINDS = [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]


def members(out):
    """All processes whose command names the run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if str(out) in process.cmdline() else []
    return found


def newest(out):
    return max((int(path.name) for path in checkpoint.every(out / "checkpoints")), default=0)


def storm(out, number, kinds, moment):
    """So many signals, each to one member; fewer where the last one ends before. Returns how many were sent."""
    sent, there = 0, members(out)
    while there and sent < number:
        with contextlib.suppress(ProcessLookupError):
            os.kill(moment.choice(there).pid, moment.choice(kinds))
            sent += 1
        time.sleep(moment.choice([0, 0, 0.001, 0.02]))
        there = [member for member in there if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    return sent


def steps_of(whole):
    """The steps that its optimizers have taken, as each of their parameters has it."""
    names = [name for name in whole.state["files"] if name.startswith("optimizer.")]
    return {float(value) for name in names for key, value in whole.read(name).items() if key.endswith(".step")}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_after_five_hundred_random_signals_to_a_launcher_and_its_ranks_nothing_is_torn(tiles, tmp_path):
    out, moment, more = tmp_path / "run", random.Random(time.time_ns()), ["--checkpoint-every", 320]
    sent = rounds = saved = 0
    while sent < 500:
        before, asking = newest(out), rounds % 2 == 0  # every other time somebody insists, or it has hardly begun
        process = launched("torchrun, two processes", tiles, out, *more)
        if asking or moment.random() < 0.5:
            until(lambda: newest(out) > before, told=lambda: process.communicate(timeout=1)[0])  # noqa: B023 at once
            time.sleep(moment.uniform(0, 0.5))
        else:
            until(lambda: members(out))
            time.sleep(moment.uniform(0, 5))
        sent += storm(out, moment.randint(20, 60), KINDS if asking else [signal.SIGINT, *KINDS], moment)
        output, _ = process.communicate(timeout=60)
        until(lambda: not members(out), 60, lambda: [member.cmdline() for member in members(out)])
        rounds += 1
        assert output.count("saving after this step") <= 1
        whole, outcome = checkpoint.newest(out / "checkpoints"), read_outcome(out)
        assert whole is None or whole.images >= before
        assert whole is None or steps_of(whole) == {float(whole.state["steps"])}, "optimizers at different steps"
        if outcome and outcome.word == "continue":
            assert outcome.reason.endswith(f"after {whole.images} of {FOR_EVER} images"), "not where it stood"
            saved += whole.images > before
        assert not asking or outcome.word == "continue", output
    goal = newest(out) + 320
    for run in (out, tmp_path / "undisturbed"):
        finish(start(1, *words(tiles, run, *more, "--images", goal), program=torchrun(2)))
    assert read_ledger(out) == read_ledger(tmp_path / "undisturbed")
    ours, theirs = (checkpoint.newest(run / "checkpoints").state for run in (out, tmp_path / "undisturbed"))
    assert ours["files"] == theirs["files"], "not bitwise"
    print(f"{sent} signals in {rounds} trees, {saved} saves, {goal} images")
