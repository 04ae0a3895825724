"""A pixel network taught on chosen pixels of one tile, and asked about all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from waterscape.labels.features import FEATURES
from waterscape.nn.pixel_network import PixelNetwork
from waterscape.randomness import hash64, permutation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.labels.features import Patches


def fresh_network(seed: int, *purpose: int | str) -> PixelNetwork:
    """An untaught network of the seven features; the same seed and purpose give the same one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hash64(seed, "network", *purpose) >> 32)
        return PixelNetwork(len(FEATURES))


def teach(
    network: PixelNetwork,
    patches: Patches,
    pixels: NDArray[np.int64],
    water: NDArray[np.bool_],
    *,
    epochs: int,
    batch: int,
    rate: float,
    seed: int,
) -> None:
    """Adam (Kingma & Ba 2015) on the cross-entropy of the pixels (N), whose label is `water` (N), in shuffled batches.

    Patches are gathered for each batch: a tile's own would take 49 times its memory.
    """
    optimizer = torch.optim.Adam(network.parameters(), rate)
    classes = torch.from_numpy(np.where(water, 0, 1))  # channel 0 is water
    network.train()
    for epoch in range(epochs):
        order = permutation(len(pixels), seed, "epoch", epoch)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            scores = network(torch.from_numpy(patches.gather(pixels[chosen])))[:, :, 0, 0]
            loss = functional.cross_entropy(scores, classes[torch.from_numpy(chosen)])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


@torch.no_grad()
def water_probability(network: PixelNetwork, patches: Patches) -> NDArray[np.float32]:
    """The probability of water of each pixel (H W), by one pass of the convolutions; NaN where it is not known."""
    network.eval()
    scores = network(torch.from_numpy(patches.raster)[None])[0]
    probability: NDArray[np.float32] = torch.softmax(scores, 0)[0].numpy()
    return np.where(patches.known, probability, np.float32(np.nan))
