"""What must hold before anything is timed: gradients are the plain ones', layers of several processes torch's own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.device.commands import run_apart
from benchmarks.figure import note
from waterscape import models
from waterscape.errors import UserError
from waterscape.profiling.stepper import Stepper, gradients_of
from waterscape.recipe import Recipe
from waterscape.training.processes import Processes
from waterscape.training.run import Run

# How far gradients may be apart, of their length: on two machines, by other programs, in bfloat16 against float32.
AGAINST_CPU, AGAINST_PLAIN, IN_BFLOAT16 = 2e-2, 1e-3, 0.3
LAYERS = "tests/nn/test_batchnorm.py"
LAYERS_SECONDS = 240  # a minute where three processes start slowly; more, and they wait for one another in vain

Gradients = dict[str, Tensor]


def recommended(model: str) -> Recipe:
    """A model's preset."""
    return models.presets(model)[models.DEFAULT_PRESET]


def first_gradients(model: str, run: Run, processes: Processes, place: Path) -> Gradients:
    """Of one step from the seed's weights, float32 being all of float32 where a GPU would round it to TF32.

    So rounding does not hide an error; what is timed later rounds as torch does by itself.
    """
    recipe = recommended(model)
    if hasattr(recipe, "adversarial_images"):  # so that all networks are at work in the first step
        recipe = dataclasses.replace(recipe, adversarial_images=0)  # type: ignore[type-var]
    with (
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        Stepper(recipe, run, processes, place) as stepper,
    ):
        stepper.step()
        return gradients_of(stepper)


def on_the_processor(model: str, run: Run, processes: Processes, place: Path) -> Gradients:
    """The same, computed by the processor."""
    state, device = processes.accelerator.state, processes.device
    processes.device = state.device = torch.device("cpu")  # where networks are put, and where accelerate would put them
    try:
        return first_gradients(model, run, processes, place)
    finally:
        processes.device = state.device = device


def near(model: str, what: str, one: Gradients, other: Gradients, most: float) -> str:
    """How far gradients are from others, in words; `UserError` where that is further than rounding takes them.

    Gradients that are not there cannot be compared, and are an error too.
    """
    told = []
    for name, value in one.items():
        length = float(other[name].norm())
        if not length > 0:
            raise UserError(f"{model}, {name}: no gradient reaches it, so {what} cannot be checked: not timed")
        found = float((value - other[name]).norm()) / length
        told.append(f"{name} {found:.1e}")
        note(f"G {model} {name}: gradients by {what} are {found:.1e} apart")
        if not found <= most:
            raise UserError(f"{model}, {name}: gradients by {what} are {found:.1e} apart, and {most} may be: not timed")
    return f"gradients by {what} are apart: {', '.join(told)}"


def layers_on_the_device(seconds: float = LAYERS_SECONDS) -> str:
    """Batch statistics over three processes that share the device, by the tests of the layer, in pytest's words.

    Raises `UserError` where one failed, or none could run; `subprocess.TimeoutExpired`, all processes ended, where they
    take longer than `seconds`.
    """
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    done = run_apart(["-m", "pytest", "-q", "-p", "no:cacheprovider", LAYERS, "-k", kind], seconds)
    lines = (done.out.strip() or done.error.strip() or "no word").splitlines()
    if done.code or not re.search(r"\d+ passed", lines[-1]) or "skipped" in lines[-1]:
        raise UserError(f"{LAYERS} on {kind}: {lines[-1]}")
    return f"{LAYERS} on {kind}: {lines[-1]}"
