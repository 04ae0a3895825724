"""What a run's networks do just now: new pictures, and held-out samples as they call and see them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from waterscape import models
from waterscape.data.renamed import Renamed, parse_sources
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.metrics.classification import Verdicts
from waterscape.metrics.judged import batches, embedding, judge
from waterscape.training.exhibit import as_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from waterscape.data.samples import Samples
    from waterscape.models import Trained
    from waterscape.pages.report.data_set import DataSet
    from waterscape.recipe import Input

SEEN = 1024
"""Held-out samples that are called and seen, at most."""
SHOWN = 32
"""Of which so many are shown as pictures on the map."""
IN_A_ROW = 8
HELD_OUT = ("test", "valid", "val")
"""Splits to judge by, the first that the set has."""


@dataclass(frozen=True)
class Judged:
    """Held-out samples as the networks see them."""

    split: str
    samples: int
    verdicts: Verdicts | None
    flat: NDArray[np.float64] | None
    """N 2, where the model says where it sees samples."""
    pictures: NDArray[np.uint8] | None
    """The first `SHOWN` of them."""


@dataclass(frozen=True)
class LookedAt:
    """From one checkpoint."""

    checkpoint: str
    sha256: str
    parameters: Mapping[str, int]
    """Of each network."""
    new: Mapping[str, NDArray[np.uint8]]
    """Class, or nothing where there are none → new pictures (K H W or K H W 3)."""
    made_again: Mapping[str, NDArray[np.uint8]]
    """Some held-out pictures, and what the model makes of them; none where it cannot, or no data are at hand."""
    judged: Judged | str | None
    """Of a model that calls or sees samples; else None. Text: why it could not be."""


def look_at(run: Any, data: DataSet | str, samples: int, seed: int = 0) -> LookedAt:
    """Load a run's newest checkpoint, make at most `samples` new pictures, and have it judge held-out ones.

    Raises `UserError` where the run has no whole checkpoint, or one that this version cannot load.
    """
    trained = models.load(run)
    recipe = trained.recipe
    can_judge = (recipe.can("classify") and recipe.known_classes()) or recipe.can("embed") or recipe.can("encode")
    judged: Judged | str | None = None
    if can_judge:
        try:
            judged = data if isinstance(data, str) else _judge(trained, data)
        except (ValueError, OSError) as error:
            judged = " ".join(str(error).split())
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in trained.networks.items()}
    new = _new(trained, samples, seed) if samples and recipe.can("generate") else {}
    again = {} if isinstance(data, str) or not recipe.can("reconstruct") else _made_again(trained, data)
    return LookedAt(trained.checkpoint, trained.sha256, count, new, again, judged)


def _new(trained: Trained, samples: int, seed: int) -> dict[str, NDArray[np.uint8]]:
    """New pictures: as many of each class."""
    known = trained.classes or ("",)
    each = max(1, samples // len(known))
    made = as_uint8(as_array(trained.sample(each * len(known), seed=seed)))
    return {name: made[number :: len(known)] for number, name in enumerate(known)}


def _made_again(trained: Trained, data: DataSet) -> dict[str, NDArray[np.uint8]]:
    """The first held-out pictures, true and made again, where both are of one size."""
    recipe = trained.recipe
    try:
        samples, _ = _held_out(trained, data)
        batch = next(batches(recipe.inputs(), samples, IN_A_ROW))
        samples.close()
        with torch.no_grad():
            made = recipe.reconstruct(trained.networks, batch)
    except (ValueError, OSError):  # the page shows what the run's own pictures hold
        return {}
    true = _full_range(batch[recipe.pictured()], recipe.inputs()[recipe.pictured()])
    if true.shape != made.shape:
        return {}
    return {"true": as_uint8(as_array(true)), "made again": as_uint8(as_array(made))}


def _full_range(numbers: Tensor, entry: Input) -> Tensor:
    low, high = entry.range
    return (numbers - low) / (high - low)


def _judge(trained: Trained, data: DataSet) -> Judged:
    samples, split = _held_out(trained, data)
    recipe, networks = trained.recipe, trained.networks
    can_classify = recipe.can("classify") and bool(recipe.known_classes())
    return Judged(
        split,
        min(SEEN, len(samples)),
        judge(recipe, networks, samples, SEEN) if can_classify else None,
        embedding(recipe, networks, samples, SEEN) if recipe.can("embed") or recipe.can("encode") else None,
        _pictures(trained, samples),
    )


def _held_out(trained: Trained, data: DataSet) -> tuple[Samples, str]:
    """The first held-out samples, as the recipe reads them."""
    manifest, recipe = data.manifest, trained.recipe
    classes = tuple(manifest.facts.get("classes", ()))
    if recipe.known_classes() and recipe.known_classes() != classes:
        raise UserError(f"the set has the classes {', '.join(classes) or 'none'}, which are not the model's")
    split = next((name for name in HELD_OUT if name in manifest.splits), None)
    if split is None:
        raise UserError(f"the set has no held-out part: its splits are {', '.join(manifest.splits) or 'none'}")
    few, count = [], 0
    for shard in manifest.split(split):
        if count < SEEN:
            few.append(shard)
            count += shard.samples
    samples: Samples = ShardSet(data.place, split, dataclasses.replace(manifest, shards=tuple(few)))
    renamed = trained.facts["run"].get("columns")
    if renamed:
        samples = Renamed(samples, parse_sources(renamed, manifest.columns))
    if not len(samples):
        raise UserError(f"the set's split {split} is empty")
    return samples, split


def _pictures(trained: Trained, samples: Samples) -> NDArray[np.uint8] | None:
    recipe = trained.recipe
    name = recipe.pictured()
    entry = recipe.inputs()[name]
    if len(entry.shape) != 3 or entry.shape[0] not in (1, 3):
        return None
    first = next(batches({name: entry}, samples, SHOWN))
    samples.close()
    return as_uint8(as_array(_full_range(first[name], entry)))


def as_uint8(pictures: NDArray[Any]) -> NDArray[np.uint8]:
    """Pictures in 0..1 as bytes."""
    rounded: NDArray[np.uint8] = np.rint(255 * pictures).astype(np.uint8)
    return rounded
