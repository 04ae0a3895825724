"""Weights with which each value of a column comes equally often on average, in a planned sequence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterscape.data.order import Order
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError

MOST_VALUES = 1000


def planned_order(shards: ShardSet, seed: int, balance: str | None = None) -> Order:
    """The order of a training; where `balance` names a column, each of its values comes equally often on average."""
    return Order(shards.counts, seed, weights=balancing_weights(shards, balance) if balance else None)


def balancing_weights(shards: ShardSet, column: str) -> NDArray[np.float64]:
    """One weight a sample, in the order of storage: 1 ÷ the number of samples with the same value in `column`.

    Reads that column of every sample once (some ten thousand a second).

    Raises:
        UserError: no such column, or one that holds no classes.
    """
    there = shards.column(column)
    if there.shape != ():
        raise UserError(
            f"--balance {column}: that column holds no classes; name one with a number a sample (shape.npy)"
        )
    values = [shards.value(*shards.locate(number), column) for number in range(len(shards))]
    _, which, counts = np.unique(np.array(values), return_inverse=True, return_counts=True)
    if len(counts) > MOST_VALUES:
        raise UserError(f"--balance {column} has {len(counts)} different values, which are no classes")
    weights: NDArray[np.float64] = 1.0 / counts[which]
    return weights
