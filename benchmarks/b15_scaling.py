"""B15: two processes that train together, against two that have nothing to do with one another.

Ours: `water_vae:reference` as `waterscape train` runs it on two gloo processes: batches read live, draws, ledger, sums
of losses, gradients added up. Peer: two bare loops, written by hand, that never talk; the same number of images and one
thread a process. Limit: twice what one bare loop reaches while it has the machine alone. For comparison, told on stderr
alone: the bare loops under torch's DistributedDataParallel.

All processes are started once and wait for their turn.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.b11_engine import bare_steps, write_tiles
from benchmarks.figure import Figure, note
from benchmarks.turns import take_turns
from waterscape import models
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.proof.launch import free_port
from waterscape.training.engine import Records
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

BATCH = 64  # a process
STEPS = 8  # in a row, before another side's turn
ROUNDS = 11


def figures() -> Iterator[Figure]:
    """Images a second of both processes together, as a share of the peer's and of the limit."""
    with tempfile.TemporaryDirectory() as directory:
        tiles = write_tiles(Path(directory) / "tiles")
        sides = {
            "ours": Side("together", 2, tiles, Path(directory) / "run"),
            "bare": Side("alone", 2, tiles, Path(directory)),
            "DDP": Side("wrapped", 2, tiles, Path(directory)),
            "one": Side("alone", 1, tiles, Path(directory)),
        }
        rates = take_turns("B15", sides, ROUNDS)
        for side in sides.values():
            side.close()
    shares = {"bare": rates["ours"] / rates["bare"], "limit": rates["ours"] / (2 * rates["one"])}
    alone, wrapped = (float(np.median(rates[name] / (2 * rates["one"]))) for name in ("bare", "DDP"))
    note(f"B15 of twice one: two bare loops {alone:.2f}, under DistributedDataParallel {wrapped:.2f}")
    for name, values in shares.items():
        yield Figure.over("B15", name, values, ">=", 0.9)


class Side:
    """So many processes that take some steps whenever asked, all at once."""

    def __init__(self, kind: str, processes: int, tiles: Path, out: Path) -> None:
        out.mkdir(exist_ok=True)
        shared = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
        if kind != "alone":
            shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.b15_scaling", kind, tiles, out],
                env=shared if kind == "alone" else {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(processes)
        ]

    def __call__(self) -> float:
        """One turn: images a second."""
        began = time.perf_counter()
        self._tell("go\n")
        for process in self.processes:
            assert process.stdout is not None
            if process.stdout.readline() != "done\n":
                raise RuntimeError("a process of the benchmark ended")
        return len(self.processes) * BATCH * STEPS / (time.perf_counter() - began)

    def close(self) -> None:
        """End them."""
        self._tell("")
        for process in self.processes:
            process.wait()

    def _tell(self, word: str) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(word)
            process.stdin.flush()
            if not word:
                process.stdin.close()


def serve(steps: Callable[[], None]) -> None:
    """Take steps for each line on stdin."""
    for _ in sys.stdin:
        steps()
        print("done", flush=True)


def together(tiles: Path, out: Path) -> Callable[[], None]:
    """The engine's steps on this process's part of each batch."""
    processes = Processes(None, "float32", out)
    recipe = models.presets("water_vae")["reference"]
    run = Run(out=out, data=str(tiles), batch=BATCH * processes.world, images=10**9, tensorboard=False)
    shards = ShardSet(tiles, "train")
    learner = Learner(recipe, run, recipe.networks({}), processes, len(shards))
    records = Records(learner, "B15", quiet=True)
    order = Order(shards.counts, 0)
    here = {"rank": processes.rank, "world": processes.world}
    stream = Batches(shards, learner.columns, batch=run.batch, order=order, **here)

    def steps() -> None:
        for _ in range(STEPS):
            loaded = next(stream)
            records.note(learner.step(loaded.columns, loaded.numbers, loaded.count), loaded)

    return steps


def main(kind: str, tiles: Path, out: Path) -> None:
    """One process of a side."""
    torch.manual_seed(0)
    if kind == "together":
        serve(together(tiles, out))
    elif kind == "wrapped":
        torch.distributed.init_process_group("gloo")
        serve(bare_steps(tiles, STEPS, BATCH, torch.nn.parallel.DistributedDataParallel))
    else:
        serve(bare_steps(tiles, STEPS, BATCH))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
