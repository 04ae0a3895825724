"""Batch buffers that records are read into, and the reading: one system call and one crc a record."""

from __future__ import annotations

import os
import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

from waterscape.data.manifest import Column
from waterscape.data.shard import BLOCK, NAME_BYTES, crc32, fixed_size, npy_header, padding

ALIGNMENT = 4096  # the kernel's copy was up to six times slower into memory that starts 16 bytes after a page


class Rows:
    """Memory for one column of a batch: the rows, contiguous, and for each record its header and its padding."""

    def __init__(self, column: Column, capacity: int) -> None:
        assert column.dtype is not None
        assert column.shape is not None
        header = npy_header(column.dtype, column.shape)
        size = fixed_size(column.dtype, column.shape)
        self.record_bytes = BLOCK + size + padding(size)
        self.npy_header = np.frombuffer(header, np.uint8)
        self.data = _aligned(capacity, size - len(header))
        self.heads = _aligned(capacity, BLOCK + len(header))
        tails = _aligned(capacity, padding(size))
        self.array = self.data.reshape(-1).view(column.dtype).reshape(capacity, *column.shape)
        # What preadv fills, in the order of the file; made once, since making them costs as much as a small read.
        self.parts = [
            (memoryview(head), memoryview(data), memoryview(tail))
            for head, data, tail in zip(self.heads, self.data, tails, strict=True)
        ]

    def fill(
        self, descriptors: list[int], offsets: list[int], crcs: list[int], names: NDArray[np.bytes_]
    ) -> int | None:
        """Read one record into each row; returns the number of the first that fails its checks, or None.

        A record passes if all of it is there, the crc32 over all of it fits, the tar's header has the name from
        `names`, and the `.npy` header is the column's.
        """
        length, preadv, crc = self.record_bytes, os.preadv, crc32
        count = len(offsets)
        records = zip(range(count), descriptors, offsets, crcs, self.parts[:count], strict=True)
        for row, descriptor, offset, expected, part in records:
            head, data, tail = part
            if preadv(descriptor, part, offset) != length or crc(tail, crc(data, crc(head))) != expected:
                return row
        bad = self.names(count) != names
        bad |= (self.heads[:count, BLOCK:] != self.npy_header).any(axis=1)
        return int(bad.argmax()) if bad.any() else None

    def names(self, count: int) -> NDArray[np.bytes_]:
        """The members' names in the records' own tar headers."""
        names: NDArray[np.bytes_] = self.heads[:count, :NAME_BYTES].copy().view(f"S{NAME_BYTES}")[:, 0]
        return names


class Pool:
    """Buffers that come back by themselves once no tensor refers to their memory."""

    def __init__(self, column: Column, capacity: int) -> None:
        self.column = column
        self.capacity = capacity
        self._free: deque[Rows] = deque()

    def take(self) -> Rows:
        """A buffer that nobody uses; the one used last, which the processor's cache still knows."""
        try:
            return self._free.pop()
        except IndexError:
            return Rows(self.column, self.capacity)

    def tensor(self, rows: Rows, count: int) -> torch.Tensor:
        """The first `count` rows, N × shape; the buffer comes back when this tensor and all its views are gone."""
        view = rows.array[:count]
        weakref.finalize(view, self._free.append, rows).atexit = False
        return torch.from_numpy(view)  # its storage keeps `view` alive


def _aligned(rows: int, size: int) -> NDArray[np.uint8]:
    memory = np.zeros(rows * size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + rows * size].reshape(rows, size)
