"""A small synthetic set with whatever columns a model reads, for proofs that need data but no meaning."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from waterscape.data.pack import SetWriter
from waterscape.recipe import Input

HELD_OUT = 16
SMALLEST_PHOTO = 64  # pixels a side, where the model names none


def write_made_set(out: Path, inputs: Iterable[Input], samples: int, seed: int = 0) -> Path:
    """Smooth noise for pictures, any class for classes: `samples` of them to train on. Returns `out`."""
    columns = {entry.column: entry for entry in inputs}
    classes = next((entry.classes for entry in columns.values() if entry.classes), ())
    random = np.random.default_rng(seed)
    facts = {"synthetic": True, "source": "noise, made for a proof", "classes": list(classes)}
    with SetWriter(out, facts=facts, samples_per_shard=32) as writer:
        for number in range(samples + HELD_OUT):
            split = "train" if number < samples else "valid"
            writer.add(split, {column: _stored(entry, random) for column, entry in columns.items()})
        writer.finish()
    return out


def _stored(entry: Input, random: np.random.Generator) -> NDArray[Any] | bytes:
    """One sample's value of a column, as shards hold it."""
    if entry.classes:
        return np.array(random.integers(len(entry.classes)), np.uint8)
    if len(entry.shape) == 1:
        low, high = entry.stored
        return (low + random.random(entry.shape) * (high - low)).astype(np.float32)
    channels, height, width = entry.shape if len(entry.shape) == 3 else (1, SMALLEST_PHOTO, SMALLEST_PHOTO)
    coarse = random.random((8, 8, channels))
    smooth = np.clip(ndimage.zoom(coarse, (height / 8, width / 8, 1), order=1), 0, 1)
    if not entry.column.endswith("npy"):
        file = io.BytesIO()
        Image.fromarray((255 * smooth).astype(np.uint8)[..., : 3 if channels == 3 else 1].squeeze()).save(file, "JPEG")
        return file.getvalue()
    low, high = entry.stored
    stored = low + smooth * (high - low)
    stored = stored[..., 0] if channels == 1 else stored
    whole = 0 <= low < high <= 255 and high - low > 1
    array: NDArray[Any] = np.rint(stored).astype(np.uint8) if whole else stored.astype(np.float32)
    return array
