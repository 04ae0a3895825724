"""New pictures of a trained run: a sheet to look at and the numbers, marked synthetic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from waterscape.durable import replacing, write_text
from waterscape.errors import UserError
from waterscape.models import Trained
from waterscape.recipe import Input
from waterscape.sheet import save_png, sheet
from waterscape.training.exhibit import as_array
from waterscape.training.processes import Processes
from waterscape.training.sampling import sample


@dataclass(frozen=True)
class Sample:
    """New pictures from a trained run, as a sheet (PNG) and as numbers (NPY), marked synthetic."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many."""
    classes: str = ""
    """Which classes, with commas between; left out: all, in turn."""
    out: Path | None = None
    """Where to write; left out: RUN/samples."""
    seed: int = 0
    """Of the noise."""
    traverse: bool = False
    """In place of random ones: along each of its numbers; of four numbers, all their combinations (traversal.png). Of
    many numbers, along the directions in which pictures differ most. Also for a satellite_encoder's run."""
    enlarge: Path | None = None
    """The run of an enlarger: the pictures in finer pixels too, as enlarged.png, .npy and .json."""


def sample_run(options: Sample) -> int:
    """Do what the command line says, and print what was written; returns the exit code.

    Raises `UserError` for options that cannot be.
    """
    if options.n < 1:
        raise UserError(f"-n is {options.n}; give 1 or more")
    from waterscape import models
    from waterscape.pages.enlarge import check, enlarge_samples
    from waterscape.pages.traversal import traverse

    trained = models.load(options.run)
    classes = [name.strip() for name in options.classes.split(",") if name.strip()]
    out = options.out or options.run / "samples"
    if options.traverse:
        print("\n".join(str(path) for path in traverse(trained, out, classes)))
        return 0
    enlarger = models.load(options.enlarge) if options.enlarge else None
    if enlarger:
        check(enlarger, trained)
    processes = Processes(None, "float32", out)
    written = draw_samples(trained, out, processes, count=options.n, classes=classes, seed=options.seed)
    if enlarger and processes.first:
        written += enlarge_samples(enlarger, out)
    for path in written:
        print(path)
    processes.close()
    return 0


def draw_samples(
    trained: Trained, out: Path, processes: Processes, *, count: int, classes: Sequence[str], seed: int
) -> list[Path]:
    """Write `samples.png`, `samples.npy` (N H W or N H W 3, in the units of the shards) and `samples.json` into `out`.

    The classes take turns. Sample number i is the same whatever `count` and the number of processes.
    Raises `UserError` for a class that the model does not know.
    """
    known = trained.classes
    wanted = tuple(classes) or known or ("",)
    kinds = trained.kinds(count, classes)
    images = _compute(trained, processes, kinds, seed)
    if not processes.first:
        return []
    out.mkdir(parents=True, exist_ok=True)
    facts = marks(trained)
    labels = [known[kind] if known else "" for kind in kinds]
    rows = {name: images[[label == name for label in labels]] for name in wanted[:count]}
    caption = f"SYNTHETIC: {trained.model}:{trained.preset}, {trained.images} images, seed {seed}"
    save_png(sheet(rows, title=caption, scale=2, columns=min(count, 16)), out / "samples.png", **facts)
    entry = trained.recipe.inputs()[trained.recipe.pictured()]
    with replacing(out / "samples.npy") as path:
        np.save(path, _stored(images, entry))
    about = {**facts, "seed": seed, "stored_range": entry.stored, "column": entry.column, "classes": labels}
    write_text(out / "samples.json", json.dumps(about, indent=1) + "\n")
    return [out / "samples.png", out / "samples.npy", out / "samples.json"]


def marks(trained: Trained) -> dict[str, Any]:
    """What every generated file says of itself."""
    return {
        "synthetic": "true",
        "model": f"{trained.model}:{trained.preset}",
        "run": str(trained.run),
        "checkpoint": trained.checkpoint,
        "checkpoint_sha256": trained.sha256,
    }


def checked_finite(trained: Trained, made: torch.Tensor) -> torch.Tensor:
    """What networks made. Raises `UserError` where it holds what is no number, as after a training gone astray."""
    if not made.isfinite().all():
        raise UserError(f"the output of {trained.run} is not finite: take another checkpoint (--which best) or run")
    return made


def _compute(trained: Trained, processes: Processes, kinds: torch.Tensor, seed: int) -> np.ndarray:
    """All pictures on every process: each computes a share, and the sum over processes puts them together."""
    networks = {name: processes.place(net, torch.float32) for name, net in trained.networks.items()}
    kinds = kinds.to(processes.device)
    made = sample(trained.recipe, networks, kinds, seed, rank=processes.rank, world=processes.world)
    return as_array(processes.sum(made))


def _stored(images: np.ndarray, entry: Input) -> np.ndarray:
    """Pictures in 0..1 as the shards store them (uint8)."""
    low, high = entry.stored
    return np.rint(low + images * (high - low)).astype(np.uint8)
