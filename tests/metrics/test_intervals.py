"""Jackknife: of a mean it is the textbook's error, and its intervals hold what they promise."""

import numpy as np
import pytest

from waterscape.metrics.frechet_distance import frechet_distance
from waterscape.metrics.intervals import jackknife


def mean(x):
    return {"mean": float(x.mean())}


def distance(x, y):
    return {"distance": frechet_distance(x, y)}


def test_of_a_mean_it_is_the_standard_error():
    random = np.random.default_rng(0)
    found = [jackknife(mean, random.normal(3, 2, size=(400, 1)), seed=n)["mean"] for n in range(60)]
    errors = np.array([each.standard_error for each in found])
    assert (errors**2).mean() == pytest.approx(4 / 400, rel=0.15)
    held = [each.low <= 3 <= each.high for each in found]
    assert np.mean(held) > 0.85


def test_of_a_distance_it_tells_how_far_repetitions_lie_apart():
    random = np.random.default_rng(1)
    draws = [(random.normal(size=(200, 4)), random.normal(1, 1, size=(200, 4))) for _ in range(60)]
    found = [jackknife(distance, *each)["distance"] for each in draws]
    spread = np.std([each.value for each in found])
    assert np.sqrt(np.mean([each.standard_error**2 for each in found])) == pytest.approx(spread, rel=0.3)


def test_the_same_every_time_and_about_the_value():
    x, y = np.random.default_rng(2).normal(size=(2, 50, 3))
    found = jackknife(distance, x, y)["distance"]
    assert found == jackknife(distance, x, y)["distance"]
    assert found.value == frechet_distance(x, y)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="20 samples or more, not 19 and 40"):
        jackknife(distance, np.zeros((19, 2)), np.zeros((40, 2)))
