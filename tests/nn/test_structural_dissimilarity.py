"""1 − SSIM by matrix products is that of pytorch-msssim, in value and gradient, and of each pair alone."""

import pytest
import torch
from pytorch_msssim import ssim

from waterscape.nn.losses import structural_dissimilarities, structural_dissimilarity


def pairs(*shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    true = torch.rand(shape, generator=generator, dtype=dtype)
    made = (true + 0.2 * torch.randn(shape, generator=generator, dtype=dtype)).clamp(0, 1)
    return made.requires_grad_(), true


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["double", "single"])
@pytest.mark.parametrize("shape", [(3, 1, 64, 64), (2, 3, 11, 40), (1, 2, 65, 12)])
@pytest.mark.parametrize("span", [1.0, 2.0])
def test_it_is_the_librarys(shape, dtype, near, span):
    made, true = pairs(*shape, dtype=dtype)
    ours = structural_dissimilarities(made, true, span)
    theirs = 1 - ssim(made, true, data_range=span, size_average=False)
    torch.testing.assert_close(ours, theirs, rtol=near, atol=near)
    (gradient,), (expected,) = (torch.autograd.grad(loss.mean(), made) for loss in (ours, theirs))
    assert (gradient - expected).abs().max() <= near * expected.abs().max()


def test_a_pair_is_judged_alone():
    made, true = pairs(4, 1, 20, 20)
    alone = [structural_dissimilarity(made[number : number + 1], true[number : number + 1]) for number in range(4)]
    torch.testing.assert_close(structural_dissimilarities(made, true, 1.0), torch.stack(alone))


@pytest.mark.parametrize("other", [(1, 1, 10, 20), (1, 1, 20, 21)])
def test_what_has_no_window_or_no_match_is_refused(other):
    with pytest.raises(ValueError, match="give two of one size, 11 a side or more"):
        structural_dissimilarities(torch.zeros(other), torch.zeros(other if other[2] < 11 else (1, 1, 20, 20)), 1.0)
