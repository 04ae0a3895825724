"""G1: images a second by the fast settings, over those of plain eager float32, and how busy the device is.

Both sides are timed as torch starts up: convolutions in float32 round to TF32 on a GPU that has it, matrix products do
not. Gradients are checked without that rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.device.checks import (
    AGAINST_CPU,
    AGAINST_PLAIN,
    IN_BFLOAT16,
    first_gradients,
    near,
    on_the_processor,
    recommended,
)
from benchmarks.device.report import Report
from benchmarks.figure import Figure, note
from waterscape.profiling.afresh import compiling_afresh
from waterscape.profiling.stepper import Stepper
from waterscape.profiling.trace import Busy, watch_device
from waterscape.profiling.ways import in_precision
from waterscape.proof.made_set import write_made_set
from waterscape.training.processes import Processes
from waterscape.training.run import Run

CHECKED_BATCH = 8  # images of the step that the processor takes too: enough for rounding, and soon done
BUSY_WARM, BUSY_STEPS, BUSY_LEAST = 20, 100, 10  # steps: until no batch is left of a quiet time, watched, at least
BUSY_SECONDS = 15  # of watching, about

Rates = Mapping[str, list[float]]
"""Images a second of each side, turn by turn."""


@dataclass(frozen=True)
class Amount:
    """How much is measured of each model."""

    batch: int
    samples: int
    seconds: float  # of each turn
    turns: int
    compiled: int | None  # networks of a model that are tried, since each takes a compiler's seconds; None: all


def time_model(
    model: str, amount: Amount, rows: tuple[str, ...], processes: Processes, place: Path, report: Report
) -> Generator[Figure, None, Run]:
    """A model's figures of G1, where that row is asked for, kept in the report; returns the fastest settings.

    Raises `UserError` where its gradients are others by the fast settings, or the compiler gives up a network.
    """
    plain = plain_run(model, amount, place)
    with compiling_afresh():
        fast = fast_run(model, plain, amount, processes, place, report)
        half = in_bfloat16(model, fast, processes, place, report)
    sides = {"plain": plain, "fast": fast, "bfloat16": half}
    with compiling_afresh():
        rates = take_turns(model, sides, amount, processes, place, report)
        if "G1" in rows:
            for name, side in ((model, "fast"), (f"{model} bfloat16", "bfloat16")):
                yield report.add(Figure.over("G1", name, ratios(rates, side, "plain"), ">=", 4))
            busy = live_busy(model, fast, processes, place, report)
            if busy is not None:
                yield report.add(Figure("G1", f"{model} busy", busy.kernels, ">=", 0.95))
    return sides[max(("fast", "bfloat16"), key=lambda side: float(np.median(rates[side])))]


def plain_run(model: str, amount: Amount, place: Path) -> Run:
    """Eager float32 on synthetic samples, live."""
    data = place / "set"
    write_made_set(data, recommended(model).inputs().values(), amount.samples)
    return Run(out=place, data=str(data), batch=amount.batch, ahead="no", tensorboard=False, skip_damaged=0)


def fast_run(model: str, plain: Run, amount: Amount, processes: Processes, place: Path, report: Report) -> Run:
    """The fast settings, checked: every network compiled that can be. Raises `UserError` where gradients are others."""
    if processes.device.type != "cpu":
        few = dataclasses.replace(plain, batch=min(CHECKED_BATCH, plain.batch))
        there = first_gradients(model, few, processes, place / "few")
        here = on_the_processor(model, few, processes, place / "cpu")
        report.passed(f"{model} on the device", near(model, "the device", there, here, AGAINST_CPU))
    fast = dataclasses.replace(plain, channels_last=True, cache="device", ahead="yes")
    wanted = first_gradients(model, plain, processes, place / "plain")
    trained = list(dict.fromkeys(name for phase in recommended(model).phases() for name in phase.trains))
    for name in trained[: amount.compiled]:
        tried = dataclasses.replace(fast, compile=(*fast.compile, name))
        try:
            first_gradients(model, tried, processes, place / f"try-{name}")
        except Exception as reason:  # a compiler fails in ways of its own, and the device's memory may be too small
            report.leave_out(f"{model}: compiling {name}", reason)
        else:
            fast = tried
    found = first_gradients(model, fast, processes, place / "fast")
    told = near(model, "fast settings", found, wanted, AGAINST_PLAIN)
    report.passed(f"{model} fast, compiled: {', '.join(fast.compile) or 'nothing'}", told)
    return fast


def in_bfloat16(model: str, fast: Run, processes: Processes, place: Path, report: Report) -> Run:
    """The fast settings in bfloat16, checked. Raises `UserError` where gradients are others."""
    half = dataclasses.replace(fast, precision="bfloat16")
    with in_precision(half, fast, processes) as here:
        found = first_gradients(model, half, here, place / "half")
    wanted = first_gradients(model, fast, processes, place / "whole")
    report.passed(f"{model} in bfloat16", near(model, "bfloat16", found, wanted, IN_BFLOAT16))
    return half


def take_turns(
    model: str, sides: Mapping[str, Run], amount: Amount, processes: Processes, place: Path, report: Report
) -> Rates:
    """Images a second of each side, after a turn to warm up; every other turn goes backwards, each is kept at once."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    with contextlib.ExitStack() as stack:
        steppers = {}
        for name, run in sides.items():
            with in_precision(run, sides["plain"], processes) as here:
                steppers[name] = stack.enter_context(Stepper(recommended(model), run, here, place / f"{name}-timed"))
        for turn in range(amount.turns + 1):
            for name in list(sides)[:: 1 if turn % 2 == 0 else -1]:
                stepper = steppers[name]
                rate = per_second(functools.partial(take_steps, stepper, 1), amount.seconds, processes.device)
                taken[name] += [rate] if turn else []
            if turn:
                report.keep_rates(model, taken)
    told = ", ".join(f"{name} {np.median(rates):,.0f} images/s" for name, rates in taken.items())
    note(f"G {model}: {told}; compiled: {', '.join(sides['fast'].compile) or '-'}")
    return taken


def ratios(rates: Rates, side: str, other: str) -> list[float]:
    """How many times the other side's rate, turn by turn."""
    return [one / base for one, base in zip(rates[side], rates[other], strict=True)]


def per_second(work: Callable[[], int], seconds: float, device: torch.device) -> float:
    """What `work` says it has done, a second."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    done = work()
    while time.perf_counter() - began < seconds:
        done += work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return done / (time.perf_counter() - began)


def live_busy(model: str, fast: Run, processes: Processes, place: Path, report: Report) -> Busy | None:
    """The share of time in which the device computes, with samples read live from the shards; None: there is none."""
    live = dataclasses.replace(fast, cache="none")
    with Stepper(recommended(model), live, processes, place / "live") as stepper:
        stepper.step()  # compiles
        rate = per_second(functools.partial(take_steps, stepper, BUSY_WARM), 0.0, processes.device)
        steps = max(BUSY_LEAST, min(BUSY_STEPS, int(BUSY_SECONDS * rate / live.batch)))
        busy = watch_device(stepper.step, steps, place / "live.json.gz")
    if busy is not None:
        told = f"it computes {busy.kernels:.1%} of the time and copies {busy.copies:.1%} of it, over {steps} steps"
        report.passed(f"{model}, the device with live reading", told)
    return busy


def take_steps(stepper: Stepper, steps: int) -> int:
    """So many; returns their images."""
    for _ in range(steps):
        stepper.step()
    return steps * stepper.run.batch
