"""How unlike pictures are: against scikit-image, in half precision, at sizes that a pyramid would refuse."""

import numpy as np
import pytest
import pytorch_msssim
import torch
from skimage.metrics import structural_similarity
from torch import nn

from waterscape.errors import UserError
from waterscape.nn.losses import moments_apart, structural_dissimilarities
from waterscape.nn.unlikeness import (
    SPAN,
    Shown,
    fill_places,
    is_places,
    places_network,
    resized,
    scene_network,
    unlikeness,
)


def pictures(seed, count=3, side=64):
    """Smooth pictures in −1..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1
    fine = torch.rand(count, 3, side, side, generator=generator) - 0.5
    return (nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") + 0.3 * fine).clamp(-1, 1)


def by_scikit_image(made, true):
    """1 − SSIM of one pair. scikit-image pads before it filters: the padded edge, half a window, is left out again."""
    one, other = (picture.permute(1, 2, 0).double().numpy() for picture in (made, true))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": SPAN}
    _, everywhere = structural_similarity(one, other, channel_axis=2, full=True, **options)
    return 1 - everywhere[5:-5, 5:-5].mean()


@pytest.mark.parametrize("side", [11, 32, 64, 128])
def test_ssim_is_that_of_scikit_image(side):
    made, true = pictures(0, side=side), pictures(1, side=side)
    stripes = torch.tensor([-1.0, 1.0]).repeat(side // 2 + 1)[:side].expand(3, side, side)
    made[2], true[2] = 0.5 * stripes, -0.5 * stripes  # opposites are more unlike than nothing: over 1
    found = unlikeness(made, true, "ssim")
    assert found.tolist() == pytest.approx([by_scikit_image(*pair) for pair in zip(made, true, strict=True)], abs=2e-5)
    assert found[2] > 1


def test_what_is_alike_is_not_unlike_and_mse_is_a_mean():
    made, true = pictures(2), pictures(3)
    for loss in ("mse", "ssim"):
        assert unlikeness(made, made, loss).abs().max() < 1e-6
    wanted = [float(np.mean((one - other) ** 2)) for one, other in zip(made.numpy(), true.numpy(), strict=True)]
    assert unlikeness(made, true, "mse").tolist() == pytest.approx(wanted, rel=1e-5)


def test_ssim_is_computed_in_float32_under_autocast():
    """Small contrasts: bfloat16 has 8 bits, and variance is a difference of squares."""
    made, true = 0.9 + 0.02 * pictures(4), 0.9 + 0.02 * pictures(5)
    exact = unlikeness(made.double(), true.double(), "ssim")
    assert exact.dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        found = unlikeness(made, true, "ssim")
        rounded = unlikeness(made.bfloat16(), true.bfloat16(), "ssim")
    assert found.dtype == rounded.dtype == torch.float32
    assert torch.allclose(found.double(), exact, atol=1e-4)


@pytest.mark.parametrize("side", [64, 128, 160])
def test_no_pyramid_is_asked_of_small_pictures(side, monkeypatch):
    made, true = pictures(6, side=side), pictures(7, side=side)
    with pytest.raises(AssertionError, match="larger than 160"):
        pytorch_msssim.ms_ssim(made, true, data_range=SPAN)  # so it must not be reached
    monkeypatch.setattr(pytorch_msssim, "ms_ssim", None)
    assert structural_dissimilarities(made, true, SPAN).isfinite().all()


def test_moments_of_a_normal_batch_cost_nothing():
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(100_000, 4, generator=generator)
    assert moments_apart(normal) < 1e-3
    assert moments_apart(3 + 2 * normal).item() == pytest.approx(3**2 + (1 - 4) ** 2, rel=0.02)
    assert moments_apart(torch.tensor([[1.0, 3.0]])).item() == pytest.approx(2**2 + 0)


def test_places_sees_pictures_as_it_was_trained_or_as_the_source_had_it():
    torch.manual_seed(0)
    proper, original = places_network().eval(), places_network(original_normalisation=True).eval()
    original.load_state_dict(proper[2].state_dict())
    assert is_places(proper)
    assert is_places(original)
    seen = pictures(8, side=32)
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        by_hand = original(((seen + 1) / 2 - mean) / deviation)
        assert torch.allclose(proper(seen), by_hand, atol=1e-5)
        assert not torch.allclose(original(seen), by_hand, atol=1e-3)


def test_a_scene_classifier_sees_photos_of_its_own_size():
    features, head = nn.Flatten(), nn.Linear(3 * 16 * 16, 7)
    network = scene_network(features, head, 16)
    seen = pictures(9, side=32)
    assert torch.allclose(network(seen), head(features(resized((seen + 1) / 2, 16))))
    with pytest.raises(UserError, match=r"takes no photos of 20 × 20: say --scene-side"):
        scene_network(features, head, 20)


def test_the_perceptual_loss_moves_the_made_picture_alone():
    torch.manual_seed(0)
    network = nn.Sequential(Shown(), nn.Flatten(), nn.Linear(3 * 32 * 32, 5)).requires_grad_(False)
    made, true = pictures(10, side=32).requires_grad_(), pictures(11, side=32).requires_grad_()
    unlikeness(made, true, "perceptual", network).sum().backward()
    assert made.grad.abs().max() > 0
    assert true.grad is None


def test_weights_that_are_missing_are_told(tmp_path):
    with pytest.raises(UserError, match=r"--places365 .*none\.pth: there is no such file"):
        fill_places(places_network(), tmp_path / "none.pth")
