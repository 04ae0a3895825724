"""Batch buffers that records are read into, and the reading: one system call a record, one crc for many of them."""

from __future__ import annotations

import os
import weakref
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray

from waterscape.data.checksums import joint_crcs
from waterscape.data.manifest import Column
from waterscape.data.npy import npy_header
from waterscape.data.shard import BLOCK, NAME_BYTES, crc32, fixed_size, record_length

ALIGNMENT = 4096  # the kernel's copy was up to six times slower into memory that starts 16 bytes after a page
# Bytes read before their crc is taken: few calls, and near enough for a core to know them still. It took the least
# processor time of 2¹⁷ … 2²⁰: 5 % less than 2²⁰ for records of 65 KiB, 15 % less for records of 5 KiB.
TOGETHER = 1 << 18


class Rows:
    """Memory for one column of a batch: whole records, one after another, and `array`, the values within them.

    `array` is N × shape. A row of it is contiguous; from one row to the next there is a record's header and padding.
    """

    def __init__(self, column: Column, capacity: int) -> None:
        assert column.dtype is not None
        assert column.shape is not None
        header = npy_header(column.dtype, column.shape)
        start = BLOCK + len(header)
        self.record_bytes = record_bytes(column)
        self.together = 1 << (max(1, TOGETHER // self.record_bytes).bit_length() - 1)
        self.npy_header = np.frombuffer(header, np.uint8)
        self.records = _aligned(capacity, self.record_bytes)
        strides = self.record_bytes, *np.empty(column.shape, column.dtype).strides
        self.array: NDArray[np.generic] = np.ndarray(
            (capacity, *column.shape), column.dtype, self.records.reshape(-1).data, start, strides
        )
        # What preadv fills; made once, since making them costs as much as a small read.
        self.parts = [(memoryview(record),) for record in self.records]

    def fill(
        self, descriptors: list[int], offsets: list[int], crcs: NDArray[np.uint32], names: NDArray[np.bytes_]
    ) -> int | None:
        """Read one record into each row; returns the number of the first that fails its checks, or None.

        A record passes if all of it is there, the crc32 over all of it fits, the tar's header has the name from
        `names`, and the `.npy` header is the column's.
        """
        count = len(offsets)
        expected = joint_crcs(crcs, self.record_bytes, self.together)
        for first, crc in zip(range(0, count, self.together), expected, strict=True):
            end = min(first + self.together, count)
            rows = slice(first, end)
            try:
                read = sum(map(os.preadv, descriptors[rows], self.parts[rows], offsets[rows]))
            except OSError:
                read = 0
            if read != (end - first) * self.record_bytes or crc32(self.records[rows]) != crc:
                failed = self._fill_singly(range(first, end), descriptors, offsets, crcs)
                if failed is not None:
                    return failed
        found = self.records[:count, :NAME_BYTES].copy().view(f"S{NAME_BYTES}")[:, 0]
        bad = found != names
        bad |= (self.records[:count, BLOCK : BLOCK + len(self.npy_header)] != self.npy_header).any(axis=1)
        return int(bad.argmax()) if bad.any() else None

    def _fill_singly(
        self, rows: range, descriptors: list[int], offsets: list[int], crcs: NDArray[np.uint32]
    ) -> int | None:
        """Read once more, to tell which record it is that fails."""
        for row in rows:
            try:
                read = os.preadv(descriptors[row], self.parts[row], offsets[row])
            except OSError:
                return row
            if read != self.record_bytes or crc32(self.records[row]) != crcs[row]:
                return row
        return None


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


def record_bytes(column: Column) -> int:
    """Of one sample of a column of fixed shape, with header and padding."""
    assert column.dtype is not None
    assert column.shape is not None
    return record_length(fixed_size(column.dtype, column.shape))


def _aligned(rows: int, size: int) -> NDArray[np.uint8]:
    memory = np.zeros(rows * size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + rows * size].reshape(rows, size)
