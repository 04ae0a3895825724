"""`sbatch slurm/train_gan.sh` on a real SLURM: whatever befalls it, it ends in the weights of an undisturbed run."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from programs import ROOT, run
from safetensors.torch import load_file
from waiting import until

from waterscape.training.events import read_ledger

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SLOW_WRITER = Path(__file__).parent / "slow_writer.py"
IMAGES = 400
TWO_NODES = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1"]
SLOW = ["--picture-every", 40]  # pictures take time and change no weight


@pytest.fixture(scope="module")
def job(slurm, tiles, tmp_path_factory):
    """Submits the water GAN: `job(out, *flags of sbatch, words=…)` gives the job's number."""
    directory = tmp_path_factory.mktemp("runs")
    vae = directory / "vae"
    quiet = ["--no-tensorboard", "--held-out", 16]
    widths = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--images", 320]
    run("train", "water_vae", "--data", tiles, "--out", vae, *widths, *quiet)
    small = ["--width", 8, "--batch", 16, "--images", IMAGES, "--checkpoint-every", 80, *quiet]

    def submit(out, *flags, words=(), nodes=TWO_NODES, python=sys.executable):
        script = ["slurm/train_gan.sh", "--data", tiles, "--start", f"vae={vae}", "--out", out, *small, *words]
        return slurm.submit(*nodes, "--time=10", *flags, *script, WATERSCAPE_PYTHON=python)

    return submit


@pytest.fixture(scope="module")
def undisturbed(slurm, job, tmp_path_factory):
    """A run on two nodes that nothing befell."""
    out = tmp_path_factory.mktemp("undisturbed") / "gan"
    number = job(out)
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert "outcome done, exit code 0" in slurm.log(number)
    return SimpleNamespace(ledger=read_ledger(out), weights=weights(out))


def weights(out):
    newest = out / "checkpoints" / f"{IMAGES:012d}"
    return {path.name: load_file(path) for path in sorted(newest.glob("*.safetensors"))}


def assert_same(out, undisturbed):
    """The same samples at the same places, and bitwise the same weights."""
    assert read_ledger(out) == undisturbed.ledger
    assert sorted(undisturbed.ledger) == list(range(IMAGES))
    found = weights(out)
    assert found.keys() == undisturbed.weights.keys()
    for name, tensors in found.items():
        assert all(torch.equal(value, undisturbed.weights[name][key]) for key, value in tensors.items()), name


def checkpoints(out):
    return [int(path.name) for path in (out / "checkpoints").glob("[0-9]*")]


def until_trained(slurm, number, out, images=80, timeout=400):
    """Wait for a checkpoint of so many images."""
    slurm.wait(number, lambda facts: facts["JobState"] != "PENDING")

    def is_so_far():
        assert slurm.facts(number)["JobState"] == "RUNNING", slurm.log(number)
        return max(checkpoints(out), default=0) >= images

    until(is_so_far, timeout, lambda: slurm.log(number), every=0.1)


def rank_of(out, rank):
    """The process of a rank of the run in `out`."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words, ranked = process.cmdline(), process.environ().get("SLURM_PROCID") == str(rank)
            if ranked and "waterscape" in words and str(out) in words and process.name().startswith("python"):
                return process.pid
    raise AssertionError(f"no rank {rank}")


def lives(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def program(path, text):
    """A shell script that stands in for python."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_no_rank_leaves_before_a_slow_checkpoint_is_durable(slurm, job, undisturbed, tmp_path):
    """It takes 20 seconds: did the other rank leave meanwhile, `--kill-on-bad-exit` would kill the one that writes."""
    out, seconds = tmp_path / "gan", 20
    slow = f"exec {sys.executable} {SLOW_WRITER} {seconds} {tmp_path / 'slow'}"
    number = job(out, words=["--checkpoint-every", 10**6], python=program(tmp_path / "python", f'{slow} "$@"'))
    until(lambda: (out / "ledger" / "rank-00001.tsv").exists(), 200, lambda: slurm.log(number))
    ranks = [rank_of(out, 0), rank_of(out, 1)]
    slurm.client("scancel", "--signal=USR1", number)
    until((tmp_path / "slow").exists, 200, lambda: slurm.log(number))
    began = time.monotonic() - (time.time() - (tmp_path / "slow").stat().st_mtime)
    while True:
        waiting = [lives(pid) for pid in ranks]
        if checkpoints(out):
            break
        assert all(waiting), slurm.log(number)
        assert time.monotonic() < began + 3 * seconds, slurm.log(number)
        time.sleep(0.05)
    assert time.monotonic() > began + seconds - 1, "it was not slow"
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert slurm.facts(number)["Restarts"] == "1"
    assert "outcome continue, exit code " in slurm.log(number)
    assert_same(out, undisturbed)


