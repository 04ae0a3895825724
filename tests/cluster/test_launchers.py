"""Launchers inside of srun, on a real SLURM: each started for every task, where one task is one rank already."""

import subprocess
import sys

import pytest
from programs import ROOT

from waterscape.training.events import read_events, read_ledger

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

TORCHRUN = f"{sys.executable} -m torch.distributed.run --standalone --nproc_per_node 2"
ACCELERATE = f"{sys.executable} -m accelerate.commands.launch --mixed_precision no --dynamo_backend no"
NESTED = "launchers are nested: srun has started 2 tasks on this node, and each started a launcher with 2 processes"
APART = "all 2 processes are on this node, but SLURM gave 2 nodes: leave the launcher out"


def srun(slurm, flags, command):
    """`srun … bash -c COMMAND`: exit code and what it told on stderr."""
    words = ["timeout", "200", "srun", *flags, "--kill-on-bad-exit=1", "bash", "-c", command]
    done = subprocess.run(words, env=slurm.environment, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def train(tiles, out):
    small = "--widths 4 4 4 4 8 8 8 8 --images 64 --batch 32 --held-out 0 --no-tensorboard --picture-every 1000000"
    return f"-m waterscape train water_vae --data {tiles} --out {out} {small}"


@pytest.mark.parametrize(
    ("flags", "launcher", "told"),
    [
        (["--nodes=1", "--ntasks=2"], TORCHRUN, NESTED),
        (["--nodes=1", "--ntasks=2"], f"{ACCELERATE} --multi_gpu --num_machines 1 --num_processes 2", NESTED),
        (["--nodes=2", "--ntasks=2"], TORCHRUN, APART),
    ],
    ids=["torchrun, nested", "accelerate launch, nested", "torchrun on each node apart"],
)
def test_a_launcher_in_each_task_is_told(flags, launcher, told, slurm, tiles, tmp_path):
    code, text = srun(slurm, flags, f"{launcher} {train(tiles, tmp_path / 'vae')}")
    assert code != 0
    assert f"error: {told}" in text, text
    assert not (tmp_path / "vae").exists(), "it began"


def test_accelerates_worlds_of_one_become_the_world_of_slurm(slurm, tiles, tmp_path):
    """`accelerate launch --cpu --num_machines 2` starts a process alone on each node, without an error."""
    out, machines = tmp_path / "vae", "--num_machines 2 --machine_rank $SLURM_PROCID --main_process_ip 127.0.0.1"
    flags = ["--nodes=2", "--ntasks=2", "--export=ALL,MASTER_ADDR=127.0.0.1"]
    launcher = f"{ACCELERATE} --cpu --num_processes 2 {machines} --main_process_port 29811"
    code, text = srun(slurm, flags, f"{launcher} {train(tiles, out)}")
    assert code == 0, text
    assert [event["processes"] for event in read_events(out) if event["event"] == "start"] == [2]
    assert sorted(read_ledger(out)) == list(range(64))
