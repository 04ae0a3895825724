"""A small recipe with all that is hard, and a program that trains it in one process or in several.

Batch statistics in a layer and in a loss, two phases that share a network, a lazy one, a network that nobody trains, a
fused and an unfused optimizer, an average. Usage: `toy.py OUT MICRO_BATCH [BATCH]`; each process writes
OUT/RANK.safetensors.
"""

# ruff: noqa: ARG002 the contract names the arguments

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from waterscape.data.plan import reading
from waterscape.nn.batchnorm import GlobalBatchNorm2d
from waterscape.nn.global_batch import gather_batch
from waterscape.randomness import Draw
from waterscape.recipe import Input, Phase, Recipe
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

BATCH = 5
IMAGES = 30
NAN, INFINITE = 12, 24  # samples of step 2, in its first phase, and of step 4, in its second; each in one process


@dataclass(frozen=True)
class Toy(Recipe):
    statistics: bool = True

    def inputs(self):
        return {"x": Input("x.npy", (1, 4, 4))}

    def networks(self, starts):
        norm = GlobalBatchNorm2d(3) if self.statistics else nn.Identity()
        body = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), norm, nn.Tanh(), nn.Flatten(), nn.Linear(12, 4))
        return {"body": body, "head": nn.Linear(4, 2), "fixed": nn.Sequential(nn.BatchNorm2d(1), nn.Flatten())}

    def phases(self):
        return Phase("both", ("body", "head"), self.both), Phase("head", ("head",), self.head, every=2)

    def both(self, networks, batch, draw):
        seen = networks["body"](batch["x"]) + 0.1 * draw.normal("noise", 4)
        loss = networks["head"](seen).square().mean() + networks["fixed"](batch["x"]).mean()
        if self.statistics:
            every = gather_batch(seen)
            loss = loss + torch.logsumexp(every @ every.T, 1).mean()
        return {"loss": loss}

    def head(self, networks, batch, draw):
        seen = networks["body"](batch["x"].clamp(max=1))  # trains no body, but moves its statistics
        room = torch.log(2 - batch["x"].flatten(1).amax(1))  # the loss is infinite where a number is 2, not its slope
        return {"loss": (networks["head"](seen) - 1).square().mean() + room.mean()}

    def optimizer(self, name, network):
        if name == "body":
            return torch.optim.Adam(network.parameters(), lr=1e-2, fused=True)
        return torch.optim.SGD(network.parameters(), lr=1e-2, momentum=0.9)

    def averages(self):
        return {"body": 50.0}

    def picture(self, networks, batch, draw):
        return {}


def columns(numbers, broken=True):
    values = Draw(3, numbers, torch.float64).uniform("x", 4, 4)
    if broken:
        values[numbers == NAN, 1, 2] = torch.nan
        values[numbers == INFINITE, 1, 2] = 2
    return {"x.npy": values}


def learner(processes, precision="float64", micro_batch=None, batch=BATCH, **options):
    recipe = Toy(**options)
    with torch.random.fork_rng():
        torch.manual_seed(processes.rank)  # the first process's weights must become everybody's
        networks = recipe.networks({})
    run = Run(out=Path("unused"), batch=batch, precision=precision, micro_batch=micro_batch, record_draws=True)
    return Learner(recipe, run, networks, processes, epoch_images=100)


def step(taught, number, broken=True):
    """The step of that number; returns the losses of this process."""
    processes, batch = taught.processes, taught.run.batch
    mine = reading(batch, processes.rank, processes.world)
    numbers = torch.arange(mine.start, mine.stop) + batch * number
    return taught.step(columns(numbers, broken), numbers, batch)


def state(taught):
    """Every tensor that must survive, by name."""
    return {f"{file}: {name}": value.clone() for file, held in taught.tensors().items() for name, value in held.items()}


def main(out, micro_batch, batch=BATCH):
    processes = Processes(None, "float64", out)
    found = {}
    for statistics in (True, False):
        taught = learner(processes, micro_batch=None if statistics else micro_batch, batch=batch, statistics=statistics)
        for number in range(IMAGES // batch):
            losses = step(taught, number)
            for name, value in losses.items():
                found[f"{statistics} loss {number}: {name}"] = processes.sum(value)
            found[f"{statistics} good {number}"] = taught.good.double()
        found |= {f"{statistics} {name}": value for name, value in state(taught).items()}
    save_file({name: value.contiguous() for name, value in found.items()}, out / f"{processes.rank}.safetensors")
    processes.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
