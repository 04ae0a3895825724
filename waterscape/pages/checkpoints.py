"""`waterscape checkpoints RUN`: what a run has saved; verified, pruned, exported."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import safetensors.torch
import tyro
from torch import Tensor

from waterscape.durable import replacing
from waterscape.errors import UserError
from waterscape.training.checkpoint import STATE, Checkpoint, every, newest, peek, verify
from waterscape.training.keeping import Keeping
from waterscape.training.owner import exclusive
from waterscape.training.run import read_run


@dataclass(frozen=True)
class Checkpoints:
    """A run's checkpoints: images, date, size, why each is kept, whether it is whole. Exit code 1 if one is not."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    verify: bool = False
    """Read every file and compare its sha256; else sizes alone are looked at."""
    prune: bool = False
    """Drop those that the run's own options do not keep, and those cut short or beyond the newest whole one."""
    export: Path | None = None
    """Write the weights as people use them (averages where kept) into one safetensors file."""
    at: int | None = None
    """Images of the checkpoint to export; left out: the newest whole one."""


@dataclass(frozen=True)
class Row:
    """A checkpoint as it is listed; `wrong` is empty where it is whole."""

    path: Path
    bytes: int
    kinds: list[str]
    wrong: str

    def __str__(self) -> str:
        state = self.path / STATE
        date = datetime.datetime.fromtimestamp((state if state.exists() else self.path).stat().st_mtime)
        kinds = ", ".join(self.kinds) or "-"
        condition = f"broken: {self.wrong}" if self.wrong else "whole"
        images = int(self.path.name)
        return f"{images:>12,} images  {date:%Y-%m-%d %H:%M}  {self.bytes / 1e6:>9,.1f} MB  {kinds:22}  {condition}"


def show(options: Checkpoints) -> int:
    """The verb; returns its exit code."""
    keeping = keeping_of(read_run(options.run))
    directory = options.run / "checkpoints"
    if options.prune:
        for path in prune(options.run, keeping):
            print(f"{path} dropped")
    rows = survey(directory, keeping, thorough=options.verify)
    for row in rows:
        print(row)
    if not rows:
        print(f"{options.run} holds no checkpoint yet")
    if options.export:
        export(options.run, options.export, options.at)
        print(options.export)
    return int(any(row.wrong for row in rows))


def keeping_of(facts: dict[str, Any]) -> Keeping:
    """Which checkpoints a run keeps, from its `run.json`."""
    run = facts["run"]
    return Keeping(run["keep"], run.get("milestone_every"), run.get("best"))


def survey(directory: Path, keeping: Keeping, *, thorough: bool) -> list[Row]:
    """Each checkpoint of a directory, oldest first."""
    look = verify if thorough else peek
    found: dict[Path, Checkpoint] = {}
    wrong: dict[Path, str] = {}
    for path in every(directory):
        try:
            found[path] = look(path)
        except (OSError, ValueError) as error:
            wrong[path] = str(error)
    kinds = keeping.kinds(found.values())
    return [
        Row(path, sum(f.stat().st_size for f in path.iterdir()), list(kinds.get(path, [])), wrong.get(path, ""))
        for path in every(directory)
    ]


def prune(run: Path, keeping: Keeping) -> list[Path]:
    """Drop what is not kept; returns what was dropped. Safe while the run goes on."""
    with exclusive(run):
        whole = newest(run / "checkpoints")
        return keeping.prune(run / "checkpoints", whole.images) if whole else []


def export(run: Path, out: Path, images: int | None = None) -> None:
    """The weights that a run shows, as plain safetensors: tensors `network.parameter`, and where they come from.

    Raises `UserError` where there is no such checkpoint, or no whole one.
    """
    facts = read_run(run)
    directory = run / "checkpoints"
    try:
        found = newest(directory) if images is None else verify(directory / f"{images:012d}")
    except (OSError, ValueError) as error:
        held = ", ".join(str(int(path.name)) for path in every(directory)) or "none"
        raise UserError(f"{run} has no whole checkpoint of {images} images ({error}); it has {held}") from None
    if found is None:
        raise UserError(f"{run} holds no whole checkpoint yet; train it first")
    tensors: dict[str, Tensor] = {}
    for file in found.state["files"]:
        kind, name, _ = file.split(".")
        averaged = f"average.{name}.safetensors" in found.state["files"]
        if kind == "average" or (kind == "network" and not averaged):
            tensors |= {f"{name}.{key}": value for key, value in found.read(file).items()}
    metadata = {
        "format": "pt",
        "model": f"{facts['model']}:{facts['preset']}",
        "run": str(run),
        "images": str(found.images),
        "checkpoint": found.sha256,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as path:
        safetensors.torch.save_file(tensors, path, metadata)
