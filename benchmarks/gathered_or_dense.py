"""Patches gathered or convolutions over the whole tile? `python -m benchmarks.gathered_or_dense`: what a step costs.

Label correction teaches a network on pixels drawn from a tile. `gathered` copies the 7 × 7 surroundings of a batch of
them and runs the network on these (`labels/learner.py`); `dense` runs its convolutions over the whole tile and takes
the loss at the batch's pixels alone. For each size of batch: milliseconds a step (gather, forward, backward, Adam) and
pixels a second of both, and how far apart what they teach is, as the largest relative difference of loss and gradients.
One thread, as each process of a correction has; the sides taken in turn, the median of the rounds; a synthetic tile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.turns import take_turns
from waterscape.labels.features import Patches, seven_features
from waterscape.labels.learner import fresh_network
from waterscape.randomness import permutation
from waterscape.sources.landsat.bands import band_stack
from waterscape.sources.world.landsat import draw_scene

BATCHES = {128: (16, 256, 4096, 128 * 128), 512: (16, 256, 4096)}
"""Pixels a step, by the tile's side, which is that of the windows of HLS and about that of the reference's tiles.

16 is the literal recipe's, 256 that of `fast` and `recommended`, 4096 the reference's in training.
"""
ROUNDS = 5
PIXELS = 4096
"""Of a turn, at least as many as of one step: one step on 16 patches is too short to be timed."""


class Gathered:
    """The loss on pixels (N) of a tile, by their patches."""

    def __init__(self, patches: Patches, classes: Tensor) -> None:
        self.patches, self.classes = patches, classes.ravel()
        self.network = fresh_network(0)

    def loss(self, pixels: np.ndarray) -> Tensor:
        """Cross-entropy, the mean over the pixels."""
        scores = self.network(torch.from_numpy(self.patches.gather(pixels)))[:, :, 0, 0]
        return functional.cross_entropy(scores, self.classes[torch.from_numpy(pixels)])


class Dense(Gathered):
    """The same by one pass over the tile."""

    def loss(self, pixels: np.ndarray) -> Tensor:
        """Cross-entropy, the mean over the pixels."""
        chosen = torch.from_numpy(pixels)
        scores = self.network(torch.from_numpy(self.patches.raster)[None])[0].flatten(1).T
        return functional.cross_entropy(scores[chosen], self.classes[chosen])


def stepping(way: Gathered, batch: int) -> Callable[[], float]:
    """Steps a second of training in batches of drawn pixels."""
    optimizer = torch.optim.Adam(way.network.parameters(), 1e-5)
    order = permutation(len(way.classes), 0, "epoch")
    # dense steps cost the same for any batch, and enough of them to be timed
    steps = 1 if isinstance(way, Dense) else max(1, PIXELS // batch)

    def rate() -> float:
        started = time.perf_counter()
        for step in range(steps):
            loss = way.loss(order[step * batch : (step + 1) * batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return steps / (time.perf_counter() - started)

    return rate


def apart(one: Gathered, other: Gathered, batch: int) -> float:
    """The largest relative difference of loss and gradients of a batch, both from the same weights."""
    found = []
    for way in (one, other):
        way.network.zero_grad()
        loss = way.loss(permutation(len(way.classes), 0, "epoch")[:batch])
        loss.backward()  # type: ignore[no-untyped-call]
        found.append([loss.detach(), *(weight.grad for weight in way.network.parameters() if weight.grad is not None)])
    return max(float((a - b).norm() / a.norm()) for a, b in zip(*found, strict=True))


def table(side: int) -> Iterator[str]:
    """A line for each size of batch."""
    scene = draw_scene(0, side)
    patches = Patches(seven_features(band_stack(scene.reflectances, scene.elevation)))
    classes = torch.from_numpy(np.where(scene.water, 0, 1))
    yield f"{side} × {side} pixels   ms a step               pixels a second         apart"
    yield "batch            gathered       dense    gathered       dense"
    for batch in BATCHES[side]:
        ways: dict[str, Gathered] = {"gathered": Gathered(patches, classes), "dense": Dense(patches, classes)}
        differ = apart(*ways.values(), batch)
        rates = take_turns(f"batch {batch}", {name: stepping(way, batch) for name, way in ways.items()}, ROUNDS)
        steps = {name: float(np.median(each)) for name, each in rates.items()}
        told = [f"{1e3 / steps[name]:11.2f}" for name in ways] + [f"{steps[name] * batch:11,.0f}" for name in ways]
        yield f"{batch:<14,} {' '.join(told)} {differ:10.1e}"


def main() -> None:
    """Print a table for each size of tile."""
    torch.set_num_threads(1)
    for side in BATCHES:
        for line in table(side):
            print(line, flush=True)


if __name__ == "__main__":
    main()
