"""Training steps as `waterscape train` takes them, without the training: as many as are asked for, by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import nn

from waterscape import models
from waterscape.data.opening import open_samples
from waterscape.recipe import Recipe
from waterscape.start import check_inputs, starting_networks
from waterscape.training.council import Council
from waterscape.training.engine import Records, stream_of
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.pulse import pulse
from waterscape.training.run import Run
from waterscape.training.signals import Request

ENDLESS = 10**12


class Stepper:
    """A run's engine at work in the directory `place`; `alter` changes the learner before its first step."""

    def __init__(
        self,
        recipe: Recipe,
        run: Run,
        processes: Processes,
        place: Path,
        alter: Callable[[Learner], None] | None = None,
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.run = dataclasses.replace(run, out=place, images=ENDLESS, tensorboard=False)
        self.compiled = bool(run.compile) and processes.device.type == "cuda"
        with processes.together("cannot read the set"):
            manifest, samples, _ = open_samples(run.data, run.columns)
            check_inputs(recipe, manifest)
        self.learner = Learner(recipe, self.run, networks_of(recipe, self.run), processes, len(samples))
        if alter:
            alter(self.learner)
        self.records = Records(self.learner, "profile", quiet=True)
        self.council = Council(self.records, Request())
        with processes.together("cannot read the samples"):
            self.stream = stream_of(self.learner, samples)

    def step(self) -> Mapping[str, torch.Tensor]:
        """One step, with all that the engine does in each; returns the losses.

        Where compiled networks are replayed as CUDA graphs, the compiler is told where a step begins: what one call
        has made then outlives the next calls of the same step, and by itself torch would let each call overwrite it.
        """
        if self.compiled:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        pulse.doing("reading")
        loaded = next(self.stream)
        losses = self.learner.step(loaded.columns, loaded.numbers, loaded.count)
        pulse.doing("records")
        self.records.note(losses, loaded)
        self.council.meet()
        return losses

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stream.close()
        self.records.close()


def networks_of(recipe: Recipe, run: Run) -> dict[str, nn.Module]:
    """A recipe's fresh networks; where it starts from runs that are not named, from untrained ones."""
    if run.start or not recipe.starts:
        return starting_networks(recipe, run, run.started(recipe))[0]
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        return models.build(recipe)


def gradients_of(stepper: Stepper) -> dict[str, torch.Tensor]:
    """The gradients of the last step, by network, each as one row in the order of the parameters' numbers."""
    trained = {name: stepper.learner.networks[name] for name in stepper.learner.trained}
    return {name: torch.cat([_row(p.grad) for p in network.parameters()]) for name, network in trained.items()}


def _row(gradient: torch.Tensor | None) -> torch.Tensor:
    assert gradient is not None
    return gradient.detach().double().cpu().flatten()
