"""G1: on a GPU: each model's fast settings against plain eager float32; G2, G3: augmentation, and whole trainings.

First it checks: from equal weights, the fast settings have the plain ones' gradients up to float32's rounding, and the
device has the processor's; in bfloat16, which is a row of its own, up to that one's; batch statistics over three
processes are torch's. Only then it times. What would take longer than ten minutes in all is not begun, and what was
found is kept after every figure, in `.bench/device/g01.json` and `g01.md`. Row G1 of `python -m benchmarks` where there
is a GPU; or by itself, from a checkout that need not be installed:

    python -m benchmarks.g01_device                    all
    python -m benchmarks.g01_device --rows G2          one of the three; --models water_vae: of one model
    python -m benchmarks.g01_device --small            the same way on whatever is there, in a minute

`--small` shows that the script is ready; without a GPU its figures say nothing of one. All data are synthetic. On a
machine without network, what it lacks is named at once, and can be carried there: `pip install --target lib …`
elsewhere, `PYTHONPATH=lib` there.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, NotHereError, note
from waterscape import models
from waterscape.errors import UserError, run_command

if TYPE_CHECKING:
    from benchmarks.device.report import Report
    from waterscape.training.processes import Processes

ROWS = ("G1", "G2", "G3")
OUT = Path(__file__).parent.parent / ".bench" / "device"
WANTED = {  # module: what brings it
    **dict.fromkeys(("torch", "accelerate", "numpy", "scipy", "safetensors", "fsspec", "psutil", "matplotlib"), ""),
    **{"tqdm": "", "tyro": "tyro", "PIL": "pillow", "skimage": "scikit-image", "pytorch_msssim": "pytorch-msssim"},
}


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
    minutes: float  # what would last longer is not begun


def small() -> Size:
    """To see that it works."""
    return Size(("water_vae",), 4, 16, 0.1, 1, 32, 1, 1, 5)


def full() -> Size:
    """As a GPU is to be measured: the models of G3 first."""
    first = ("water_vae", "landscape_gan")
    others = tuple(model for model in models.names() if model not in first)
    return Size((*first, *others), 128, 1024, 0.5, 7, 128, min(16, os.cpu_count() or 1), None, 10)


def figures() -> Iterator[Figure]:
    """All three rows, where there is a GPU."""
    import torch

    if not torch.cuda.is_available():
        raise NotHereError("no GPU (`python -m benchmarks.g01_device --small` tries the script without one)")
    yield from measure(full(), ROWS, OUT)


def measure(size: Size, rows: tuple[str, ...], out: Path) -> Iterator[Figure]:
    """Checks, then figures, each kept in `out` at once. Raises `UserError` at the end where something failed."""
    check_libraries()
    from benchmarks.device.checks import layers_on_the_device
    from benchmarks.device.report import Report
    from benchmarks.device.views import time_views
    from waterscape.training.processes import Processes

    report = Report(out)
    with tempfile.TemporaryDirectory() as directory:
        processes = Processes(None, "float32", Path(directory))
        note(f"G on {processes.device}; into {out}")
        if "G2" in rows:
            ratios = time_views(size.batch, size.side, size.workers, size.seconds, size.turns, processes.device)
            yield report.add(Figure.over("G2", "views", ratios, ">=", 5))
        if "G1" in rows:
            try:
                report.passed("batch statistics of three processes", layers_on_the_device())
            except UserError as reason:
                report.fail("batch statistics of three processes", reason)
        yield from measure_models(size, rows, processes, Path(directory), report)
    if report.failed:
        raise UserError(f"failed, all else is in {out}: {', '.join(report.failed)}")


def measure_models(
    size: Size, rows: tuple[str, ...], processes: Processes, place: Path, report: Report
) -> Iterator[Figure]:
    """G1 and G3, model by model; one that fails does not end the others, and none is begun that could not be ended."""
    from benchmarks.device.rates import WHOLE, Amount, time_model

    amount = Amount(size.batch, size.samples, size.seconds, size.turns, size.compiled)
    longest = 0.0
    for model in size.models if "G1" in rows else [model for model in size.models if "G3" in rows and model in WHOLE]:
        began = time.monotonic()
        if report.seconds() + longest > 60 * size.minutes:
            report.leave_out(model, f"no time left of {size.minutes:g} minutes")
            continue
        try:
            wants = models.presets(model)[models.DEFAULT_PRESET].wants()
            if wants:
                report.leave_out(model, wants)
                continue
            for figure in time_model(model, amount, rows, processes, place / model, report):
                yield report.add(figure)
        except (UserError, RuntimeError) as reason:  # out of the device's memory, say: the next one may fit
            report.fail(model, reason)
        longest = max(longest, time.monotonic() - began)


def check_libraries() -> None:
    """Raise `UserError` that names what is not installed here, before anything is done."""
    missing = [brought or name for name, brought in WANTED.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"not installed here: {', '.join(missing)}; pip install {' '.join(missing)}")


def main() -> int:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.g01_device", description="G1, G2, G3")
    parser.add_argument("--small", action="store_true", help="a minute, on whatever is there")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--models", nargs="+", choices=models.names(), help="none: all")
    parser.add_argument("--minutes", type=float, help="what would last longer is not begun; none: 10")
    parser.add_argument("--out", type=Path, default=OUT, help="where g01.json and g01.md go")
    words = parser.parse_args()
    check_libraries()
    import torch

    size = small() if words.small else full()
    size = dataclasses.replace(size, models=tuple(words.models or size.models), minutes=words.minutes or size.minutes)
    for figure in measure(size, tuple(words.rows), words.out):
        print(figure if torch.cuda.is_available() else f"{figure.row} {figure.name}: tried, without a GPU", flush=True)
    return 0


if __name__ == "__main__":
    run_command(main)
