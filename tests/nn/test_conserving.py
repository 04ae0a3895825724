"""Enlarged pictures reduce to what they were made of: in floating point, and in whole percent exactly."""

import numpy as np
import pytest
import torch

from waterscape.nn.conserving import conserved, reduced, repeated, whole_percent
from waterscape.nn.windows import in_windows
from waterscape.sources.occurrence_sample import reduce


def pictures(side=8, factor=4, dtype=torch.float64):
    """Random low and high pictures, with blocks and pixels at both ends of the range among them."""
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(3, 1, side, side, dtype=dtype, generator=generator)
    high = torch.rand(3, 1, factor * side, factor * side, dtype=dtype, generator=generator)
    low[0, 0, 0], low[0, 0, 1] = 0, 1
    high[0, 0, :, :8], high[0, 0, :, 8:16] = 0, 1
    return high, low


def test_blocks_have_the_wanted_means_within_the_range():
    high, low = pictures()
    made = conserved(high, low)
    assert 0 <= made.min() <= made.max() <= 1
    assert torch.allclose(reduced(made, 4), low, atol=1e-14)
    assert torch.allclose(conserved(made, low), made), "what fits stays"


def test_in_single_precision_the_means_are_right_to_a_millionth():
    high, low = pictures(side=64, dtype=torch.float32)
    assert (reduced(conserved(high, low), 4) - low).abs().max() < 1e-6


def test_the_order_within_a_block_stays():
    high, low = (picture[1:] for picture in pictures())
    before = high.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    after = conserved(high, low).unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)
    assert torch.equal(before.argsort(-1), after.argsort(-1))


def test_every_pixel_has_a_gradient():
    high, low = (picture[1:] for picture in pictures())
    high = high.requires_grad_()
    weights = torch.rand(high.shape, dtype=high.dtype, generator=torch.Generator().manual_seed(3))
    (conserved(high, low) * weights).sum().backward()
    assert (high.grad != 0).all()
    some = high.detach()[:1, :, :8, :8].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: conserved(x, low[:1, :, :2, :2]), some)


def test_whole_percent_reduces_to_its_input_exactly():
    high, _ = pictures(side=16, dtype=torch.float32)
    percent = np.random.default_rng(0).integers(0, 101, (16, 16)).astype(np.uint8)
    percent[0], percent[1] = 0, 100
    for picture in high:
        low = torch.from_numpy(percent / 100).float()[None, None]
        made = conserved(picture[None], low)[0, 0].numpy()
        whole = whole_percent(made, percent)
        assert np.array_equal(reduce(whole, 16), percent), "by the packer's own area means"
        assert (whole.reshape(16, 4, 16, 4).sum((1, 3)) == 16 * percent.astype(int)).all()
        assert np.abs(whole - 100 * made).max() < 1 + 1e-4
        assert whole.max() <= 100


@pytest.mark.parametrize("shape", [(1, 1), (7, 30), (20, 20), (41, 13)])
def test_windows_leave_no_seam(shape):
    """A network that sees two pixels far, with margins of three."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(1, 3, 3, padding=1, padding_mode="replicate") for _ in range(1)]
        layers += [torch.nn.Conv2d(3, 1, 3, padding=1, padding_mode="replicate")]
    network = torch.nn.Sequential(*layers).double()
    low = torch.rand(2, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def enlarge(picture):
        return repeated(network(picture), 4)

    with torch.no_grad():
        assert torch.allclose(in_windows(enlarge, low, inside=10, margin=3), enlarge(low))
