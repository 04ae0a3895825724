"""What to train, on what, how long: a run's options, and the `run.json` that holds all of them resolved."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.recipe import Recipe

FORMAT = 1

Precision = Literal["float32", "bfloat16", "float64"]


def _free(default: Any) -> Any:
    """An option that may change when a run is resumed, since no number that is trained depends on it."""
    return field(default=default, metadata={"free": True})


@dataclass(frozen=True)
class Run:
    """Options of a run, whatever it trains."""

    out: Path = field(metadata={"free": True})
    """The run's directory. The same command again resumes what stands there."""
    data: Path = _free(Path("shards/world"))
    """Directory of shards. Left out: a synthetic world, made and packed once."""
    images: int = _free(100_000)
    """How long: images consumed in all, rounded up to whole batches. May be raised later to go on."""
    batch: int = 32
    """Images a step, over all processes together."""
    micro_batch: int | None = None
    """Images at a time in one process; a smaller one needs less memory."""
    seed: int = 0
    """Of weights, order and all draws: 0 to 2³² - 1."""
    precision: Precision = "float32"
    """bfloat16: matrix products in bfloat16, weights in float32."""
    processes: int | None = _free(None)
    """Refuse to run with any other number of processes."""
    start: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=RUN: a run whose networks this one starts from; repeat it for each."""
    report_every: int = _free(2_000)
    """Images between two reports of the losses."""
    picture_every: int = _free(10_000)
    """Images between two pictures, each with a measurement of held-out samples."""
    checkpoint_every: int = _free(10_000)
    """Images between two checkpoints."""
    keep: int = _free(3)
    """How many checkpoints to keep: the newest ones."""
    held_out: int = _free(1_024)
    """Held-out samples measured at each picture, at most."""
    tensorboard: bool = _free(True)
    """Write TensorBoard's files too."""

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        for name in ("images", "batch", "report_every", "picture_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more")
        if self.held_out < 0:
            raise UserError(f"--held-out is {self.held_out}; give 0 (measure nothing) or more")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UserError(f"--micro-batch is {self.micro_batch}; give 1 or more, or leave it out")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed is {self.seed}; give 0 to {2**32 - 1}")

    def started(self, recipe: Recipe) -> dict[str, Path]:
        """The runs to start from by name. Raises `UserError` unless they are exactly those that the recipe names."""
        given = {}
        for text in self.start:
            name, separator, run = text.partition("=")
            if not separator or not run:
                raise UserError(f"--start {text} is not NAME=RUN, such as --start vae=runs/vae")
            given[name] = Path(run)
        if set(given) != set(recipe.starts):
            wanted = " ".join(f"--start {name}=RUN (a {model} run)" for name, model in recipe.starts.items()) or "none"
            raise UserError(f"this model starts from: {wanted}; given: {', '.join(given) or 'none'}")
        return given


def describe(model: str, preset: str, recipe: Recipe, starts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What is needed to build a recipe's networks again. `starts` is the same of each run it starts from."""
    return {"model": model, "preset": preset, "recipe": dataclasses.asdict(recipe), "starts": dict(starts)}  # type: ignore[call-overload]


def read_run(out: Path) -> dict[str, Any]:
    """The facts of a run's `run.json`. Raises `UserError` where there is none or its format is newer."""
    path = out / "run.json"
    if not path.is_file():
        raise UserError(f"{out} is not a run: it holds no run.json")
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); restore it or start anew in another --out") from None
    if facts.get("format", 0) > FORMAT:
        raise UserError(f"{path} has format {facts['format']}, newer than this version's {FORMAT}: update waterscape")
    return facts


def resolve(
    run: Run, described: Mapping[str, Any], manifest_sha256: str, processes: int, threads: int
) -> dict[str, Any]:
    """All facts of a run, as `run.json` holds them."""
    options = {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(run).items()
    }
    return {
        "format": FORMAT,
        **described,
        "run": options,
        "manifest_sha256": manifest_sha256,
        "history": [_circumstances(processes, threads)],
    }


def settle(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Write a new run's `run.json`, or add to that of the run which is resumed; returns what stands there now.

    Raises `UserError` with the difference where the run was started with other options or other data.
    """
    if (out / "run.json").exists():
        before = read_run(out)
        differences = compare(before, facts)
        if differences:
            raise UserError(
                f"{out} holds a run with other options: {'; '.join(differences)}. Give the same ones to resume it, "
                "or another --out"
            )
        facts = {**facts, "history": before["history"] + facts["history"]}
    write_text(out / "run.json", json.dumps(facts, indent=1, default=str) + "\n")
    return facts


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What must be the same to resume and is not, as lines `batch: 64 then, 32 now`."""
    free = {option.name for option in dataclasses.fields(Run) if option.metadata.get("free")}
    then, present = json.loads(json.dumps(before)), json.loads(json.dumps(now))
    pairs = [(name, then.get(name), present.get(name)) for name in ("model", "preset", "manifest_sha256")]
    for part in ("recipe", "run"):
        names = sorted(set(then[part]) | set(present[part]))
        pairs += [(n, then[part].get(n), present[part].get(n)) for n in names if part == "recipe" or n not in free]
    return [f"{name}: {old!r} then, {new!r} now" for name, old, new in pairs if old != new]


def _circumstances(processes: int, threads: int) -> dict[str, Any]:
    """Where and with what a start of the run took place: what a bitwise repetition needs."""
    versions = {name: metadata.version(name) for name in ("waterscape", "torch", "accelerate", "numpy")}
    return {
        "processes": processes,
        "threads": threads,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "versions": versions,
        "revision": _revision(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _revision() -> str | None:
    """The git revision of the code, with `+changes` where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10)
        status = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+changes" if status.stdout.strip() else "")
