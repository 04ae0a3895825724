"""Draws: known values, the same for any slicing, and the distributions that they claim."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from waterscape.randomness import AT_ONCE, Draw, _words, _words_on_a_device, hash64, mix64


def test_splitmix64_known_values():
    # The first outputs of Vigna's reference splitmix64.c for seed 1234567.
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + golden * np.arange(1, 6, dtype=np.uint64)
    expected = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip
    assert mix64(states).tolist() == expected


def test_hash_is_the_same_everywhere():
    assert hash64(0, "noise", 1) == hash64(0, "noise", 1)
    assert len({hash64(0), hash64(1), hash64(0, "1"), hash64(0, 1), hash64(0, "a", "b"), hash64(0, "ab")}) == 6


@pytest.mark.parametrize("kind", ["normal", "uniform", "words"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_rank_draws_its_own_samples_exactly(kind, dtype):
    whole = Draw(7, torch.arange(1000, 1037), dtype)
    for world in (2, 3, 4):
        bounds = [37 * rank // world for rank in range(world + 1)]
        parts = [getattr(whole.rows(slice(a, b)), kind)("noise", 5, 3) for a, b in pairwise(bounds)]
        assert torch.equal(torch.cat(parts), getattr(whole, kind)("noise", 5, 3))


@pytest.mark.parametrize("count", [0, 1, 7, AT_ONCE // 3, AT_ONCE + 3])
def test_a_device_draws_the_same_words(count):
    numbers = torch.tensor([0, 1, 5, 2**40, -1, 2**63 - 1, 17])
    start = hash64(3, "noise")
    words = _words_on_a_device(numbers, start, count)
    assert torch.equal(words, torch.from_numpy(_words(numbers.numpy(), start, count)))
    every_other = numbers[::2]
    assert torch.equal(Draw(3, every_other).words("noise", count), words[::2])


def test_streams_seeds_and_samples_are_independent():
    numbers = torch.arange(4096)
    draws = torch.stack(
        [
            Draw(0, numbers).normal("a"),
            Draw(0, numbers).normal("b"),
            Draw(1, numbers).normal("a"),
            Draw(2**32, numbers).normal("a"),
            Draw(0, numbers + 1).normal("a"),
        ]
    )
    assert (torch.corrcoef(draws) - torch.eye(5)).abs().max() < 0.06


def test_distributions():
    draw = Draw(3, torch.arange(2000), torch.float64)
    normal, uniform = draw.normal("n", 50), draw.uniform("u", 50)
    assert abs(normal.mean()) < 0.01
    assert abs(normal.var() - 1) < 0.02
    assert abs(normal.pow(4).mean() - 3) < 0.1
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.var() - 1 / 12) < 0.001
    counts = torch.bincount(draw.integers("i", 7, 10).flatten(), minlength=7)
    assert (counts / counts.sum() - 1 / 7).abs().max() < 0.01
