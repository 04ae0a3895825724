"""Indexes as they lie on the disk: mapped, so that the memory of a reader does not grow with the set."""

from __future__ import annotations

import contextlib
import functools
import mmap
import resource
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waterscape.data.npy import BEFORE_HEADER, header_bytes, read_npy_header


def map_index(path: Path) -> NDArray[np.void]:
    """What `np.load(path, mmap_mode="r")` gives, its `base` the mapping; in a fifth of the time for thousands of them.

    Raises:
        ValueError: no `.npy` file of version 1.0 that holds one structured row a sample.
        OSError: it cannot be read.
    """
    allow_more_open_files()
    with path.open("rb") as file:
        start = file.read(BEFORE_HEADER)
        header = read_npy_header(start + file.read(header_bytes(start) - len(start)))
        dtype, shape = header.dtype, header.shape
        if header.fortran_order or len(shape) != 1 or dtype.names is None or dtype.hasobject:
            raise ValueError(f"no index: rows of {dtype}, shape {shape}")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return np.ndarray(shape, dtype, buffer=mapped, offset=header.bytes)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error


def forget_pages(index: NDArray[np.void]) -> None:
    """Hand back the memory of what was looked at; the system reads it again when it is asked for."""
    if isinstance(index.base, mmap.mmap):
        index.base.madvise(mmap.MADV_DONTNEED)


@functools.cache
def allow_more_open_files() -> None:
    """Let this process open more than the usual 1024 files: Python's mappings keep theirs open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # a system that has a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