def test_requeued_by_hand(slurm, job, undisturbed, tmp_path):
    out = tmp_path / "gan"
    number = job(out, words=SLOW)
    until_trained(slurm, number, out)
    slurm.client("scontrol", "requeue", number)
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert slurm.facts(number)["Restarts"] == "1"
    assert "outcome continue, exit code 75, ended by SLURM" in slurm.log(number)
    assert_same(out, undisturbed)


def test_preempted(slurm, job, undisturbed, tmp_path):
    out = tmp_path / "gan"
    number = job(out, words=SLOW)
    until_trained(slurm, number, out)
    slurm.submit("--partition=high", "--nodes=3", "--exclusive", "--wrap", "sleep 1")
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert int(slurm.facts(number)["Restarts"]) >= 1
    assert_same(out, undisturbed)


def test_stopped_before_the_time_limit(slurm, job, undisturbed, tmp_path):
    out = tmp_path / "gan"
    first = '[ -n "$SLURM_RESTART_COUNT" ] || slow="--picture-every 8"'  # else it ends before its limit
    python = program(tmp_path / "python", f'{first}; exec {sys.executable} "$@" $slow')
    number = job(out, "--time=1", "--signal=USR1@40", python=python)
    slurm.restarted(number)
    assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    assert "outcome continue" in slurm.log(number)
    assert_same(out, undisturbed)


def test_cancelled_on_four_ranks_and_submitted_again(slurm, job, undisturbed, tmp_path):
    out, nodes = tmp_path / "gan", ["--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=0", "--cpus-per-task=1"]
    number = job(out, words=[*SLOW, "--processes", 4], nodes=nodes)
    until_trained(slurm, number, out)
    slurm.client("scancel", number)
    assert slurm.ended(number) == "CANCELLED"
    slurm.wait(number, lambda _: (out / "outcome").exists() and "outcome continue" in slurm.log(number))
    again = job(out, words=["--processes", 4], nodes=nodes)
    assert slurm.ended(again) == "COMPLETED", slurm.log(again)
    assert read_ledger(out) == undisturbed.ledger
    facts = slurm.facts(number)
    assert (facts["JobState"], facts["Restarts"]) == ("CANCELLED", "0"), "it came back"


def test_a_killed_rank_ends_the_job(slurm, job, undisturbed, tmp_path):
    out = tmp_path / "gan"
    number = job(out, words=SLOW)
    until_trained(slurm, number, out)
    os.kill(rank_of(out, 1), signal.SIGKILL)
    assert slurm.ended(number, 30) == "FAILED", slurm.log(number)
    again = job(out)
    assert slurm.ended(again) == "COMPLETED", slurm.log(again)
    assert_same(out, undisturbed)


def test_a_node_is_lost_while_its_ranks_live_on(slurm, job, undisturbed, tmp_path):
    """The first node's daemon dies: SLURM starts the job again elsewhere, and the old first rank leaves by itself."""
    out = tmp_path / "gan"
    number = job(out, words=SLOW)
    until_trained(slurm, number, out)
    old = rank_of(out, 0)
    slurm.kill_node("n1")
    # SLURM would find out by itself, in half a minute: longer than the job takes.
    slurm.client("scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=lost")
    try:
        slurm.wait(number, lambda facts: facts["Restarts"] == "1")
        assert slurm.ended(number) == "COMPLETED", slurm.log(number)
    finally:
        slurm.start_node("n1")
    assert not lives(old)
    assert_same(out, undisturbed)


