"""What a run shows of itself: figures of held-out samples, and a picture of rows for people to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from waterscape.data.pictures import read_stacked
from waterscape.data.samples import Samples
from waterscape.durable import replacing
from waterscape.randomness import Draw, hash64
from waterscape.recipe import Networks
from waterscape.sheet import save_png, sheet
from waterscape.training.learner import Learner

PICTURED = 8
"""Samples in a row of a picture."""
MEASURED_AT_ONCE = 32
"""Held-out samples in one batch: fixed, so that any number of processes computes the same figures."""


class Exhibit:
    """Held-out samples and the directory of pictures."""

    def __init__(self, held_out: Samples, at_most: int, out: Path, facts: dict[str, str]) -> None:
        self.held_out, self.at_most, self.out, self.facts = held_out, min(at_most, len(held_out)), out, facts

    def measure(self, learner: Learner) -> dict[str, float]:
        """The recipe's figures, of means over the held-out samples of all processes."""
        processes = learner.processes
        chunks = list(_chunks(self.at_most, MEASURED_AT_ONCE))
        sums: dict[str, Tensor] = {}
        with learner.shown() as networks:
            # Every process looks at the first batch, so that all know the figures' names, even one without a share.
            for number, samples in enumerate(chunks):
                mine = number % processes.world == processes.rank
                if not mine and number:
                    continue
                found = learner.recipe.measure(networks, self._batch(learner, samples))
                for name, value in found.items():
                    sums[name] = sums.get(name, 0) + value.double() * mine
        if not sums:
            return {}
        totals = processes.sum(torch.stack(list(sums.values()))) / self.at_most
        return dict(learner.recipe.figures(dict(zip(sums, totals.tolist(), strict=True))))

    def draw(self, learner: Learner, title: str) -> None:
        """The recipe's picture as `pictures/000020000.png`, and its rows beside it for the strip over time."""
        count = min(PICTURED, len(self.held_out))
        spread = [int(i) for i in np.linspace(0, len(self.held_out) - 1, count)]
        numbers = torch.arange(count, device=learner.processes.device)
        draw = Draw(hash64(learner.run.seed, "picture"), numbers, learner.dtype)
        with learner.shown() as networks:
            rows = learner.recipe.picture(networks, self._batch(learner, spread), draw)
            digest = weights_sha256(networks)
        pictured = {name: as_array(row) for name, row in rows.items()}
        self.out.mkdir(exist_ok=True)
        name = f"{learner.images:012d}"
        with replacing(self.out / f"{name}.npz") as path:
            np.savez_compressed(path, **{n: np.rint(255 * row).astype(np.uint8) for n, row in pictured.items()})
        # Whether a checkpoint of these weights will ever stand is not known yet; their own hash names them.
        facts = {**self.facts, "images": str(learner.images), "weights_sha256": digest}
        save_png(sheet(pictured, title=title, scale=2), self.out / f"{name}.png", **facts)

    def _batch(self, learner: Learner, samples: Sequence[int]) -> dict[str, Tensor]:
        read = read_stacked(self.held_out, samples, learner.columns, learner.pictures)
        self.held_out.close()  # held open, its tars could not be evicted from a cache
        return learner.batch(read)


def weights_sha256(networks: Networks) -> str:
    """Of networks as people use them: the same for those that a checkpoint of them gives."""
    found = hashlib.sha256()
    for name, network in sorted(networks.items()):
        for key, value in network.state_dict().items():
            found.update(f"{name}.{key}".encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def as_array(images: Tensor) -> np.ndarray:
    """Pictures (N C H W, 0..1) as `sheet` wants them: N H W, or N H W 3."""
    array: np.ndarray = images.detach().float().clamp(0, 1).cpu().numpy()
    return array[:, 0] if array.shape[1] == 1 else array.transpose(0, 2, 3, 1)


def _chunks(total: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, total)) for start in range(0, total, size))
