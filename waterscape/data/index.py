"""One index as it lies on the disk: a `.npy` file with a structured row a sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waterscape.data.npy import read_npy_header


def parse_index(raw: bytes) -> NDArray[np.void]:
    """What `np.load` gives of these bytes, as a view of them.

    Raises:
        ValueError: no `.npy` file of version 1.0 that holds one structured row a sample.
    """
    header = read_npy_header(raw)
    dtype, shape = header.dtype, header.shape
    if header.fortran_order or len(shape) != 1 or dtype.names is None or dtype.hasobject:
        raise ValueError(f"no index: rows of {dtype}, shape {shape}")
    try:
        return np.ndarray(shape, dtype, buffer=raw, offset=header.bytes)
    except TypeError as error:
        raise ValueError(str(error)) from error


def column_names(index: NDArray[np.void]) -> tuple[str, ...]:
    """The columns that an index lists."""
    return tuple(name for name in index.dtype.names or () if name != "key")
