"""A program for tests: global layers in one process or in several, on unequal shares of the same samples.

Usage: `layers_in_ranks.py OUT [DEVICE]`. Each process writes OUT/RANK.safetensors; entries named `rows …` belong to its
own samples, all others to everybody. The processes may share one GPU.
"""

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed, nn

from waterscape.data.plan import part
from waterscape.nn.batchnorm import GlobalBatchNorm1d, GlobalBatchNorm2d
from waterscape.nn.global_batch import current, gather_batch, shares

SAMPLES = 5  # 2, 2 and 1 on three processes
DEVICE = sys.argv[2] if __name__ == "__main__" and len(sys.argv) > 2 else "cpu"
GLOBAL = {1: GlobalBatchNorm1d, 2: GlobalBatchNorm2d}
STOCK = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


def numbers(*shape, seed, dtype):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def norm(kinds, dimensions, dtype, **options):
    layer = kinds[dimensions](4, **options).to(DEVICE, dtype)
    if layer.affine:
        with torch.no_grad():
            layer.weight.copy_(numbers(4, seed=1, dtype=dtype))
            layer.bias.copy_(numbers(4, seed=2, dtype=dtype))
    return layer


def total(gradients, world):
    for gradient in gradients if world > 1 else ():
        distributed.all_reduce(gradient)
    return gradients


def cases(kinds, dtype, rank=0, world=1):
    """By name what came of each case, from this process's rows."""
    mine = part(SAMPLES, rank, world)
    rows, weight = slice(mine.start, mine.stop), len(mine) / SAMPLES
    found = {}
    for name, dimensions, options, shape in [
        ("pictures", 2, {}, (4, 6, 7)),
        ("vectors", 1, {}, (4,)),
        ("series", 1, {"momentum": None}, (4, 9)),
        ("plain", 2, {"affine": False, "track_running_stats": False}, (4, 3, 3)),
    ]:
        layer = norm(kinds, dimensions, dtype, **options)
        for call in range(2):  # the running statistics move twice; far from zero, where sums of squares cancel
            x = (5 + numbers(SAMPLES, *shape, seed=3 + call, dtype=dtype))[rows].requires_grad_()
            y = layer(x)
            loss = (y.sin() * numbers(SAMPLES, *shape, seed=8, dtype=dtype)[rows]).flatten(1).sum(1).mean() * weight
            loss.backward()
        found |= {f"rows {name}": y.detach(), f"rows {name}: gradient": x.grad}
        gradients = total([parameter.grad for parameter in layer.parameters()], world)
        found |= {f"{name}: gradient {number}": gradient for number, gradient in enumerate(gradients)}
        found |= {f"{name}: {key}": value.to(dtype) for key, value in layer.named_buffers()}
    found |= penalty(norm(kinds, 2, dtype), dtype, rows, weight, world)
    if kinds is GLOBAL:
        layer = norm(kinds, 1, dtype).requires_grad_(False)
        # A frozen layer in training mode moves its running statistics too; some process has no row of a kind.
        layer(numbers(SAMPLES, 4, seed=5, dtype=dtype)[rows][: 2 if rank == 0 else 0])
        found |= {f"one empty: {key}": value.to(dtype) for key, value in layer.named_buffers()}
    return found


def penalty(layer, dtype, rows, weight, world):
    """A gradient of a gradient, as R1 needs it."""
    x = numbers(SAMPLES, 4, 5, 5, seed=6, dtype=dtype)[rows].requires_grad_()
    (slope,) = torch.autograd.grad(layer(x).pow(3).sum(), x, create_graph=True)
    (slope.square().flatten(1).sum(1).mean() * weight).backward()
    (gradient,) = total([layer.weight.grad], world)
    return {"penalty: gradient": gradient, "rows penalty: gradient": x.grad}


def contrast(dtype, rank=0, world=1):
    """A loss that compares each sample with all others."""
    mine = part(SAMPLES, rank, world)
    x = numbers(SAMPLES, 4, seed=7, dtype=dtype)
    own = x[mine.start : mine.stop].requires_grad_()
    every = gather_batch(torch.tanh(own))
    loss = torch.logsumexp(every @ every.T, 1).mean()
    (loss * (len(mine) / SAMPLES)).backward()
    twice = gather_batch(torch.cat([own, -own]))
    labels = gather_batch(torch.arange(mine.start, mine.stop, device=DEVICE))
    return {
        "contrast": loss.detach()[None],
        "rows contrast: gradient": own.grad,
        "twice": twice.detach().sum(0),
        "labels": labels.to(dtype),
    }


def main(out):
    world, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    if world > 1:
        distributed.init_process_group("gloo")
    for dtype in (torch.float32, torch.float64):
        with shares([len(part(SAMPLES, r, world)) for r in range(world)], rank):
            found = cases(GLOBAL, dtype, rank, world) | contrast(dtype, rank, world)
            if rank == 0:  # alone: in evaluation mode no process waits for another
                layer = norm(GLOBAL, 2, dtype).eval()
                found["alone"] = layer(numbers(2, 4, 3, 3, seed=9, dtype=dtype)).detach()
        assert current() is None
        norm(GLOBAL, 1, dtype)(numbers(2 + rank, 4, seed=9, dtype=dtype))  # outside of a step: this process alone
        save_file({k: v.cpu().contiguous() for k, v in found.items()}, out / f"{dtype}-{rank}.safetensors")
    if world > 1:
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
