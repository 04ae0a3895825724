"""A cell of a comparison: one training of one preset, how it was made, and the metric card that it earned; kept.

A result is a small JSON that stands apart from the runs: where it is there, nothing is trained again.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from waterscape import models
from waterscape.comparison.wanted import SPLIT, Candidate, Comparison
from waterscape.data.batches import ShardSet
from waterscape.data.opening import open_samples
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.metrics.baselines import baselines, mapped
from waterscape.metrics.card import Card
from waterscape.metrics.feature_sources import features
from waterscape.metrics.worth import Worth
from waterscape.start import read_options
from waterscape.training import checkpoint
from waterscape.training.outcome import CODES, read_outcome
from waterscape.training.processes import Processes
from waterscape.training.run import Run, compare, describe, read_run, resolve

FORMAT = 1
NEVER = 10**9
"""Images between what a comparison does without: reports, pictures, checkpoints on the way."""


@dataclass(frozen=True)
class Cell:
    """A training and what it is worth.

    `processor_seconds` are the training's own, its start included; None where it was interrupted, and so not measured
    as one. `starts`: hashes of the checkpoints that it started from, by name.
    """

    preset: str
    seed: int
    settings: Mapping[str, Any]
    images: int
    processor_seconds: float | None
    starts: Mapping[str, str]
    card: Card

    @property
    def figures(self) -> dict[str, float]:
        """The card's, by name."""
        return {figure.name: figure.value for figure in self.card.figures}

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        body = {"format": FORMAT} | asdict(self) | {"card": self.card.body()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(body, indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> Cell:
        """Read one. Raises `UserError` for what is none, or one of a newer version."""
        try:
            body = json.loads(path.read_text())
            if body.pop("format") != FORMAT:
                raise UserError("it is of a newer version of waterscape")
            return cls(**{**body, "card": Card.of_body(body["card"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is no result of a training ({error}): remove it to run that again") from error


def path_of(kept: Path, preset: str, seed: int) -> Path:
    """Where the result of a training of a pair is kept."""
    return kept / f"{preset}-{seed}.json"


def missing(kept: Path, presets: Sequence[str], seeds: int) -> list[Path]:
    """Which results of a comparison are not there yet."""
    wanted = [path_of(kept, preset, seed) for preset in presets for seed in range(1, seeds + 1)]
    return [path for path in wanted if not path.exists()]


def cell(
    wanted: Comparison,
    candidate: Candidate,
    name: str,
    seed: int,
    seconds: float,
    split: str,
    processes: Processes,
) -> Cell:
    """A training by the ordinary command, as long as it is owed, and its card; or what is kept of it as `name`.json."""
    path = wanted.results / f"{name}.json"
    if path.exists():
        return _kept(path, candidate)
    candidate.images = images_owed(candidate, seconds)
    run = wanted.place / "runs" / name
    options = words(wanted, candidate, run, seed)
    if (run / "run.json").exists() and not goes_on(run, _asked(wanted, candidate, options)):
        shutil.rmtree(run)  # `waterscape train` would call it done, and old weights be judged as new ones
    used = train(f"{wanted.model}:{candidate.preset}", options, wanted.threads, run)
    found, card = judged(wanted, run, split, processes)
    if not candidate.images <= found.images < candidate.images + batch_of(candidate):
        raise UserError(f"{run} was trained on {found.images} images, not on {candidate.images}: remove it")
    starts = {name: str(facts["sha256"]) for name, facts in found.facts["starts"].items()}
    made = Cell(candidate.preset, seed, candidate.settings, candidate.images, used, starts, card)
    made.save(path)
    if split == SPLIT:
        for simple, its in baselines(card, found.recipe, ShardSet(wanted.data, split), _training(wanted)).items():
            its.save(_made(wanted.results / "baselines") / f"{simple.replace('>', 'above')}.json")
    return made


def _kept(path: Path, candidate: Candidate) -> Cell:
    """The result that is kept. Raises `UserError` where it is of other settings."""
    found = Cell.load(path)
    settings = json.loads(json.dumps(candidate.settings, default=str))
    if found.settings != settings:
        raise UserError(f"{path} is of the settings {found.settings}, not {settings}: remove it to train that anew")
    candidate.images = found.images
    return found


def goes_on(run: Path, asked: Mapping[str, Any]) -> bool:
    """Whether what stands in a run's directory is the beginning of the very training that these facts ask for."""
    try:
        ended, facts = read_outcome(run), read_run(run)
        done = ended is not None and ended.word == "done"
        return not done and facts["run"]["images"] == asked["run"]["images"] and not compare(facts, asked)
    except (ValueError, KeyError):
        return False  # damaged


def _asked(wanted: Comparison, candidate: Candidate, options: Sequence[str]) -> dict[str, Any]:
    """The facts that `waterscape train` with these options would write."""
    recipe, run = read_options(wanted.model, candidate.preset, list(options))
    manifest = open_samples(run.data, run.columns)[0]
    return resolve(run, describe(wanted.model, candidate.preset, recipe, {}), manifest.sha256, 1, wanted.threads)


def batch_of(candidate: Candidate) -> int:
    """Images a step: the same for both presets, whatever their sources state, unless the settings say otherwise."""
    return int(candidate.settings.get("batch", Run.batch))


def images_owed(candidate: Candidate, seconds: float) -> int:
    """How many images a candidate makes in seconds of processor time: whole batches."""
    images, left = 0.0, seconds
    for (since, rate), (until, _) in pairwise([*candidate.parts, (math.inf, 0.0)]):
        taken = min(left, (until - since) / rate)
        images, left = images + rate * taken, left - taken
    batch = batch_of(candidate)
    return max(1, round(images / batch)) * batch


def words(wanted: Comparison, candidate: Candidate, run: Path, seed: int) -> list[str]:
    """The options of `waterscape train` for a candidate."""
    found: list[object] = ["--data", wanted.data, "--out", run, "--seed", seed, "--images", max(1, candidate.images)]
    found += ["--no-tensorboard", "--held-out", 0, "--evaluate-every", 0]
    found += [word for name in ("report", "picture", "checkpoint") for word in (f"--{name}-every", NEVER)]
    found += [word for start in wanted.starts(candidate.preset) for word in ("--start", start)]
    for name, value in {"batch": batch_of(candidate), **candidate.settings}.items():
        option = name.replace("_", "-")
        found += [f"--{option}" if value else f"--no-{option}"] if isinstance(value, bool) else [f"--{option}", value]
    return [str(word) for word in found]


def judged(wanted: Comparison, run: Path, split: str, processes: Processes) -> tuple[models.Trained, Card]:
    """A run and its metric card, which is put beside its others."""
    trained = models.load(run)
    held_out, training = ShardSet(wanted.data, split), _training(wanted)
    worth = Worth(trained, held_out, training, features("random"), wanted.samples, 0, processes)
    card = worth.card(held_out.manifest, split)
    if trained.recipe.can("segment"):
        card = mapped(card, trained, ShardSet(wanted.data, split))
    card.save(_made(run / "cards") / f"{trained.checkpoint}-{held_out.manifest.name}-{split}.json")
    return trained, card


def known(path: Path, find: Callable[[], Any]) -> Any:
    """What an earlier call has found and written to `path`, or else what `find` does.

    Raises `UserError` for a damaged file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(find()) + "\n")
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove it to find that anew") from error


def _training(wanted: Comparison) -> ShardSet:
    return ShardSet(wanted.data, "train")


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def train(model: str, options: Sequence[str], threads: int, run: Path) -> float | None:
    """Run `waterscape train …` in a process of its own; returns the processor time that it took, its start included."""
    run.parent.mkdir(parents=True, exist_ok=True)
    # A training that knows of a launcher saves and leaves when that is gone: nobody trains on for a killed comparison.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "ACCELERATE_MIXED_PRECISION": "no"}
    interrupted = checkpoint.newest(run / "checkpoints") is not None
    log = run.with_suffix(".log")
    with log.open("w") as file:
        command = [sys.executable, "-m", "waterscape", "train", model, *options]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == CODES["continue"]:
        raise UserError("a training was interrupted and has saved: the same command goes on")
    if process.returncode:
        raise UserError(f"a training ended with exit code {process.returncode}: {log} says why")
    return None if interrupted else used.ru_utime + used.ru_stime
