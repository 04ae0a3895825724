"""Disks that fill up, vanish or refuse: the last checkpoint stands, and one line says what is wrong."""

import contextlib
import json
import os
import shutil
import threading

import pytest
from programs import run
from waiting import until

from waterscape.errors import UserError
from waterscape.training import checkpoint
from waterscape.training.events import read_events, read_ledger
from waterscape.training.outcome import read_outcome

BALLAST = "ballast"


def words(tiles, out, *more):
    small = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 0, "--no-tensorboard"]
    intervals = ["--report-every", 32, "--picture-every", 10**9, "--evaluate-every", 0, "--checkpoint-every", 64]
    return ["train", "water_vae", "--data", tiles, "--out", out, *small, *intervals, *more]


@contextlib.contextmanager
def filled(disk, out):
    """The disk fills up as soon as the run's first checkpoint stands, and has room again after an event `unsaved`."""
    ended = threading.Event()

    def fill():
        while not checkpoint.every(out / "checkpoints") and not ended.wait(0.001):
            pass
        ballast = (disk / BALLAST).open("wb", buffering=0)
        with contextlib.suppress(OSError), ballast:
            while True:
                ballast.write(bytes(4096))
        os.truncate(disk / BALLAST, (disk / BALLAST).stat().st_size - 8 * 4096)  # room for words, not for a checkpoint
        while not ended.wait(0.005):
            if any(event["event"] == "unsaved" for event in read_events(out)) or (out / "stopped").exists():
                break
        (disk / BALLAST).unlink()

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_full_disk_ends_the_run_and_the_checkpoint_before_stands(tiles, tmp_path, small_disk):
    disk = small_disk("64m")
    with (
        filled(disk, disk / "run"),
        pytest.raises(UserError, match=r"No space left on device.*the one before it stands"),
    ):
        run(*words(tiles, disk / "run", "--images", 10**9))
    whole = checkpoint.newest(disk / "run" / "checkpoints")
    assert whole.images >= 64
    assert not list((disk / "run" / "checkpoints").glob(".*")), "the room of what could not be written is given back"
    run(*words(tiles, disk / "run", "--images", whole.images + 64))
    run(*words(tiles, tmp_path / "undisturbed", "--images", whole.images + 64))
    assert read_ledger(disk / "run") == read_ledger(tmp_path / "undisturbed")
    ours, theirs = (
        checkpoint.newest(out / "checkpoints").state["files"] for out in (disk / "run", tmp_path / "undisturbed")
    )
    assert ours == theirs


@pytest.mark.long
def test_a_full_disk_may_be_survived(tiles, small_disk, capfd):
    disk = small_disk("64m")
    out = disk / "run"
    stop_when_saved_again(out)
    with filled(disk, out):
        run_until_stopped(*words(tiles, out, "--images", 10**9, "--on-failed-save", "go-on"))
    told = [event["event"] for event in read_events(out)]
    assert "unsaved" in told
    assert "checkpoint" in told[told.index("unsaved") :]
    lines = (out / "events.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in lines), "a line is torn"
    assert sorted(read_ledger(out)) == list(range(checkpoint.newest(out / "checkpoints").images))
    assert "training goes on" in capfd.readouterr().err


def stop_when_saved_again(out):
    """Ask this process to stop once a checkpoint stands that is newer than an event `unsaved`."""

    def watch():
        try:
            until(is_saved_again, 100, every=0.005)
        finally:
            os.kill(os.getpid(), 15)

    def is_saved_again():
        failed = [event["images"] for event in read_events(out) if event["event"] == "unsaved"]
        held = checkpoint.every(out / "checkpoints")
        return failed and held and int(held[-1].name) > failed[-1] + 64

    threading.Thread(target=watch, daemon=True).start()


def run_until_stopped(*arguments):
    from waterscape.__main__ import dispatch

    assert dispatch([str(word) for word in arguments]) == 75


def test_a_directory_that_cannot_be_written_to_is_found_at_the_start(tiles, tmp_path, mounted):
    disk = mounted("-t", "tmpfs", "-o", "ro", "tmpfs")
    with pytest.raises(UserError, match=r"cannot start in .*/disk/run: .*Read-only file system") as error:
        run(*words(tiles, disk / "run", "--images", 64))
    assert "\n" not in str(error.value)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot start in .*/file/run: .*Not a directory"):
        run(*words(tiles, tmp_path / "file" / "run", "--images", 64))


def test_a_directory_that_vanishes_ends_the_run_and_is_not_made_again(tiles, tmp_path):
    out, moved = tmp_path / "run", tmp_path / "moved"

    def move():
        until(lambda: checkpoint.every(out / "checkpoints"), every=0.002)
        shutil.move(out, moved)

    thread = threading.Thread(target=move)
    thread.start()
    with pytest.raises(UserError, match="No such file or directory"):
        run(*words(tiles, out, "--images", 10**9))
    thread.join()
    assert not out.exists()
    assert checkpoint.newest(moved / "checkpoints") is not None
    assert read_outcome(moved) is None
    held = checkpoint.newest(moved / "checkpoints").images
    run(*words(tiles, moved, "--images", held + 64))
    assert sorted(read_ledger(moved)) == list(range(held + 64))
