"""B10: 1 − SSIM as the enlarger descends it, forward and backward, against pytorch-msssim and kornia.

Ours: `nn.losses.structural_dissimilarity`, which lays its window on by matrix products. Peers: pytorch-msssim's `SSIM`,
and kornia's `ssim_loss` without padding, in an environment of its own, both by convolutions; the three losses are
compared first. Sixteen pairs of synthetic tiles of 64×64 and of 256×256 pixels, one thread of torch; pairs a second,
taken in turn.

Told besides: the share of the limit, our products and sums at the rate of a large matrix product, and of the roofline,
operation by operation; and what part of a step of `water_enlarger` (8 tiles, 128×128 seen) it is, with the library's in
its place and with ours: being faster pays where that part is large.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from pytorch_msssim import SSIM
from torch import Tensor

from benchmarks.b06_writing import make_samples
from benchmarks.figure import Figure, note
from benchmarks.peers import PeerProcess, versions_of
from benchmarks.surroundings import scratch
from benchmarks.turns import Rate, take_turns
from waterscape import models
from waterscape.data.pack import SetWriter
from waterscape.nn.losses import structural_dissimilarity
from waterscape.profiling.roofline import Counting, measure_rates
from waterscape.profiling.stepper import Stepper
from waterscape.training.processes import Processes
from waterscape.training.run import Run
from waterscape.training.torch_threads import torch_threads

VERSIONS = {**versions_of("kornia"), "pytorch-msssim": version("pytorch-msssim")}
BATCH = 16
TURNS = {64: 40, 256: 2}  # side in pixels → times in a turn
STEP_BATCH, STEP_SIDE, STEPS = 8, 128, 4
BRIEF = {"TURNS": {64: 2, 256: 1}, "STEPS": 1}
LIBRARY = SSIM(data_range=1.0, channel=1)  # its window is made once, as ours is

Loss = Callable[[Tensor, Tensor], Tensor]


def figures() -> Iterator[Figure]:
    """Ratio to each peer at both sizes."""
    with torch_threads(1), scratch() as directory:
        for side, times in TURNS.items():
            made, true = pairs(BATCH, side)
            kept = directory / f"{side}.npz"
            np.savez(kept, made=made.detach().numpy(), true=true.numpy(), loss=agreed(made, true))
            sides: dict[str, Rate] = {
                "ours": partial(rate, ours, made, true, times),
                "pytorch-msssim": partial(rate, plain, made, true, times),
                "kornia": PeerProcess("kornia", kept, times),
            }
            rates = take_turns(f"B10 {side}", sides)
            yield Figure.over("B10", f"msssim{side}", rates["ours"] / rates["pytorch-msssim"], ">=", 1)
            yield Figure.over("B10", f"kornia{side}", rates["ours"] / rates["kornia"], ">=", 1)
            tell_limit(made, true, float(np.median(rates["ours"])))
        tell_part_of_a_step(directory)


def pairs(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Synthetic tiles and noisy ones that a network might have made of them: N 1 side side, in 0..1."""
    whole = [np.asarray(sample["occurrence.npy"])[:side, :side] for sample in islice(cycle(make_samples()), count)]
    true = torch.from_numpy(np.stack(whole)).float().div(100)[:, None]
    made = (true + 0.05 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    return made.requires_grad_(), true


def ours(made: Tensor, true: Tensor) -> Tensor:
    """As the models call it."""
    return structural_dissimilarity(made, true)


def plain(made: Tensor, true: Tensor) -> Tensor:
    """The library's."""
    likeness: Tensor = LIBRARY(made, true)
    return 1 - likeness


def agreed(made: Tensor, true: Tensor) -> float:
    """The loss, the same by ours and the library's; kornia's program compares its own with it."""
    found = ours(made, true).item()
    if abs(found - plain(made, true).item()) > 1e-6:
        raise AssertionError("ours and the library's losses differ")
    return found


def rate(loss: Loss, made: Tensor, true: Tensor, times: int) -> float:
    """Pairs a second, forward and backward."""
    began = time.perf_counter()
    for _ in range(times):
        made.grad = None
        torch.autograd.backward(loss(made, true))
    return times * len(made) / (time.perf_counter() - began)


def tell_limit(made: Tensor, true: Tensor, found: float) -> None:
    """The share of the arithmetic alone, and of the roofline."""
    rates = measure_rates(made.device, made.dtype)
    made.grad = None
    with Counting(rates) as counting:
        torch.autograd.backward(ours(made, true))
    work = sum(part.flops for part in counting.parts.values())
    least = sum(part.least for part in counting.parts.values())
    taken = len(made) / found
    told = f"{work / taken / rates.flops:.3f} of its products at {rates.flops / 1e9:.0f} Gflop/s"
    note(f"B10 {made.shape[-1]} limit: {told}, {least / taken:.2f} of the roofline")


def tell_part_of_a_step(directory: Path) -> None:
    """What part of the enlarger's step the loss is, in the run's first part, without a discriminator."""
    with SetWriter(directory / "tiles", facts={"synthetic": True}) as writer:
        for sample in make_samples():
            writer.add("train", {name: sample[name] for name in ("occurrence.npy", "occurrence64.npy")})
    recipe = models.presets("water_enlarger")["recommended"]
    run = Run(out=directory, data=str(directory / "tiles"), batch=STEP_BATCH)
    made, true = pairs(STEP_BATCH, STEP_SIDE)
    with Stepper(recipe, run, Processes(None, "float32", directory), directory / "run") as stepper:

        def steps() -> float:
            began = time.perf_counter()
            for _ in range(STEPS):
                stepper.step()
            return STEPS * STEP_BATCH / (time.perf_counter() - began)

        losses = {"ours": ours, "pytorch-msssim": plain}
        sides = {name: partial(rate, loss, made, true, STEPS) for name, loss in losses.items()}
        rates = take_turns("B10 step", {"step": steps, **sides})
    spent = {name: float(np.median(1 / rates[name])) for name in rates}
    rest = spent["step"] - spent["ours"]
    shares = ", ".join(f"{spent[name] / (rest + spent[name]):.1%} of it by {name}" for name in losses)
    faster = (rest + spent["pytorch-msssim"]) / spent["step"]
    note(f"B10 a step of water_enlarger: {shares}; the step is {faster:.2f} times as fast with ours")
