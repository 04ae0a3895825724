"""R3: seconds that `sbatch slurm/train.sh` on two nodes costs beyond starting the same training by hand.

Ours: from `sbatch` to the job's last line, on two nodes of a virtual SLURM on this machine, with one rank each: queue,
script, srun, the ranks' numbers and their meeting. Peers: one plain python that trains as many steps alone, and two
plain pythons with their ranks set by hand, which meet without a launcher. All import the same, train two steps on
synthetic tiles and save. In turn; the median of the rounds' differences counts. (The ranks share this machine's cores,
so against one python ours also pays for two imports at once.)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.b11_engine import write_tiles
from benchmarks.figure import Figure, NotHereError, note
from waterscape.proof.launch import free_port

ROOT = Path(__file__).parent.parent
ROUNDS = 7
BRIEF = {"ROUNDS": 1}
SILENT: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
WAIT = 120  # seconds, for whatever does not come
FLAGS = ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=10"]
WORDS = ["--widths", *"44448888", "--batch", "32", "--images", "64", "--held-out", "0", "--no-tensorboard"]


def figures() -> Iterator[Figure]:
    """Seconds beyond one plain python, and beyond two."""
    sys.path[:0] = [str(ROOT / "tests" / "cluster"), str(ROOT / "tests")]
    from virtual_slurm import VirtualSlurm, missing_programs

    if missing := missing_programs():
        raise NotHereError(f"needs SLURM ({', '.join(missing)} not found); on Debian: apt-get install slurm-wlm munge")
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        tiles = write_tiles(here / "tiles")
        slurm = VirtualSlurm(here / "cluster")
        sides: dict[str, Callable[[list[str]], None]] = {
            "sbatch": lambda words: submit(slurm, words),
            "plain-python": lambda words: by_hand(slurm, words, 1),
            "plain-ranks": lambda words: by_hand(slurm, words, 2),
        }
        taken: dict[str, list[float]] = {name: [] for name in sides}
        try:
            for turn in range(-1, ROUNDS):  # the first one warms up
                for name, side in sides.items():
                    out = here / f"{name}-{turn}"
                    began = time.monotonic()
                    side(["water_vae", "--data", str(tiles), "--out", str(out), *WORDS])
                    seconds = time.monotonic() - began
                    assert (out / "outcome").read_text().startswith("done")
                    if turn >= 0:
                        taken[name].append(seconds)
        finally:
            slurm.close()
    note("R3 seconds: " + ", ".join(f"{name} {np.median(seconds):.2f}" for name, seconds in taken.items()))
    for peer in ("plain-python", "plain-ranks"):
        yield Figure.over("R3", peer, np.array(taken["sbatch"]) - np.array(taken[peer]), "<=", 5)


def submit(slurm: Any, words: list[str]) -> None:
    """As a job, until its script has said how the run ended."""
    number = slurm.submit(*FLAGS, "slurm/train.sh", *words, WATERSCAPE_PYTHON=sys.executable)
    deadline = time.monotonic() + WAIT
    while "exit code" not in slurm.log(number):
        assert time.monotonic() < deadline, slurm.log(number)
        time.sleep(0.01)


def by_hand(slurm: Any, words: list[str], world: int) -> None:
    """As so many plain processes, until the last one has ended."""
    environment = {**slurm.environment, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "waterscape", "train", *words]
    processes = []
    for rank in range(world):
        ranked = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        told = {name: str(value) for name, value in ranked.items()} if world > 1 else {}
        processes.append(subprocess.Popen(command, cwd=ROOT, env={**environment, **told}, **SILENT))
    assert [process.wait(WAIT) for process in processes] == [0] * world
