"""Tars fetched before they are read: threads that follow the order, from its current block to the end of the next.

What is needed first is fetched first, by whichever process of the node comes to it first. The tars of both blocks are
held, so that no other process evicts them; those of a block that has been read are let go.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from typing import TYPE_CHECKING

from waterscape.data.cache import BYTES, Answer, Part
from waterscape.data.order import Order
from waterscape.data.store import Remote
from waterscape.data.transfer import HaltedError
from waterscape.errors import UserError

if TYPE_CHECKING:
    from waterscape.data.shards import ShardSet

AT_ONCE = 4  # downloads of one process
LOOK_SECONDS = 0.2


class Ahead:
    """Fetches what the order reads from position `start` to `stop` (None: without end), until `close`.

    Raises `UserError` where the cache may not hold two blocks of the set.
    """

    def __init__(self, shards: ShardSet, store: Remote, order: Order, start: int, stop: int | None) -> None:
        self.shards, self.store = shards, store
        needed = least_cache(shards, order.block)
        if store.tars.limit is not None and store.tars.limit < needed:
            raise UserError(
                f"the cache {store.tars.directory.parent} may hold {store.tars.limit} bytes, but two blocks of "
                f"{order.block} shards of {store.name} and two held-out shards take up to {needed}: set {BYTES} to that"
            )
        self._blocks = copy.copy(order).blocks(start)
        self._open: deque[tuple[int, list[int]]] = deque()  # blocks that are read or fetched: end and shards
        self._queue: deque[int] = deque()
        self._position = start
        self._stop = stop
        self._latest = self._queued = start  # where the last block that was queued starts, and where it ends
        self._ended = False
        self._moved = threading.Condition()
        self._turn = threading.Lock()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(AT_ONCE)]
        for thread in self._threads:
            thread.start()

    def reach(self, position: int) -> None:
        """Everything before `position` has been read."""
        with self._moved:
            self._position = position
            passed = False
            while self._open and self._open[0][0] <= position:
                self._open.popleft()
                passed = True
            if passed or position >= self._latest:
                self._moved.notify_all()
            held = {shard for _, block in self._open for shard in block} if passed else None
        if held is not None:
            self.shards.hold(held)

    def halt(self) -> None:
        """Fetch no more: whoever waits for a tar gives up, and what is under way is taken up another time."""
        with self._moved:
            self._ended = True
            self._moved.notify_all()
        self.store.halt.set()

    def close(self) -> None:
        """Wait for the threads to end; readers may fetch for themselves again."""
        self.halt()
        for thread in self._threads:
            thread.join()
        self.store.halt.clear()

    def _work(self) -> None:
        while True:
            try:
                with self._turn:  # so that room is given in the order of need
                    shard = self._next()
                    if shard is None:
                        return
                    answer = self._await(shard, Answer.FULL)
                if answer is Answer.BUSY:
                    answer = self._await(shard, Answer.FULL, Answer.BUSY)
                if isinstance(answer, Part):
                    self.store.fill(self.shards.shards[shard], answer)
                self.shards.file(shard)  # held open, so that nobody evicts it
                self.shards.indexes[shard]  # a hundredth of the tar, and mostly there by now
            except HaltedError:
                return
            except (UserError, OSError):
                continue  # the reader tells, if it still cannot be had then

    def _next(self) -> int | None:
        """The next shard to see to, once reading has come near enough; None at the end."""
        while not self._queue:
            with self._moved:
                while self._position < self._latest and not self._ended:
                    self._moved.wait()
                if self._ended or (self._stop is not None and self._queued >= self._stop):
                    return None
            end, block = next(self._blocks)
            with self._moved:
                self._latest, self._queued = self._queued, end
                self._open.append((end, block.tolist()))
                self._queue.extend(block.tolist())
                soon = [self.shards.shards[shard] for _, shards in self._open for shard in shards]
            self.store.spare(soon)
        return None if self._ended else self._queue.popleft()

    def _await(self, shard: int, *idle: Answer) -> Part | Answer:
        """The right to fetch it, or that it is there, once the answer is none of those to wait for."""
        while (answer := self.store.reserve(self.shards.shards[shard])) in idle:
            if self._ended or self.store.halt.wait(LOOK_SECONDS):
                raise HaltedError
        return answer


def least_cache(shards: ShardSet, block: int) -> int:
    """Bytes that the cache must hold: two blocks, whichever tars the order puts together, and two held-out tars."""
    held_out = [shard.bytes for shard in shards.manifest.shards if shard.split != shards.split]
    return _largest([shard.bytes for shard in shards.shards], 2 * block) + _largest(held_out, 2)


def _largest(sizes: list[int], count: int) -> int:
    return sum(sorted(sizes, reverse=True)[:count])
