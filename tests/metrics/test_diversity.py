"""Unlikeness of pairs: cases whose answer is known."""

import pytest
import torch
from pytorch_msssim import ms_ssim, ssim

from waterscape.metrics.diversity import unlike_pairs


@pytest.mark.parametrize("side", [32, 176])
def test_copies_are_alike_and_noise_is_not(side):
    noise = torch.rand(20, 1, side, side, generator=torch.Generator().manual_seed(0))
    assert unlike_pairs(noise[:1].expand(20, -1, -1, -1)) == pytest.approx([0] * 10, abs=1e-5)
    assert unlike_pairs(noise).mean() > 0.9
    half_collapsed = torch.cat([noise[:1].expand(10, -1, -1, -1), noise[10:]])
    assert unlike_pairs(half_collapsed).mean() < unlike_pairs(noise).mean()


@pytest.mark.parametrize(("side", "measure"), [(160, ssim), (161, ms_ssim)])
def test_ms_ssim_where_its_scales_fit(side, measure):
    two = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = 1 - measure(two[:1], two[1:], data_range=1.0)
    assert unlike_pairs(two) == pytest.approx([expected.item()], abs=1e-6)


def test_pairs_are_disjoint_and_the_same_every_time():
    pictures = torch.linspace(0, 1, 9)[:, None, None, None].expand(-1, 1, 16, 16).clone()
    assert len(unlike_pairs(pictures)) == 4
    assert unlike_pairs(pictures).tolist() == unlike_pairs(pictures).tolist()
    with pytest.raises(ValueError, match="two pictures or more"):
        unlike_pairs(pictures[:1])
