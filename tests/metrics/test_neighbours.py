"""Nearest neighbours: plain loops, torch-fidelity's own figures, and cases whose answer is known."""

import numpy as np
import pytest

from waterscape.metrics.neighbours import manifold, memory, nearest_to


def by_loops(x, y, k):
    """Precision, recall, density and coverage as their papers write them."""

    def radius(samples, i):
        return sorted(np.linalg.norm(samples[i] - other) for other in samples)[k]

    def inside(centre, reach, point):
        return np.linalg.norm(centre - point) <= reach

    true, made = [radius(x, i) for i in range(len(x))], [radius(y, i) for i in range(len(y))]
    held = np.array([[inside(x[i], true[i], y[j]) for j in range(len(y))] for i in range(len(x))])
    found = np.array([[inside(y[j], made[j], x[i]) for j in range(len(y))] for i in range(len(x))])
    return held.any(0).mean(), found.any(1).mean(), held.sum() / k / len(y), held.any(1).mean()


@pytest.mark.parametrize("k", [1, 3])
def test_against_plain_loops(k):
    random = np.random.default_rng(k)
    x, y = random.normal(size=(30, 4)), random.normal(0.5, 1.5, size=(21, 4))
    assert manifold(x, y, k) == pytest.approx(by_loops(x, y, k))


def test_against_torch_fidelity():
    """`calculate_precision_recall_full` of torch-fidelity 0.4.0, on the same features: precision and recall."""
    random = np.random.default_rng(20260101)
    x = random.normal(size=(500, 24)) @ random.normal(size=(24, 24))
    random.normal(0.3, 1.2, size=(400, 24)), random.normal(size=(24, 24))  # of another comparison
    y = x[:400] * 0.9 + random.normal(size=(400, 24)) + 1.5
    assert manifold(x, y, 5)[:2] == pytest.approx((1.0, 0.966), abs=1e-7)
    assert manifold(x, y, 3)[:2] == pytest.approx((1.0, 0.940), abs=1e-7)
    assert manifold(y, x, 5)[:2] == pytest.approx((0.966, 1.0), abs=1e-7)


def test_what_they_are_for():
    """One mode of two is precise and not covering; far away is neither; the same distribution is both."""
    random = np.random.default_rng(2)
    modes = np.repeat([[0.0, 0], [50, 0]], 300, axis=0)
    true, made = (modes + random.normal(size=(600, 2)) for _ in range(2))
    one_mode, far = made[:300], made + 1000
    assert manifold(true, made).coverage > 0.9
    assert manifold(true, made).density == pytest.approx(1, abs=0.1)
    assert manifold(true, one_mode).precision > 0.9
    assert manifold(true, one_mode).recall == pytest.approx(0.5, abs=0.05)
    assert manifold(true, one_mode).coverage == pytest.approx(0.5, abs=0.05)
    assert manifold(true, far) == (0, 0, 0, 0)


def test_copies_are_told_from_new_samples():
    random = np.random.default_rng(3)
    training, held_out, new = random.normal(size=(3, 500, 6))
    copies = training[:200] + 1e-3 * random.normal(size=(200, 6))
    fair, copied, far = (memory(training, held_out, made) for made in (new, copies, new + 100))
    assert fair.nearer == pytest.approx(0.5, abs=0.05)
    assert fair.copied < 0.05
    assert (copied.nearer, copied.copied) == (1, 1)
    assert copied.nearest.tolist() == list(range(200))
    assert (far.nearer, far.copied) == (0, 0)
    half = memory(training, held_out, np.concatenate([copies, new[:200]]))
    assert half.copied == pytest.approx(0.5, abs=0.03)


def test_ties_count_by_half():
    same = np.zeros((30, 2))
    assert memory(same, same, same).nearer == 0.5


def test_many_samples_are_taken_in_parts():
    random = np.random.default_rng(4)
    x, y = random.normal(size=(1500, 3)), random.normal(size=(1100, 3))
    distances, numbers = nearest_to(x, y)
    assert distances == pytest.approx(np.linalg.norm(x - y[numbers], axis=1))
    assert manifold(x, y) == manifold(x[::-1], y[::-1])


def test_what_has_no_neighbours_is_refused():
    with pytest.raises(ValueError, match="more than 5 samples"):
        manifold(np.zeros((5, 2)), np.zeros((9, 2)))
    with pytest.raises(ValueError, match="none empty"):
        nearest_to(np.zeros((5, 2)), np.zeros((0, 2)))
    with pytest.raises(ValueError, match="N D and M D"):
        memory(np.zeros((5, 2)), np.zeros((5, 3)), np.zeros((5, 2)))
