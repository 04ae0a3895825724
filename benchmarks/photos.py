"""Synthetic photos of a realistic size, in shards: the spectrum of natural scenes, JPEG of quality 85."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from waterscape.data.batches import ShardSet
from waterscape.data.pack import SetWriter

HEIGHT, WIDTH = 480, 640
MADE = 96  # different ones; each comes again under other keys


def make_photo(random: np.random.Generator) -> bytes:
    """A field whose power falls with frequency as that of natural scenes does, nearly the same in all colours."""
    noise = np.fft.rfft2(random.normal(size=(HEIGHT, WIDTH, 3)), axes=(0, 1))
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])[:, :, None]
    frequency[0, 0] = 1
    field = np.fft.irfft2(noise / frequency**1.5, s=(HEIGHT, WIDTH), axes=(0, 1))
    field = 1.6 * field.mean(2, keepdims=True) + 0.2 * field
    picture = np.clip(128 + 50 * field / field.std(), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=85)
    return stream.getvalue()


def write_photos(out: Path, count: int) -> ShardSet:
    """A split of photos, 128 a shard."""
    random = np.random.default_rng(0)
    photos = [make_photo(random) for _ in range(MADE)]
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=128) as writer:
        for number in range(count):
            writer.add("train", {"jpg": photos[number % MADE]})
        writer.finish()
    return ShardSet(out, "train")
