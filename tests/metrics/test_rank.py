"""Effective rank: cases whose answer is known."""

import numpy as np
import pytest

from waterscape.metrics.rank import effective_rank


@pytest.mark.parametrize("directions", [1, 3, 8])
def test_equal_spread_in_some_directions(directions):
    found = np.linalg.qr(np.random.default_rng(0).normal(size=(200, directions)))[0]
    found -= found.mean(0)
    columns = np.linalg.qr(found)[0]  # orthonormal about their means
    turned = columns @ np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0][:directions]
    assert effective_rank(turned + 100) == pytest.approx(directions, rel=1e-6)


def test_a_collapsed_generator_has_none():
    assert effective_rank(np.full((50, 6), 0.7)) == 0
    assert effective_rank(np.full((50, 6), 1e6) + 1e-12) == 0


def test_a_known_spread():
    """Singular values 3, 1: shares 3/4 and 1/4."""
    x = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]]) / 2**0.5
    assert effective_rank(x) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))


def test_one_sample_is_refused():
    with pytest.raises(ValueError, match="two or more"):
        effective_rank([[1.0, 2.0]])
