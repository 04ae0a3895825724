"""G1: on a GPU: each model's fast settings against plain eager float32; G2, G3: augmentation, and whole trainings.

First it checks: from equal weights, the fast settings have the plain ones' gradients up to float32's rounding, and the
device has the processor's; in bfloat16, which is a row of its own, up to that one's. Only then it times, all within ten
minutes on a GPU. Row G1 of `python -m benchmarks` where there is a GPU. `python -m benchmarks.g01_device --small` takes
the same way on whatever is there, in a minute: it shows that the script is ready, and its figures say nothing of a GPU.
All data are synthetic.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch.utils.data import DataLoader, Dataset

from benchmarks.figure import Figure, NotHereError, note
from waterscape import models
from waterscape.errors import UserError, run_command
from waterscape.models.water_enlarger import WaterEnlarger
from waterscape.nn.photo_views import Views
from waterscape.profiling.stepper import Stepper, gradients_of
from waterscape.profiling.trace import device_busy, write_trace
from waterscape.profiling.ways import in_precision
from waterscape.proof.made_set import write_made_set
from waterscape.randomness import Draw
from waterscape.recipe import Recipe
from waterscape.training.processes import Processes
from waterscape.training.run import Run

# How far gradients may be apart, of their length: on two machines, by other programs, in bfloat16 against float32.
AGAINST_CPU, AGAINST_PLAIN, IN_BFLOAT16 = 2e-2, 1e-3, 0.3
VIEWS = Views(crop=0.9, degrees=10, mirrored=0.5, area=(0.7, 1), brightness=0.2, contrast=0.2, saturation=0.2)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    models: tuple[str, ...]
    batch: int
    samples: int
    seconds: float  # of each turn
    turns: int
    side: int  # pixels of the photos that are augmented
    workers: int
    compiled: int | None  # networks of a model that are tried, since each takes a compiler's seconds; None: all


SMALL = Size(("water_vae",), 4, 16, 0.1, 1, 32, 1, 1)


def full() -> Size:
    """As a GPU is to be measured."""
    known = tuple(model for model in models.names() if not recommended(model).wants())
    return Size(known, 128, 1024, 1.0, 7, 128, min(16, os.cpu_count() or 1), None)


def recommended(model: str) -> Recipe:
    """A model's preset."""
    return models.presets(model)[models.DEFAULT_PRESET]


def figures() -> Iterator[Figure]:
    """All three rows, where there is a GPU."""
    if not torch.cuda.is_available():
        raise NotHereError("no GPU (`python -m benchmarks.g01_device --small` tries the script without one)")
    yield from measure(full())


def measure(size: Size) -> Iterator[Figure]:
    """Checks, then figures."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        processes = Processes(None, "float32", root)
        note(f"G on {processes.device}: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'}")
        fast = {model: fast_run(model, size, processes, root / model) for model in size.models}
        rates = {}
        for model, run in fast.items():
            ratios, rates[model] = time_model(model, run, size, processes, root / model)
            yield Figure.over("G1", model, ratios, ">=", 4)
            half = in_bfloat16(model, run, processes, root / model)
            ratios, _ = time_model(model, half, size, processes, root / model)
            yield Figure.over("G1", f"{model} bfloat16", ratios, ">=", 4)
            busy = live_busy(model, run, processes, root / model)
            if busy is not None:
                yield Figure("G1", f"{model} busy", busy, ">=", 0.95)
        yield Figure.over("G2", "views", time_views(size, processes.device), ">=", 5)
        for model, images, limit in (("water_vae", 39 * 62_240, 60), ("landscape_gan", 800 * 3_000, 600)):
            if model in rates:
                yield Figure("G3", model, images / rates[model], "<=", limit)


def plain_run(model: str, size: Size, place: Path) -> Run:
    """Eager float32 on synthetic samples, live."""
    data = place / "set"
    if not data.exists():
        write_made_set(data, recommended(model).inputs().values(), size.samples)
    return Run(out=place, data=str(data), batch=size.batch, ahead="no", tensorboard=False, skip_damaged=0)


def fast_run(model: str, size: Size, processes: Processes, place: Path) -> Run:
    """The fast settings, checked: every network compiled that can be. Raises `UserError` where gradients are others."""
    plain = plain_run(model, size, place)
    fast = dataclasses.replace(plain, channels_last=True, cache="device", ahead="yes")
    wanted = first_gradients(model, plain, processes, place / "plain")
    trained = list(dict.fromkeys(name for phase in recommended(model).phases() for name in phase.trains))
    for name in trained[: size.compiled]:
        tried = dataclasses.replace(fast, compile=(*fast.compile, name))
        try:
            first_gradients(model, tried, processes, place / f"try-{name}")
        except UserError as reason:
            note(f"G {model}: {name} stays eager: {reason}")
        else:
            fast = tried
    apart(model, "fast settings", first_gradients(model, fast, processes, place / "fast"), wanted, AGAINST_PLAIN)
    if processes.device.type != "cpu":
        device, processes.device = processes.device, torch.device("cpu")
        here = first_gradients(model, plain, processes, place / "cpu")
        processes.device = device
        apart(model, "the device", wanted, here, AGAINST_CPU)
    return fast


def in_bfloat16(model: str, fast: Run, processes: Processes, place: Path) -> Run:
    """The fast settings in bfloat16, checked. Raises `UserError` where gradients are others."""
    half = dataclasses.replace(fast, precision="bfloat16")
    with in_precision(half, fast, processes) as here:
        found = first_gradients(model, half, here, place / "half")
    wanted = first_gradients(model, fast, processes, place / "whole")
    apart(model, "bfloat16", found, wanted, IN_BFLOAT16)
    return half


def first_gradients(model: str, run: Run, processes: Processes, place: Path) -> dict[str, torch.Tensor]:
    """Of one step from the seed's weights, float32 being all of float32 where a GPU would round it to TF32."""
    with (
        torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        Stepper(checked(model), run, processes, place) as stepper,
    ):
        stepper.step()
        return gradients_of(stepper)


