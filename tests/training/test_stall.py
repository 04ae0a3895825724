"""A run that stalls ends non-zero and names the late rank: real processes on the loopback, stopped, killed or stuck."""

import os
import re
import signal
import time

import psutil
import pytest
from programs import start
from ranks import words
from waiting import until

from waterscape.training import checkpoint
from waterscape.training.beats import FOLDER, Beat, read_beats
from waterscape.training.events import read_events, read_ledger
from waterscape.training.outcome import read_outcome

LIMIT = 8
SECONDS = r"([89]|\d\d+) s"  # the limit or more, as busy as the machine is
STILL = rf"has not moved for {SECONDS}"


def limited(tiles, out, *more):
    return words(tiles, out, "--stall-seconds", LIMIT, *more)


def step_of(beat: Beat):
    return beat.look.steps + 1


def check_told(ranks, out, teller, late, state):
    """One rank has told it, in the log, in the outcome, in the events and in a file; returns the file's text."""
    told = (out / FOLDER / "stall-0001.txt").read_text()
    headline = told.splitlines()[0]
    process = ranks.pids[late]
    who = rf"rank {late} on {os.uname().nodename} \(process {process}\)"
    assert re.match(rf"no step for {SECONDS}: {who} {state}, in step \d+, after \d+ images, ", headline), headline
    assert f"error: {headline}" in ranks.log(teller)
    assert read_outcome(out).word == "failed"
    assert read_outcome(out).reason == headline
    event = read_events(out)[-1]
    assert (event["event"], event["late"], event["reason"]) == ("stalled", [late], headline)
    return told


@pytest.mark.long
@pytest.mark.parametrize("late", [0, 1])
def test_a_stopped_rank_is_named_and_the_others_end(late, born, tiles, tmp_path):
    out, other = tmp_path / "run", 1 - late
    ranks = born(2, limited(tiles, out), tmp_path / "logs")
    ranks.trained(out)
    ranks.stop(late)
    assert ranks.ended(other, LIMIT + 10) == 1
    told = check_told(ranks, out, other, late, r"is stopped \(SIGSTOP; SIGCONT continues it\)")
    step = next(step_of(beat.now()) for beat in read_beats(out) if beat.process.rank == late)
    assert f", in step {step}, after {32 * (step - 1)} images, " in told
    assert "last shard tiles-train-0" in told
    assert f"rank {other} on" in told
    assert "waits for the others, in step " in told
    assert "waits in all_reduce of " in told
    assert f"stack of rank {other}, by its own faulthandler" in told
    assert "in all_reduce\n" in told
    ranks.signal(late, signal.SIGCONT)
    assert ranks.ended(late, 10) == 1, "it goes on alone"
    assert read_outcome(out).reason == told.splitlines()[0]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["waiting", "gil"])
def test_a_rank_that_gets_stuck_leaves_its_stack(kind, born, tiles, tmp_path):
    """In the loader; where no thread of Python runs any more, the other rank asks faulthandler for it by a signal."""
    out = tmp_path / "run"
    ranks = born(2, limited(tiles, out), tmp_path / "logs", stuck=(kind, 8, 1))
    codes = [ranks.ended(0)] + ([ranks.ended(1)] if kind == "waiting" else [])
    assert set(codes) == {1}
    told = check_told(ranks, out, 0, 1, STILL if kind == "waiting" else r"gives no sign of life \(.*\)")
    assert "stack of rank 1, by its own faulthandler" in told
    assert 'ranks.py"' in told
    assert "in assemble" in told
    assert kind == "gil" or ", reading, last shard tiles-train-0" in told


