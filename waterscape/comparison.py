"""Which preset of a model is better: the same data, time, threads and number of tuning trials, in pairs of equal seed.

First every candidate's speed is measured, in turn and in short slices, in images per second of processor time: what a
quiet core needs, whatever else the machine does. Each training then lasts as many images as its candidate makes in the
stated seconds. Of each preset the same settings are tried, drawn from what the model's source leaves open (`SEARCH` in
the model's file), and judged on the `valid` split; the best is trained anew with each seed and judged on `test`, which
nothing was chosen by.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any, TypeVar

import torch
import tyro
from scipy import stats

from waterscape import models
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.durable import write_text
from waterscape.embedded import PLACE, provide
from waterscape.errors import UserError
from waterscape.metrics.evaluation import Evaluation
from waterscape.metrics.hydro_morphology import MEAN
from waterscape.metrics.water_maps import JACCARD, judge, network_way, windows
from waterscape.pages.comparison import draw_comparison, table
from waterscape.randomness import permutation
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

TRIAL_SEED, TRIAL_SPLIT, SPLIT = 0, "valid", "test"
JUDGED_BY = ("squared error", "kernel distance", MEAN, JACCARD)
"""Figures, all the lower the better, whose mean rank chooses among a preset's trials."""
TURNS, SLICE_SECONDS = 5, 0.5

Settings = dict[str, Any]
Found = TypeVar("Found")
Figures = dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Two presets of a model against each other, by the rules of a fair comparison."""

    model: tyro.conf.Positional[str]
    """The model."""
    data: Path = PLACE
    """Directory of shards with the splits train, valid and test. Left out: a synthetic world, made once."""
    out: Path | None = None
    """Where runs, table (Markdown, JSON) and picture go; left out: runs/compare-MODEL. The same command again goes on
    where it stopped."""
    presets: tuple[str, str] = ("reference", "recommended")
    """Which two; differences are of the second less the first."""
    seconds: float = 120.0
    """How long each training lasts: seconds of processor time."""
    seeds: int = 3
    """Trainings of each preset, in pairs of equal seed."""
    trials: int = 6
    """Settings tried for each preset before; the first is the preset as it stands. 1: no others."""
    trial_seconds: float = 30.0
    """How long each trial lasts."""
    threads: int = 1
    """Of torch."""
    samples: int = 512
    """New pictures, and held-out ones at most, for the figures."""
    start: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=RUN: a run that the model starts from; repeat it for each."""

    @property
    def place(self) -> Path:
        """The output directory."""
        return self.out or Path("runs") / f"compare-{self.model}"


@dataclass
class Candidate:
    """A preset with settings: `rate` in images per second of processor time; what its trial showed."""

    preset: str
    settings: Settings
    rate: float = 0.0
    images: int = 0
    figures: Figures = field(default_factory=dict)


def compare(wanted: Comparison) -> Path:
    """Run the whole comparison; returns its table, `comparison.md`. Raises `UserError` for what cannot be compared."""
    wanted, processes = prepare(wanted)
    tried = settings_to_try(wanted.model, wanted.trials)
    candidates = [Candidate(preset, settings) for settings in tried for preset in wanted.presets]
    calibrate(wanted, candidates, processes)
    if len(tried) > 1:
        for number, candidate in enumerate(candidates):
            run = wanted.place / "trials" / f"{number // 2:02d}-{candidate.preset}"
            say(f"trial {number + 1} of {len(candidates)}: {candidate.preset} {candidate.settings or 'as it stands'}")
            candidate.figures = trained(wanted, candidate, run, TRIAL_SEED, wanted.trial_seconds, TRIAL_SPLIT)[0]
    best = {preset: choose([c for c in candidates if c.preset == preset]) for preset in wanted.presets}
    found: dict[str, list[Figures]] = {preset: [] for preset in wanted.presets}
    used: dict[str, list[float]] = {preset: [] for preset in wanted.presets}
    for seed in range(1, wanted.seeds + 1):
        for preset in wanted.presets if seed % 2 else reversed(wanted.presets):
            say(f"seed {seed} of {wanted.seeds}: {preset} {best[preset].settings or 'as it stands'}")
            run = wanted.place / "runs" / f"{preset}-{seed}"
            figures, seconds = trained(wanted, best[preset], run, seed, wanted.seconds, SPLIT)
            found[preset].append(figures)
            used[preset].append(seconds)
    result = {
        "comparison": dataclasses.asdict(wanted),
        "candidates": [dataclasses.asdict(candidate) for candidate in candidates],
        "chosen": {preset: dataclasses.asdict(candidate) for preset, candidate in best.items()},
        "processor_seconds": used,
        "figures": found,
        "differences": differences(found[wanted.presets[0]], found[wanted.presets[1]]),
        "judged_by": JUDGED_BY,
        "synthetic": bool(ShardSet(wanted.data, SPLIT).manifest.facts.get("synthetic")),
    }
    write_text(wanted.place / "comparison.json", json.dumps(result, indent=1, default=str) + "\n")
    write_text(wanted.place / "comparison.md", table(result))
    draw_comparison(wanted.place, wanted.model, wanted.presets, ShardSet(wanted.data, SPLIT))
    return wanted.place / "comparison.md"


