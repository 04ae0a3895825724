"""That weights over whole windows are the balanced sets of single patches: by enumeration, and by their gradient."""

import itertools

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from waterscape.nn.balanced_pixels import balanced_chances, seen_whole, without_nodata
from waterscape.nn.pixel_network import MARGIN, PixelNetwork


@pytest.mark.parametrize(
    ("waters", "lands", "taken"), [(10, 80, (10, 50)), (10, 30, (10, 30)), (40, 30, (30, 30)), (0, 30, (0, 0))]
)
def test_the_sets_have_the_stated_sizes(waters, lands, taken):
    kinds = torch.tensor([2] * waters + [1] * lands + [0] * (120 - waters - lands)).view(1, 1, 10, 12)
    chances = balanced_chances(kinds == 2, kinds == 1, torch.float64)
    assert chances[kinds == 0].eq(0).all()
    for kind, wanted in zip((2, 1), taken, strict=True):
        there = chances[kinds == kind]
        assert there.sum().item() == pytest.approx(wanted)
        assert there.numel() == 0 or (there == there[0]).all()


def test_each_window_is_balanced_by_itself():
    water = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    water[0, 0, 0, 0] = True
    water[1, 0, :3] = True
    chances = balanced_chances(water, ~water)
    assert chances.sum((1, 2, 3)).tolist() == pytest.approx([6, 8])


def patches_of(raster, places):
    """7 × 7 patches around the places (row, column) of the output: M C 7 7."""
    side = 2 * MARGIN + 1
    return torch.stack([raster[:, row : row + side, column : column + side] for row, column in places])


def flat_gradient(network, loss):
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])


@pytest.fixture
def small():
    """A narrow network in float64 and a window of 2 × 4 pixels to learn from: 1 of water, 7 of land."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = PixelNetwork(widths=(3, 4, 5, 6)).double()
        raster = torch.randn(8, 2 + 2 * MARGIN, 4 + 2 * MARGIN, dtype=torch.float64)
    water = torch.zeros(2, 4, dtype=torch.bool)
    water[1, 2] = True
    return network, raster, water


def test_the_expected_gradient_is_the_mean_over_all_sets_of_patches(small):
    """Every set that the reference may draw (1 of water, 5 of 7 of land), its patches gathered; and the weights."""
    network, raster, water = small
    gradients = []
    for land in itertools.combinations((~water).nonzero().tolist(), 5):
        places = water.nonzero().tolist() + list(land)
        kinds = torch.tensor([0] + [1] * 5)
        scores = network(patches_of(raster, places))[:, :, 0, 0]
        gradients.append(flat_gradient(network, F.cross_entropy(scores, kinds)))
    assert len(gradients) == 21
    mean = torch.stack(gradients).mean(0)

    chances = balanced_chances(water[None, None], ~water[None, None], torch.float64)
    errors = F.cross_entropy(network(raster[None]), (~water).long()[None], reduction="none")
    dense = flat_gradient(network, (chances[:, 0] * errors).sum() / 6)
    assert torch.allclose(dense, mean, rtol=1e-12, atol=1e-15)


def test_a_drawn_mask_has_the_gradient_of_the_gathered_patches(small):
    network, raster, water = small
    drawn = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0]], dtype=torch.float64)
    errors = F.cross_entropy(network(raster[None]), (~water).long()[None], reduction="none")[0]
    dense = flat_gradient(network, (drawn * errors).sum() / drawn.sum())
    places = drawn.nonzero().tolist()
    scores = network(patches_of(raster, places))[:, :, 0, 0]
    gathered = flat_gradient(network, F.cross_entropy(scores, (~water)[drawn > 0].long()))
    assert torch.allclose(dense, gathered, rtol=1e-12, atol=1e-15)


def test_nodata_is_seen_as_far_as_the_network_reaches_and_no_farther():
    bands = torch.zeros(2, 3, 20, 22)
    bands[0, 1, 9, 11] = torch.nan
    bands[1, 2, 0, 0] = torch.inf
    seen = seen_whole(bands, MARGIN)
    assert seen.shape == (2, 1, 14, 16)
    wanted = torch.ones_like(seen)
    wanted[0, 0, 9 - 6 : 9 + 1, 11 - 6 : 11 + 1] = False
    wanted[1, 0, 0, 0] = False
    assert torch.equal(seen, wanted)
    assert without_nodata(bands).isfinite().all()
