"""Headers of arrays: read as they are written, refused with a reason, by many threads at once."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from waterscape.data.npy import load_npy, npy_header, read_npy_header


def test_what_is_written_is_read():
    header = npy_header("<f4", (3, 64, 64))
    read = read_npy_header(header + bytes(12))
    assert (read.dtype, read.shape, read.fortran_order, read.bytes) == (np.float32, (3, 64, 64), False, len(header))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "magic string"),
        (b"\x93NUMPY\x02\x00" + bytes(120), "not of version 1.0"),
        (npy_header("<f4", (3,))[:-20], "unreadable"),
        (npy_header("<f4", (3,)).replace(b"(3,)", b"((((("), "unreadable"),
    ],
)
def test_another_header_is_refused(head, reason):
    with pytest.raises(ValueError, match=reason):
        read_npy_header(head)


@pytest.fixture
def collections_that_let_others_run():
    """Garbage is collected at every turn, and something in Python is told of it, as by a finalizer."""
    thresholds = gc.get_threshold()

    def let_others_run(_phase, _told):
        time.sleep(1e-5)

    gc.callbacks.append(let_others_run)
    gc.set_threshold(20)
    yield
    gc.set_threshold(*thresholds)
    gc.callbacks.remove(let_others_run)


@pytest.mark.usefixtures("collections_that_let_others_run")
def test_many_threads_read_headers_at_once():
    """Python's parser counts its depth for all threads together, before 3.13: unguarded, this ends in SystemError."""
    headers = [npy_header("<f4", (samples, 3, 64, 64)) for samples in range(600)]
    with ThreadPoolExecutor(8) as threads:
        shapes = [header.shape for header in threads.map(read_npy_header, headers)]
    assert shapes == [(samples, 3, 64, 64) for samples in range(600)]


@pytest.mark.usefixtures("collections_that_let_others_run")
def test_many_threads_read_files_at_once(tmp_path):
    for samples in range(1, 301):
        np.save(tmp_path / f"{samples}.npy", np.empty((samples, 2), np.uint8))
    with ThreadPoolExecutor(8) as threads:
        lengths = list(threads.map(lambda samples: len(load_npy(tmp_path / f"{samples}.npy")), range(1, 301)))
    assert lengths == list(range(1, 301))
