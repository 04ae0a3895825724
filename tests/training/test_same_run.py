"""The same run anywhere: killed and resumed, on one process and on two."""

import contextlib
import json
import os
import random
import signal
import time

import psutil
import pytest
import torch
from programs import finish, run, start
from safetensors.torch import load_file
from waiting import until

from waterscape.errors import UserError
from waterscape.training.events import read_events, read_ledger


def words(tiles, out, *more):
    intervals = ["--report-every", 480, "--picture-every", 960, "--checkpoint-every", 320, "--no-tensorboard"]
    small = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 16]
    return ["train", "water_vae", "--data", tiles, "--out", out, *intervals, *small, *more]


def weights(out):
    newest = sorted((out / "checkpoints").iterdir())[-1]
    assert not newest.name.startswith(".")
    return {path.name: load_file(path) for path in sorted(newest.glob("*.safetensors"))}


def assert_equal_weights(one, other, tolerance=0.0):
    assert one.keys() == other.keys()
    for name, tensors in one.items():
        for key, value in tensors.items():
            if tolerance:
                assert (value - other[name][key]).abs().max() <= tolerance, (name, key)
            else:
                assert torch.equal(value, other[name][key]), (name, key)


def kill_somewhere(process, out, images, delay):
    """Kill the launcher and each of its processes with SIGKILL a moment after a checkpoint of so many images.

    The launcher gives its workers sessions of their own, so that killing its group would leave them training on.
    """
    ledger = out / "ledger" / "rank-00000.tsv"

    def is_there():
        checkpoints = list((out / "checkpoints").glob("[0-9]*")) if ledger.exists() else []
        return process.poll() is not None or max((int(path.name) for path in checkpoints), default=-1) >= images

    until(is_there, every=0.005)
    time.sleep(delay)
    family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
    workers = len(family) - 1
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    return workers >= 2


def kills_and_resumes(tiles, directory, kills, seed):
    images = 640 * kills + 960
    finish(start(2, *words(tiles, directory / "whole", "--images", images, "--processes", 2)))
    out, moment = directory / "killed", random.Random(seed)
    for kill in range(kills):
        process = start(2, *words(tiles, out, "--images", images, "--processes", 2))
        assert kill_somewhere(process, out, 640 * kill + 320, moment.uniform(0, 0.4)), "it ended before it was killed"
    finish(start(2, *words(tiles, out, "--images", images, "--processes", 2)))
    assert_equal_weights(weights(directory / "whole"), weights(out))
    assert read_ledger(out) == read_ledger(directory / "whole")
    assert sorted(read_ledger(out)) == list(range(images))
    curve = [event["images"] for event in read_events(out) if event["event"] == "report"]
    assert curve == sorted(set(curve)), "a curve doubles"
    starts = [event["images"] for event in read_events(out) if event["event"] == "start"]
    assert len(starts) == kills + 1
    assert starts[-1] >= 320


@pytest.mark.long
def test_killed_and_resumed_on_two_processes_is_bitwise_the_same(tiles, tmp_path):
    kills_and_resumes(tiles, tmp_path, kills=1, seed=time.time_ns())


@pytest.mark.long
def test_one_process_and_two_take_the_same_steps(tiles, tmp_path):
    """In float64, so that nothing but logic could make a difference: 50 steps of 15 images, 8 + 7 on two processes."""
    runs = {}
    for processes in (1, 2):
        out = runs[processes] = tmp_path / str(processes)
        more = ["--precision", "float64", "--batch", 15, "--images", 750, "--processes", processes]
        finish(start(processes, *words(tiles, out, *more)))
    assert read_ledger(runs[1]) == read_ledger(runs[2])
    assert_equal_weights(weights(runs[1]), weights(runs[2]), 1e-9)
    first = [next(e for e in read_events(runs[n]) if e["event"] == "report")["losses"]["loss"] for n in (1, 2)]
    assert first[0] == pytest.approx(first[1], rel=1e-12)


def test_changed_options_are_refused_with_the_difference(tiles, tmp_path):
    out = tmp_path / "run"
    run(*words(tiles, out, "--images", 64))
    before = (out / "run.json").read_bytes()
    with pytest.raises(UserError) as refused:
        run(*words(tiles, out, "--images", 64, "--batch", 16, "--learning-rate", 0.1))
    assert "batch: 32 then, 16 now" in str(refused.value)
    assert "learning_rate: 0.002 then, 0.1 now" in str(refused.value)
    assert (out / "run.json").read_bytes() == before


@pytest.mark.long
def test_a_run_goes_on_when_more_images_are_asked_for(tiles, tmp_path):
    run(*words(tiles, tmp_path / "one", "--images", 640))
    run(*words(tiles, tmp_path / "two", "--images", 320))
    run(*words(tiles, tmp_path / "two", "--images", 640))
    assert_equal_weights(weights(tmp_path / "one"), weights(tmp_path / "two"))
    history = json.loads((tmp_path / "two" / "run.json").read_text())["history"]
    assert [circumstances["processes"] for circumstances in history] == [1, 1]


@pytest.mark.long
def test_a_damaged_checkpoint_is_passed_over_loudly(tiles, tmp_path):
    run(*words(tiles, tmp_path / "one", "--images", 640))
    run(*words(tiles, tmp_path / "two", "--images", 640))
    newest = sorted((tmp_path / "two" / "checkpoints").iterdir())[-1] / "network.decoder.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=r"passed over: network.decoder.safetensors has another sha256"):
        run(*words(tiles, tmp_path / "two", "--images", 640))
    assert_equal_weights(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_a_wrong_number_of_processes_is_refused(tiles, tmp_path):
    with pytest.raises(UserError, match="--processes 2, but 1 started"):
        run(*words(tiles, tmp_path / "run", "--images", 64, "--processes", 2))
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_run_without_a_whole_checkpoint_starts_again_from_the_runs_it_named(tiles, tmp_path):
    run(*words(tiles, tmp_path / "vae", "--images", 320))
    gan = ["train", "water_gan", "--data", tiles, "--start", f"vae={tmp_path / 'vae'}", "--width", 8, "--batch", 16]
    gan += ["--images", 32, "--no-tensorboard", "--held-out", 0]
    for name in ("whole", "broken"):
        run(*gan, "--out", tmp_path / name)
    for state in (tmp_path / "broken" / "checkpoints").glob("*/state.json"):
        state.write_text("{")
    with pytest.warns(UserWarning, match="passed over"):
        run(*gan, "--out", tmp_path / "broken")
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert read_ledger(tmp_path / "whole") == read_ledger(tmp_path / "broken")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_gan_killed_and_resumed_is_bitwise_the_same(tiles, tmp_path):
    run(*words(tiles, tmp_path / "vae", "--images", 320))
    more = ["--report-every", 480, "--picture-every", 960, "--checkpoint-every", 160, "--no-tensorboard", "--batch", 16]
    gan = ["train", "water_gan", "--data", tiles, "--start", f"vae={tmp_path / 'vae'}", "--width", 8, *more]
    gan += ["--images", 800, "--processes", 2, "--held-out", 16]
    finish(start(2, *gan, "--out", tmp_path / "whole"))
    process = start(2, *gan, "--out", tmp_path / "killed")
    assert kill_somewhere(process, tmp_path / "killed", 320, 0.3), "it ended before it was killed"
    finish(start(2, *gan, "--out", tmp_path / "killed"))
    assert_equal_weights(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert read_ledger(tmp_path / "whole") == read_ledger(tmp_path / "killed")
