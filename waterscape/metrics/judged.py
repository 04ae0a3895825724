"""All samples of a set as a classifier calls them, and where it sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from waterscape.data.pictures import read_stacked
from waterscape.metrics.classification import Verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.data.samples import Samples
    from waterscape.recipe import Batch, Input, Networks, Recipe

AT_ONCE = 32
"""Samples in one batch: fixed, so that the same samples have the same probabilities."""


def judge(
    recipe: Recipe,
    networks: Networks,
    samples: Samples,
    at_most: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Verdicts:
    """What networks in evaluation mode call the first `at_most` samples, or all, of a set that knows their classes.

    Raises:
        ShardError: a sample that is damaged.
    """
    kind = next(name for name, entry in recipe.inputs().items() if entry.classes)
    probabilities, kinds = [], []
    for batch in batches(recipe.inputs(), samples, at_most, dtype, device):
        with torch.no_grad():
            probabilities.append(recipe.classify(networks, batch).double().cpu().numpy())
        kinds.append(batch[kind].cpu().numpy())
    count = len(recipe.known_classes())
    return Verdicts(
        recipe.known_classes(),
        np.concatenate(probabilities) if kinds else np.empty((0, count)),
        np.concatenate(kinds) if kinds else np.empty(0, np.int64),
    )


def embedding(recipe: Recipe, networks: Networks, samples: Samples, at_most: int | None = None) -> NDArray[np.float64]:
    """Where a classifier or an encoder sees the first `at_most` samples, or all, laid flat.

    Returns:
        N 2, the two directions in which they differ most (PCA).
    """
    if not len(samples) or at_most == 0:
        return np.zeros((0, 2))
    see = recipe.embed if recipe.can("embed") else recipe.encode
    with torch.no_grad():
        rows = [see(networks, batch).double().cpu().numpy() for batch in batches(recipe.inputs(), samples, at_most)]
    seen = np.concatenate(rows)
    centred = seen - seen.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(seen), 2))
    found = centred @ directions[:2].T
    flat[:, : found.shape[1]] = found
    return flat


def batches(
    inputs: Mapping[str, Input],
    samples: Samples,
    at_most: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Iterator[Batch]:
    """The first `at_most` samples, or all, in their order, as a recipe with these inputs reads them."""
    columns = list(dict.fromkeys(entry.column for entry in inputs.values()))
    sizes = {entry.column: entry.picture for entry in inputs.values() if entry.picture}
    total = len(samples) if at_most is None else min(at_most, len(samples))
    for start in range(0, total, AT_ONCE):
        stored = read_stacked(samples, range(start, min(start + AT_ONCE, total)), columns, sizes)
        yield {name: entry.numbers(stored[entry.column].to(device), dtype) for name, entry in inputs.items()}
    samples.close()  # held open, its tars could not be evicted from a cache
