"""Synthetic photos whose colour tells their class, a set of them, and a small classifier that has learnt it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from programs import run

from waterscape.data.pack import SetWriter
from waterscape.models.scene_classifier import SCENES


def photo(kind, number, height=100, width=120):
    """A synthetic photo whose colour tells its class."""
    random = np.random.default_rng(number)
    colour = np.array([[60 + 140 * (kind >> bit & 1) for bit in range(3)]])  # black, red, green, yellow, …
    grain = random.normal(0, 20, (height, width, 3))
    return Image.fromarray(np.clip(colour + grain, 0, 255).astype(np.uint8))


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92, **options)
    return stream.getvalue()


def write_scenes(out, classes=SCENES, samples=84):
    with SetWriter(out, facts={"classes": list(classes), "synthetic": True}, samples_per_shard=32) as writer:
        for number in range(samples):
            kind = number % len(classes)
            split = ("train", "train", "valid", "test")[number // len(classes) % 4]
            told = {"region": "synthetic", "source": f"{number}.jpg"}
            values = {"jpg": jpeg(photo(kind, number)), "class.npy": np.array(kind, np.uint8), "json": told}
            writer.add(split, values)
        writer.finish()
    return out


def train_classifier(scenes, out):
    """A run of `scene_classifier:small` that calls more than six in ten of them right."""
    words = ["--side", 32, "--widths", 8, 16, "--batch", 14, "--images", 448, "--balance", "class.npy"]
    more = ["--average-images", 0, "--learning-rate", 0.01, "--picture-every", 10**6, "--no-tensorboard"]
    run("train", "scene_classifier:small", "--data", scenes, "--out", out, *words, *more)
    return out
