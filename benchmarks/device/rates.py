"""G1 and G3: images a second by the fast settings, over those of plain eager float32, and how busy the device is.

Both sides are timed as torch starts up: convolutions in float32 round to TF32 on a GPU that has it, matrix products do
not. Gradients are checked without that rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
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
from waterscape.profiling.stepper import Stepper
from waterscape.profiling.trace import device_busy, write_trace
from waterscape.profiling.ways import in_precision
from waterscape.proof.made_set import write_made_set
from waterscape.training.processes import Processes
from waterscape.training.run import Run

CHECKED_BATCH = 8  # images of the step that the processor takes too: enough for rounding, and soon done
BUSY_STEPS = 10
WHOLE = {"water_vae": (39 * 62_240, 60), "landscape_gan": (800 * 3_000, 600)}
"""Images of a whole training, and the seconds that it may take (G3)."""

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
) -> Iterator[Figure]:
    """A model's figures of G1 and G3. Raises `UserError` where its gradients are others by the fast settings."""
    plain = plain_run(model, amount, place)
    fast = fast_run(model, plain, amount, processes, place, report)
    half = in_bfloat16(model, fast, processes, place, report)
    rates = take_turns(model, {"plain": plain, "fast": fast, "bfloat16": half}, amount, processes, place, report)
    for name, side in ((model, "fast"), (f"{model} bfloat16", "bfloat16")):
        if "G1" in rows:
            yield Figure.over("G1", name, ratios(rates, side, "plain"), ">=", 4)
    busy = live_busy(model, fast, processes, place) if "G1" in rows else None
    if busy is not None:
        yield Figure("G1", f"{model} busy", busy, ">=", 0.95)
    if "G3" in rows and model in WHOLE:
        images, limit = WHOLE[model]
        side = max(("fast", "bfloat16"), key=lambda name: float(np.median(rates[name])))
        yield Figure.over("G3", f"{model} {side}", [images / rate for rate in rates[side]], "<=", limit)


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
                rate = per_second(functools.partial(take_step, stepper), amount.seconds, processes.device)
                taken[name] += [rate] if turn else []
            if turn:
                report.keep_rates(model, taken)
    told = ", ".join(f"{name} {np.median(rates):,.0f} images/s" for name, rates in taken.items())
    note(f"G {model}: {told}; compiled: {', '.join(sides['fast'].compile) or '-'}")
    return taken


def ratios(rates: Rates, side: str, other: str) -> list[float]:
    """How many times the other side's rate, turn by turn."""
    return [one / base for one, base in zip(rates[side], rates[other], strict=True)]


def take_step(stepper: Stepper) -> int:
    """One step; returns its images."""
    stepper.step()
    return stepper.run.batch


def per_second(work: Callable[[], int], seconds: float, device: torch.device) -> float:
    """What `work` says it has done, a second."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return done / (time.perf_counter() - began)


def live_busy(model: str, fast: Run, processes: Processes, place: Path) -> float | None:
    """The share of time in which the device computes, with samples read live from the shards."""
    live = dataclasses.replace(fast, cache="none")
    with Stepper(recommended(model), live, processes, place / "live") as stepper:
        for _ in range(3):
            stepper.step()
        return device_busy(write_trace(stepper.step, BUSY_STEPS, place / "live.json.gz"))
