"""Two runs side by side: what was read, drawn, lost and learnt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from waterscape.data.batches import ShardSet
from waterscape.data.order import Order
from waterscape.errors import UserError
from waterscape.proof.gradients import EXACT
from waterscape.training import checkpoint
from waterscape.training.events import read_events

FIRST_LOSS = 1e-6
GRADIENTS = 1e-5
EXACT_GRADIENTS = 1e-9
ROUNDING = 3
"""How many times its own distance from the gradient in float64 a gradient in float32 may lie from another: where a
rectifier's input is nearly zero, a last bit decides whether it lets the gradient through."""
PARAMETERS = 1e-9


@dataclass(frozen=True)
class Check:
    """One line of a proof: what was compared in which run, what was found and what is promised."""

    subject: str
    what: str
    found: str
    promised: str
    passed: bool


def identical(subject: str, what: str, one: Mapping[int, Any], other: Mapping[int, Any]) -> Check:
    """Two runs' entries by place in the stream (or by images), each as it is in the other."""
    differing = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    found = f"{len(one)} equal"
    if differing:
        key = differing[0]
        found = f"{len(differing)} differ, first at {key}: {other.get(key)} for {one.get(key)}"
    return Check(subject, what, found, "identical", bool(one) and not differing)


def within(subject: str, what: str, difference: float, tolerance: float) -> Check:
    """A difference that may be at most so much."""
    return Check(subject, what, f"{difference:.1e}", f"≤ {tolerance:.2g}", difference <= tolerance)


def resumed(subject: str, run: Path, kills: int, epoch: int) -> Check:
    """That a killed run went on, each time, from a checkpoint within its first epoch of so many images.

    One that began anew would end as the undisturbed run too.
    """
    starts = [event["images"] for event in read_events(run) if event["event"] == "start"]
    within_epoch = [images for images in starts if 0 < images < epoch]
    found = f"after {', '.join(map(str, within_epoch))} images" if within_epoch else "never"
    return Check(subject, "resumed within an epoch", found, f"{kills} times", len(within_epoch) >= kills)


def losses(out: Path) -> dict[int, Mapping[str, float]]:
    """A run's reported losses by images."""
    return {event["images"]: event["losses"] for event in read_events(out) if event["event"] == "report"}


def first_loss(one: Path, other: Path) -> float:
    """Relative difference of the first step's losses: of those that are descended, the largest."""
    (images, first), second = min(losses(one).items()), losses(other)
    descended = [name for name in first if name.split(": ")[-1] == "loss"]
    return max(abs(second[images][name] - first[name]) / abs(first[name]) for name in descended)


def planned(shards: ShardSet, order: Order, images: int) -> dict[int, str]:
    """Place in the stream → sample id as the plan alone says it, from the indexes."""
    shard, row = order.locate(0, images)
    places = zip(shard.tolist(), row.tolist(), strict=True)
    ids = [f"{shards.shards[s].name}/{shards.indexes[s]['key'][r].decode()}" for s, r in places]
    return dict(enumerate(ids))


def differing_tensors(one: Path, other: Path) -> tuple[int, list[str]]:
    """How many tensors two runs' newest checkpoints hold (weights, averages, optimizers), and which differ bitwise."""
    first, second = _tensors(one), _tensors(other)
    names = first.keys() | second.keys()
    same = {name for name in first.keys() & second.keys() if torch.equal(first[name], second[name])}
    return len(names), sorted(names - same)


def farthest_parameter(one: Path, other: Path) -> float:
    """The largest absolute difference between two runs' networks and averages."""
    first, second = (_tensors(run, "network.*", "average.*") for run in (one, other))
    if first.keys() != second.keys():
        return float("inf")
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def gradients(subject: str, one: Path, other: Path) -> Iterator[Check]:
    """‖g − g′‖ ÷ ‖g‖ of each phase's gradients as `write_gradients` left them: in float64, and as the run has them."""
    first, second = load_file(one), load_file(other)
    for phase in (name for name in first if name + EXACT in first):
        exact = first[phase + EXACT]
        yield within(subject, f"gradients in float64: {phase}", _apart(exact, second[phase + EXACT]), EXACT_GRADIENTS)
        if first[phase].dtype != exact.dtype:
            tolerance = max(GRADIENTS, ROUNDING * _apart(exact, first[phase]))
            check = within(subject, f"gradients: {phase}", _apart(first[phase], second[phase]), tolerance)
            rounded = f"{check.promised}, {ROUNDING} × its own rounding"
            yield check if tolerance == GRADIENTS else replace(check, promised=rounded)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one.double() - other.double()).norm() / one.double().norm())


def _tensors(run: Path, *files: str) -> dict[str, Tensor]:
    """The tensors of a run's newest checkpoint, or of those of its files, by file and name."""
    found = checkpoint.newest(run / "checkpoints")
    if found is None:
        raise UserError(f"{run} holds no whole checkpoint")
    paths = sorted(path for pattern in files or ("*",) for path in found.path.glob(f"{pattern}.safetensors"))
    return {f"{path.name}: {key}": value for path in paths for key, value in load_file(path).items()}
