"""How a training starts: options from the command line, data, starting networks, `run.json`; then the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from waterscape import models
from waterscape.data.batches import ShardSet
from waterscape.data.manifest import Manifest
from waterscape.embedded import provide
from waterscape.errors import UserError
from waterscape.options import parse
from waterscape.pages.curves import draw_curves
from waterscape.pages.strip import draw_strip
from waterscape.recipe import Recipe
from waterscape.training import checkpoint
from waterscape.training.engine import train
from waterscape.training.exhibit import Exhibit
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run, describe, read_run, resolve, settle

Facts = dict[str, Any]


def start_training(model: str, preset: str, arguments: list[str]) -> int:
    """Train a model as the command line says; returns the exit code."""
    recipe, run = read_options(model, preset, arguments)
    run.check()
    started = run.started(recipe)
    processes = Processes(run.processes, run.precision, run.out, tensorboard=run.tensorboard)
    title = f"{model}:{preset}"

    provide(run.data, processes)
    manifest = Manifest.load(run.data)
    check_inputs(recipe, manifest)
    networks, starts = starting_networks(recipe, run, started)
    described = describe(model, preset, recipe, starts)
    facts = resolve(run, described, manifest.sha256, processes.world, torch.get_num_threads())
    problem = ""
    if processes.first:
        try:
            run.out.mkdir(parents=True, exist_ok=True)
            settle(run.out, facts)
        except (OSError, ValueError) as error:
            problem = str(error)
    processes.agree(problem, f"cannot start in {run.out}")

    shards = ShardSet(run.data, "train")
    held_out = ShardSet(run.data, "valid" if "valid" in manifest.splits else "train")
    learner = Learner(recipe, run, networks, processes, len(shards))
    if manifest.facts.get("synthetic"):
        title += " on synthetic tiles"
    marks = {"synthetic": "true", "model": f"{model}:{preset}", "run": str(run.out)}
    exhibit = Exhibit(held_out, run.held_out, run.out / "pictures", marks)

    def draw_views(out: Path, images: int) -> None:
        draw_curves(out, f"{title}, {images} images")
        draw_strip(out, f"SYNTHETIC: {title}, the same noise over time", marks)

    train(learner, shards, exhibit, title, watchers=[draw_views])
    if processes.first:
        print(f"{run.out}: {learner.images} images done; look at curves.png, strip.png and pictures/ there")
    return 0


def read_options(model: str, preset: str, arguments: list[str]) -> tuple[Recipe, Run]:
    """The recipe's and the run's options. An unknown one ends the program with those that there are."""
    recipe = models.presets(model)[preset]
    options = dataclasses.make_dataclass(
        "Train", [("run", Run), ("recipe", type(recipe), dataclasses.field(default=recipe))], frozen=True
    )
    options.__doc__ = f"Train {model}:{preset}. The same command again resumes."
    parsed: Any = parse(options, arguments, f"waterscape train {model}:{preset}")
    return parsed.recipe, parsed.run


def check_inputs(recipe: Recipe, manifest: Manifest) -> None:
    """Raise `UserError` unless the shards hold what the recipe reads, with the classes that it knows."""
    held = {column.name: column for column in manifest.columns}
    for name, entry in recipe.inputs().items():
        if entry.column not in held:
            raise UserError(
                f"the shards of {manifest.name} have no column {entry.column}, which the model reads as {name}; "
                f"they have {', '.join(held)}: pack them again with that column"
            )
        classes = tuple(manifest.facts.get("classes", ()))
        if entry.classes and classes != entry.classes:
            raise UserError(
                f"the shards of {manifest.name} have the classes {', '.join(classes) or 'none'}; "
                f"the model knows {', '.join(entry.classes)}: pack them again with this version"
            )


def starting_networks(recipe: Recipe, run: Run, started: Mapping[str, Path]) -> tuple[dict[str, nn.Module], Facts]:
    """Fresh networks, seeded, and the facts of the runs that they start from.

    A run that is resumed needs those runs no more: its `run.json` says how to build them, its checkpoint fills them.
    """
    facts: Facts = {}
    starts = {}
    resumed = bool(started) and checkpoint.newest(run.out / "checkpoints") is not None
    for name, path in started.items():
        if resumed:
            facts[name] = read_run(run.out)["starts"][name]
            starts[name] = models.rebuild(facts[name])[1]
        else:
            trained = models.load(path)
            if trained.model != recipe.starts[name]:
                raise UserError(
                    f"--start {name}={path} is a run of {trained.model}; a run of {recipe.starts[name]} is wanted"
                )
            keys = ("model", "preset", "recipe", "starts")
            facts[name] = {key: trained.facts[key] for key in keys} | {
                "run": str(path),
                "checkpoint": trained.checkpoint,
                "sha256": trained.sha256,
            }
            starts[name] = dict(trained.networks)
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        return recipe.networks(starts), facts