def test_stops_after_three_restarts_without_progress(slurm, tmp_path):
    stub = program(tmp_path / "python", "exit 75")  # asked to stop before training has begun, each time
    script = ["slurm/train_gan.sh", "--out", tmp_path / "gan"]
    number = slurm.submit("--nodes=1", *TWO_NODES[1:], *script, WATERSCAPE_PYTHON=stub)
    assert slurm.ended(number) == "FAILED"
    assert slurm.facts(number)["Restarts"] == "3"
    assert f"three restarts of job {number} made no progress beyond checkpoint none" in slurm.log(number)


def test_a_batch_script_without_srun_is_told(slurm, tiles, tmp_path):
    words = f"-m waterscape train water_vae --data {tiles} --out {tmp_path / 'vae'}"
    number = slurm.submit("--nodes=2", "--ntasks-per-node=2", "--wrap", f"{sys.executable} {words}")
    assert slurm.ended(number) == "FAILED"
    assert "has 4 tasks, but this process is alone: start it with srun" in slurm.log(number)
    assert not (tmp_path / "vae").exists()


def test_ranks_and_devices_are_slurms(slurm):
    """Three nodes with two GPUs and two tasks each (GPUs are links to /dev/null: only their numbers are looked at)."""
    program = (
        "from waterscape.cluster.ranks import join_tasks; from os import environ as e; e.pop('ACCELERATE_USE_CPU');"
        "join_tasks(); names = 'RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'SLURMD_NODENAME', 'CUDA_VISIBLE_DEVICES';"
        "print(*(e[name] for name in names))"
    )
    flags = ["--nodes=3", "--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1"]
    told = slurm.client("srun", *flags, sys.executable, "-c", program, MASTER_ADDR="127.0.0.1")
    assert sorted(told.splitlines()) == [f"{rank} {rank % 2} 6 n{rank // 2 + 1} 0,1" for rank in range(6)]


JOIN = "from waterscape.cluster import ranks; from waterscape.errors import run_command; run_command(ranks.join_tasks)"


def test_a_node_whose_name_does_not_resolve_is_told(slurm, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        slurm.client("srun", "--nodes=2", "--kill-on-bad-exit=1", to_files(tmp_path), sys.executable, "-c", JOIN)
    # Of the nodes those are taken that the test before has left.
    assert re.search(r"\bn\d, where the ranks are to meet, does not resolve on ", told_in(tmp_path))


def test_a_port_that_is_taken_is_told(slurm, tmp_path):
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(other.getsockname()[1])}
        words = ["--nodes=2", "--kill-on-bad-exit=1", to_files(tmp_path), sys.executable, "-c", JOIN]
        with pytest.raises(subprocess.CalledProcessError):
            slurm.client("srun", *words, **meeting)
    assert f"port {meeting['MASTER_PORT']}, where the ranks are to meet, is taken" in told_in(tmp_path)


def to_files(directory):
    """srun's word for errors in a file for each task: what goes through srun may be cut where it ends the others."""
    return f"--error={directory}/%t.err"


def told_in(directory):
    return "".join(path.read_text() for path in directory.glob("*.err"))


def test_packed_in_parts_by_an_array(slurm, tmp_path):
    world, out = tmp_path / "world", tmp_path / "shards" / "water"
    slurm.client(sys.executable, ROOT / "tools/make_world.py", world, "--tiles", 24, "--seed", 3)
    script = [ROOT / "slurm/pack.sh", world, "--out", out]
    environment = {"WATERSCAPE_HOME": str(ROOT), "WATERSCAPE_PYTHON": sys.executable}
    number = slurm.submit("--array=1-3", "--cpus-per-task=1", *script, cwd=tmp_path, **environment)
    slurm.wait(number, lambda _: (out / "manifest.json").exists() or not slurm.client("squeue", "-h").strip())
    slurm.client(sys.executable, ROOT / "tools/pack_occurrence.py", world, "--out", tmp_path / "whole" / "water")
    logs = [path.read_text() for path in tmp_path.glob("*.log")]
    assert (out / "manifest.json").read_bytes() == (tmp_path / "whole" / "water" / "manifest.json").read_bytes(), logs
