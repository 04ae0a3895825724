"""Raster files that stay open while windows of them are read: a block that two windows share is decoded once."""

from __future__ import annotations

import threading
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Self

from waterscape.sources.landsat.raster_file import open_file, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DECODED_BYTES = 96 << 20
"""Blocks that GDAL keeps in this process, instead of 5 % of all memory: two parts of 1034 × 1034 pixels side by side
have 90 blocks of 256 × 256, 35 MB in six bands of two bytes, 70 MB in four."""
THREADS_A_HANDLE = 4
"""Decoding is 5 to 10 % of what a thread does of a part, and a handle serves one at a time."""


class KeptOpen:
    """Files that any number of threads read, each by a few handles; closed at the end of `with`."""

    def __init__(self, threads: int) -> None:
        self._turn = threading.BoundedSemaphore(-(-threads // THREADS_A_HANDLE))
        self._idle: defaultdict[Path, list[Any]] = defaultdict(list)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        import rasterio

        self._stack.enter_context(rasterio.Env(GDAL_CACHEMAX=DECODED_BYTES))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def opened(self, path: Path) -> Iterator[Any]:
        """As `raster_file.opened`, but it waits while others read, and leaves the file open."""
        with self._turn:
            idle = self._idle[path]
            if idle:
                dataset = idle.pop()
            else:
                dataset = open_file(path)
                self._stack.callback(dataset.close)  # as a context it would have to end in the thread it began in
            try:
                with whole(path):
                    yield dataset
            finally:
                idle.append(dataset)
