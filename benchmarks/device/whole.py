"""G3: whole trainings by `waterscape train`, a command of its own, from its start to its end.

The set is synthetic and as large as the true one. The command has the settings that were fastest in G1 and an empty
cache for the compiler, and pays for all that belongs to a training: starting, compiling, reading the set into memory, a
report an epoch, pictures with measurements of held-out samples and checkpoints every so many epochs, an evaluation
before the first step and one after the last. Where only a share of the epochs is trained, the time between the first
report, after one step, and the last is scaled; what comes before and after counts once.
"""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.device.checks import recommended
from benchmarks.device.commands import run_apart
from benchmarks.device.report import Report
from benchmarks.figure import Figure
from waterscape.data.pack import SetWriter
from waterscape.errors import UserError
from waterscape.recipe import Input
from waterscape.training.events import read_events
from waterscape.training.run import Run

HELD_OUT = 256
PATIENCE, STARTING = 3, 120  # it is given up after so many times what it may take, and seconds for its start


@dataclass(frozen=True)
class Whole:
    """A training: so many epochs of so many samples may take `seconds`.

    `share` of the epochs is trained in truth. Every `every` epochs come a picture, a look for a collapse, a checkpoint.
    """

    samples: int
    epochs: int
    seconds: float
    share: float = 1.0
    every: int = 1


WHOLE = {"water_vae": Whole(62_240, 39, 60, every=4), "landscape_gan": Whole(3_000, 800, 600, 1 / 20, every=20)}
TINY = {"water_vae": Whole(64, 4, 60, 1 / 2)}


def time_whole(model: str, whole: Whole, fastest: Run, place: Path, report: Report) -> Figure:
    """Seconds of the training, `fastest` being the settings. Raises `UserError` where it does not end well."""
    data, out = place / "whole-set", place / "whole-run"
    write_samples(data, recommended(model).inputs().values(), whole.samples)
    images = round(whole.epochs * whole.share) * whole.samples
    words = training_words(model, whole, fastest, data, out, images)
    if torch.cuda.is_available():  # what was timed before leaves room for the other process
        gc.collect()
        torch.cuda.empty_cache()
    began = time.monotonic()
    most = PATIENCE * whole.share * whole.seconds + STARTING
    done = run_apart(words, most, TORCHINDUCTOR_CACHE_DIR=str(place / "compiler"))
    taken = time.monotonic() - began
    if done.code:
        told = (done.error.strip() or done.out.strip() or "no word").splitlines()[-1]
        raise UserError(f"waterscape train {model} ended with exit code {done.code}: {told}")
    reports = [event["time"] for event in read_events(out) if event["event"] == "report"]
    steps = reports[-1] - reports[0]
    seconds = taken + steps * (1 / whole.share - 1)
    options = " ".join(words[words.index("--images") :])
    report.passed(
        f"{model}, whole training",
        f"{images} images in {taken:.1f} s, {steps:.1f} of them from the first step on"
        + (f"; {whole.share:g} of the epochs, so all take {seconds:.0f} s" if whole.share < 1 else "")
        + f"; {options}",
    )
    return Figure("G3", f"{model} {fastest.precision}", seconds, "<=", whole.seconds)


def training_words(model: str, whole: Whole, fastest: Run, data: Path, out: Path, images: int) -> list[str]:
    """The command, without Python."""
    regular = str(whole.every * whole.samples)
    words = ["-m", "waterscape", "train", model, "--data", str(data), "--out", str(out)]
    words += ["--images", str(images), "--batch", str(fastest.batch), "--precision", fastest.precision]
    words += ["--channels-last"] if fastest.channels_last else []
    words += [word for name in fastest.compile for word in ("--compile", name)]
    words += ["--cache", fastest.cache, "--ahead", fastest.ahead, "--report-every", str(whole.samples)]
    words += ["--picture-every", regular, "--collapse-every", regular, "--checkpoint-every", regular]
    return [*words, "--evaluate-every", str(images), "--no-tensorboard"]


def write_samples(out: Path, inputs: Iterable[Input], samples: int) -> None:
    """Smooth noise, each sample another: pictures of a value a pixel, or photos."""
    (entry,) = {entry.column: entry for entry in inputs}.values()
    channels, height, width = entry.shape
    random = np.random.default_rng(0)
    with SetWriter(out, facts={"synthetic": True, "source": "noise, made for a measurement"}) as writer:
        for number in range(samples + HELD_OUT):
            coarse = random.integers(0, 256, (8, 8, channels), np.uint8).squeeze()
            picture = Image.fromarray(coarse).resize((width, height))
            writer.add("train" if number < samples else "valid", {entry.column: _stored(entry, picture)})
        writer.finish()


def _stored(entry: Input, picture: Image.Image) -> np.ndarray | bytes:
    if entry.column.endswith("npy"):
        low, high = entry.stored
        return np.rint(low + np.asarray(picture) / 255 * (high - low)).astype(np.uint8)
    file = io.BytesIO()
    picture.save(file, "JPEG")
    return file.getvalue()