def prepare(wanted: Comparison) -> tuple[Comparison, Processes]:
    """The comparison with its place, and this process among one. Raises `UserError` for what cannot be compared."""
    if wanted.seeds < 2 or wanted.trials < 1:
        raise UserError(f"--seeds {wanted.seeds} --trials {wanted.trials}: an interval takes 2 seeds, and 1 trial")
    if len(set(wanted.presets)) < 2:
        raise UserError(f"--presets {' '.join(wanted.presets)}: name two different ones")
    for preset in wanted.presets:
        models.split_name(f"{wanted.model}:{preset}")
    wanted.place.mkdir(parents=True, exist_ok=True)
    options = json.loads(json.dumps(dataclasses.asdict(wanted), default=str))
    if known(wanted.place / "options.json", lambda: options) != options:
        raise UserError(f"{wanted.place} holds a comparison with other options: give the same ones, or another --out")
    processes = Processes(None, "float32", wanted.place)
    provide(wanted.data, processes)
    for split in ("train", TRIAL_SPLIT, SPLIT):
        ShardSet(wanted.data, split)  # what cannot be read is told now, not after hours
    return dataclasses.replace(wanted, out=wanted.place), processes


def settings_to_try(model: str, trials: int) -> list[Settings]:
    """The same for each preset: none changed, then draws from what the model's source leaves open.

    Of each option every value comes once before any comes again (Latin hypercube: McKay 1979, doi:10.2307/1268522).
    """
    space = models.search_space(model)
    if trials > 1 and not space:
        raise UserError(f"{model} states no SEARCH, so there is nothing to try: --trials 1")
    found: list[Settings] = [{}]
    while len(found) < trials:
        turn = len(found)
        orders = {name: permutation(len(values), 0, name, turn) for name, values in space.items()}
        rounds = min(len(values) for values in space.values())
        found += [{name: space[name][order[i]] for name, order in orders.items()} for i in range(rounds)]
    return found[:trials]


def calibrate(wanted: Comparison, candidates: Sequence[Candidate], processes: Processes) -> None:
    """Measure the speed of each candidate, once: slices of real training steps in turn, the median of their rates."""
    rates = known(wanted.place / "speed.json", lambda: _rates(wanted, candidates, processes))
    for candidate, rate in zip(candidates, rates, strict=True):
        candidate.rate = rate


def _rates(wanted: Comparison, candidates: Sequence[Candidate], processes: Processes) -> list[float]:
    say(f"measuring the speed of {len(candidates)} candidates")
    torch.set_num_threads(wanted.threads)
    shards = ShardSet(wanted.data, "train")
    rates: list[list[float]] = [[] for _ in candidates]
    for turn in range(TURNS):
        for number, candidate in enumerate(candidates):
            rate = _slice(wanted, candidate, shards, processes)
            if turn:  # the first one warms up
                rates[number].append(rate)
    return [median(found) for found in rates]


