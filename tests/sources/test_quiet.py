"""Warnings that several threads keep quiet at once: none is shown meanwhile, all of them afterwards."""

from __future__ import annotations

import io
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from waterscape.sources.pair_files import place_in_geotiff
from waterscape.sources.photo_file import decode
from waterscape.sources.quiet import no_warnings


def test_threads_that_overlap_leave_the_filters_as_they_were():
    before, inside, ended = list(warnings.filters), threading.Event(), threading.Event()

    def longer():
        with no_warnings():
            inside.set()
            assert ended.wait(60)

    other = threading.Thread(target=longer)
    with no_warnings():
        other.start()
        assert inside.wait(60)
    warnings.warn("by a thread that is outside, while another one is within", stacklevel=1)
    ended.set()
    other.join()
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


class Slow(bytes):
    """A picture's bytes, at whose length, which is asked for within `decode`, two threads meet."""

    meeting = threading.Barrier(2, timeout=60)

    def __len__(self):
        self.meeting.wait()
        return super().__len__()


def test_pictures_decoded_by_two_threads_at_once_leave_the_filters_as_they_were():
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "JPEG")
    before = list(warnings.filters)
    for _ in range(20):  # which thread ends first is chance
        both = [threading.Thread(target=decode, args=(Slow(stream.getvalue()),)) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    assert warnings.filters == before


class SlowPath:
    """The path of a GeoTIFF, at which two threads meet within `place_in_geotiff`."""

    suffix = ".tif"

    def __init__(self, path):
        self.path, self.meeting = path, threading.Barrier(2, timeout=60)

    def __fspath__(self):
        self.meeting.wait()
        return str(self.path)


def test_threads_that_place_geotiffs_and_decode_leave_the_filters_as_they_were(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "JPEG")
    Image.new("RGB", (32, 32)).save(tmp_path / "nowhere.tif")
    before = list(warnings.filters)

    def look(path):
        assert place_in_geotiff(path) == {}
        decode(stream.getvalue())

    for _ in range(20):
        path = SlowPath(tmp_path / "nowhere.tif")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(look, [path] * 4))
    assert warnings.filters == before
