"""A small synthetic set of pairs of tile and photo, and runs of the two models that learn from it, trained briefly."""

import io

import numpy as np
from PIL import Image
from programs import run
from scipy import ndimage

from waterscape.data.pack import SetWriter

USUAL = ["--side", 16, "--batch", 8, "--picture-every", 10**6, "--no-tensorboard"]


def jpeg(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def write_pairs(out, samples=48):
    """Synthetic pairs whose photo has the colour of its tile."""
    random = np.random.default_rng(0)
    facts = {"synthetic": True, "tiles": {"pixels": [160, 160], "metres_per_pixel": 2.5}}
    with SetWriter(out, facts=facts, samples_per_shard=16) as writer:
        for number in range(samples):
            colour = random.uniform(40, 215, 3)
            rough = ndimage.gaussian_filter(random.normal(0, 60, (160, 160, 1)), (2, 2, 0))
            tile, photo = (np.clip(colour + part, 0, 255).astype(np.uint8) for part in (rough, rough[:64, :64]))
            values = {"satellite.jpg": jpeg(tile), "photo.jpg": jpeg(photo), "json": {"synthetic": True}}
            writer.add("valid" if number % 6 == 5 else "train", values)
        writer.finish()
    return out


def train_landscapes(pairs, out):
    """A landscape GAN trained for a moment on the photos of the pairs."""
    words = ["--data", pairs, "--columns", "jpg=photo.jpg", "--width", 4, "--images", 32]
    run("train", "landscape_gan:small", "--out", out, *words, *USUAL)
    return out


def train_encoder(pairs, landscapes, out, *words, images=24, preset="recommended"):
    """A satellite encoder trained for a moment."""
    usual = ["--data", pairs, "--start", f"generator={landscapes}", "--resized", 128, "--images", images, *USUAL]
    run("train", f"satellite_encoder:{preset}", "--out", out, *usual, *words)
    return out
