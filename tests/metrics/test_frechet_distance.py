"""Fréchet distance: closed forms, a root of the matrices taken by scipy, and torch-fidelity's own figure."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from waterscape.metrics.frechet_distance import frechet_distance


def by_roots(x, y):
    """As Heusel 2017 writes it."""
    one, other = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    shift = x.mean(0) - y.mean(0)
    return shift @ shift + np.trace(one) + np.trace(other) - 2 * np.trace(sqrtm(one @ other).real)


def two_sets():
    random = np.random.default_rng(20260101)
    x = random.normal(size=(500, 24)) @ random.normal(size=(24, 24))
    return x, random.normal(0.3, 1.2, size=(400, 24)) @ random.normal(size=(24, 24))


def test_against_torch_fidelity():
    """`fid_statistics_to_metric` of torch-fidelity 0.4.0 on the same features."""
    assert frechet_distance(*two_sets()) == pytest.approx(512.91574546469, rel=1e-10)


@pytest.mark.parametrize("width", [1, 3, 16])
def test_against_a_root_by_scipy(width):
    random = np.random.default_rng(width)
    x = random.normal(size=(60, width)) @ random.normal(size=(width, width))
    y = random.normal(1, 2, size=(90, width))
    expected = by_roots(x, y) if width > 1 else (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_of_gaussians():
    """Independent features: the sum of (m₁ − m₂)² + (s₁ − s₂)²; turning both sets alike changes nothing."""
    random = np.random.default_rng(5)
    x, y = random.normal(0, [1, 2, 3], (40_000, 3)), random.normal([1, 0, -2], [2, 2, 1], (40_000, 3))
    assert frechet_distance(x, y) == pytest.approx(1 + 4 + 1 + 0 + 4, rel=0.03)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    assert frechet_distance(x @ turn, y @ turn) == pytest.approx(frechet_distance(x, y), rel=1e-10)


def test_fewer_samples_than_features():
    random = np.random.default_rng(6)
    x, y = random.normal(size=(12, 200)), random.normal(0.2, 1, size=(20, 200))
    assert frechet_distance(x, y) == pytest.approx(by_roots(x, y), rel=1e-4)  # scipy's root of a singular matrix
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-12)
    assert frechet_distance(x[::-1], y) == pytest.approx(frechet_distance(x, y), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y"), [((5, 3), (5, 4)), ((1, 3), (5, 3)), ((5,), (5,))], ids=["unlike widths", "one sample", "no table"]
)
def test_what_has_no_distance_is_refused(x, y):
    with pytest.raises(ValueError, match=r"features|samples"):
        frechet_distance(np.zeros(x), np.zeros(y))
    with pytest.raises(ValueError, match="finite"):
        frechet_distance([[np.nan], [1.0]], [[1.0], [2.0]])
