"""Random features: always the same ones, and they see what is done to a picture."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from waterscape.metrics.features import FEATURES, WIDTHS, fractal_pictures, kernels, kernels_sha256, random_features
from waterscape.metrics.kernel_distance import kernel_distance


def lakes(count, seed):
    """Blobs of water in sharp outlines: N 1 64 64."""
    random = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(random.normal(size=(64, 64)), 4, mode="wrap") for _ in range(count)])
    return np.clip(50 * fields / fields.std() * 4, 0, 1)[:, None].astype(np.float32)


def test_the_kernels_are_those_of_the_name():
    assert f"random-{kernels_sha256()[:12]}" == FEATURES


def test_the_global_generator_has_no_part():
    pictures = fractal_pictures(3)
    torch.manual_seed(1)
    one = random_features(pictures)
    torch.manual_seed(2)
    assert torch.equal(one, random_features(pictures))


def test_shape_and_scale():
    """Over fractal pictures other than those of the calibration, features are about of mean zero and spread one."""
    features = random_features(fractal_pictures(200)[128:])
    assert features.shape == (72, 2 * sum(WIDTHS))
    assert features.mean().abs() < 0.1
    assert 0.8 < features.std() < 1.2


def test_half_of_the_first_kernels_see_contrast_alone():
    first = kernels()[0]
    assert first[len(first) // 2 :].mean((2, 3)).abs().max() < 1e-6
    assert first[: len(first) // 2].mean((2, 3)).abs().max() > 0.1


def test_a_picture_alone_and_among_others():
    pictures = fractal_pictures(70)
    together = random_features(pictures)
    alone = torch.cat([random_features(one[None]) for one in pictures[[0, 63, 64, 69]]])
    assert torch.allclose(together[[0, 63, 64, 69]], alone, atol=1e-4)


def test_grey_is_three_equal_channels():
    grey = fractal_pictures(5)[:, :1]
    assert torch.equal(random_features(grey), random_features(grey.expand(-1, 3, -1, -1)))


def test_distances_grow_with_what_is_done_to_pictures():
    true, other = (random_features(torch.from_numpy(lakes(64, seed))) for seed in (1, 2))
    floor = kernel_distance(true, other)
    pictures = lakes(64, 2)
    random = np.random.default_rng(3)
    for worsened in (
        [ndimage.gaussian_filter(pictures, (0, 0, blur, blur)) for blur in (0.7, 1.4, 2.8)],
        [np.clip(pictures + random.normal(0, grain, pictures.shape), 0, 1) for grain in (0.05, 0.1, 0.2)],
        [pictures * bright for bright in (0.8, 0.6, 0.4)],
    ):
        found = [kernel_distance(true, random_features(torch.from_numpy(each).float())).mean for each in worsened]
        assert floor.mean + 3 * floor.standard_error < found[0] < found[1] < found[2], found


def test_what_is_no_picture():
    with pytest.raises(ValueError, match="1 or 3 channels, 16 pixels or more"):
        random_features(torch.zeros(2, 4, 64, 64))
    with pytest.raises(ValueError, match="16 pixels or more"):
        random_features(torch.zeros(2, 1, 8, 8))
