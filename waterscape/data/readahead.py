"""Shards on a disk, brought into the page cache before the order reads them: from end to end, one after another.

The order takes samples at random from a block of shards, and a disk gives those several times slower than whole files.
So a thread reads the files of the current block and of the next one in large pieces. What the cache holds already is
passed over at the price of a system call, so that processes of one node share the work, and a warm cache costs nothing.
"""

from __future__ import annotations

import copy
import os
import threading
from typing import TYPE_CHECKING

from waterscape.data.order import Order
from waterscape.errors import UserError

if TYPE_CHECKING:
    from waterscape.data.shards import ShardSet

PIECE = 1 << 20
LOOKS = 8  # into a shard, evenly spread: found in the cache each time, the shard is taken to be there


class ReadAhead:
    """Follows an order from position `start` on, at most to the end of the block after the current one, until `close`.

    Does nothing where two blocks would take more than half of the machine's memory, or where the system cannot tell
    what its cache holds.
    """

    def __init__(self, shards: ShardSet, order: Order, start: int, stop: int | None) -> None:
        self.shards, self.stop = shards, stop
        self._blocks = copy.copy(order).blocks(start)
        self._position = self._due = start
        self._ended = False
        self._moved = threading.Condition()
        self._thread: threading.Thread | None = None
        largest = sorted((shard.bytes for shard in shards.shards), reverse=True)[: 2 * order.block]
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if hasattr(os, "RWF_NOWAIT") and sum(largest) <= memory // 2:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def reach(self, position: int) -> None:
        """Everything before `position` has been read."""
        self._position = position
        if position >= self._due:
            with self._moved:
                self._moved.notify()

    def halt(self) -> None:
        """Read no more."""
        with self._moved:
            self._ended = True
            self._moved.notify()

    def close(self) -> None:
        """Wait for the thread to end."""
        self.halt()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        scratch = memoryview(bytearray(PIECE))
        before = begin = self._position  # where the block before and the next one begin
        while self.stop is None or begin < self.stop:
            with self._moved:
                self._due = before  # once the block before is being read
                self._moved.wait_for(lambda: self._position >= self._due or self._ended)
            end, block = next(self._blocks)
            for shard in block.tolist():
                if self._ended:
                    return
                self._warm(shard, scratch)
            before, begin = begin, end

    def _warm(self, shard: int, scratch: memoryview) -> None:
        try:
            file, size = self.shards.file(shard), self.shards.shards[shard].bytes
            if all(_cached(file.descriptor, offset) for offset in range(0, size, 1 + size // LOOKS)):
                return
            for offset in range(0, size, PIECE):
                if self._ended:
                    return
                if not _cached(file.descriptor, offset) or not _cached(file.descriptor, offset + PIECE // 2):
                    os.preadv(file.descriptor, [scratch], offset)
        except (UserError, OSError, MemoryError):
            return  # the reader tells, if it cannot read it either


def _cached(descriptor: int, offset: int) -> bool:
    try:
        os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    return True