@pytest.mark.long
def test_a_process_that_trains_alone_is_ended_too(born, tiles, tmp_path):
    out = tmp_path / "run"
    ranks = born(1, limited(tiles, out), tmp_path / "logs", stuck=("waiting", 8, 0))
    assert ranks.ended(0) == 1
    told = check_told(ranks, out, 0, 0, STILL)
    assert ", reading, last shard tiles-train-0" in told
    assert "in assemble" in ranks.log(0), "the stack is told on stderr"


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.long)])
def test_where_a_rank_is_killed_the_other_ends_within_30_seconds_and_names_it(killed, born, tiles, tmp_path):
    out, other = tmp_path / "run", 1 - killed
    ranks = born(2, words(tiles, out), tmp_path / "logs")
    ranks.trained(out)
    ranks.signal(killed, signal.SIGKILL)
    assert ranks.ended(other, 30) == 1
    told = ranks.log(other)
    assert "another process of the run ended, so this one does too" in told
    assert f"rank {killed} on {os.uname().nodename} (process {ranks.pids[killed]}) is gone" in told
    assert (read_outcome(out).word if killed else read_outcome(out)) == ("failed" if killed else None)


@pytest.mark.long
def test_a_killed_rank_is_found_though_no_collective_tells(born, tiles, tmp_path):
    """As under NCCL: the other rank is in its loader, so that the closed connection does not reach it."""
    out = tmp_path / "run"
    ranks = born(2, words(tiles, out), tmp_path / "logs", stuck=("waiting", 8, 0))
    ranks.trained(out)
    until(lambda: min((beat.idle for beat in read_beats(out)), default=0) >= 4, 60, lambda: ranks.log(0))
    ranks.signal(1, signal.SIGKILL)
    assert ranks.ended(0, 30) == 1
    assert f"rank 1 on {os.uname().nodename} (process {ranks.pids[1]}) is gone" in ranks.log(0)


@pytest.mark.long
def test_a_job_that_is_suspended_as_a_whole_and_continued_has_lost_nothing(born, tiles, tmp_path):
    """As `scontrol suspend` does, or closing a laptop."""
    out = tmp_path / "run"
    ranks = born(2, limited(tiles, out), tmp_path / "logs")
    ranks.trained(out)
    for rank in (0, 1):
        ranks.stop(rank)
    time.sleep(3 * LIMIT)
    for rank in (0, 1):
        ranks.signal(rank, signal.SIGCONT)
    time.sleep(2 * LIMIT)
    ranks.alive()
    for rank in (0, 1):
        ranks.signal(rank, signal.SIGTERM)
    assert [ranks.ended(rank) for rank in (0, 1)] == [75, 75]
    assert sorted(read_ledger(out)) == list(range(checkpoint.newest(out / "checkpoints").images))
    assert not list((out / FOLDER).glob("stall-*"))


@pytest.mark.long
def test_a_launcher_ends_the_stopped_rank_when_the_other_has_ended(tiles, tmp_path):
    process = start(2, *limited(tiles, tmp_path / "run"))
    ledger = tmp_path / "run" / "ledger" / "rank-00000.tsv"
    until(lambda: ledger.exists() and ledger.stat().st_size)
    beats = {beat.process.rank: beat.process.pid for beat in read_beats(tmp_path / "run")}
    os.kill(beats[1], signal.SIGSTOP)
    output, _ = process.communicate(timeout=LIMIT + 60)
    assert process.returncode != 0
    assert f"(process {beats[1]}) is stopped" in output
    assert not psutil.pid_exists(beats[1]) or psutil.Process(beats[1]).status() == psutil.STATUS_ZOMBIE


@pytest.mark.long
def test_what_takes_longer_than_a_step_may(born, tiles, tmp_path):
    """The first rank draws for longer than the limit, while the other one waits for it."""
    out = tmp_path / "run"
    slow = ["--picture-every", 64, "--images", 64]
    ranks = born(2, limited(tiles, out, *slow), tmp_path / "logs", pause=2 * LIMIT)
    assert [ranks.ended(rank, 100) for rank in (0, 1)] == [0, 0], ranks.log(0)
    assert read_outcome(out).word == "done"