def _slice(wanted: Comparison, candidate: Candidate, shards: ShardSet, processes: Processes) -> float:
    """Images per second of this process's time, of its reading threads too, over some steps."""
    preset = models.presets(wanted.model)[candidate.preset]
    options = {name: value for name, value in candidate.settings.items() if name != "batch"}
    recipe = dataclasses.replace(preset, **options)  # type: ignore[type-var]
    run = Run(out=Path("unused"), batch=candidate.settings.get("batch", Run.batch))
    learner = Learner(recipe, run, models.build(recipe), processes, len(shards))
    stream = Batches(shards, learner.columns, batch=run.batch, order=Order(shards.counts, run.seed))
    with stream:
        for _ in range(2):
            loaded = next(stream)
            learner.step(loaded.columns, loaded.numbers, loaded.count)
        images, began = 0, time.process_time()
        while time.process_time() - began < SLICE_SECONDS:
            loaded = next(stream)
            learner.step(loaded.columns, loaded.numbers, loaded.count)
            images += loaded.count
        return images / (time.process_time() - began)


def trained(
    wanted: Comparison, candidate: Candidate, run: Path, seed: int, seconds: float, split: str
) -> tuple[Figures, float]:
    """Train a candidate by the ordinary command, as long as it is owed; its figures, and the seconds it has used."""
    batch = candidate.settings.get("batch", Run.batch)
    candidate.images = max(1, round(candidate.rate * seconds / batch)) * batch
    words = ["train", f"{wanted.model}:{candidate.preset}", "--data", wanted.data, "--out", run, "--seed", seed]
    words += ["--images", candidate.images, "--no-tensorboard", "--held-out", 0, "--evaluate-every", 0]
    words += [word for name in ("report", "picture", "checkpoint") for word in (f"--{name}-every", 10**9)]
    words += [word for start in wanted.start for word in ("--start", start)]
    words += [word for name, value in candidate.settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    used = known(run / "processor_seconds.json", lambda: _processor_seconds(words, wanted.threads, run))
    return known(run / f"figures-{split}.json", lambda: _judge(wanted, run, split)), used


def _judge(wanted: Comparison, run: Path, split: str) -> Figures:
    ready = models.load(run)
    if ready.recipe.can("segment"):
        return judge(network_way(ready.recipe, ready.networks), windows(ShardSet(wanted.data, split))).figures()
    evaluation = Evaluation(ready.recipe, ShardSet(wanted.data, split), ShardSet(wanted.data, "train"), wanted.samples)
    return evaluation.figures(ready.networks)


def known(path: Path, find: Callable[[], Found]) -> Found:
    """What an earlier call has found and written to `path`, or else what `find` does."""
    if not path.exists():
        write_text(path, json.dumps(find()) + "\n")
    found: Found = json.loads(path.read_text())
    return found


def _processor_seconds(words: Sequence[object], threads: int, run: Path) -> float:
    """Run `waterscape …` in a process of its own; returns the processor time that it took, its start included."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "waterscape", *map(str, words)]
    run.parent.mkdir(parents=True, exist_ok=True)
    log = run.with_suffix(".log")
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"a training ended with exit code {process.returncode}: {log} says why")
    return used.ru_utime + used.ru_stime


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate of the best mean rank in the figures of `JUDGED_BY`; the only one where nothing was tried."""
    names = [name for name in JUDGED_BY if name in candidates[0].figures]
    if not names:
        return candidates[0]
    ranks = stats.rankdata([[candidate.figures[name] for name in names] for candidate in candidates], axis=0)
    return candidates[int(ranks.mean(1).argmin())]


def differences(first: Sequence[Figures], second: Sequence[Figures], level: float = 0.95) -> dict[str, Figures]:
    """Of each figure, second less first: the mean over pairs, and its interval (Student's t on paired differences)."""
    found = {}
    for name in first[0]:
        one, other = ([figures[name] for figures in side] for side in (first, second))
        interval = stats.ttest_rel(other, one).confidence_interval(level)
        mean = float(sum(other) - sum(one)) / len(one)
        found[name] = {"mean": mean, "low": float(interval.low), "high": float(interval.high)}
    return found


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)
