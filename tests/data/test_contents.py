"""Sizes of pictures are known from their first bytes, so that none is decoded that is too large."""

import io

import pytest
from PIL import Image

from waterscape.data import contents
from waterscape.data.contents import payload_faults

KINDS = {
    "lossy.webp": ({"quality": 50}, "RGB", b"VP8 "),
    "lossless.webp": ({"lossless": True}, "RGB", b"VP8L"),
    "extended.webp": ({"quality": 50}, "RGBA", b"VP8X"),
    "plain.png": ({}, "RGB", None),
    "photo.jpg": ({}, "RGB", None),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_size_of_a_picture_is_read_from_its_head(name, monkeypatch):
    options, mode, chunk = KINDS[name]
    kept = io.BytesIO()
    colour = (90, 120, 20, 128)[: len(mode)]
    Image.new(mode, (1111, 345), colour).save(kept, {"jpg": "JPEG"}.get(name[-3:], name[-4:].strip(".")), **options)
    payload = kept.getvalue()
    assert chunk is None or payload[12:16] == chunk
    monkeypatch.setattr(contents, "MOST_PIXELS", 1111 * 345)
    assert payload_faults(name, len(payload), payload[:1024], None) == []
    monkeypatch.setattr(contents, "MOST_PIXELS", 1111 * 345 - 1)
    (told,) = payload_faults(name, len(payload), payload[:1024], None)
    assert told.startswith("a photo of 1111 × 345 pixels")
