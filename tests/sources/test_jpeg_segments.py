"""JPEGs without metadata: the picture is the same bit for bit, and nothing else is left."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from waterscape.sources.jpeg_segments import JpegError, without_metadata

SECRET = b"somebody's secret"


def a_jpeg(mode="RGB", orientation=None, **more):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 56, len(mode)), dtype=np.uint8).squeeze()
    exif = Image.Exif()
    exif[0x013B] = SECRET.decode()
    if orientation:
        exif[0x0112] = orientation
    exif.get_ifd(0x8825)[2] = (55.0, 30.0, 0.0)
    stream = io.BytesIO()
    Image.fromarray(pixels, mode).save(stream, "JPEG", exif=exif, comment=SECRET, **more)
    return stream.getvalue()


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def scans(content):
    """All tables and scans: what remains of a file from its first quantisation table on."""
    return content[content.index(b"\xff\xdb") : content.rindex(b"\xff\xd9") + 2]


@pytest.mark.parametrize(
    "more",
    [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"quality": 100, "subsampling": 0}, {"mode": "L"}],
    ids=str,
)
def test_the_picture_is_kept_byte_for_byte_and_what_it_says_is_not(more):
    raw = a_jpeg(**more)
    plain = without_metadata(raw)
    assert scans(plain.content) == scans(raw)
    assert (np.asarray(opened(plain.content)) == np.asarray(opened(raw))).all()
    assert SECRET not in plain.content
    assert not opened(plain.content).getexif()
    assert plain.left_out == ("EXIF", "a comment")
    assert without_metadata(plain.content).content == plain.content


def test_colours_stay_what_they_were():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    raw = a_jpeg(icc_profile=profile)
    assert opened(without_metadata(raw).content).info["icc_profile"] == profile
    inks = a_jpeg(mode="CMYK")
    assert (np.asarray(opened(without_metadata(inks).content)) == np.asarray(opened(inks))).all()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_picture_lies_as_it_lay(orientation):
    raw = a_jpeg(orientation=orientation)
    plain = without_metadata(raw, orientation)
    assert dict(opened(plain.content).getexif()) == {0x0112: orientation}
    upright, before = (np.asarray(ImageOps.exif_transpose(opened(content))) for content in (plain.content, raw))
    assert (upright == before).all()
    assert SECRET not in plain.content


def test_further_pictures_thumbnails_and_what_follows_the_end_are_left_out():
    raw = a_jpeg()
    thumbnail = b"\xff\xe0" + (16 + 3 * 4).to_bytes(2, "big") + b"JFIF\0\1\1\0\0\1\0\1\2\2" + b"pixels of it"
    extension = b"\xff\xe0" + (8 + len(SECRET)).to_bytes(2, "big") + b"JFXX\0\x10" + SECRET
    further = b"\xff\xe2" + (6 + len(SECRET)).to_bytes(2, "big") + b"MPF\0" + SECRET
    adobes = b"\xff\xed" + (2 + 13 + len(SECRET)).to_bytes(2, "big") + b"Photoshop 3.0" + SECRET
    own = raw[raw.index(b"\xff\xe0") + 2 + 16 :]
    content = b"\xff\xd8" + thumbnail + extension + further + adobes + own + raw + b"a film: " + SECRET
    plain = without_metadata(content)
    assert SECRET not in plain.content
    assert b"pixels of it" not in plain.content
    assert (np.asarray(opened(plain.content)) == np.asarray(opened(raw))).all()
    assert {"a thumbnail", "further pictures", "IPTC", "what follows the end"} < set(plain.left_out)


def test_what_is_cut_anywhere_is_refused():
    raw = a_jpeg(progressive=True)
    for end in range(len(raw)):
        with pytest.raises(JpegError):
            without_metadata(raw[:end])
    for other in (
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"\xff\xd8\xff\xe1\0\0",
        b"\xff\xd8\xff\xe1\xff\xff" + bytes(9),
    ):
        with pytest.raises(JpegError):
            without_metadata(other)


def test_real_photos_lose_their_place_and_nothing_of_their_picture(real_data):
    found = sorted((real_data / "exif_gps").glob("*.jp*g"))
    assert found
    for path in found:
        raw = path.read_bytes()
        orientation = opened(raw).getexif().get(0x0112, 1)
        plain = without_metadata(raw, orientation)
        assert "EXIF" in plain.left_out
        assert not opened(plain.content).getexif().get_ifd(0x8825)
        assert set(opened(plain.content).getexif()) <= {0x0112}
        assert (np.asarray(opened(plain.content)) == np.asarray(opened(raw))).all()
