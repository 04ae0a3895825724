"""A recipe in the course of being learnt: its networks, their optimizers and averages, and one step of them all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from waterscape.randomness import Draw
from waterscape.recipe import Networks, Phase, Progress, Recipe
from waterscape.training import checkpoint
from waterscape.training.ema import Averages
from waterscape.training.processes import Processes
from waterscape.training.run import Run


class Learner:
    """All that a step reads and changes. `epoch_images` is the number of images in an epoch."""

    def __init__(
        self, recipe: Recipe, run: Run, networks: Mapping[str, nn.Module], processes: Processes, epoch_images: int
    ) -> None:
        self.recipe, self.run, self.processes, self.epoch_images = recipe, run, processes, epoch_images
        self.dtype = torch.float64 if run.precision == "float64" else torch.float32
        self.inputs = recipe.inputs()
        self.columns = list(dict.fromkeys(entry.column for entry in self.inputs.values()))
        self.phases = recipe.phases()
        self.networks = {name: processes.place(network, self.dtype) for name, network in networks.items()}
        self.trained = sorted({name for phase in self.phases for name in phase.trains})
        self.optimizers = {name: recipe.optimizer(name, self.networks[name]) for name in self.trained}
        self.full_rates = {n: [group["lr"] for group in o.param_groups] for n, o in self.optimizers.items()}
        self.averages = Averages(self.networks, recipe.averages())
        self.parallel = processes.wrap(self.networks, self.trained)
        self.images = self.steps = 0

    def step(self, columns: Mapping[str, Any], numbers: Tensor, count: int) -> dict[str, Tensor]:
        """Train on a global batch of `count` images, of which `columns` and `numbers` are this process's share.

        Returns this process's share of each loss: summed over the processes it is the mean over the global batch.
        """
        batch = self.batch(columns)
        draw = Draw(self.run.seed, numbers.to(self.processes.device), self.dtype)
        self._set_rates()
        losses: dict[str, Tensor] = {}
        for phase in self.phases:
            if self.steps % phase.every == 0:
                for name, value in self.backward(phase, batch, draw, count).items():
                    losses[name if len(self.phases) == 1 else f"{phase.name}: {name}"] = value
                for name in phase.trains:
                    self.optimizers[name].step()
        self.images += count
        self.averages.update(count, self.images)
        self.steps += 1
        return losses

    def backward(self, phase: Phase, batch: Mapping[str, Tensor], draw: Draw, count: int) -> dict[str, Tensor]:
        """Leave a phase's gradients, of the mean over the global batch, in the networks that it trains."""
        for name, network in self.networks.items():
            network.requires_grad_(name in phase.trains)
        for name in phase.trains:
            self.optimizers[name].zero_grad()
        networks = {n: self.parallel[n] if n in phase.trains else bare for n, bare in self.networks.items()}
        wrapped = [self.parallel[name] for name in phase.trains]
        size = self.run.micro_batch or len(draw)
        losses: dict[str, Tensor] = {}
        for start in range(0, len(draw), size):
            rows = slice(start, start + size)
            part, drawn = {name: value[rows] for name, value in batch.items()}, draw.rows(rows)
            last = start + size >= len(draw)
            with contextlib.nullcontext() if last else self.processes.unsynchronised(wrapped):
                found = phase.loss(networks, part, drawn)
                # Gradients are averaged over processes that may hold unequal shares: each mean is weighed by its
                # number of images × processes ÷ the global number.
                share = len(drawn) / count
                torch.autograd.backward(found["loss"] * (share * self.processes.world * phase.every))
            for name, value in found.items():
                losses[name] = value.detach() * share + losses.get(name, 0)
        return losses

    def batch(self, columns: Mapping[str, Any]) -> dict[str, Tensor]:
        """Stored columns as the batch that the recipe declares, on the device."""
        device = self.processes.device
        return {
            name: entry.numbers(columns[entry.column].to(device, non_blocking=True), self.dtype)
            for name, entry in self.inputs.items()
        }

    def _set_rates(self) -> None:
        progress = Progress(self.images, self.steps, self.images / self.epoch_images)
        for name, optimizer in self.optimizers.items():
            rate = self.recipe.rate(name, progress)
            for group, full in zip(optimizer.param_groups, self.full_rates[name], strict=True):
                group["lr"] = full * rate

    @contextlib.contextmanager
    def shown(self) -> Iterator[Networks]:
        """The networks as people use them: averages where kept, in evaluation mode, without gradients."""
        networks = {**self.networks, **self.averages.shown}
        modes = {name: network.training for name, network in networks.items()}
        with torch.no_grad():
            for network in networks.values():
                network.eval()
            yield networks
            for name, network in networks.items():
                network.train(modes[name])

    def load(self, found: checkpoint.Checkpoint) -> None:
        """Take up a checkpoint's networks, averages, optimizers and progress."""
        checkpoint.load_networks(found, self.networks)
        checkpoint.load_optimizers(found, self.optimizers)
        self.averages.load(checkpoint.load_averages(found, self.averages.shown))
        self.images, self.steps = found.state["images"], found.state["steps"]
