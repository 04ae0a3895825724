"""How a training starts: options from the command line, data, starting networks, `run.json`; then the engine."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import nn

from waterscape import models
from waterscape.cluster.ranks import join_tasks
from waterscape.data.address import redact
from waterscape.data.manifest import Manifest
from waterscape.data.opening import describe_stream, open_samples
from waterscape.data.samples import Samples
from waterscape.embedded import provide
from waterscape.errors import UserError
from waterscape.metrics.collapse import NAME as COLLAPSE
from waterscape.metrics.collapse import CollapseWatch
from waterscape.metrics.evaluation import Evaluation
from waterscape.metrics.judged import judge
from waterscape.options import parse
from waterscape.pages.curves import draw_curves
from waterscape.pages.model_card import set_facts, write_model_card
from waterscape.pages.strip import draw_strip
from waterscape.pages.verdicts import draw_verdicts
from waterscape.recipe import Recipe
from waterscape.training import checkpoint
from waterscape.training.engine import Sight, Watcher, train
from waterscape.training.exhibit import Exhibit
from waterscape.training.heartbeat import beating, patience
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run, describe, read_run, resolve, settle
from waterscape.training.signals import Request
from waterscape.training.skips import describe_skipped
from waterscape.training.tenure import conclude, tenure

Facts = dict[str, Any]


def start_training(model: str, preset: str, arguments: list[str], request: Request | None = None) -> int:
    """Train a model as the command line says, until it is done or `request` asks to stop; returns the exit code."""
    recipe, run = read_options(model, preset, arguments)
    run.check()
    started = run.started(recipe)
    join_tasks(run.processes)
    waits = patience(run.stall_seconds)
    processes = Processes(run.processes, run.precision, run.out, tensorboard=run.tensorboard, patience=waits)
    title = f"{model}:{preset}"

    provide(run.data, processes)
    manifest, shards, held_out = open_samples(run.data, run.columns, maimed=run.skip_damaged > 0)
    streamed = "streamed" in manifest.facts
    if streamed and processes.first:
        print(describe_stream(run.data, manifest), file=sys.stderr, flush=True)
    other = processes.broadcast(manifest.sha256) != manifest.sha256
    processes.agree("another set than the first process sees" if other else "", f"cannot read {redact(run.data)}")
    check_inputs(recipe, manifest)
    networks, starts = starting_networks(recipe, run, started)
    described = describe(model, preset, recipe, starts)
    facts = resolve(run, described, manifest.sha256, processes.world, torch.get_num_threads())
    facts["exactly_resumable"] = not streamed
    facts["tiles"] = manifest.facts.get("tiles")  # their size and scale, which whoever uses the run must meet
    facts["corrected"] = manifest.facts.get("corrected")  # of which set these are the corrected labels
    facts["set"] = set_facts(manifest)
    begin = partial(settle, run.out, facts)
    with tenure(run.out, processes, begin) as owner, beating(run.out, processes, run.stall_seconds, owner):
        learner = Learner(recipe, run, networks, processes, len(shards))
        if manifest.facts.get("synthetic"):
            title += " on synthetic tiles"
        marks = {"synthetic": "true", "model": f"{model}:{preset}", "run": str(run.out)}
        exhibit = Exhibit(held_out, run.held_out, run.out / "pictures", marks)

        def draw_views(learner: Learner) -> Sight:
            draw_curves(run.out, f"{title}, {learner.images} images")
            if recipe.can("classify") and run.held_out:
                with learner.shown() as networks:
                    verdicts = judge(recipe, networks, held_out, run.held_out, learner.dtype, processes.device)
                draw_verdicts(verdicts, run.out / "verdicts.png", f"{title}, {learner.images} images")
            draw_strip(run.out, f"SYNTHETIC: {title}, the same noise over time", marks)
            return Sight()

        views = Watcher("views", run.picture_every, draw_views)
        watchers = [*evaluations(recipe, run, held_out, shards), *collapse_watch(recipe, run, shards), views]
        outcome = train(learner, shards, exhibit, title, watchers, request=request, owner=owner)
        conclude(owner, outcome)
    if processes.first:
        with contextlib.suppress(OSError):  # all that it tells stands elsewhere in the run
            write_model_card(run.out)
        if outcome.word == "continue":
            print(f"{run.out}: {outcome.reason}; saved: the same command goes on")
        else:
            done = f"{learner.images} images done{describe_skipped(run.out)}"
            print(f"{run.out}: {done}; look at curves.png, strip.png and pictures/ there")
    return outcome.code


def evaluations(recipe: Recipe, run: Run, held_out: Samples, training: Samples) -> list[Watcher]:
    """A watcher that says what the networks are worth, where the run is long enough for one and the model can."""
    if not run.evaluate_every or run.evaluate_every > run.images or not Evaluation.applies(recipe):
        return []
    evaluation = Evaluation(recipe, held_out, training, run.evaluate_samples, run.seed)

    def evaluate(learner: Learner) -> Sight:
        with learner.shown() as networks:
            return Sight(evaluation.figures(networks, learner.dtype, learner.processes.device))

    return [Watcher("evaluation", run.evaluate_every, evaluate, evaluation.facts)]


def collapse_watch(recipe: Recipe, run: Run, training: Samples) -> list[Watcher]:
    """A watcher that says whether a GAN collapses, where it is one and the run is to be watched."""
    if run.on_collapse == "ignore" or not CollapseWatch.applies(recipe) or len(training) < 2:
        return []
    steers = run.on_collapse == "rollback"
    watch = CollapseWatch(recipe, training, run.out, run.seed, steers=steers)
    return [Watcher(COLLAPSE, run.collapse_every, watch.look, ends=False, steers=steers)]


def read_options(model: str, preset: str, arguments: list[str]) -> tuple[Recipe, Run]:
    """The recipe's and the run's options. An unknown one ends the program with those that there are.

    Where no batch is given, a run that stands in `--out` goes on with its own, whatever is usual by now.
    """
    recipe, run = _parse(model, preset, arguments, models.usual_batch(model, preset))
    if (run.out / "run.json").exists():
        return _parse(model, preset, arguments, read_run(run.out)["run"]["batch"])
    return recipe, run


def _parse(model: str, preset: str, arguments: list[str], batch: int) -> tuple[Recipe, Run]:
    """Recipe and run; `batch`: images a step where the arguments do not say."""
    parts = {"run": Run(out=tyro.MISSING, batch=batch), "recipe": models.presets(model)[preset]}
    options = dataclasses.make_dataclass(
        "Train", [(name, type(part), dataclasses.field(default=part)) for name, part in parts.items()], frozen=True
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
                f"they have {', '.join(held)}: say --columns {entry.column}=… or pack them again with that column"
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
            wanted = {**recipe.starts, **recipe.may_start}[name]
            if trained.model != wanted:
                raise UserError(f"--start {name}={path} is a run of {trained.model}; a run of {wanted} is wanted")
            keys = ("model", "preset", "recipe", "starts")
            facts[name] = {key: trained.facts[key] for key in keys} | {
                "run": str(path),
                "checkpoint": trained.checkpoint,
                "sha256": trained.sha256,
                "set": trained.facts.get("set"),
            }
            starts[name] = dict(trained.networks)
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        networks = recipe.networks(starts)
    fresh = checkpoint.newest(run.out / "checkpoints") is None
    return recipe.fill(networks) if fresh else networks, facts
