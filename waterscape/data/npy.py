"""Arrays in NumPy's format: the header of a payload, version 1.0 (NEP 1), in C order, and whole files.

Written, and read by any number of threads: NumPy parses headers by `ast`, whose depth of recursion all threads count in
one place (before CPython 3.13), so two at a time end in a SystemError.
"""

from __future__ import annotations

import functools
import io
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BEFORE_HEADER = 10  # bytes: magic, version, length of the text that follows

_parser = threading.RLock()  # a finalizer may come in between


@dataclass(frozen=True)
class NpyHeader:
    """What a header says; `bytes`: where the data begin."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    fortran_order: bool
    bytes: int


@functools.lru_cache(maxsize=256)
def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of an array; `dtype` as `numpy.dtype.str` writes it (`|u1`, `<f4`)."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def header_bytes(start: bytes | memoryview) -> int:
    """Bytes of a whole header, by the `BEFORE_HEADER` first of them."""
    return BEFORE_HEADER + int.from_bytes(start[8:BEFORE_HEADER], "little")


def read_npy_header(payload: bytes | memoryview) -> NpyHeader:
    """The header that a payload begins with. Raises `ValueError`: it has none of version 1.0."""
    return _read(bytes(payload[: header_bytes(payload)]))


@functools.lru_cache(maxsize=1024)
def _read(header: bytes) -> NpyHeader:
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("its .npy header is not of version 1.0")
    try:
        with _parser:
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # whatever Python's own parser and tokenizer raise
        raise ValueError(f"its .npy header is unreadable ({str(error).splitlines()[0][:80]})") from error
    return NpyHeader(dtype, shape, fortran_order, len(header))


def load_npy(path: Path) -> NDArray[Any]:
    """The array of a file. Raises what `numpy.load` does, and never unpickles."""
    with _parser:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array
