"""What a correction is worth: counted by hand on eight pixels, and the lines that tell it."""

from __future__ import annotations

import numpy as np
import pytest

from waterscape.labels.judging import Recovery, recovery, recovery_table
from waterscape.sources.landsat.bands import LAND, UNKNOWN, WATER

CLEAN = np.array([[WATER, WATER, WATER, LAND, LAND, LAND, LAND, UNKNOWN]], np.uint8)
NOISED = np.array([[WATER, LAND, LAND, LAND, LAND, LAND, WATER, UNKNOWN]], np.uint8)
CORRECTED = np.array([[WATER, WATER, LAND, WATER, LAND, LAND, LAND, UNKNOWN]], np.uint8)
BY_HAND = np.array([[WATER, WATER, WATER, WATER, LAND, LAND, UNKNOWN, WATER]], np.uint8)


def test_noise_is_counted_and_both_labels_are_held_against_the_clean_one_and_the_mask_by_hand():
    found = recovery(CLEAN, NOISED, CORRECTED, BY_HAND)
    assert (found.flipped, found.recovered, found.right, found.spoiled) == (3, 2, 4, 1)
    before, after = found.judged.before, found.judged.after
    assert (before.accuracy, before.iou) == (4 / 7, 1 / 4)
    assert (after.accuracy, after.iou) == (5 / 7, 2 / 4)
    before, after = found.by_hand.before, found.by_hand.after
    assert (before.accuracy, before.iou) == (3 / 6, 1 / 4)
    assert (after.accuracy, after.iou) == (5 / 6, 3 / 4)
    facts = (found + found).facts()
    assert facts["before"]["accuracy"] == pytest.approx(4 / 7, abs=1e-6)
    assert facts["judged by truth.npy"]["after"]["iou"] == 3 / 4


def test_the_table_has_accuracy_and_iou_before_and_after_by_both_judges():
    found = recovery(CLEAN, NOISED, CORRECTED, BY_HAND)
    lines = recovery_table([("edges 5%", found), ("random 10%", found + found)]).splitlines()
    assert len({len(line) for line in lines[1:4]}) == 1  # columns stand under their names
    titles = "noise (synthetic)  flipped  recovered  right spoiled  accuracy before   after  IoU before   after"
    assert lines[1] == titles
    assert lines[3].split() == ["random", "10%", "6", "0.6667", "0.2500", "0.5714", "0.7143", "0.2500", "0.5000"]
    assert "masks by hand" in lines[4]
    assert lines[7].split() == ["random", "10%", "0.5000", "0.8333", "0.2500", "0.7500"]


def test_without_masks_by_hand_there_is_one_table():
    lines = recovery_table([("edges 5%", recovery(CLEAN, NOISED, CORRECTED)), ("bodies 5%", Recovery())]).splitlines()
    assert len(lines) == 4
    assert lines[3].split() == ["bodies", "5%", "0", *"------"]
