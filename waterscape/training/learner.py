"""A recipe in the course of being learnt: its networks, their optimizers and averages, and one step of them all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from waterscape.data.plan import part
from waterscape.errors import UserError
from waterscape.nn.global_batch import shares
from waterscape.randomness import Draw
from waterscape.recipe import Networks, Phase, Progress, Recipe
from waterscape.training import checkpoint
from waterscape.training.compiling import compiled, telling
from waterscape.training.descending import descend
from waterscape.training.ema import Averages
from waterscape.training.gradients import Gradients
from waterscape.training.processes import Processes
from waterscape.training.pulse import pulse
from waterscape.training.run import Run


class Learner:
    """All that a step reads and changes. `epoch_images` is the number of images in an epoch.

    `good` says of the last step whether it was taken, `skipped` counts those that were not, `skipped_in_a_row` the
    latest of them (tensors on the device, equal on all processes: reading them makes the host wait). `drawn` (N, int64)
    is a hash of each sample's draws in the last step, where the run records it.
    """

    def __init__(
        self, recipe: Recipe, run: Run, networks: Mapping[str, nn.Module], processes: Processes, epoch_images: int
    ) -> None:
        self.recipe, self.run, self.processes, self.epoch_images = recipe, run, processes, epoch_images
        self.dtype = torch.float64 if run.precision == "float64" else torch.float32
        self.inputs = recipe.inputs()
        self.columns = list(dict.fromkeys(entry.column for entry in self.inputs.values()))
        self.pictures = {entry.column: size for entry in self.inputs.values() if (size := entry.picture)}
        self.phases = recipe.phases()
        self.networks = {name: processes.place(network, self.dtype) for name, network in networks.items()}
        self.trained = sorted({name for phase in self.phases for name in phase.trains})
        if run.channels_last:
            for network in self.networks.values():
                network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizers = {name: recipe.optimizer(name, self.networks[name]) for name in self.trained}
        self.full_rates = {n: [group["lr"] for group in o.param_groups] for n, o in self.optimizers.items()}
        self.averages = Averages(self.networks, recipe.averages())
        for name, network in self.networks.items():
            if name not in self.trained:
                network.requires_grad_(False).eval()
        self.parameters = {name: list(network.parameters()) for name, network in self.networks.items()}
        self.called = {name: processes.prepare(network) for name, network in self.networks.items()}
        # After `prepare`, which gives several processes' networks buffers of their own.
        self.buffers = [buffer for network in self.networks.values() for buffer in network.buffers()]
        self.called = compiled(self.called, run.compile)
        self.gradients = {name: Gradients(self.networks[name]) for name in self.trained}
        self.sums = {name: f"all_reduce of the gradients of {name}" for name in self.trained}
        self.good = torch.ones((), dtype=torch.bool, device=processes.device)
        self.skipped = self.skipped_in_a_row = torch.zeros((), dtype=torch.int64, device=processes.device)
        self.drawn: Tensor | None = None
        self.images = self.steps = 0
        self.rate_share = 1.0  # of all learning rates; lowered whenever the run goes back to an earlier checkpoint

    def step(self, columns: Mapping[str, Any], numbers: Tensor, count: int) -> dict[str, Tensor]:
        """Train on a global batch of `count` images, of which `columns` and `numbers` are this process's share.

        Where the batch is smaller than the world, a process without a share holds any one sample in its stead.

        Where a phase's loss or gradients are not finite, nothing moves from there on: no optimizer, no buffer, no
        average, on all processes alike. The step is skipped and its images are counted all the same.

        Returns this process's share of each loss: summed over the processes it is the mean over the global batch; zero
        where the step was skipped.
        """
        pulse.doing("copy to the device")
        batch = self.batch(columns)
        numbers = numbers.to(self.processes.device, non_blocking=True)
        self.drawn = torch.zeros_like(numbers) if self.run.record_draws else None
        draw = Draw(self.run.seed, numbers, self.dtype, self.drawn)
        self._set_rates()
        self.good = torch.ones_like(self.good)
        names: list[str] = []
        losses: list[Tensor] = []
        for phase in self.phases:
            if phase.due(self.steps, self.images):
                pulse.doing("guard against a bad step")
                before = [buffer.clone() for buffer in self.buffers]
                found, values = self.backward(phase, batch, draw, count)
                names += found if len(self.phases) == 1 else [f"{phase.name}: {name}" for name in found]
                losses.append(values)
                pulse.doing("guard against a bad step")
                for name in phase.trains:
                    self.good = self.good & self.gradients[name].finite
                for buffer, old in zip(self.buffers, before, strict=True):
                    buffer.copy_(torch.where(self.good, buffer, old))
                pulse.doing("optimizer step")
                for name in phase.trains:
                    descend(self.optimizers[name], self.good)
        self.images += count
        pulse.doing("average")
        self.averages.update(count, self.images, self.good)
        self.steps += 1
        pulse.stands(self.steps, self.images)
        self.skipped = self.skipped + ~self.good
        self.skipped_in_a_row = torch.where(self.good, 0, self.skipped_in_a_row + 1)
        kept = torch.where(self.good, torch.cat(losses), 0).unbind() if losses else ()
        return dict(zip(names, kept, strict=True))

    def backward(self, phase: Phase, batch: Mapping[str, Tensor], draw: Draw, count: int) -> tuple[list[str], Tensor]:
        """Leave a phase's gradients, of the mean over the global batch, in the networks that it trains.

        Returns its losses' names, and this process's shares of them as one tensor: few operations, since each that is
        called once in a step costs many times what it takes in a loop.
        """
        for name, parameters in self.parameters.items():
            for parameter in parameters:
                parameter.requires_grad = name in phase.trains
        gradients = [self.gradients[name] for name in phase.trains]
        for each in gradients:
            each.clear()
        names: list[str] = []
        losses: Tensor | None = None
        done, rank = 0, self.processes.rank
        for sizes in micro_batches(count, self.processes.world, self.run.micro_batch):
            rows = slice(done, done + (sizes[rank] or 1))
            done = rows.stop
            piece, drawn = {name: value[rows] for name, value in batch.items()}, draw.rows(rows)
            with shares(sizes, rank), telling(self.run.compile):
                pulse.doing(f"loss of {phase.name}")
                found = phase.loss(self.called, piece, drawn)
            # Gradients are summed over processes and pieces that may hold unequal shares: each mean is weighed by its
            # number of images ÷ the global number.
            share = sizes[rank] / count
            pulse.doing(f"backward of {phase.name}")
            with telling(self.run.compile):
                torch.autograd.backward(found["loss"] * (share * phase.every))
            gradients[0].note_loss(found["loss"] * share)
            names, values = list(found), torch.stack([value.detach() for value in found.values()]) * share
            losses = values if losses is None else losses + values
        assert losses is not None
        assert done == len(draw), "a process takes its part of the global batch"
        for name, each in zip(phase.trains, gradients, strict=True):
            self.processes.add_up(each.flat, self.sums[name])
        return names, losses

    def batch(self, columns: Mapping[str, Any]) -> dict[str, Tensor]:
        """Stored columns as the batch that the recipe declares, on the device."""
        device = self.processes.device
        batch = {
            name: entry.numbers(columns[entry.column].to(device, non_blocking=True), self.dtype)
            for name, entry in self.inputs.items()
        }
        if not self.run.channels_last:
            return batch
        innermost = torch.channels_last
        return {n: v.contiguous(memory_format=innermost) if v.ndim == 4 else v for n, v in batch.items()}

    def _set_rates(self) -> None:
        progress = Progress(self.images, self.steps, self.images / self.epoch_images)
        for name, optimizer in self.optimizers.items():
            rate = self.recipe.rate(name, progress)
            for group, full in zip(optimizer.param_groups, self.full_rates[name], strict=True):
                group["lr"] = full * rate * self.rate_share

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
        kind, missing = type(self.recipe).__name__, {"recipe", "steps", "optimizers"} - found.state.keys()
        if missing:
            raise UserError(f"{found.path} says no {', no '.join(sorted(missing))}: it is no checkpoint of a training")
        if found.state["recipe"] != kind:
            raise UserError(f"{found.path} is a checkpoint of {found.state['recipe']}, this run trains {kind}")
        checkpoint.restore(found, self.networks, self.averages.shown, self.optimizers)
        self.images, self.steps = found.state["images"], found.state["steps"]
        self.rate_share = found.state.get("rate_share", 1.0)
        pulse.stands(self.steps, self.images)

    def go_back(self, found: checkpoint.Checkpoint, rate_share: float) -> None:
        """Take up an earlier checkpoint's networks, averages and optimizers, but keep the place in the stream."""
        images, steps = self.images, self.steps
        self.load(found)
        self.images, self.steps, self.rate_share = images, steps, rate_share
        pulse.stands(self.steps, self.images)

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """All tensors that a checkpoint holds, by file."""
        return checkpoint.tensors(self.networks, self.averages.state(), self.optimizers)

    def progress(self) -> dict[str, Any]:
        """What else a checkpoint must say to be taken up."""
        return {
            "images": self.images,
            "steps": self.steps,
            "rate_share": self.rate_share,
            "recipe": type(self.recipe).__name__,
            "optimizers": checkpoint.settings(self.optimizers),
        }


def micro_batches(count: int, world: int, at_most: int | None) -> list[tuple[int, ...]]:
    """How a global batch of `count` images comes in pieces: for each piece, how many images each process takes.

    Every process has equally many pieces, none of them empty, so that they can wait for one another within a piece
    (but where the batch is smaller than the world: the one piece of a process without images is 0).
    (Where the shares are unequal and `at_most` is 1, the larger ones therefore have a piece of 2.)
    """
    held = [len(part(count, rank, world)) for rank in range(world)]
    pieces = 1 if at_most is None else min(-(-max(held) // at_most), max(min(held), 1))
    return [tuple(len(part(size, piece, pieces)) for size in held) for piece in range(pieces)]
