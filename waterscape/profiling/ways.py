"""Ways to a faster step, each measured with and without: what it saves, and how far it moves the numbers."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from waterscape.errors import UserError
from waterscape.profiling.afresh import compiling_afresh
from waterscape.profiling.stepper import Stepper, gradients_of
from waterscape.recipe import Recipe
from waterscape.training.ema import Averages
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

TURNS = 7
TURN_SECONDS = 0.4
LEAST_STEPS = 2


@dataclass(frozen=True)
class Way:
    """What is changed in a run that has it: `options`, `given` to its learner; in one that has it not: `taken_away`.

    `both`: options of both. `device`: why it is for a GPU alone, where it is.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Callable[[Learner], None] | None = None
    taken_away: Callable[[Learner], None] | None = None
    both: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""


@dataclass(frozen=True)
class Row:
    """A way's seconds a step, with it and without it: the ratio's median and quartiles over the turns, and all of them.

    `apart`: how far the gradients of the first step, from equal weights, are from those without, as a share of their
    length; 0 is bitwise the same. `failed` says why the way cannot be taken with this model.
    """

    name: str
    seconds: float = math.nan
    seconds_without: float = math.nan
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    apart: float = math.nan
    failed: str = ""
    ratios: tuple[float, ...] = ()


def ways_of(recipe: Recipe) -> Iterator[Way]:
    """All that there are for a recipe, those that are for a GPU alone too."""
    yield Way("bfloat16", {"precision": "bfloat16"})
    yield Way("channels last", {"channels_last": True})
    for name in dict.fromkeys(name for phase in recipe.phases() for name in phase.trains):
        yield Way(f"compile {name}", {"compile": (name,)})
        graphs, both = partial(_as_graphs, name=name), {"compile": (name,)}
        yield Way(f"CUDA graphs {name}", given=graphs, both=both, device="a processor's launches are plain calls")
    yield Way("fused optimizers", taken_away=_unfuse)
    of_guard = "a processor knows at once whether a step is good"
    yield Way("fused optimizers and their guard", taken_away=_unfuse_with_guard, device=of_guard)
    if recipe.averages():
        yield Way("foreach averages", taken_away=_average_one_by_one)
    yield Way("losses read late", taken_away=_read_losses)
    yield Way("values travel as stored", taken_away=_send_floats, device="nothing travels to a processor")
    yield Way("cache host", {"cache": "host"})
    yield Way("cache device", {"cache": "device"}, device="a processor's memory is the host's")
    yield Way("copied ahead", {"ahead": "yes"})


def measure_ways(recipe: Recipe, run: Run, processes: Processes, place: Path) -> Iterator[Row]:
    """A row for each way; a way that cannot be taken has a row that says so."""
    for way in ways_of(recipe):
        if way.device and processes.device.type != "cuda":
            yield Row(way.name, failed=f"left out, it is for a GPU: {way.device}")
            continue
        plain = dataclasses.replace(run, ahead="no", **way.both)
        compiles = plain.compile or way.options.get("compile")
        try:
            with compiling_afresh() if compiles else contextlib.nullcontext():
                yield _measure(way, recipe, plain, processes, place / way.name.replace(" ", "-"))
        except UserError as error:
            yield Row(way.name, failed=str(error))


def _measure(way: Way, recipe: Recipe, run: Run, processes: Processes, place: Path) -> Row:
    altered = dataclasses.replace(run, **way.options)
    with contextlib.ExitStack() as stack:
        with in_precision(altered, run, processes) as here:
            taken = stack.enter_context(Stepper(recipe, altered, here, place / "with", way.given))
        left = stack.enter_context(Stepper(recipe, run, processes, place / "without", way.taken_away))
        first = []
        for side in (taken, left):
            side.step()
            first.append(gradients_of(side))
            side.step()
        seconds = _take_turns(taken, left, processes.device)
    ratios = seconds[:, 0] / seconds[:, 1]
    low, ratio, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
    with_it, without = np.median(seconds, axis=0).tolist()
    return Row(way.name, with_it, without, ratio, low, high, _apart(*first), ratios=tuple(ratios.tolist()))


