"""Asked to stop, by signals and by the end of a launcher: saved at the end of a step, with the outcome `continue`."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from programs import finish, free_port, start
from waiting import until

from waterscape.training import checkpoint
from waterscape.training.outcome import read_outcome

FOR_EVER = 10**9
WORKER_SECONDS = 30  # that torchrun leaves its workers


def words(tiles, out, *more):
    small = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 0, "--no-tensorboard"]
    intervals = ["--report-every", 3200, "--picture-every", FOR_EVER, "--evaluate-every", 0]
    return ["train", "water_vae", "--data", tiles, "--out", out, *small, *intervals, "--images", FOR_EVER, *more]


def accelerate_alone():
    flags = ["--cpu", "--num_processes", 1, "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"]
    return ["-m", "accelerate.commands.launch", *flags, "-m", "waterscape"]


def torchrun(processes):
    flags = ["--nproc_per_node", processes, "--master_port", free_port()]
    return ["-m", "torch.distributed.run", *flags, "-m", "waterscape"]


def launched(kind, tiles, out, *more):
    """Start a training by one of the launchers, as a process group of its own, as a shell does."""
    if kind == "accelerate launch, two processes":
        return start(2, *words(tiles, out, *more))
    program = {
        "alone": ["-m", "waterscape"],
        "accelerate launch, one process": accelerate_alone(),
        "torchrun, one process": torchrun(1),
        "torchrun, two processes": torchrun(2),
    }[kind]
    return start(1, *words(tiles, out, *more), program=program)


def trained(process, out, images=1):
    """Wait until a run has come so far, by its ledger; returns all its processes."""
    ledger = out / "ledger" / "rank-00000.tsv"

    def is_so_far():
        assert process.poll() is None, process.communicate()[0]
        return ledger.exists() and ledger.stat().st_size > 20 * images

    until(is_so_far)
    me = psutil.Process(process.pid)
    return [me, *me.children(recursive=True)]


def gone(family, seconds):
    """Wait until none of the processes is there; returns how long it took."""
    began = time.monotonic()
    _, left = psutil.wait_procs([member for member in family if member.pid != family[0].pid], timeout=seconds)
    assert not left, left
    return time.monotonic() - began


def saved_where_it_stood(out, told):
    outcome = read_outcome(out)
    whole = checkpoint.newest(out / "checkpoints")
    assert outcome is not None
    assert outcome.word == "continue"
    assert outcome.reason == f"{told} after {whole.images} of {FOR_EVER} images"
    assert not list((out / "checkpoints").glob(".*"))


LAUNCHERS = [
    pytest.param("alone"),
    pytest.param("accelerate launch, one process", marks=pytest.mark.long),
    pytest.param("accelerate launch, two processes", marks=pytest.mark.long),
    pytest.param("torchrun, one process", marks=pytest.mark.long),
    pytest.param("torchrun, two processes", marks=pytest.mark.long),
]


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_one_interrupt_saves_and_leaves(kind, tiles, tmp_path):
    process = launched(kind, tiles, tmp_path)
    family = trained(process, tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C on a terminal does
    output, _ = process.communicate(timeout=60)
    assert gone(family, WORKER_SECONDS) < WORKER_SECONDS
    saved_where_it_stood(tmp_path, "SIGINT")
    assert process.returncode == 75 if kind == "alone" else process.returncode != 0
    if "two" in kind:
        assert output.count("SIGINT: saving after this step") == 1


@pytest.mark.long
def test_the_reason_of_one_process_is_told_by_all(tiles, tmp_path):
    family = trained(launched("torchrun, two processes", tiles, tmp_path), tmp_path)
    (second,) = (one for one in family if one.environ().get("RANK") == "1" and "waterscape" in " ".join(one.cmdline()))
    second.send_signal(signal.SIGUSR1)
    gone(family, WORKER_SECONDS)
    saved_where_it_stood(tmp_path, "SIGUSR1")


@pytest.mark.long
@pytest.mark.parametrize("kind", [launcher.values[0] for launcher in LAUNCHERS])
def test_two_interrupts_leave_at_once_and_the_last_whole_checkpoint_stands(kind, tiles, tmp_path):
    batch = 6144  # a step of so many takes seconds on any machine
    slow = ["--batch", batch, "--micro-batch", 64, "--checkpoint-every", 1]
    process = launched(kind, tiles, tmp_path, *slow)
    family = trained(process, tmp_path)
    until(lambda: checkpoint.every(tmp_path / "checkpoints"))
    os.killpg(process.pid, signal.SIGINT)
    assert any("saving after this step" in line for line in process.stdout)  # two at once would be one
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    gone(family, 20)
    assert read_outcome(tmp_path) is None
    assert checkpoint.newest(tmp_path / "checkpoints").images == batch
    if kind == "alone":
        assert process.returncode == 130


@pytest.mark.long
@pytest.mark.parametrize("kind", ["accelerate launch, one process", "torchrun, two processes"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGUSR1, signal.SIGTERM])
def test_no_worker_trains_on_without_its_launcher(kind, number, tiles, tmp_path):
    process = launched(kind, tiles, tmp_path)
    family = trained(process, tmp_path)
    os.kill(process.pid, number)  # the launcher alone
    gone(family, WORKER_SECONDS)
    process.communicate()
    saved_where_it_stood(tmp_path, "SIGTERM" if kind.startswith("torchrun") and number == signal.SIGTERM else GONE)


GONE = "the launcher is gone"


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_process_is_killed_the_others_end_too(rank, tiles, tmp_path):
    process = start(2, *words(tiles, tmp_path, "--checkpoint-every", 320))
    family = trained(process, tmp_path, 640)
    workers = [member for member in family if member.environ().get("RANK") == str(rank) and "train" in member.cmdline()]
    workers = [member for member in workers if "accelerate.commands.launch" not in member.cmdline()]
    workers[-1].kill()
    assert gone(family, 30) < 30
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert checkpoint.newest(tmp_path / "checkpoints") is not None
    if rank:
        outcome = read_outcome(tmp_path)
        assert outcome.word == "failed", output
        assert "another process of the run ended" in outcome.reason


@pytest.mark.long
def test_a_signal_while_it_imports_counts(tiles, tmp_path):
    process = start(1, *words(tiles, tmp_path))
    status = Path(f"/proc/{process.pid}/status")
    caught = 0
    while not caught >> (signal.SIGUSR1 - 1) & 1:  # the handler does not stand yet
        caught = int(status.read_text().split("SigCgt:")[1].split()[0], 16)
    process.send_signal(signal.SIGUSR1)
    assert not (tmp_path / "run.json").exists(), "it had imported everything"
    process.communicate(timeout=120)
    assert process.returncode == 75
    saved_where_it_stood(tmp_path, "SIGUSR1")
    assert checkpoint.newest(tmp_path / "checkpoints").images == 32


@pytest.mark.long
def test_a_run_in_a_shell_that_goes_away_trains_on(tiles, tmp_path):
    """As under nohup: without a launcher, nobody's end is a reason to stop."""
    command = " ".join(map(str, words(tiles, tmp_path)))
    shell = start(1, f"{sys.executable} -m waterscape {command} & echo $!; exec sleep 100", program=["-c", SHELL])
    pid = int(shell.stdout.readline())
    child = psutil.Process(pid)
    ledger = tmp_path / "ledger" / "rank-00000.tsv"
    until(lambda: ledger.exists() and ledger.stat().st_size)
    shell.kill()
    size = ledger.stat().st_size
    until(lambda: ledger.stat().st_size > size, 20)
    child.send_signal(signal.SIGTERM)
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(30)
    saved_where_it_stood(tmp_path, "SIGTERM")


SHELL = "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1]])"


@pytest.mark.long
def test_a_second_run_on_the_directory_is_refused_and_names_the_first(tiles, tmp_path):
    first = start(1, *words(tiles, tmp_path))
    trained(first, tmp_path)
    second = start(1, *words(tiles, tmp_path))
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert output.count("\n") == 1
    assert f"{tmp_path} is in use: process {first.pid} on " in output
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    saved_where_it_stood(tmp_path, "SIGTERM")
    third = start(1, *words(tiles, tmp_path)[:-1], checkpoint.newest(tmp_path / "checkpoints").images + 32)
    finish(third)
    assert read_outcome(tmp_path).word == "done"
