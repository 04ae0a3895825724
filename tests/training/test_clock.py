"""The clock is stepped by a day, forwards and back, while a run goes on: order is by images, timers are monotonic."""

import os
import signal
import time
from pathlib import Path

import pytest
from ranks import Nursery, words
from safetensors.torch import load_file
from waiting import until

from waterscape.training import checkpoint
from waterscape.training.beats import FOLDER
from waterscape.training.events import read_events, read_ledger
from waterscape.training.outcome import read_outcome

DAY = 86_400
LIMIT = 20  # seconds, of a stall: a clock that counts would see thousands of them


@pytest.fixture
def stepped(tmp_path):
    """Starts ranks whose clock `step(days)` sets, by libfaketime. Without it: skipped, or failed where required."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        reason = "needs libfaketime (Debian: apt-get install libfaketime)"
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    clock = tmp_path / "clock"

    def step(days):
        partial = tmp_path / "clock.partial"
        partial.write_text(f"{days:+}d\n")
        partial.replace(clock)

    step(0)
    faked = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": clock, "FAKETIME_DONT_FAKE_MONOTONIC": 1}
    with Nursery(**faked, FAKETIME_CACHE_DURATION=1) as server:
        yield server.start, step


def content(out):
    path = checkpoint.newest(out / "checkpoints").path
    return {file.name: load_file(file) for file in path.glob("*.safetensors")}


def days_of(out):
    """The days, from now, that events are dated."""
    return [round((event["time"] - time.time()) / DAY) for event in read_events(out)]


@pytest.mark.long
def test_a_run_whose_clock_is_stepped_is_the_undisturbed_one(stepped, nursery, tiles, tmp_path):
    born, step = stepped
    out, logs = tmp_path / "run", tmp_path / "logs"
    often = ["--stall-seconds", LIMIT, "--checkpoint-every", 320, "--report-every", 320]
    ranks = born(2, words(tiles, out, *often), logs / "stepped")
    for days in (0, 1, -1, 0, -1):
        step(days)

        def is_told(days=days):
            ranks.alive()
            return read_events(out) and days_of(out)[-1] == days

        until(is_told, 60, lambda: f"no event of day {days}: {days_of(out)}", every=0.1)  # noqa: B023 at once
    for rank in (0, 1):
        ranks.signal(rank, signal.SIGTERM)
    assert [ranks.ended(rank) for rank in (0, 1)] == [75, 75], ranks.log(0)
    assert not list((out / FOLDER).glob("stall-*"))
    left = checkpoint.newest(out / "checkpoints").images
    assert f"after {left} of" in read_outcome(out).reason

    step(1)
    goal = left + 640
    again = born(2, words(tiles, out, *often, "--images", goal), logs / "again")
    assert [again.ended(rank) for rank in (0, 1)] == [0, 0], again.log(0)
    events = read_events(out)
    assert {-1, 0, 1} <= set(days_of(out))
    assert left in [event["images"] for event in events if event["event"] == "start"], "it did not go on where it left"
    curve = [event["images"] for event in events if event["event"] == "report"]
    assert curve == sorted(set(curve))
    kept = sorted(int(path.name) for path in checkpoint.every(out / "checkpoints"))
    assert kept == sorted(event["images"] for event in events if event["event"] == "checkpoint")[-3:]

    undisturbed = tmp_path / "undisturbed"
    alone = nursery.start(2, words(tiles, undisturbed, "--images", goal), logs / "undisturbed")
    assert [alone.ended(rank) for rank in (0, 1)] == [0, 0], alone.log(0)
    assert read_ledger(out) == read_ledger(undisturbed)
    ours, theirs = content(out), content(undisturbed)
    assert ours.keys() == theirs.keys()
    for file, tensors in ours.items():
        assert all(value.equal(theirs[file][key]) for key, value in tensors.items()), file