def checked(model: str) -> Recipe:
    """A model's preset, with all networks at work in the first step."""
    recipe = recommended(model)
    return dataclasses.replace(recipe, adversarial_images=0) if isinstance(recipe, WaterEnlarger) else recipe


def apart(model: str, what: str, one: dict[str, Any], other: dict[str, Any], most: float) -> None:
    """Raise `UserError` where gradients are further from others than rounding takes them, or there are none."""
    for name, value in one.items():
        length = float(other[name].norm())
        if not length > 0:
            raise UserError(f"{model}, {name}: no gradient reaches it, so {what} cannot be checked: not timed")
        found = float((value - other[name]).norm()) / length
        note(f"G {model} {name}: gradients by {what} are {found:.1e} apart")
        if not found <= most:
            raise UserError(f"{model}, {name}: gradients by {what} are {found:.1e} apart, and {most} may be: not timed")


def time_model(model: str, fast: Run, size: Size, processes: Processes, place: Path) -> tuple[Sequence[float], float]:
    """Images a second, fast over plain, turn by turn; and those of the fast settings."""
    plain = plain_run(model, size, place)
    with contextlib.ExitStack() as stack:
        with in_precision(fast, plain, processes) as here:
            one = stack.enter_context(Stepper(recommended(model), fast, here, place / f"{fast.precision}-timed"))
        other = stack.enter_context(Stepper(recommended(model), plain, processes, place / "plain-timed"))
        taken = [[rate(side, size, processes.device) for side in (one, other)] for _ in range(size.turns + 1)][1:]
    note(
        f"G {model}, {fast.precision}: {np.median([fast for fast, _ in taken]):,.0f} images/s, "
        f"compiled: {', '.join(fast.compile) or '-'}"
    )
    return [fast / plain for fast, plain in taken], float(np.median([fast for fast, _ in taken]))


def rate(side: Stepper, size: Size, device: torch.device) -> float:
    """Images a second over some time."""
    return per_second(lambda: side.step() and size.batch, size.seconds, device)


def per_second(work: Callable[[], int], seconds: float, device: torch.device) -> float:
    """What `work` says it has done, a second."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return done / (time.perf_counter() - began)


def live_busy(model: str, fast: Run, processes: Processes, place: Path) -> float | None:
    """The share of time in which the device computes, with samples read live from the shards."""
    live = dataclasses.replace(fast, cache="none")
    with Stepper(recommended(model), live, processes, place / "live") as stepper:
        for _ in range(3):
            stepper.step()
        return device_busy(write_trace(stepper.step, 10, place / "live.json.gz"))


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


def time_views(size: Size, device: torch.device) -> Sequence[float]:
    """Views a second on the device, over those of worker processes."""
    random = np.random.default_rng(0)
    photos = random.integers(0, 256, (4 * size.batch, size.side, size.side, 3), np.uint8)
    kept = torch.from_numpy(photos[: size.batch]).to(device)
    numbers = torch.arange(size.batch, device=device)

    def ours() -> int:
        VIEWS.of(kept.permute(0, 3, 1, 2).to(torch.float32) / 255, Draw(0, numbers))
        return size.batch

    loader = DataLoader(Viewed(photos, 10**9), size.batch, num_workers=size.workers)
    batches = iter(loader)

    def theirs() -> int:
        return len(next(batches).to(device))

    ours(), theirs()
    taken = [
        (per_second(ours, size.seconds, device), per_second(theirs, size.seconds, device)) for _ in range(size.turns)
    ]
    return [one / other for one, other in taken]


def main() -> int:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.g01_device", description="G1, G2, G3")
    parser.add_argument("--small", action="store_true", help="a minute, on whatever is there")
    small = parser.parse_args().small
    began = time.monotonic()
    for figure in measure(SMALL if small else full()):
        print(figure if torch.cuda.is_available() else f"{figure.row} {figure.name}: tried, without a GPU", flush=True)
    note(f"G: {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    run_command(main)
