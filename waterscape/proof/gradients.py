"""Each phase's gradients from a run's weights: `python -m waterscape.proof.gradients RUN OUT`, in any number of ranks.

The first process writes OUT (safetensors): for each phase one tensor, the gradients of all networks that it trains, as
the run computes them; and another, `PHASE, float64`, of the same weights, batch and draws in float64.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from waterscape import models
from waterscape.data.opening import open_samples
from waterscape.errors import UserError, run_command
from waterscape.randomness import Draw
from waterscape.training import checkpoint
from waterscape.training.engine import stream_of
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run, read_run

EXACT = ", float64"


def write_gradients(directory: Path, out: Path) -> None:
    """Load the run's newest checkpoint and leave the gradients of its next global batch in `out`."""
    facts = read_run(directory)
    known = {option.name for option in dataclasses.fields(Run)} - {"out", "start"}
    held = {name: value for name, value in facts["run"].items() if name in known}
    options: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in held.items()}
    run = Run(out=directory, **options)
    processes = Processes(None, run.precision, directory)
    _, shards, _ = open_samples(run.data, run.columns)
    found = checkpoint.newest(directory / "checkpoints")
    if found is None:
        raise UserError(f"{directory} holds no whole checkpoint")
    gradients = {}
    for precision, ending in ((run.precision, ""), ("float64", EXACT)):
        recipe, networks = models.rebuild(facts)
        learner = Learner(recipe, dataclasses.replace(run, precision=precision), networks, processes, len(shards))
        learner.load(found)
        with contextlib.closing(stream_of(learner, shards)) as stream:
            loaded = next(stream)
        batch = learner.batch(loaded.columns)
        for phase in learner.phases:
            learner.backward(phase, batch, Draw(run.seed, loaded.numbers, learner.dtype), loaded.count)
            gradients[phase.name + ending] = torch.cat([learner.gradients[name].flat[:-1] for name in phase.trains])
    if processes.first:
        save_file(gradients, out)
    processes.close()


def main() -> None:
    """As the command line says; leaves at once when all is written.

    Of two processes that end right behind a collective, one in some ten was aborted ("terminate called without an
    active exception") on a busy machine, after Python's own end: what libraries have of threads was still ending.
    """
    write_gradients(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    run_command(main)
