"""A run's directory may no longer be written to, by its permissions: the run ends in a line, or goes on, as asked."""

import os
import subprocess
import sys

import pytest
from programs import ROOT, run
from test_disks import words
from waiting import until

from waterscape.training import checkpoint
from waterscape.training.events import read_events, read_ledger
from waterscape.training.outcome import read_outcome

FOR_EVER = 10**9
# Whoever may write anywhere would not notice: root takes that right from itself.
POWERLESS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def begin(*arguments):
    """Start a training that heeds permissions, its output in a pipe."""
    command = [*POWERLESS, sys.executable, "-m", "waterscape", *arguments]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([str(word) for word in command], cwd=ROOT, **told)


def lock(out):
    """As soon as a checkpoint stands, nothing more can be made beside it."""
    until(lambda: checkpoint.every(out / "checkpoints"), every=0.005)
    (out / "checkpoints").chmod(0o500)


@pytest.mark.long
def test_where_checkpoints_cannot_be_written_any_more_the_run_ends_and_once_they_can_it_goes_on(tiles, tmp_path):
    out = tmp_path / "run"
    process = begin(*words(tiles, out, "--images", FOR_EVER))
    lock(out)
    output, _ = process.communicate(timeout=120)
    (line,) = [line for line in output.splitlines() if line.startswith("error")]
    assert process.returncode == 1
    assert "no checkpoint could be written: [Errno 13] Permission denied" in line
    assert "the one before it stands: mend that and give the same command again" in line
    assert line == f"error: {read_outcome(out).reason}"
    whole = checkpoint.newest(out / "checkpoints")

    again = begin(*words(tiles, out, "--images", whole.images + 64))
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 1, "still locked"
    (out / "checkpoints").chmod(0o700)
    for place in (out, tmp_path / "undisturbed"):
        run(*words(tiles, place, "--images", whole.images + 64))
    assert read_ledger(out) == read_ledger(tmp_path / "undisturbed")
    ours, theirs = (checkpoint.newest(place / "checkpoints").state for place in (out, tmp_path / "undisturbed"))
    assert ours["files"] == theirs["files"]


@pytest.mark.long
def test_it_may_be_survived_until_they_can_be_written_again(tiles, tmp_path):
    out = tmp_path / "run"
    process = begin(*words(tiles, out, "--images", FOR_EVER, "--on-failed-save", "go-on"))
    lock(out)
    missed = until(lambda: [event["images"] for event in read_events(out) if event["event"] == "unsaved"])
    before = checkpoint.newest(out / "checkpoints").images
    (out / "checkpoints").chmod(0o700)
    until(lambda: int(checkpoint.every(out / "checkpoints")[-1].name) > max(before, missed[0]))
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 75, output
    assert "Permission denied" in output
    assert "training goes on" in output
    assert sorted(read_ledger(out)) == list(range(checkpoint.newest(out / "checkpoints").images))


@pytest.mark.long
def test_a_directory_without_the_right_to_write_is_told_at_the_start(tiles, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    process = begin(*words(tiles, tmp_path / "locked" / "run", "--images", 64))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output.count("\n") == 1
    assert "locked/run: [Errno 13] Permission denied" in output
