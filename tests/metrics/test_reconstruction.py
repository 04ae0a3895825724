"""Reconstruction errors: against scikit-image and by hand."""

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from waterscape.metrics.features import fractal_pictures
from waterscape.metrics.reconstruction import reconstruction_errors


@pytest.mark.parametrize("channels", [1, 3])
def test_against_a_second_implementation(channels):
    true = fractal_pictures(4)[:, :channels]
    made = (true + 0.1 * torch.randn(true.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    found = reconstruction_errors(made, true)
    for i in range(len(true)):
        one, other = (each[i].permute(1, 2, 0).double().numpy() for each in (true, made))
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
        similar = structural_similarity(one, other, channel_axis=2, **window)
        assert float(found["SSIM"][i]) == pytest.approx(similar, abs=1e-4)
        assert float(found["PSNR"][i]) == pytest.approx(peak_signal_noise_ratio(one, other, data_range=1), rel=1e-5)
        assert float(found["squared error"][i]) == pytest.approx(np.square(one - other).mean(), rel=1e-5)
        assert float(found["absolute error"][i]) == pytest.approx(np.abs(one - other).mean(), rel=1e-5)


def test_equal_pictures():
    true = fractal_pictures(2)
    found = reconstruction_errors(true, true)
    assert found["squared error"].tolist() == [0, 0]
    assert found["PSNR"].tolist() == [100, 100]
    assert torch.allclose(found["SSIM"], torch.ones(2))


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="not"):
        reconstruction_errors(torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 32, 32))
