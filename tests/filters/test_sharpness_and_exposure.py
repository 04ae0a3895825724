"""Blur and exposure on real photos: what is blurred or darkened is found, what is as it was is kept."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy import ndimage

from waterscape.errors import UserError
from waterscape.filters.blur import SHARP, Blur, laplacian, sharpness
from waterscape.filters.daytime import Daytime
from waterscape.filters.exposure import Exposure
from waterscape.filters.seen import Seen
from waterscape.sources.ledger import Photo


def judged(one, image, tmp_path):
    path = tmp_path / "photo.png"
    image.save(path)
    return one.judge(Seen(Photo("vk-1", "vk", "7", "1", file="photo.png"), path))


def test_the_laplacian_is_scipys():
    grey = np.random.default_rng(0).uniform(0, 255, (17, 23))
    np.testing.assert_allclose(laplacian(grey), ndimage.laplace(grey)[1:-1, 1:-1])


@pytest.mark.long
def test_real_photos_are_sharp_until_they_are_blurred(real_data):
    files = [*(real_data / "exif_gps").glob("*.jpg"), *(real_data / "scenes/desert").glob("*.jpg")]
    sharp, blurred = [], []
    for path in files:
        image = Image.open(path).convert("RGB")
        sharp.append(sharpness(image))
        blurred.append(sharpness(image.filter(ImageFilter.GaussianBlur(0.01 * max(image.size)))))
    assert len(files) == 45
    assert min(sharp) > 3 * SHARP, sorted(sharp)[:3]
    assert max(blurred) < SHARP / 3, sorted(blurred)[-3:]


def test_small_photos_are_sharp_until_they_are_blurred(real_data):
    images = [Image.open(path).convert("RGB") for path in sorted((real_data / "landscapes").glob("*.jpg"))[::7]]
    assert min(sharpness(image) for image in images) > SHARP
    assert max(sharpness(image.filter(ImageFilter.GaussianBlur(0.02 * max(image.size)))) for image in images) < SHARP


@pytest.mark.parametrize("size", [(16, 16), (1, 5000), (3000, 20)])
def test_any_shape_has_a_sharpness(size):
    assert sharpness(Image.new("RGB", size, "grey")) == 0


def test_numbers_that_no_photo_can_have_are_told():
    nan = float("nan")
    levels = [Exposure(220), Exposure(40, -1), Exposure(-1), Exposure(40, 256), Exposure(nan), Exposure(40, nan)]
    for one in (*levels, Blur(nan), Blur(-1), Blur(float("inf")), Daytime(95), Daytime(-91), Daytime(nan)):
        with pytest.raises(UserError, match="give ") as told:
            one.check()
        assert "\n" not in str(told.value)
    for one in (Exposure(0, 255), Blur(0), Daytime(-12)):
        one.check()


def test_exposure_of_a_real_photo_made_darker_and_brighter(real_data, tmp_path):
    image = Image.open(real_data / "exif_gps/DSCN0010.jpg").convert("RGB")
    as_it_is = judged(Exposure(), image, tmp_path)
    assert as_it_is.keep
    assert as_it_is.score == pytest.approx(np.asarray(image.convert("L"), float).mean(), abs=0.5)
    assert judged(Exposure(), ImageEnhance.Brightness(image).enhance(0.2), tmp_path).reason == "too dark"
    assert judged(Exposure(), ImageEnhance.Brightness(image).enhance(3.5), tmp_path).reason == "too bright"