def _take_turns(one: Stepper, other: Stepper, device: torch.device) -> np.ndarray:
    """Seconds a step of both, turn by turn: of the processor where that computes, else of the clock."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock()

    def seconds(side: Stepper, steps: int) -> float:
        began = now()
        for _ in range(steps):
            side.step()
        return (now() - began) / steps

    steps = max(LEAST_STEPS, int(TURN_SECONDS / max(seconds(other, 1), 1e-6)))
    taken = []
    for turn in range(TURNS):
        pair = (one, other) if turn % 2 == 0 else (other, one)
        found = {side: seconds(side, steps) for side in pair}
        taken.append((found[one], found[other]))
    return np.array(taken)


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    found = [float((value - other[name]).norm() / other[name].norm().clamp(min=1e-300)) for name, value in one.items()]
    return max(found)


@contextlib.contextmanager
def in_precision(altered: Run, run: Run, processes: Processes) -> Iterator[Processes]:
    """This process in another run's precision, while networks are prepared: accelerate knows one a process."""
    if altered.precision == run.precision:
        yield processes
        return
    AcceleratorState._reset_state()
    try:
        yield Processes(None, altered.precision, run.out)
    finally:
        AcceleratorState._reset_state()
        Processes(None, run.precision, run.out)


def _unfuse_with_guard(learner: Learner) -> None:
    """On a GPU everything is then cloned before a step, so that a bad one can be taken back."""
    for optimizer in learner.optimizers.values():
        for group in optimizer.param_groups:
            if group.get("fused"):
                group["fused"], group["foreach"] = False, True
        if hasattr(optimizer, "_step_supports_amp_scaling"):
            del optimizer._step_supports_amp_scaling


def _unfuse(learner: Learner) -> None:
    """The optimizers alone: each step is taken, good or not, without what a guard costs where nothing is fused."""
    fused = [each for each in learner.optimizers.values() if hasattr(each, "_step_supports_amp_scaling")]
    _unfuse_with_guard(learner)
    for optimizer in fused:
        optimizer._step_supports_amp_scaling = True  # whether it is good is left to it
        optimizer.register_step_pre_hook(_forget_whether_good)


def _forget_whether_good(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    optimizer.found_inf = None  # type: ignore[attr-defined]


def _as_graphs(learner: Learner, name: str) -> None:
    """That network compiled so that its launches are recorded once and replayed, all at once, in each step."""
    plain = learner.called[name].get_submodule("_orig_mod")
    graphs: dict[str, str | int | bool | Callable[..., Any]] = {"triton.cudagraphs": True}
    learner.called[name] = torch.compile(plain, dynamic=False, options=graphs)  # type: ignore[assignment]


def _send_floats(learner: Learner) -> None:
    """Numbers are made of stored values here, and then copied: four times the bytes of uint8."""
    device = learner.processes.device

    def batch(columns: Mapping[str, Any]) -> dict[str, Tensor]:
        made = {name: entry.numbers(columns[entry.column], learner.dtype) for name, entry in learner.inputs.items()}
        sent = {name: value.to(device, non_blocking=True) for name, value in made.items()}
        inside = torch.channels_last if learner.run.channels_last else torch.contiguous_format
        return {n: v.contiguous(memory_format=inside) if v.ndim == 4 else v for n, v in sent.items()}

    learner.batch = batch  # type: ignore[method-assign]


def _average_one_by_one(learner: Learner) -> None:
    learner.averages = _OneByOne(learner.averages.networks, learner.averages.half_lives)


class _OneByOne(Averages):
    """Averages without torch's foreach operations: a few kernels for each tensor."""

    @torch.no_grad()
    def update(self, batch: int, images: int, good: Tensor) -> None:
        for name, network in self.networks.items():
            weight = self.weight(name, batch, images)
            pairs = zip(self.shown[name].parameters(), network.parameters(), strict=True)
            for average, parameter in pairs:
                average.add_((parameter - average) * (good.to(parameter.dtype) * weight))
            for kept, buffer in zip(self.shown[name].buffers(), network.buffers(), strict=True):
                kept.copy_(torch.where(good, buffer, kept))


def _read_losses(learner: Learner) -> None:
    step = learner.step

    def reading(*arguments: Any) -> dict[str, Tensor]:
        losses = step(*arguments)
        for value in losses.values():
            value.item()
        return losses

    learner.step = reading  # type: ignore[method-assign, assignment]
