"""G2: photos augmented on the device, against worker processes that do it one by one on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from benchmarks.device.rates import Rates, per_second
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


def time_views(batch: int, side: int, workers: int, seconds: float, turns: int, device: torch.device) -> Rates:
    """Views a second on the `device` and of `workers`, turn by turn; `side` in pixels."""
    random = np.random.default_rng(0)
    photos = random.integers(0, 256, (4 * batch, side, side, 3), np.uint8)
    kept = torch.from_numpy(photos[:batch]).to(device)
    numbers = torch.arange(batch, device=device)

    def ours() -> int:
        VIEWS.of(kept.permute(0, 3, 1, 2).to(torch.float32) / 255, Draw(0, numbers))
        return batch

    loader = DataLoader(Viewed(photos, 10**9), batch, num_workers=workers)
    batches = iter(loader)

    def theirs() -> int:
        return len(next(batches).to(device))

    def drained() -> float:
        for _ in range((loader.prefetch_factor or 0) * workers):  # what was made during our turn
            next(batches)
        return per_second(theirs, seconds, device)

    ours(), theirs()
    taken = [(per_second(ours, seconds, device), drained()) for _ in range(turns)]
    return {"device": [mine for mine, _ in taken], "workers": [other for _, other in taken]}
