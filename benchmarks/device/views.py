"""G2: photos augmented on the device, against worker processes that do it one by one on the processor."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from benchmarks.device.rates import Rates, per_second
from benchmarks.device.report import Report
from benchmarks.turns import best
from waterscape.nn.photo_views import Views
from waterscape.randomness import Draw

VIEWS = Views(crop=0.9, degrees=10, mirrored=0.5, area=(0.7, 1), brightness=0.2, contrast=0.2, saturation=0.2)


class Viewed(Dataset[Any]):
    """Photos augmented one by one on the processor, by Pillow, as torchvision's transforms of such pictures do."""

    def __init__(self, photos: np.ndarray, length: int) -> None:
        self.photos, self.length = photos, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> torch.Tensor:
        random = np.random.default_rng(number)
        photo = Image.fromarray(self.photos[number % len(self.photos)])
        side = photo.width
        left, top = random.integers(0, side - int(0.9 * side) + 1, 2)
        photo = photo.crop((left, top, left + int(0.9 * side), top + int(0.9 * side)))
        photo = photo.rotate(random.uniform(-10, 10), Image.Resampling.BILINEAR)
        if random.random() < 0.5:
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        photo = photo.resize((side, side), Image.Resampling.BILINEAR)
        for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            photo = kind(photo).enhance(random.uniform(0.8, 1.2))
        return torch.from_numpy(np.asarray(photo, np.uint8).copy())


def time_views(
    batch: int, side: int, workers: Sequence[int], seconds: float, turns: int, device: torch.device, report: Report
) -> Rates:
    """Views a second of the `device` and of worker processes, the best number of `workers`, turn by turn.

    Both begin with photos (`side` pixels) in the host's memory and end with a batch of float32 on the device; what is
    copied there comes from pinned memory, without waiting. Workers go on during our turn until their queues are full:
    the processor that they take is lost to us, and theirs is measured only once those batches are used up.
    """
    random = np.random.default_rng(0)
    photos = random.integers(0, 256, (4 * batch, side, side, 3), np.uint8)
    pinned = device.type == "cuda"
    held = torch.from_numpy(photos).pin_memory() if pinned else torch.from_numpy(photos)
    pieces = itertools.cycle(torch.split(held, batch))
    numbers = torch.arange(batch, device=device)

    def ours() -> int:
        VIEWS.of(as_numbers(next(pieces), device), Draw(0, numbers))
        return batch

    def theirs(count: int) -> Callable[[], float]:
        loader = DataLoader(
            Viewed(photos, 10**9), batch, num_workers=count, pin_memory=pinned, persistent_workers=count > 0
        )
        batches = iter(loader)

        def work() -> int:
            return len(as_numbers(next(batches), device))

        def drained() -> float:
            for _ in range((loader.prefetch_factor or 0) * count):  # what was made while we were not looking
                next(batches)
            return per_second(work, seconds, device)

        return drained

    found = {count: theirs(count) for count in workers}
    count = best("G2", dict(found), "workers")
    rate = found[count]
    found.clear()  # ends the others' processes
    report.passed("views", f"of {', '.join(map(str, workers))} workers, {count} are the fastest")
    ours()
    taken = [(per_second(ours, seconds, device), rate()) for _ in range(turns)]
    return {"device": [mine for mine, _ in taken], "workers": [other for _, other in taken]}


def as_numbers(photos: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Stored photos (N S S 3) on the device, as pictures in 0..1 (N 3 S S)."""
    return photos.to(device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32) / 255
