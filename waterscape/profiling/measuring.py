"""One model's training step, measured: the time of its parts, the least that its work can take, and a trace."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from waterscape.pages.anatomy import Part
from waterscape.profiling.anatomy import Anatomy, Seconds, hearing
from waterscape.profiling.roofline import Counting, Rates, Work, measure_rates
from waterscape.profiling.stepper import Stepper
from waterscape.profiling.trace import watch_device, write_trace
from waterscape.proof.made_set import write_made_set
from waterscape.recipe import Recipe
from waterscape.training.processes import Processes
from waterscape.training.run import Run

MADE = 256  # samples of the synthetic set
TRACED = 3  # steps
WARM = 3  # steps before anything is measured
WATCHED = 100  # steps of which is recorded what a GPU does: enough that no batch of a quiet time before counts


def made_data(recipe: Recipe, run: Run, scratch: Path, processes: Processes) -> str:
    """A synthetic set with the columns that a recipe reads, the same one on each node: its first process makes it."""
    place, node = scratch / "made", platform.node()
    if processes.first_of_node:
        write_made_set(place, recipe.inputs().values(), max(MADE, 2 * run.batch))
    places = processes.gather((node, str(place) if processes.first_of_node else ""))
    of_nodes: dict[str, str] = {name: path for name, path in places if path}
    return of_nodes[node]


def rates_of(run: Run, processes: Processes) -> Rates:
    """What this machine can do in the run's precision."""
    return measure_rates(processes.device, torch.bfloat16 if run.precision == "bfloat16" else torch.float32)


def measure(
    recipe: Recipe,
    run: Run,
    processes: Processes,
    rates: Rates,
    scratch: Path,
    trace: Path,
    *,
    steps: int,
    seconds: float,
) -> dict[str, Any]:
    """The anatomy over so many steps, the work of one step and its least time; a trace of a few goes into `trace`.

    Steps are whole rounds of the phases that come once in several; after `seconds` of them no further one is begun. As
    many are taken without marks, where a GPU need not wait at each: their images a second are those of a training.
    """
    period = math.lcm(*(phase.every for phase in recipe.phases()))
    with Stepper(recipe, run, processes, scratch / "run") as stepper:
        for _ in range(WARM):
            stepper.step()
        anatomy = Anatomy(processes.device)
        until = time.perf_counter() + seconds
        for _ in range(math.ceil(steps / period)):
            anatomy.begin_step()
            with hearing(anatomy):
                for _ in range(period):
                    stepper.step()
                    anatomy.end_step()
            if not processes.broadcast(time.perf_counter() < until):  # each takes as many, or they would wait for ever
                break
        usual = time_steps(stepper, len(anatomy.steps), processes.device)
        watched = processes.broadcast(max(TRACED, min(WATCHED, int(seconds / usual.wall))))
        cuda = processes.device.type == "cuda"
        busy = watch_device(stepper.step, watched, scratch / "busy.json.gz") if cuda else None
        counting = Counting(rates)
        with hearing(counting.tell), counting:
            for _ in range(period):
                stepper.step()
        write_trace(stepper.step, TRACED, trace)
        parameters = {name: sum(p.numel() for p in n.parameters()) for name, n in stepper.learner.networks.items()}
    alone = processes.device.type == "cpu" and torch.get_num_threads() == 1
    work = {name: done.share(period) for name, done in counting.parts.items()}
    parts = parts_of(anatomy.usual(period), work, alone=alone)
    return {
        "what": f"batch of {run.batch} on {circumstances(processes)}, {run.precision}",
        "steps": len(anatomy.steps),
        "seconds": usual.wall,
        "taken": usual.processor if alone else usual.wall,
        "images_per_second": run.batch / usual.wall,
        "parts": parts,
        "rates": told_rates(rates),
        "busy": busy and busy._asdict(),
        "parameters": parameters,
        "torch": torch.__version__,
    }


def time_steps(stepper: Stepper, steps: int, device: torch.device) -> Seconds:
    """A step's seconds, of so many that nobody listens to."""

    def clock() -> Seconds:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return Seconds(time.perf_counter(), time.process_time())

    began = clock()
    for _ in range(steps):
        stepper.step()
    return Seconds(*((now - then) / steps for now, then in zip(clock(), began, strict=True)))


def told_rates(rates: Rates) -> dict[str, float]:
    """As profile.json holds them."""
    found = {"gigaflops": rates.flops / 1e9, "gigabytes_a_second": max(rates.bytes_a_second) / 1e9}
    return found if rates.convolved is None else {**found, "gigaflops_of_convolutions": rates.convolved / 1e9}


def circumstances(processes: Processes) -> str:
    """Processes and threads, or the device, in words."""
    count = torch.get_num_threads()
    cuda = processes.device.type == "cuda"
    on = torch.cuda.get_device_name() if cuda else f"{count} thread{'s' * (count > 1)}"
    return on if processes.world == 1 else f"{processes.world} processes, each on {on}"


def parts_of(seconds: Mapping[str, Seconds], work: Mapping[str, Work], *, alone: bool) -> Sequence[Part]:
    """Each part's time and work together; `alone`: one thread does all, so the processor's time is what it takes."""
    found = []
    for name, taken in seconds.items():
        done = work.get(name, Work())
        spent = taken.processor if alone else taken.wall
        found.append(
            Part(name, taken.wall, taken.processor, spent, done.operations, done.flops, done.bytes, done.least)
        )
    return found


def plain(value: Any) -> Any:
    """A part of what was found as JSON holds it."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)
