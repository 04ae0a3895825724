"""How fast each candidate trains: images per second of processor time, measured in turn and in short slices."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from waterscape.comparison.cells import batch_of, images_owed, known, words
from waterscape.comparison.wanted import Candidate, Comparison
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.errors import UserError
from waterscape.recipe import Recipe
from waterscape.start import read_options, starting_networks
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes

TURNS, SLICE_SECONDS = 5, 0.5
STEPS, MOST_SECONDS = 8, 4.0
"""A slice has so many steps, that what comes only every eighth has its share, unless that takes too long."""


def measure_speeds(wanted: Comparison, candidates: Sequence[Candidate], processes: Processes) -> None:
    """Set the rates of each candidate: measured once, and kept; or as they were stated.

    Raises `UserError` where what is kept is damaged.
    """
    path = wanted.results / "speed.json"
    if wanted.speeds:
        found = [[(0.0, rate)] for rate in wanted.speeds]
    else:
        kept = known(path, lambda: _rates(wanted, candidates, processes))
        try:
            found = [[(float(since), float(rate)) for since, rate in parts] for parts in kept]
        except (TypeError, ValueError):
            found = []
    if [bool(parts) and all(rate > 0 for _, rate in parts) for parts in found] != [True] * len(candidates):
        raise UserError(f"{path} holds no speed of each of {len(candidates)} candidates: remove it to measure anew")
    for candidate, parts in zip(candidates, found, strict=True):
        candidate.parts = parts
        candidate.rate = round(images_owed(candidate, wanted.seconds) / wanted.seconds, 2)


def parts_of(recipe: Recipe) -> list[int]:
    """The images of a run from which on it takes other phases than before; the first are 0."""
    bounds = {bound for phase in recipe.phases() for bound in (phase.since, phase.until)}
    return sorted({0} | {int(bound) for bound in bounds if bound < math.inf})


def _rates(wanted: Comparison, candidates: Sequence[Candidate], processes: Processes) -> list[list[tuple[int, float]]]:
    """For each candidate since when, in images, it makes how many a second."""
    torch.set_num_threads(wanted.threads)
    shards = ShardSet(wanted.data, "train")
    rates: list[dict[int, list[float]]] = [{} for _ in candidates]
    for turn in range(TURNS):
        for number, candidate in enumerate(candidates):
            options = words(wanted, candidate, Path("unused"), 0)
            for since in parts_of(read_options(wanted.model, candidate.preset, options)[0]):
                rate = _slice(wanted, candidate, shards, processes, since)
                if turn:  # the first one warms up
                    rates[number].setdefault(since, []).append(rate)
    return [[(since, round(median(its), 2)) for since, its in found.items()] for found in rates]


def _slice(wanted: Comparison, candidate: Candidate, shards: ShardSet, processes: Processes, since: int) -> float:
    """Images per second of this process's time, of its reading threads too, over some steps from `since` images on."""
    recipe, run = read_options(wanted.model, candidate.preset, words(wanted, candidate, Path("unused"), 0))
    networks, _ = starting_networks(recipe, run, run.started(recipe))
    learner = Learner(recipe, run, networks, processes, len(shards))
    order, batch = Order(shards.counts, run.seed), batch_of(candidate)
    learner.images, learner.steps = since, since // batch
    with Batches(shards, learner.columns, batch=batch, order=order, pictures=learner.pictures) as stream:
        for _ in range(2):
            loaded = next(stream)
            learner.step(loaded.columns, loaded.numbers, loaded.count)
        images, steps, began, spent = 0, 0, time.process_time(), 0.0
        while spent < SLICE_SECONDS or (steps < STEPS and spent < MOST_SECONDS):
            loaded = next(stream)
            learner.step(loaded.columns, loaded.numbers, loaded.count)
            images, steps, spent = images + loaded.count, steps + 1, time.process_time() - began
        return images / spent
