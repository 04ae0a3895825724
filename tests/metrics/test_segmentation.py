"""Counts against definitions, shores by hand, Otsu's threshold against every threshold there is and scikit-image's."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.filters import threshold_otsu

from waterscape.metrics.segmentation import (
    SUMMED,
    Confusion,
    boundary_iou,
    confusion,
    figures,
    otsu_threshold,
)

MAPS = arrays.arrays(bool, (3, 6, 7))


@given(MAPS)
def test_counts_are_those_of_the_definition(maps):
    called, true, known = maps
    pairs = list(zip(called[known].tolist(), true[known].tolist(), strict=True))
    wanted = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    assert confusion(called, true, known) == Confusion(*wanted)


@given(MAPS)
def test_counts_of_parts_add_up(maps):
    called, true, known = maps
    parts = [confusion(called[:, part], true[:, part], known[:, part]) for part in (slice(0, 3), slice(3, None))]
    assert parts[0] + parts[1] == confusion(called, true, known)


def test_ratios_of_known_counts():
    found = Confusion(tp=30, fp=10, fn=20, tn=40)
    assert found.accuracy == 0.70
    assert found.iou == 0.5
    assert found.precision == 0.75
    assert found.recall == 0.6
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    assert found.area_error == pytest.approx(-0.2)
    means = {name: getattr(found, name) / 7 for name in SUMMED}
    told = {"accuracy": 0.7, "IoU": 0.5, "F1": found.f1, "area error": -0.2}
    assert figures(means) == pytest.approx(told)


def test_ratios_of_nothing_are_nan_and_untold():
    dry = Confusion(0, 0, 0, 9)
    assert dry.accuracy == 1
    assert all(math.isnan(value) for value in (dry.iou, dry.f1, dry.precision, dry.recall, dry.area_error))
    assert figures({"tp": 0, "fp": 0, "fn": 0, "tn": 9}) == {"accuracy": 1.0}


def test_maps_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"different shapes: \(2, 3\), \(3, 2\)"):
        confusion(np.ones((2, 3)), np.ones((3, 2)))


def test_boundary_iou_by_hand():
    true = np.zeros((20, 20), bool)
    true[4:16, 4:16] = True  # 12 × 12; its rim of two pixels is 144 − 64
    moved = np.zeros((20, 20), bool)
    moved[4:16, 5:17] = True
    rim, other = true.copy(), moved.copy()
    rim[6:14, 6:14] = False
    other[6:14, 7:15] = False
    assert rim.sum() == 80
    assert boundary_iou(moved, true, pixels=2) == (rim & other).sum() / (rim | other).sum()
    assert boundary_iou(true, true) == 1
    assert boundary_iou(moved, true, pixels=2) < confusion(moved, true).iou
    assert boundary_iou(moved, true, pixels=50) == confusion(moved, true).iou, "all is near the shore"


def test_neither_the_edge_nor_the_unknown_is_a_shore():
    water, known = np.ones((10, 10), bool), np.ones((10, 10), bool)
    assert math.isnan(boundary_iou(water, water))
    known[:, 7:] = False
    assert math.isnan(boundary_iou(water & known, water & known, known))


@given(
    arrays.arrays(
        np.float64, st.integers(2, 30), elements=st.integers(-20, 20).map(lambda number: number / 4), fill=st.nothing()
    )
)
def test_otsu_is_the_best_of_all_thresholds(values):
    if len(set(values)) < 2:
        with pytest.raises(ValueError, match="two different values"):
            otsu_threshold(values)
        return

    def within(threshold):
        groups = values[values > threshold], values[values <= threshold]
        return sum(((group - group.mean()) ** 2).sum() for group in groups)

    ends = np.unique(values)
    best = min(within((low + high) / 2) for low, high in itertools.pairwise(ends))
    assert within(otsu_threshold(values)) == pytest.approx(best, abs=1e-9)
    shuffled = np.append(values[::-1], np.nan)
    assert otsu_threshold(shuffled) == otsu_threshold(values)


def test_otsu_agrees_with_scikit_image():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(-0.4, 0.1, 9000), random.normal(0.5, 0.15, 1500)])
    theirs = values > threshold_otsu(values, nbins=4096)
    assert ((values > otsu_threshold(values)) != theirs).sum() <= 3, "their histogram cannot part within a bin"
