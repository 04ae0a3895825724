import contextlib
import io
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.data.pictures import decode_picture, read_stacked
from waterscape.data.shard import ShardError
from waterscape.errors import UserError


def scene(height, width):
    """A smooth synthetic picture without symmetry, so that a wrong turn or cut shows."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.stack([255 * x, 255 * y, 127 + 120 * np.sin(5 * x + 9 * y * y)], axis=2).astype(np.uint8)


def jpeg(image, **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return stream.getvalue()


def reference(photo, size):
    """The same by the long way: all pixels, then Pillow's own turning and fitting."""
    with Image.open(io.BytesIO(photo)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return np.asarray(ImageOps.fit(upright, size[::-1], Image.Resampling.BILINEAR)).astype(float)


@pytest.mark.parametrize("size", [(32, 32), (48, 20), (17, 61), (200, 150), (400, 400)])
@pytest.mark.parametrize("shape", [(480, 640), (131, 97), (64, 64), (1000, 90)])
def test_decoding_small_is_decoding_all_and_then_fitting(shape, size):
    photo = jpeg(scene(*shape))
    made = decode_picture(photo, size)
    assert (made.shape, made.dtype) == ((*size, 3), np.uint8)
    difference = np.abs(made - reference(photo, size))
    assert difference.mean() < 1.5
    assert difference.max() < 14  # at edges, where the two filters end differently


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = jpeg(scene(120, 200), exif=exif)
    for size in ((40, 40), (30, 50)):
        assert np.abs(decode_picture(photo, size) - reference(photo, size)).mean() < 1.5


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_nobody_can_read_is_passed_over():
    photo = jpeg(scene(40, 60), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f broken")
    np.testing.assert_array_equal(decode_picture(photo, (20, 20)), decode_picture(jpeg(scene(40, 60)), (20, 20)))


def test_grey_and_cmyk_and_progressive():
    grey = scene(90, 120)[:, :, 2]
    made = decode_picture(jpeg(grey), (32, 32))
    assert (made == made[:, :, :1]).all()
    assert np.abs(made - reference(jpeg(grey), (32, 32))).mean() < 1.5

    stream = io.BytesIO()
    Image.fromarray(scene(90, 120)).convert("CMYK").save(stream, "JPEG", quality=95)
    assert np.abs(decode_picture(stream.getvalue(), (32, 32)) - reference(stream.getvalue(), (32, 32))).mean() < 2.5

    plain, progressive = (decode_picture(jpeg(scene(90, 120), progressive=p), (32, 32)) for p in (False, True))
    np.testing.assert_array_equal(plain, progressive)


def test_a_colour_profile_is_not_applied():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with_profile, without = jpeg(scene(40, 40), icc_profile=profile), jpeg(scene(40, 40))
    np.testing.assert_array_equal(decode_picture(with_profile, (20, 20)), decode_picture(without, (20, 20)))


def bomb(height, width):
    """A JPEG of a few hundred bytes whose header promises any size."""
    photo = bytearray(jpeg(scene(16, 16), progressive=True))
    frame = photo.index(b"\xff\xc2")
    photo[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(photo)


def test_a_pixel_bomb_is_refused_before_memory_is_asked_for():
    """In a process that may not have the memory: 4 G of pixels, progressive, so that all of it would be needed."""
    code = (
        "import resource, sys\n"
        "from waterscape.data.pictures import decode_picture\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)\n"
        "try:\n    decode_picture(sys.stdin.buffer.read(), (32, 32))\n"
        "except ValueError as error:\n    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], input=bomb(65500, 65500), capture_output=True, timeout=60)
    assert run.stdout.decode() == "a photo of 65500 × 65500 pixels: more than 134217728 are not decoded\n"
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_a_photo_cut_short_is_refused_at_every_length():
    photo = jpeg(scene(60, 80), quality=60)
    for length in range(0, len(photo) - 2, 7):
        with pytest.raises(ValueError, match="cannot be decoded"):
            decode_picture(photo[:length], (16, 16))


@given(place=st.integers(0, 600), byte=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_a_photo_it_is_decoded_or_refused(place, byte):
    photo = bytearray(jpeg(scene(24, 24), quality=50, progressive=bool(place % 2)))
    photo[place % len(photo)] = byte
    with contextlib.suppress(ValueError):
        assert decode_picture(bytes(photo), (8, 8)).shape == (8, 8, 3)


@pytest.fixture
def photos(tmp_path):
    """Synthetic photos of several sizes in shards; the seventh is cut short, as its photographer left it."""
    with SetWriter(tmp_path / "photos", facts={"synthetic": True}, samples_per_shard=5) as writer:
        for number in range(12):
            photo = jpeg(np.roll(scene(60 + 7 * number, 90), 11 * number, axis=1))
            photo = photo[: len(photo) // 2] if number == 7 else photo
            writer.add("train" if number != 7 else "cut", {"jpg": photo, "label.npy": np.array(number)})
        writer.finish()
    return tmp_path / "photos"


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_decode_and_agree_with_single_samples(photos, threads):
    shards = ShardSet(photos, "train")
    order = Order(shards.counts, 1)
    numbers = np.cumsum(shards.counts) - shards.counts
    shard, row = order.locate(0, 30)
    with Batches(
        shards, ["label.npy", "jpg"], batch=4, order=order, pictures={"jpg": (24, 32)}, stop=30, threads=threads
    ) as batches:
        loaded = list(batches)
    pictures = torch.cat([one.columns["jpg"] for one in loaded])
    assert pictures.dtype == torch.uint8
    stacked = read_stacked(shards, [int(n) for n in numbers[shard] + row], ["label.npy", "jpg"], {"jpg": (24, 32)})
    assert torch.equal(pictures, stacked["jpg"])
    assert torch.equal(torch.cat([one.columns["label.npy"] for one in loaded]), stacked["label.npy"])


def test_a_photo_that_is_not_whole_names_shard_and_sample(photos):
    shards = ShardSet(photos, "cut")
    order = Order(shards.counts, 0)
    batches = Batches(shards, ["jpg"], batch=1, order=order, pictures={"jpg": (24, 24)})
    wanted = r"photos-cut-000000\.tar, sample 000000007, column jpg, offset \d+: the photo cannot be decoded"
    with batches, pytest.raises(ShardError, match=wanted):
        next(batches)
    with Batches(shards, ["jpg"], batch=1, order=order) as batches:
        assert next(batches).columns["jpg"][0].startswith(b"\xff\xd8")  # as bytes it is what was packed


def test_only_photos_that_are_read_can_be_decoded(photos):
    shards = ShardSet(photos, "train")
    for column in ("label.npy", "other.jpg"):
        with pytest.raises(UserError, match="cannot be decoded: name photos"):
            Batches(shards, ["label.npy"], batch=1, order=Order(shards.counts, 0), pictures={column: (8, 8)})
