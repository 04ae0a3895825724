"""B15: two processes that train together, against two that have nothing to do with one another.

Ours: `water_vae:reference` as `waterscape train` runs it on two gloo processes: batches read live, draws, ledger, sums
of losses, gradients added up. Peer: two bare loops, written by hand, that never talk; the same number of images and one
thread a process. Limit: twice what one bare loop reaches while it has the machine alone. The bare loops are lent our
setting of the heap (`training/heap.py`); against `as-started`, two that are not. Told besides: `DDP`, against the bare
loops under torch's DistributedDataParallel, and `most`: what share of the limit two bare loops reach that never talk.

All processes are started once and wait for their turn.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.b11_engine import bare_steps, write_tiles
from benchmarks.figure import Figure
from benchmarks.served import Served, serve
from benchmarks.turns import take_turns
from waterscape import models
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.proof.launch import free_port
from waterscape.training.engine import Records
from waterscape.training.heap import keep_freed_memory
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

BATCH = 64  # a process
STEPS = 8  # in a row, before another side's turn
ROUNDS = 11
BRIEF = {"ROUNDS": 1, "STEPS": 1}


def figures() -> Iterator[Figure]:
    """Images a second of both processes together, as a share of the peer's and of the limit."""
    kinds = {
        "ours": ("together", 2),
        "bare": ("lent", 2),
        "as-started": ("alone", 2),
        "DDP": ("wrapped", 2),
        "one": ("lent", 1),
    }
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ends:
        tiles = write_tiles(Path(directory) / "tiles")
        sides = {
            name: ends.enter_context(side(kind, processes, tiles, Path(directory) / name))
            for name, (kind, processes) in kinds.items()
        }
        rates = take_turns("B15", {name: partial(rate, served) for name, served in sides.items()}, ROUNDS)
    for name in ("bare", "as-started"):
        yield Figure.over("B15", name, rates["ours"] / rates[name], ">=", 0.9)
    yield Figure.over("B15", "limit", rates["ours"] / (2 * rates["one"]), ">=", 0.9)
    yield Figure.over("B15", "DDP", rates["ours"] / rates["DDP"])
    yield Figure.over("B15", "most", rates["bare"] / (2 * rates["one"]))


def side(kind: str, processes: int, tiles: Path, out: Path) -> Served:
    """So many processes of a kind, one thread each."""
    out.mkdir(exist_ok=True)
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    if kind in ("together", "wrapped"):
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
    each = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    return Served("benchmarks.b15_scaling", [kind, tiles, out], each)


def rate(served: Served) -> float:
    """Images a second of all its processes in a turn."""
    began = time.perf_counter()
    served()
    return len(served.processes) * BATCH * STEPS / (time.perf_counter() - began)


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
    if kind in ("lent", "wrapped"):
        keep_freed_memory()
    if kind == "together":
        serve(together(tiles, out))
    elif kind == "wrapped":
        torch.distributed.init_process_group("gloo")
        serve(bare_steps(tiles, STEPS, BATCH, torch.nn.parallel.DistributedDataParallel))
    else:
        serve(bare_steps(tiles, STEPS, BATCH))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
