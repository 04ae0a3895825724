"""Weighted sampling: a planned sequence like any other."""

import numpy as np
import pytest
from programs import run

from waterscape.data.balance import balancing_weights, planned_order
from waterscape.data.batches import ShardSet
from waterscape.data.order import Order
from waterscape.errors import UserError
from waterscape.proof.compare import planned
from waterscape.training.events import read_ledger

COUNTS = [30, 7, 0, 41, 22]
TOTAL = sum(COUNTS)


def read(order, epoch):
    """How often each sample comes in an epoch, in the order of storage."""
    shards, rows = order.locate(epoch * TOTAL, TOTAL)
    firsts = np.cumsum(COUNTS) - COUNTS
    return np.bincount(firsts[shards] + rows, minlength=TOTAL)


def test_each_epoch_keeps_its_length_and_the_weights():
    weights = np.random.default_rng(0).exponential(size=TOTAL)
    weights[5:9] = 0
    expected = weights * TOTAL / weights.sum()
    order = Order(COUNTS, 3, block=2, weights=weights)
    epochs = np.array([read(order, epoch) for epoch in range(400)])
    assert (epochs.sum(1) == TOTAL).all()
    assert ((epochs == np.floor(expected)) | (epochs == np.ceil(expected))).all()
    assert np.abs(epochs.mean(0) - expected).max() < 0.11  # four standard errors of a fair coin over 400 epochs
    assert len({tuple(epoch) for epoch in epochs[:5]}) == 5


def test_equal_weights_are_no_weights():
    plain, weighted = Order(COUNTS, 3, block=2), Order(COUNTS, 3, block=2, weights=np.full(TOTAL, 0.25))
    assert np.array_equal(plain.locate(17, 400), weighted.locate(17, 400))


def test_a_place_holds_the_same_sample_wherever_reading_starts():
    weights = np.random.default_rng(1).exponential(size=TOTAL)
    whole = np.stack(Order(COUNTS, 3, block=2, weights=weights).locate(0, 350))
    parts = [np.stack(Order(COUNTS, 3, block=2, weights=weights).locate(start, 50)) for start in range(0, 350, 50)]
    assert np.array_equal(whole, np.concatenate(parts, 1))
    shards = Order(COUNTS, 3, block=2, weights=weights).blocks(0)
    _, first = next(shards)
    assert set(first) <= set(range(len(COUNTS)))


@pytest.mark.parametrize("weights", [[1.0] * 3, [0.0] * TOTAL, [-1.0] + [1.0] * (TOTAL - 1), [np.nan] * TOTAL])
def test_weights_that_cannot_be(weights):
    with pytest.raises(ValueError, match="finite weights"):
        Order(COUNTS, 0, weights=np.array(weights))


def test_classes_come_equally_often(tiles):
    shards = ShardSet(tiles, "train")
    classes = np.array([int(shards.read(number)["shape.npy"]) for number in range(len(shards))])
    order = planned_order(shards, 0, "shape.npy")
    firsts = np.cumsum(shards.counts) - shards.counts
    shard, row = order.locate(0, 10 * len(shards))
    found = np.bincount(classes[firsts[shard] + row]) / (10 * len(shards))
    there = np.bincount(classes) / len(classes)
    assert np.abs(found - 1 / len(found)).max() < 0.02
    assert np.abs(there - 1 / len(there)).max() > 0.03, "the set is balanced by itself: the test shows nothing"


def test_a_balanced_run_reads_what_is_planned(tiles, tmp_path):
    out = tmp_path / "run"
    words = ["--images", 192, "--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--held-out", 0, "--no-tensorboard"]
    run("train", "water_vae", "--data", tiles, "--out", out, "--balance", "shape.npy", *words)
    shards = ShardSet(tiles, "train")
    assert read_ledger(out) == planned(shards, planned_order(shards, 0, "shape.npy"), 192)
    assert read_ledger(out) != planned(shards, planned_order(shards, 0), 192)


def test_columns_that_hold_no_classes_are_refused(tiles):
    with pytest.raises(UserError, match="holds no classes"):
        balancing_weights(ShardSet(tiles, "train"), "occurrence64.npy")
