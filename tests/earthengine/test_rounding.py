"""Rounded weights move the output by less than the tolerance, on pictures that were not measured too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from grown_networks import BANDS, networks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waterscape.earthengine.operations import Affine, Convolution
from waterscape.earthengine.rounding import SAFETY, patches, rounded
from waterscape.earthengine.trace import trace
from waterscape.nn.pixel_network import PixelNetwork


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(), exponent=st.integers(2, 9), seed=st.integers(0, 2**31))
def test_an_output_moves_by_less_than_the_tolerance(network, exponent, seed):
    program, tolerance = trace(network, len(BANDS)), 10.0**-exponent
    found = rounded(program, tolerance)
    assert found.error <= tolerance / SAFETY
    down, right = program.alignments()[-1].removed
    fresh = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (40, program.inputs, down + 1, right + 1)))
    assert (found.program(fresh) - program(fresh)).abs().max() <= tolerance


def test_all_numbers_have_the_decimals_that_are_told():
    torch.manual_seed(0)
    program = trace(PixelNetwork(8), 8)
    found = rounded(program, 1e-6)
    weighted = [each for each in found.program.operations if isinstance(each, Convolution | Affine)]
    for operation, decimals in zip(weighted, found.decimals, strict=True):
        longest = max(
            len(repr(weight).partition(".")[2]) for weight in operation.weight.ravel().tolist() if abs(weight) > 1e-4
        )
        assert longest <= decimals
    finer = rounded(program, 1e-8)
    assert sum(finer.decimals) > sum(found.decimals)


def test_it_is_measured_on_the_pictures_that_are_given():
    """Pictures of small numbers leave room for coarser weights; of large ones, none."""
    program = trace(PixelNetwork(8), 8)
    small, large = (rounded(program, 1e-6, patches(program) * factor) for factor in (0.01, 100))
    assert sum(small.decimals) < sum(rounded(program, 1e-6).decimals) < sum(large.decimals)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_weights_of_any_size_are_rounded(scale):
    layer = torch.nn.Conv2d(3, 2, 1, bias=False)
    with torch.no_grad():
        layer.weight.mul_(scale)
    program = trace(layer, 3)
    found = rounded(program, 1e-3 * scale)
    assert found.error <= 1e-3 * scale
