"""What survives of classes: counted by hand on a few verdicts, and pictures brought to a classifier's size."""

import math

import numpy as np
import pytest
import torch

from waterscape.metrics.classification import Verdicts
from waterscape.metrics.survival import Survival, fitted, in_unit
from waterscape.recipe import Input

CLASSES = ("forest", "sea", "street")


def verdicts(called, kinds):
    return Verdicts(CLASSES, np.eye(3)[called], np.array(kinds))


@pytest.fixture
def found():
    kinds = [0, 0, 0, 0, 1, 1]
    return Survival(verdicts([0, 0, 0, 1, 1, 2], kinds), verdicts([0, 0, 1, 1, 2, 1], kinds))


def test_shares_by_class_are_those_counted_by_hand(found):
    forest, sea, street, whole = found.lines
    assert (forest.name, forest.samples, forest.recall_original, forest.recall_decoded) == ("forest", 4, 0.75, 0.5)
    assert (forest.same, forest.survives) == (0.75, pytest.approx(2 / 3))
    assert (sea.samples, sea.recall_original, sea.recall_decoded, sea.same, sea.survives) == (2, 0.5, 0.5, 0, 0)
    assert street.samples == 0
    assert all(math.isnan(share) for share in (street.recall_original, street.same, street.survives))
    assert (whole.samples, whole.same, whole.survives) == (6, 0.5, 0.5)


def test_the_confusion_has_rows_of_what_originals_are_called(found):
    assert found.moved.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 1, 0]]


def test_facts_are_json_without_nan(found):
    lines = found.facts()["survival"]
    assert lines[2] == {
        "name": "street",
        "samples": 0,
        "recall_original": None,
        "recall_decoded": None,
        "same": None,
        "survives": None,
    }


def test_pictures_are_fitted_to_a_classifiers_size_and_range():
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 30, 30)
    same = Input("jpg", (3, 30, 30), stored=(0, 255))
    assert torch.equal(fitted(pictures, same), pictures)
    wide = Input("jpg", (3, 30, 30), stored=(0, 255), range=(-1, 1))
    torch.testing.assert_close(in_unit(fitted(pictures, wide), wide), pictures)
    half = fitted(pictures, Input("jpg", (3, 15, 15), stored=(0, 255)))
    assert half.shape == (2, 3, 15, 15)
    torch.testing.assert_close(half.mean((2, 3)), pictures.mean((2, 3)), atol=0.01, rtol=0)
    steps = torch.linspace(0, 1, 30).expand(1, 3, 30, 30)
    reduced = fitted(steps, Input("jpg", (3, 10, 10), stored=(0, 255)))[0, 0, 5, 1:-1]
    torch.testing.assert_close(reduced, steps[0, 0, 0].reshape(10, 3).mean(1)[1:-1], atol=1e-3, rtol=0)
