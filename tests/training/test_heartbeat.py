"""Each rank's small file: what stands in it, whose it is, what neighbours see, and who is said to be late."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import ROOT, run
from ranks import words
from waiting import until

from waterscape.cluster.listing import Jobs, list_jobs
from waterscape.errors import UserError
from waterscape.proof.launch import Ranks
from waterscape.training.beats import FOLDER, FORMAT, Beat, Process, path_of, read_beat, read_beats
from waterscape.training.heartbeat import LONG, patience
from waterscape.training.outcome import read_outcome
from waterscape.training.pulse import Look, Pulse, decode, pulse
from waterscape.training.stall import Seen, headline, late

NEIGHBOUR = """
import sys
from waterscape.training.beats import Process
from waterscape.training.pulse import pulse
pulse.begin()
pulse.stands(7, 224)
pulse.read("tiles-train-000003")
pulse.doing("backward of both")
waiting = pulse.waiting("all_reduce of the gradients of body")
waiting.__enter__()
me = Process.this(1, pulse.descriptor)
print(me.pid, me.started, me.memory, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def neighbour():
    """A process of this machine in the middle of something."""
    command = [sys.executable, "-c", NEIGHBOUR]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        pid, started, memory = map(int, child.stdout.readline().split())
        yield dataclasses.replace(Process.this(1, memory), pid=pid, started=started)
        child.kill()


def test_a_stopped_neighbour_shows_where_it_stands(neighbour):
    seen = Look(7, 224, 1, False, "backward of both", "all_reduce of the gradients of body", "tiles-train-000003")
    assert (neighbour.state(), neighbour.look()) == ("runs", seen)
    os.kill(neighbour.pid, signal.SIGSTOP)
    until(lambda: neighbour.state() == "stopped", 10)
    assert neighbour.look() == seen
    os.kill(neighbour.pid, signal.SIGKILL)
    until(lambda: neighbour.state() == "gone", 10)  # before its parent has buried it
    assert neighbour.look() is None


def test_a_number_that_was_given_again_is_another_process(neighbour):
    before = dataclasses.replace(neighbour, started=neighbour.started - 1)
    assert (before.state(), before.look()) == ("gone", None)
    for elsewhere in ({"boot": "another"}, {"namespace": "pid:[1]"}):  # the same number there is nobody we know
        there = dataclasses.replace(neighbour, **elsewhere)
        assert (there.state(), there.look()) == ("unknown", None)


def test_the_pulse_of_a_step():
    mine = Pulse()
    mine.begin()
    try:
        mine.taking_long("saving")
        mine.stands(3, 96)
        mine.read("é" * 100)  # cut to its room, in the middle of a letter
        with mine.waiting("barrier"):
            within = mine.look()
        assert within[:6] == (3, 96, 1, True, "saving", "barrier")
        assert within.shard.startswith("é" * 47)
        with Path(f"/proc/self/fd/{mine.descriptor}").open("rb") as shared:
            assert decode(shared.read()) == mine.look()
        for number in range(100):  # more than have a name
            mine.doing(f"thing {number}")
            assert mine.look().doing == (f"thing {number}" if number < 57 else f"thing {max(number, 57)}")
        mine.doing("reading")
        assert mine.look()[2:6] == (1, False, "reading", "")
    finally:
        mine.end()
    assert mine.look() == Look(0, 0, 0, False, "", "", "")


def beat(rank, look=None, **facts):
    process = dataclasses.replace(Process.this(rank, None), host=f"n{rank + 1}", pid=100 + rank)
    told = {"start": "a", "world": 3, "idle": 60.0, "limit": 60.0, "left": "", "beats": 1, "time": time.time()}
    return Beat(process, look=look or Look(5, 160, 9, False, "backward", "", "s"), **{**told, **facts})


WAITS = Look(5, 160, 10, False, "backward", "all_reduce of x", "s")


@pytest.mark.parametrize(
    ("ranks", "named"),
    [
        ([Seen(beat(0, WAITS), "runs"), Seen(beat(1), "runs"), Seen(beat(2, WAITS), "runs")], [1]),
        ([Seen(beat(0, WAITS), "runs"), Seen(beat(1, WAITS), "stopped"), Seen(beat(2), "runs")], [1]),
        ([Seen(beat(0, WAITS), "runs"), Seen(beat(1, WAITS._replace(calls=9)), "runs")], [1]),
        ([Seen(beat(0, WAITS), "runs"), Seen(beat(1, WAITS), "runs")], []),
        ([Seen(beat(0), "runs")], [0]),
        ([Seen(beat(0, WAITS), "runs"), Seen(beat(1), "gone"), Seen(beat(2), "silent")], [1, 2]),
        ([Seen(beat(0, WAITS), "runs"), Seen(beat(1, WAITS), "runs"), Seen(beat(2), "unseen")], []),
    ],
    ids=["one computes", "one is stopped", "one waits in an earlier one", "all wait", "alone", "two", "unseen"],
)
def test_who_is_late(ranks, named):
    assert [seen.beat.process.rank for seen in late(ranks)] == named
    told = headline(ranks, 61.7)
    assert told.startswith("no step for 62 s: ")
    assert all(f"rank {rank} on n{rank + 1} (process {100 + rank})" in told for rank in named)
    assert ("wait in all_reduce of x: look at the network" in told) == (not named)


def test_when_a_rank_is_over():
    long = Look(5, 160, 9, True, "saving", "", "s")
    assert Seen(beat(0), "runs").is_over()
    assert not Seen(beat(0, idle=59.0), "runs").is_over()
    assert not Seen(beat(0, long, limit=360.0), "runs").is_over()
    assert not Seen(beat(0, long, limit=360.0), "runs").is_over(patience=10), "what takes long may, though one is gone"
    assert Seen(beat(0, idle=11.0), "runs").is_over(patience=10)
    assert Seen(beat(0, idle=0.0), "gone").is_over()


def test_a_run_leaves_a_heartbeat_of_each_rank(tiles, tmp_path):
    run(*words(tiles, tmp_path)[:-1], 64)
    (left,) = read_beats(tmp_path)
    assert left.process == dataclasses.replace(Process.this(0, None), memory=left.process.memory)
    assert (left.world, left.limit, left.left) == (1, 3600.0, "done")
    assert (left.look.steps, left.look.images) == (2, 64)
    assert left.look.shard.startswith("tiles-train-")
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["rank-00000.json"], "and nothing else"
    assert pulse.descriptor is None
    with pytest.raises(UserError, match="--stall-seconds is -1"):
        run(*words(tiles, tmp_path, "--stall-seconds", -1))


def test_no_heartbeat_that_cannot_be_written_stops_a_run(tiles, tmp_path):
    (tmp_path / FOLDER).write_text("in the way")
    run(*words(tiles, tmp_path)[:-1], 64)
    assert read_outcome(tmp_path).word == "done"


@pytest.mark.long
def test_a_rank_whose_run_was_taken_over_does_not_write_over_its_follower(born, tiles, tmp_path):
    """As on a node that was declared lost and is not."""
    out = tmp_path / "run"
    old = born(1, words(tiles, out), tmp_path / "logs")
    old.trained(out)
    (mine,) = read_beats(out)
    later = dataclasses.replace(mine, start="000002-0", beats=0)
    later.write(out)
    time.sleep(6)  # two beats and more
    old.signal(0, signal.SIGTERM)
    assert old.ended(0) == 75
    assert read_beats(out) == [later]


def test_a_file_of_another_version_or_damaged_is_no_heartbeat(tmp_path):
    (tmp_path / FOLDER).mkdir()
    beat(0).write(tmp_path)
    path = path_of(tmp_path, 0)
    text = path.read_text()
    assert read_beat(path).process.host == "n1"
    for damaged in ("", "{", text[:40], text.replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}'), "[]"):
        path.write_text(damaged)
        assert read_beat(path) is None, damaged
    assert read_beats(tmp_path) == []


def test_jobs_tell_the_late_rank(tmp_path, neighbour):
    run_directory = tmp_path / "gan"
    (run_directory / FOLDER).mkdir(parents=True)
    (run_directory / "run.json").write_text('{"format": 1, "run": {"images": 1000}}')
    (run_directory / "owner.json").write_text('{"pid": 1, "host": "n1", "left": false, "job": null}')
    first = beat(0, WAITS, idle=1.0)
    dataclasses.replace(first, process=dataclasses.replace(first.process, boot="another")).write(run_directory)
    dataclasses.replace(beat(1), process=neighbour, idle=1.0).write(run_directory)
    assert not any("rank 1 on" in line or "rank 0 on" in line for line in list_jobs(Jobs(tmp_path))), "all is well"
    dataclasses.replace(beat(1), process=neighbour, time=time.time() - 100).write(run_directory)
    os.kill(neighbour.pid, signal.SIGSTOP)
    until(lambda: neighbour.state() == "stopped", 10)
    (told,) = [line for line in list_jobs(Jobs(tmp_path)) if "rank 1 on" in line]
    assert f"rank 1 on {neighbour.host} (process {neighbour.pid}) is stopped" in told
    assert "in step 8, after 224 images, waits in all_reduce of the gradients of body" in told
    assert re.search(r"last heartbeat 1\d\d s ago", told)


IMPATIENT = """
import sys, time
from pathlib import Path
from waterscape.training.processes import Processes
folder = Path(sys.argv[1])
processes = Processes(2, "float32", folder, patience=1.0)
if processes.first:
    try:
        processes.wait()
    except RuntimeError as error:
        (folder / "left").write_text(str(error))
else:
    while not (folder / "left").exists():
        time.sleep(0.01)
"""


def test_a_process_waits_for_the_others_as_long_as_is_said(tmp_path):
    program = tmp_path / "impatient.py"
    program.write_text(IMPATIENT)
    Ranks(2, [program, tmp_path], tmp_path / "log").wait()
    assert "1000ms" in (tmp_path / "left").read_text(), "gloo names the limit that it was given"


@pytest.mark.parametrize("limit", [1, 600, 3600, 0])
def test_collectives_are_given_longer_than_what_is_called_a_stall(limit):
    assert patience(limit) > LONG * limit
    assert patience(limit) >= 1800, "as long as processes that start late may take"
