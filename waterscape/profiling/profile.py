"""`waterscape profile MODEL[:PRESET]`: a step's anatomy as a table and a picture, its share of the roofline, a trace.

And, with `--ways`, what each way to a faster step is worth here, with and without it, in turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from waterscape import models
from waterscape.cluster.ranks import join_tasks
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.options import parse_some
from waterscape.pages.anatomy import Part, draw_anatomy
from waterscape.profiling.anatomy import Anatomy, Seconds, hearing
from waterscape.profiling.roofline import Counting, Work, measure_rates
from waterscape.profiling.stepper import Stepper
from waterscape.profiling.table import table, way_line
from waterscape.profiling.trace import device_busy, write_trace
from waterscape.profiling.ways import measure_ways
from waterscape.proof.made_set import write_made_set
from waterscape.recipe import Recipe
from waterscape.start import read_options
from waterscape.training.processes import Processes
from waterscape.training.run import Run

MADE = 256  # samples of the synthetic set
TRACED = 3  # steps
WARM = 3  # steps before anything is measured


@dataclass(frozen=True)
class Profile:
    """Measure a training step. Other options are those of `waterscape train`."""

    data: str | None = None
    """Shards to read. Left out: a small synthetic set of the right columns, made for this."""
    out: Path | None = None
    """Where table, picture and trace go. Left out: profiles/MODEL-PRESET."""
    steps: int = 20
    """How many steps are measured, at least: whole rounds of the phases that come once in several steps."""
    ways: bool = False
    """Measure each way to a faster step too, with and without it."""
    threads: int | None = None
    """Of torch. Left out: as many as it takes by itself."""

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        if self.steps < 1 or (self.threads is not None and self.threads < 1):
            raise UserError(f"--steps {self.steps} --threads {self.threads}: give 1 or more")


def profile(model: str, preset: str, arguments: Sequence[str]) -> int:
    """Measure, print the table and write what there is to see; returns the exit code."""
    wanted, words = parse_some(Profile, arguments, f"waterscape profile {model}:{preset}")
    wanted.check()
    out = wanted.out or Path("profiles") / f"{model}-{preset}"
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        recipe, run = read_options(model, preset, ["--out", str(scratch / "run"), *words])
        run.check()
        join_tasks(run.processes)
        processes = Processes(run.processes, run.precision, scratch)
        if wanted.ways and processes.world > 1:
            raise UserError("--ways are measured in one process: start it without a launcher")
        data = wanted.data or made_data(recipe, run, scratch, processes)
        run = dataclasses.replace(run, data=data)
        if processes.first:
            out.mkdir(parents=True, exist_ok=True)
        with threads(wanted.threads):
            found = measure(recipe, run, processes, scratch, out, wanted.steps)
            rows = []
            for row in measure_ways(recipe, run, processes, scratch / "ways") if wanted.ways else ():
                rows.append(row)
                print(way_line(row), flush=True)
        if processes.first:
            facts = {"model": model, "preset": preset, "synthetic data": wanted.data is None, **found, "ways": rows}
            write_text(out / "profile.json", json.dumps(facts, indent=1, default=_plain) + "\n")
            page = table(f"{model}:{preset}", facts)
            write_text(out / "profile.md", page)
            of = ", synthetic set" if wanted.data is None else ""
            draw_anatomy(out / "profile.png", f"{model}:{preset}, {found['what']}{of}", found["parts"])
            print(page)
            print(f"{out}: profile.md, profile.png, profile.json; open trace.json.gz at https://ui.perfetto.dev")
        processes.close()
    return 0


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of torch within the block; None: as many as it takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made_data(recipe: Recipe, run: Run, scratch: Path, processes: Processes) -> str:
    """A synthetic set with the columns that a recipe reads, made by the first process."""
    place = Path(processes.broadcast(str(scratch / "made")))
    if processes.first:
        write_made_set(place, recipe.inputs().values(), max(MADE, 2 * run.batch))
    processes.wait()
    return str(place)


def measure(recipe: Recipe, run: Run, processes: Processes, scratch: Path, out: Path, steps: int) -> dict[str, Any]:
    """The anatomy over so many steps, the work of one step and its least time, and a trace of a few."""
    period = math.lcm(*(phase.every for phase in recipe.phases()))
    steps = math.ceil(steps / period) * period
    rates = measure_rates(processes.device, torch.bfloat16 if run.precision == "bfloat16" else torch.float32)
    with Stepper(recipe, run, processes, scratch / "run") as stepper:
        for _ in range(WARM):
            stepper.step()
        anatomy = Anatomy(processes.device)
        with hearing(anatomy):
            for _ in range(steps):
                stepper.step()
                anatomy.end_step()
        counting = Counting(rates)
        with hearing(counting.tell), counting:
            for _ in range(period):
                stepper.step()
        trace = out if processes.first else scratch
        write_trace(stepper.step, TRACED, trace / "trace.json.gz")
        parameters = {name: sum(p.numel() for p in n.parameters()) for name, n in stepper.learner.networks.items()}
    alone = processes.device.type == "cpu" and torch.get_num_threads() == 1
    work = {name: done.share(period) for name, done in counting.parts.items()}
    parts = parts_of(anatomy.usual(period), work, alone=alone)
    whole = sum(part.wall for part in parts)
    count = torch.get_num_threads()
    cuda = processes.device.type == "cuda"
    on = torch.cuda.get_device_name() if cuda else f"{count} thread{'s' * (count > 1)}"
    several = "" if processes.world == 1 else f"{processes.world} processes, each on "
    return {
        "what": f"batch of {run.batch} on {several}{on}, {run.precision}",
        "steps": steps,
        "images_per_second": run.batch / whole,
        "parts": parts,
        "rates": {"gigaflops": rates.flops / 1e9, "gigabytes_a_second": max(rates.bytes_a_second) / 1e9},
        "busy": device_busy(trace / "trace.json.gz"),
        "parameters": parameters,
        "torch": torch.__version__,
    }


def parts_of(seconds: Mapping[str, Seconds], work: Mapping[str, Work], *, alone: bool) -> list[Part]:
    """Each part's time and work together; `alone`: one thread does all, so the processor's time is what it takes."""
    found = []
    for name, taken in seconds.items():
        done = work.get(name, Work())
        spent = taken.processor if alone else taken.wall
        found.append(
            Part(name, taken.wall, taken.processor, spent, done.operations, done.flops, done.bytes, done.least)
        )
    return found


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


def profile_all(arguments: Sequence[str]) -> int:
    """Every model's recommended preset, one after another, each in a directory of its own."""
    wanted, _ = parse_some(Profile, arguments, "waterscape profile all")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("profile all takes one process: profile models one by one under a launcher")
    place = wanted.out or Path("profiles")
    for model in models.names():
        recipe = models.presets(model)[models.DEFAULT_PRESET]
        if recipe.wants():
            print(f"{model}: wants {recipe.wants()}")
        else:
            out = place / f"{model}-{models.DEFAULT_PRESET}"
            profile(model, models.DEFAULT_PRESET, [*arguments, "--out", str(out)])
    return 0
