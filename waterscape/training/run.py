"""What to train, on what, how long: a run's options, and the `run.json` that holds all of them resolved."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from waterscape.data.address import redact
from waterscape.data.opening import Cache
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.recipe import Recipe
from waterscape.training.keeping import Keeping

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
    data: str = _free("shards/world")
    """Directory of shards, or a URL of one (https://…, s3://…). Left out: a synthetic world, made and packed once."""
    columns: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """MODEL'S=STORED name of a column, such as occurrence64.npy=png; repeat it for each."""
    images: int = _free(100_000)
    """How long: images consumed in all, rounded up to whole batches. May be raised later to go on."""
    batch: int = 32
    """Images a step, over all processes together. Left out: of a run that is resumed, its own; else what
    the preset's source states, or 32."""
    micro_batch: int | None = None
    """Images at a time in one process; a smaller one needs less memory."""
    balance: str | None = None
    """A column of classes, such as shape.npy: each class comes equally often on average, in a planned sequence."""
    seed: int = 0
    """Of weights, order and all draws: 0 to 2³² - 1."""
    precision: Precision = "float32"
    """bfloat16: matrix products in bfloat16, weights in float32."""
    channels_last: bool = False
    """Keep pictures and kernels with their channels innermost, as a GPU's convolutions in bfloat16 want them."""
    compile: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME of a network that torch.compile makes faster, or all; repeat it for each."""
    cache: Cache = _free("none")
    """Read the whole split once and keep it in memory: of the host, or of the device. Each process keeps all of it;
    being asked to stop is heeded once it is read."""
    ahead: Literal["auto", "yes", "no"] = _free("auto")
    """Copy the next batches to the device while it computes, through pinned memory. auto: on a GPU."""
    readers: int | None = _free(None)
    """Threads of each process that read shards and decode photos. Left out: one; of photos for a GPU, as many as the
    process has cores, 8 at most."""
    processes: int | None = _free(None)
    """Refuse to run with any other number of processes."""
    start: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=RUN: a run whose networks this one starts from; repeat it for each."""
    report_every: int = _free(2_000)
    """Images between two reports of the losses."""
    picture_every: int = _free(10_000)
    """Images between two pictures, each with a measurement of held-out samples."""
    evaluate_every: int = _free(10_000)
    """Images between two evaluations of new and reconstructed pictures against held-out ones; 0, or more than the run
    has: none."""
    evaluate_samples: int = _free(512)
    """New pictures made for an evaluation, and held-out ones at most."""
    checkpoint_every: int = _free(10_000)
    """Images between two checkpoints."""
    keep: int = _free(3)
    """How many checkpoints to keep: the newest ones. Milestones and the best are kept besides."""
    milestone_every: int | None = _free(None)
    """Images between two checkpoints that are kept for ever."""
    best: str | None = _free(None)
    """NAME:lower or NAME:higher: keep the best checkpoint by a figure of held-out samples or of the evaluation; one is
    written whenever it is better than all before."""
    checkpoint_writer: Literal["auto", "background", "foreground"] = _free("auto")
    """Where checkpoints are written: while training goes on, or not. auto: in the background where a core is free."""
    on_failed_save: Literal["stop", "go-on"] = _free("stop")
    """When a checkpoint cannot be written (disk full): end the run, or go on and try again at the next."""
    stop_after_bad_steps: int = _free(10)
    """End the run after so many steps in a row whose loss or gradients are not finite; each of them is skipped."""
    held_out: int = _free(1_024)
    """Held-out samples measured at each picture, at most."""
    on_collapse: Literal["warn", "rollback", "ignore"] = _free("warn")
    """Of a GAN whose pictures become alike, or whose discriminator wins outright: warn; or go back to the last good
    checkpoint and on from there at a lower rate (each decision is an event); or do not look."""
    collapse_every: int = _free(10_000)
    """Images between two looks for a collapse. With rollback, each look that finds nothing keeps a checkpoint."""
    rollback_rate: float = _free(0.5)
    """What all learning rates are multiplied with whenever the run goes back."""
    skip_damaged: int = _free(0)
    """So many damaged training samples may be replaced by whole ones; with one more the run ends. 0: the first ends it.
    Held-out samples are never skipped, nor those of a shard whose index is damaged."""
    record_draws: bool = _free(False)
    """Write a hash of each sample's random draws into the ledger, for proofs that runs are the same."""
    stall_seconds: float = _free(600.0)
    """End the run where no process has got on for so long, and say which one is late; evaluation, pictures and saving
    may take six times as long. 0: never."""
    tensorboard: bool = _free(True)
    """Write TensorBoard's files too."""

    @property
    def keeping(self) -> Keeping:
        """Which checkpoints stay."""
        return Keeping(self.keep, self.milestone_every, self.best)

    @property
    def saves_every(self) -> list[int]:
        """Images between two checkpoints of each sort that there is."""
        return [self.checkpoint_every, *([self.milestone_every] if self.milestone_every else [])]

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        intervals = ("report_every", "picture_every", "checkpoint_every", "collapse_every")
        for name in ("images", "batch", *intervals, "keep", "stop_after_bad_steps"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more")
        if self.stall_seconds and not self.stall_seconds >= 1:
            raise UserError(f"--stall-seconds is {self.stall_seconds}; give 1 or more, or 0 (never end a stalled run)")
        if self.readers is not None and self.readers < 1:
            raise UserError(f"--readers is {self.readers}; give 1 or more")
        if self.skip_damaged < 0:
            raise UserError(f"--skip-damaged is {self.skip_damaged}; give 0 (the first one ends the run) or more")
        if self.evaluate_every < 0 or self.evaluate_samples < 16:
            raise UserError(
                f"--evaluate-every {self.evaluate_every} --evaluate-samples {self.evaluate_samples}: give 0 or more "
                "images, and 16 samples or more"
            )
        if not 0 < self.rollback_rate < 1:
            raise UserError(f"--rollback-rate is {self.rollback_rate}; give a share between 0 and 1, such as 0.5")
        if self.milestone_every is not None and self.milestone_every < 1:
            raise UserError(f"--milestone-every is {self.milestone_every}; give 1 or more, or leave it out")
        _ = self.keeping.figure  # must say what is better
        if self.held_out < 0:
            raise UserError(f"--held-out is {self.held_out}; give 0 (measure nothing) or more")
        if self.micro_batch is not None and self.micro_batch < 1:
            raise UserError(f"--micro-batch is {self.micro_batch}; give 1 or more, or leave it out")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed is {self.seed}; give 0 to {2**32 - 1}")

    def started(self, recipe: Recipe) -> dict[str, Path]:
        """The runs to start from by name. Raises `UserError` unless they are those that the recipe names."""
        given = {}
        for text in self.start:
            name, separator, run = text.partition("=")
            if not separator or not run:
                raise UserError(f"--start {text} is not NAME=RUN, such as --start vae=runs/vae")
            given[name] = Path(run)
        if not set(recipe.starts) <= set(given) <= {*recipe.starts, *recipe.may_start}:
            wanted = " ".join(f"--start {name}=RUN (a {model} run)" for name, model in recipe.starts.items()) or "none"
            more = "".join(f", and may from: --start {name}=RUN (a {m} run)" for name, m in recipe.may_start.items())
            raise UserError(f"this model starts from: {wanted}{more}; given: {', '.join(given) or 'none'}")
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
    options["data"] = redact(run.data)
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
        changed = compare_circumstances(before["history"][-1], facts["history"][-1])
        if changed and facts.get("exactly_resumable", True):
            told = "samples and draws stay the same, but sums round differently, so it will not be bitwise the same run"
            warnings.warn(f"{out} goes on with {'; '.join(changed)}: {told}", stacklevel=2)
        facts = {**facts, "history": before["history"] + facts["history"]}
    write_text(out / "run.json", json.dumps(facts, indent=1, default=str) + "\n")
    return facts


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What must be the same to resume and is not, as lines `batch: 64 then, 32 now`."""
    free = {option.name for option in dataclasses.fields(Run) if option.metadata.get("free")}
    then, present = json.loads(json.dumps(before)), json.loads(json.dumps(now))
    newer = {option.name: option.default for option in dataclasses.fields(Run) if option.name not in then["run"]}
    then["run"] |= json.loads(json.dumps(newer, default=str))  # the run is older than these options
    pairs = [(name, then.get(name), present.get(name)) for name in ("model", "preset", "manifest_sha256")]
    for part in ("recipe", "run"):
        names = sorted(set(then[part]) | set(present[part]))
        pairs += [(n, then[part].get(n), present[part].get(n)) for n in names if part == "recipe" or n not in free]
    return [f"{name}: {old!r} then, {new!r} now" for name, old, new in pairs if old != new]


def compare_circumstances(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a bitwise repetition needs and is not the same, as lines `threads: 2 then, 1 now`."""
    names = [name for name in ("processes", "threads", "machine", "processor", "accelerator") if name in before]
    pairs = [(name, before[name], now[name]) for name in names]
    pairs += [(name, before["versions"][name], now["versions"][name]) for name in _COUNTING]
    return [f"{name}: {old} then, {new} now" for name, old, new in pairs if old != new]


_COUNTING = ("torch", "numpy")  # the libraries that numbers come from


def _circumstances(processes: int, threads: int) -> dict[str, Any]:
    """Where and with what a start of the run took place: what a bitwise repetition needs."""
    versions = {name: metadata.version(name) for name in ("waterscape", "torch", "accelerate", "numpy")}
    return {
        "processes": processes,
        "threads": threads,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "versions": versions,
        "revision": _revision(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }


def _processor() -> str:
    """The processor's model: libraries choose their kernels by it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


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
