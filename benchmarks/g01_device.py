"""G1: on a GPU: each model's fast settings against plain eager float32; G2, G3: augmentation, and whole trainings.

First it checks: from equal weights, the fast settings have the plain ones' gradients up to float32's rounding, and the
device has the processor's; in bfloat16, which is a row of its own, up to that one's; batch statistics over three
processes are torch's. Only then it times, plain float32 being torch's own: convolutions round to TF32 on a GPU that has
it, for plain and fast settings alike, while gradients are checked without. G2 is in `device/views.py`, G3 in
`device/whole.py`. It takes about ten minutes: a model is not begun that would end later if it took as long as the
longest so far. What was found is kept after every turn and figure, in `.bench/device/g01.json` and `g01.md`; an earlier
call's stand beside them as `g01-1.json`, `g01-1.md`. Row G1 of `python -m benchmarks` where there is a GPU; or by
itself, from a checkout that need not be installed:

    python -m benchmarks.g01_device                    all
    python -m benchmarks.g01_device --rows G2          one of the three; --models water_vae: of one model
    python -m benchmarks.g01_device --small            the same way on whatever is there, in a minute

`--small` shows that the script is ready, and keeps what it found in `.bench/device-small`; without a GPU its figures
say nothing of one. All data are synthetic. On a machine without network, what it lacks is named at once, and can be
carried there: `pip install --target lib …` elsewhere, `PYTHONPATH=lib` there.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, NotHereError, note
from waterscape import models
from waterscape.errors import UserError, run_command

if TYPE_CHECKING:
    from benchmarks.device.report import Report
    from benchmarks.device.whole import Whole
    from waterscape.training.processes import Processes

ROWS = ("G1", "G2", "G3")
ROOT = Path(__file__).parent.parent
OUT, OUT_SMALL = ROOT / ".bench" / "device", ROOT / ".bench" / "device-small"
WANTED = {  # module: what brings it
    **dict.fromkeys(("torch", "accelerate", "numpy", "scipy", "safetensors", "fsspec", "psutil", "matplotlib"), ""),
    **dict.fromkeys(("tqdm", "packaging", "pytest", "hypothesis"), ""),
    **{"tyro": "tyro", "PIL": "pillow", "skimage": "scikit-image", "pytorch_msssim": "pytorch-msssim"},
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
    workers: tuple[int, ...]  # how many worker processes augment: the best of these
    compiled: int | None  # networks of a model that are tried, since each takes a compiler's seconds; None: all
    minutes: float  # about: a model that would end later, by the longest so far, is not begun
    whole: Mapping[str, Whole]  # trainings of G3


def small() -> Size:
    """To see that it works."""
    from benchmarks.device.whole import TINY

    return Size(("water_vae",), 4, 16, 0.1, 1, 32, (1,), 1, 5, TINY)


def full() -> Size:
    """As a GPU is to be measured: the models of G3 first."""
    from benchmarks.device.whole import WHOLE

    others = tuple(model for model in models.names() if model not in WHOLE)
    cores = os.cpu_count() or 1
    workers = tuple(sorted({max(1, min(32, count)) for count in (cores // 2, cores, 2 * cores)}))
    return Size((*WHOLE, *others), 128, 1024, 0.5, 7, 128, workers, None, 10, WHOLE)


BRIEF = {"full": small}


def figures() -> Iterator[Figure]:
    """All three rows, where there is a GPU. Raises `UserError` where nothing could be measured."""
    began = time.monotonic()
    import torch

    if not torch.cuda.is_available():
        raise NotHereError("no GPU (`python -m benchmarks.g01_device --small` tries the script without one)")
    check_libraries()
    from benchmarks.device.report import Report

    report = Report(OUT, began)
    yield from measure(full(), ROWS, report)
    if not report.figures:
        raise UserError(failures(report))
    if report.failed:  # what was measured all the same is not lost for it
        note(failures(report))


def failures(report: Report) -> str:
    """Which checks and measurements failed, in a line."""
    return f"failed, all else is in {report.out}: {', '.join(report.failed)}"


def measure(size: Size, rows: tuple[str, ...], report: Report) -> Iterator[Figure]:
    """Checks, then figures, each kept in the report at once, as is what failed; neither ends the others."""
    from benchmarks.device.checks import layers_on_the_device
    from benchmarks.device.rates import ratios
    from benchmarks.device.views import time_views
    from waterscape.training.processes import Processes

    with tempfile.TemporaryDirectory() as directory:
        processes = Processes(None, "float32", Path(directory))
        note(f"G on {processes.device}; into {report.out}")
        if "G2" in rows:
            with report.going_on("views"):
                device, amount = processes.device, (size.seconds, size.turns)
                rates = time_views(size.batch, size.side, size.workers, *amount, device, report)
                report.keep_rates("views", rates)
                yield report.add(Figure.over("G2", "views", ratios(rates, "device", "workers"), ">=", 5))
        if "G1" in rows:
            with report.going_on("batch statistics of three processes"):
                report.passed("batch statistics of three processes", layers_on_the_device())
        yield from measure_models(size, rows, processes, Path(directory), report)


def measure_models(
    size: Size, rows: tuple[str, ...], processes: Processes, place: Path, report: Report
) -> Iterator[Figure]:
    """G1 and G3, model by model; one that fails does not end the others, and none is begun that would end too late."""
    from benchmarks.device.rates import Amount, time_model
    from benchmarks.device.whole import time_whole

    amount = Amount(size.batch, size.samples, size.seconds, size.turns, size.compiled)
    longest = 0.0
    for model in size.models if "G1" in rows else [model for model in size.models if model in size.whole]:
        began = time.monotonic()
        fastest = None
        if report.seconds() + longest > 60 * size.minutes:
            report.leave_out(model, f"no time left of {size.minutes:g} minutes")
            continue
        with report.going_on(model):
            wants = models.presets(model)[models.DEFAULT_PRESET].wants()
            if wants:
                report.leave_out(model, wants)
                continue
            fastest = yield from time_model(model, amount, rows, processes, place / model, report)
        longest = max(longest, time.monotonic() - began)
        if fastest and "G3" in rows and model in size.whole:
            with report.going_on(f"{model}, whole training"):
                yield report.add(time_whole(model, size.whole[model], fastest, place / model, report))


def check_libraries(project: Path = ROOT / "pyproject.toml") -> None:
    """Raise `UserError` that names what is not installed here, or a torch that `project` does not want."""
    missing = [brought or name for name, brought in WANTED.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"not installed here: {', '.join(missing)}; pip install {' '.join(missing)}")
    from packaging.requirements import Requirement
    from packaging.version import Version

    named = map(Requirement, tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"])
    wanted = next(requirement.specifier for requirement in named if requirement.name == "torch")
    found = metadata.version("torch")
    if Version(found).base_version not in wanted:  # 2.10.0a0+… of a vendor's image is 2.10
        raise UserError(f"torch {found} is installed here, and {project.name} wants torch{wanted}")


def main() -> int:
    """Print a line for each figure. Raises `UserError` at the end where something failed."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.g01_device", description="G1, G2, G3")
    parser.add_argument("--small", action="store_true", help="a minute, on whatever is there")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--models", nargs="+", choices=models.names(), help="none: all")
    parser.add_argument("--minutes", type=float, help="about how many; none: 10")
    parser.add_argument(
        "--out", type=Path, help="where g01.json and g01.md go; none: .bench/device, .bench/device-small"
    )
    words = parser.parse_args()
    check_libraries()
    import torch

    from benchmarks.device.report import Report

    size = small() if words.small else full()
    size = dataclasses.replace(size, models=tuple(words.models or size.models), minutes=words.minutes or size.minutes)
    report = Report(words.out or (OUT_SMALL if words.small else OUT), began)
    for figure in measure(size, tuple(words.rows), report):
        print(figure if torch.cuda.is_available() else f"{figure.row} {figure.name}: tried, without a GPU", flush=True)
    if report.failed:
        raise UserError(failures(report))
    return 0


if __name__ == "__main__":
    run_command(main)
