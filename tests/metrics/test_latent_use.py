"""How much each number of a generator counts: cases whose answer is known."""

import pytest
import torch

from waterscape.metrics.latent_use import share_used, total_effects
from waterscape.randomness import Draw


def drawn(count, numbers):
    return Draw(0, torch.arange(2 * count), torch.float64).normal("numbers", numbers).chunk(2)


def test_of_a_linear_generator_the_effects_are_the_squares_of_its_coefficients():
    """Sobol's total effect of Σ aᵢzᵢ, z of variance 1, is aᵢ² (Jansen 1999)."""
    coefficients = torch.tensor([3.0, 1.0, 0.0, 0.5], dtype=torch.float64)
    found = total_effects(lambda latent: (latent * coefficients).sum(1)[:, None, None, None], *drawn(20_000, 4), 4)
    assert found.tolist() == pytest.approx(coefficients.square().tolist(), rel=0.03, abs=1e-12)


def test_an_interaction_counts_for_both_and_neighbours_share_a_group():
    """Of z₀·z₁ each has the whole variance, 1, as its total effect; so has the group of both."""
    generate = lambda latent: (latent[:, 0] * latent[:, 1])[:, None]  # noqa: E731
    assert total_effects(generate, *drawn(20_000, 4), 4).tolist() == pytest.approx([1, 1, 0, 0], abs=0.05)
    assert total_effects(generate, *drawn(20_000, 4), 2).tolist() == pytest.approx([1, 0], abs=0.05)
    assert len(total_effects(generate, *drawn(10, 4), 16)) == 4


def test_share_used():
    assert share_used(torch.ones(8, dtype=torch.float64)) == pytest.approx(1)
    assert share_used(torch.tensor([0.0, 2.0, 0.0, 0.0])) == pytest.approx(1 / 4)
    assert share_used(torch.tensor([1.0, 1.0, 0.0, 0.0])) == pytest.approx(1 / 2)
    assert share_used(torch.zeros(4)) == 0
