"""Kernel distance: against plain loops, torch-fidelity's figure, a closed form, the laws of an unbiased estimate."""

import numpy as np
import pytest

from waterscape.metrics.kernel_distance import kernel_distance, squared_discrepancy


def by_loops(x, y):
    """The estimate as Gretton 2012 writes it, term by term."""

    def kernel(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    of_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    of_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return of_x + of_y - 2 * across


def test_against_plain_loops():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(11, 5)), random.normal(1, 2, size=(14, 5))
    assert squared_discrepancy(x, y) == pytest.approx(by_loops(x.tolist(), y.tolist()), rel=1e-12)


def test_against_torch_fidelity():
    """`kernel_mmd` of torch-fidelity 0.4.0, with its usual kernel, on the same features."""
    random = np.random.default_rng(20260101)
    x = random.normal(size=(500, 24)) @ random.normal(size=(24, 24))
    y = random.normal(0.3, 1.2, size=(500, 24)) @ random.normal(size=(24, 24))
    assert squared_discrepancy(x, y) == pytest.approx(1931.395882170749, rel=1e-10)


def test_against_the_closed_form():
    """In one dimension the kernel compares the first three moments: 3·Δm₁² + 3·Δm₂² + Δm₃²."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(4000, 1)), random.normal(0.5, 1, size=(4000, 1))
    found = kernel_distance(x, y, subsets=10)
    assert found.mean == pytest.approx(3 * 0.5**2 + 3 * 0.25**2 + 1.625**2, abs=4 * found.standard_error)
    assert 0 < found.standard_error < 0.5


def test_unbiased_and_its_error_is_honest():
    """Of one distribution the mean is zero, within the errors that are told."""
    random = np.random.default_rng(2)
    found = [kernel_distance(*random.normal(size=(2, 64, 8))) for _ in range(200)]
    means = np.array([each.mean for each in found])
    assert abs(means.mean()) < 4 * means.std() / 200**0.5
    assert means.min() < 0
    assert np.mean([each.standard_error for each in found]) == pytest.approx(means.std(), rel=0.2)


def test_symmetric_and_growing():
    random = np.random.default_rng(3)
    x, y = random.normal(size=(2, 200, 6))
    assert squared_discrepancy(x, y) == pytest.approx(squared_discrepancy(y, x))
    shifted = [kernel_distance(x, y + shift).mean for shift in (0, 0.3, 0.6, 1.2)]
    assert shifted == sorted(shifted)


def test_the_same_every_time():
    x, y = np.random.default_rng(4).normal(size=(2, 40, 3))
    assert kernel_distance(x, y) == kernel_distance(x.tolist(), y.tolist())
    assert kernel_distance(x, y) != kernel_distance(x, y, seed=1)


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="N D and M D"):
        kernel_distance(np.zeros((20, 3)), np.zeros((20, 4)))
    with pytest.raises(ValueError, match="need 16 samples, not 20 and 12"):
        kernel_distance(np.zeros((20, 3)), np.zeros((12, 3)))
