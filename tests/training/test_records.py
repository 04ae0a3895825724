"""What a run writes down, and what it keeps: curves that do not double, best and milestones, skipped steps."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from programs import finish, run, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from waterscape.errors import UserError
from waterscape.training import checkpoint
from waterscape.training.events import Events, read_events, read_ledger
from waterscape.training.outcome import read_outcome
from waterscape.training.run import Run, compare_circumstances, resolve

NEVER = 10**9


def words(tiles, out, *more):
    small = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--evaluate-every", 0]
    intervals = ["--report-every", 32, "--picture-every", NEVER, "--checkpoint-every", 64]
    return ["train", "water_vae", "--data", tiles, "--out", out, *small, *intervals, *more]


def images(out):
    return [int(path.name) for path in checkpoint.every(out / "checkpoints")]


@pytest.mark.long
def test_tensorboard_s_curves_do_not_double_where_a_run_went_back(tiles, tmp_path):
    out = tmp_path / "run"
    run(*words(tiles, out, "--held-out", 0, "--images", 192))
    shutil.rmtree(out / "checkpoints" / "000000000192")  # as after a crash: reported further than saved
    run(*words(tiles, out, "--held-out", 0, "--images", 256))
    shown = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    curve = [point.step for point in shown.Scalars("train/loss")]
    assert curve == [32, 64, 96, 128, 160, 192, 224, 256]
    values = [event["losses"]["loss"] for event in read_events(out) if event["event"] == "report"]
    assert [point.value for point in shown.Scalars("train/loss")] == pytest.approx(values, rel=1e-6)


@pytest.mark.long
def test_no_curve_doubles_where_a_run_was_killed_before_its_first_checkpoint(tiles, tmp_path):
    out, more = tmp_path / "run", ["--held-out", 8, "--picture-every", 64, "--images", 128]
    for _ in range(2):
        run(*words(tiles, out, *more))
        shutil.rmtree(out / "checkpoints")
    run(*words(tiles, out, *more))
    shown = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    assert [point.step for point in shown.Scalars("held out/squared error per pixel")] == [0, 64, 128]
    assert [point.step for point in shown.Scalars("train/loss")] == [32, 64, 96, 128]
    events = read_events(out)
    assert [event["images"] for event in events if event["event"] == "picture"] == [0, 64, 128]
    assert [event["images"] for event in events if event["event"] == "start"] == [0, 0, 0]


@pytest.mark.long
def test_the_best_and_the_milestones_are_kept_besides_the_newest(tiles, tmp_path):
    figure = "squared error per pixel"
    keeping = ["--keep", 1, "--milestone-every", 100, "--best", f"{figure}:lower", "--picture-every", 96]
    run(*words(tiles, tmp_path, "--held-out", 16, "--no-tensorboard", "--images", 320, *keeping))
    measured = {e["images"]: e["measured"][figure] for e in read_events(tmp_path) if e["event"] == "picture"}
    best = min((count for count in measured if count), key=measured.get)
    assert set(images(tmp_path)) == {128, 224, 320, best}  # first past 100, 200, 300; the newest; the best
    state = checkpoint.verify(tmp_path / "checkpoints" / f"{best:012d}").state
    assert state["figures"][figure] == measured[best]
    with pytest.raises(UserError, match=r"--best loss:lower names no figure of this run: it measures .*squared error"):
        run(*words(tiles, tmp_path / "other", "--held-out", 16, "--no-tensorboard", "--best", "loss:lower"))
    with pytest.raises(UserError, match="--best loss is not NAME:lower or NAME:higher"):
        run(*words(tiles, tmp_path / "third", "--no-tensorboard", "--best", "loss"))


def test_after_too_many_steps_that_are_not_finite_the_run_ends_and_its_checkpoint_stands(tiles, tmp_path):
    more = ["--held-out", 0, "--no-tensorboard", "--images", NEVER, "--stop-after-bad-steps", 5]
    with pytest.raises(UserError, match="the last 5 steps up to 192 images were skipped"):
        run(*words(tiles, tmp_path, *more, "--learning-rate", 1e30))
    assert checkpoint.newest(tmp_path / "checkpoints") is not None
    events = read_events(tmp_path)
    assert sum(event.get("skipped_steps", 0) for event in events) == 5
    assert events[-1]["event"] == "stopped"
    outcome = read_outcome(tmp_path)
    assert outcome.word == "failed"
    assert "the last 5 steps" in outcome.reason


def test_what_a_bitwise_repetition_needs_is_compared():
    then = resolve(Run(Path("out")), {}, "", 2, 1)["history"][-1]
    assert compare_circumstances(then, then) == []
    now = {**then, "threads": 2, "slurm_job": "17", "versions": {**then["versions"], "numpy": "3", "accelerate": "9"}}
    assert compare_circumstances(then, now) == ["threads: 1 then, 2 now", f"numpy: {np.__version__} then, 3 now"]


@pytest.mark.long
def test_going_on_with_other_threads_is_said_not_to_be_bitwise(tiles, tmp_path):
    run(*words(tiles, tmp_path, "--held-out", 0, "--no-tensorboard", "--images", 32))
    facts = json.loads((tmp_path / "run.json").read_text())
    facts["history"][-1] |= {"threads": 7, "processor": "Another"}
    facts["history"][-1]["versions"]["torch"] = "2.10.0"
    (tmp_path / "run.json").write_text(json.dumps(facts))
    with pytest.warns(
        UserWarning, match=r"threads: 7 then, 1 now; processor: Another then.*torch: 2.10.0.*not be bitwise"
    ):
        run(*words(tiles, tmp_path, "--held-out", 0, "--no-tensorboard", "--images", 64))


OWN_DIRECTORY = """
import os, sys
from waterscape.__main__ import main
place = sys.argv.index("--out") + 1
sys.argv[place] += "/node-" + os.environ["RANK"]
main()
"""


@pytest.mark.long
def test_where_one_process_does_not_see_the_newest_checkpoint_all_stop(tiles, tmp_path):
    """Nodes may see different directories: here each process has one of its own."""
    program, more = tmp_path / "own_directory.py", ["--held-out", 0, "--no-tensorboard", "--processes", 2]
    program.write_text(OWN_DIRECTORY)
    for node in ("node-0", "node-1"):
        (tmp_path / node).mkdir()
    finish(start(2, *words(tiles, tmp_path, *more, "--images", 128), program=[program]))
    for node in ("node-1",):  # the first process alone writes checkpoints
        shutil.copytree(tmp_path / "node-0" / "checkpoints", tmp_path / node / "checkpoints")
    shutil.rmtree(tmp_path / "node-1" / "checkpoints" / "000000000128")
    before = read_ledger(tmp_path / "node-0")
    process = start(2, *words(tiles, tmp_path, *more, "--images", 192), program=[program])
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "cannot resume from" in output
    assert "another process could not" in output
    assert read_ledger(tmp_path / "node-0") == before
    assert images(tmp_path / "node-0") == [64, 128]


def test_what_a_start_saw_and_did_not_keep_is_cut_from_the_events(tmp_path):
    written = [("start", 0), ("collapse", 30), ("checkpoint", 60), ("collapse", 60), ("rollback", 60), ("report", 75)]
    events = Events(tmp_path, 0)
    for name, images in written:
        events.write(name, images)
    events.close()
    Events(tmp_path, 60).close()
    assert [(event["event"], event["images"]) for event in read_events(tmp_path)] == written[:-1]
    Events(tmp_path, 60, undone=["collapse", "rollback"]).close()
    assert [(event["event"], event["images"]) for event in read_events(tmp_path)] == written[:3]


JUMPING_CLOCK = """
import itertools, time
true, jumps = time.time, itertools.cycle([0, 86400, -86400, 3, -7])
time.time = lambda: true() + next(jumps)
"""


@pytest.mark.long
def test_a_clock_that_jumps_a_day_either_way_changes_nothing(tiles, tmp_path):
    out, more = tmp_path / "run", ["--held-out", 0, "--no-tensorboard"]
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(JUMPING_CLOCK)
    run(*words(tiles, out, *more, "--images", 128))
    for age, path in enumerate(reversed(checkpoint.every(out / "checkpoints"))):  # the newest was written first
        os.utime(path / "state.json", (1e9 + 86400 * age,) * 2)
        os.utime(path, (1e9 + 86400 * age,) * 2)
    process = start(1, *words(tiles, out, *more, "--images", 224), environment={"PYTHONPATH": str(tmp_path / "clock")})
    assert "224 images done" in finish(process)
    run(*words(tiles, tmp_path / "undisturbed", *more, "--images", 224))
    assert read_ledger(out) == read_ledger(tmp_path / "undisturbed")
    ours, theirs = (
        checkpoint.newest(where / "checkpoints").state["files"] for where in (out, tmp_path / "undisturbed")
    )
    assert ours == theirs
    assert all(event.get("images_per_second", 1) > 0 for event in read_events(out))
    assert images(out) == [128, 192, 224]
