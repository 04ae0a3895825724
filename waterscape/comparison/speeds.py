"""How fast each candidate trains: images per second of processor time, measured in turn and in short slices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch

from waterscape.comparison.cells import batch_of, known, words
from waterscape.comparison.wanted import Candidate, Comparison
from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.start import read_options, starting_networks
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes

TURNS, SLICE_SECONDS = 5, 0.5


def measure_speeds(wanted: Comparison, candidates: Sequence[Candidate], processes: Processes) -> None:
    """Set the `rate` of each candidate: measured once, and kept; or as it was stated."""
    rates = wanted.speeds or known(wanted.results / "speed.json", lambda: _rates(wanted, candidates, processes))
    for candidate, rate in zip(candidates, rates, strict=True):
        candidate.rate = rate


def _rates(wanted: Comparison, candidates: Sequence[Candidate], processes: Processes) -> list[float]:
    torch.set_num_threads(wanted.threads)
    shards = ShardSet(wanted.data, "train")
    rates: list[list[float]] = [[] for _ in candidates]
    for turn in range(TURNS):
        for number, candidate in enumerate(candidates):
            rate = _slice(wanted, candidate, shards, processes)
            if turn:  # the first one warms up
                rates[number].append(rate)
    return [round(median(found), 2) for found in rates]


def _slice(wanted: Comparison, candidate: Candidate, shards: ShardSet, processes: Processes) -> float:
    """Images per second of this process's time, of its reading threads too, over some steps."""
    recipe, run = read_options(wanted.model, candidate.preset, words(wanted, candidate, Path("unused"), 0))
    networks, _ = starting_networks(recipe, run, run.started(recipe))
    learner = Learner(recipe, run, networks, processes, len(shards))
    order, batch = Order(shards.counts, run.seed), batch_of(candidate)
    with Batches(shards, learner.columns, batch=batch, order=order, pictures=learner.pictures) as stream:
        for _ in range(2):
            loaded = next(stream)
            learner.step(loaded.columns, loaded.numbers, loaded.count)
        images, began = 0, time.process_time()
        while time.process_time() - began < SLICE_SECONDS:
            loaded = next(stream)
            learner.step(loaded.columns, loaded.numbers, loaded.count)
            images += loaded.count
        return images / (time.process_time() - began)
