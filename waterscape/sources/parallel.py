"""One function over many items on several processes, the results in the items' order, with progress."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from tqdm import tqdm

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 8  # items handed to a process at once
AHEAD = 4  # chunks in flight for each process: bounds the memory that finished results take
FEW = 100  # items that are done before other processes have started
LINE_SECONDS = 5.0


class Each(Protocol):
    """Runs a function over many items, on several processes, results in order; what is computed is named."""

    def __call__(
        self,
        name: str,
        function: Callable[[Item], dict[str, Any]],
        items: Sequence[Item],
        /,
        *,
        threads: int | None = 0,
    ) -> list[dict[str, Any]]:
        """The results, each plain JSON. `threads`: see `Workers.in_order`."""


class Workers:
    """Processes that share work; with `processes` of 1, or for `few` items, all is done in this one.

    Items of seconds, not milliseconds, want `few` and `chunk` of 1: so many are handed to a process at once.
    """

    def __init__(self, processes: int, *, few: int | None = None, chunk: int = CHUNK) -> None:
        if processes < 1:
            raise UserError(f"--processes is {processes}; give 1 or more")
        self.processes, self.few, self.chunk = processes, FEW if few is None else few, chunk
        self._pool: ProcessPoolExecutor | None = None
        self._threads: ThreadPoolExecutor | None = None

    def in_order(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, threads: int | None = 0
    ) -> Iterator[Result]:
        """`function` of each item, in the items' order, whatever the number of processes; both are pickled.

        Up to so many `processes` as `threads` says (None: any number) are threads of this process instead: right where
        the work is reading files, hashing and decoding, which let go of Python's lock. They start at once, and hand
        over large results.

        Raises:
            UserError: a process was ended by force. Whatever `function` raises comes through.
        """
        if self.processes == 1 or len(items) <= self.few:
            yield from map(function, items)
            return
        pool = self._executor(threads=threads is None or self.processes <= threads)
        if pool is self._pool:
            # Found out here, not by the pool's own thread: that one can then wait for ever (CPython 3.11, in shutdown).
            ForkingPickler.dumps((function, items[: self.chunk]))
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for start in range(0, len(items), self.chunk):
                waiting.append(pool.submit(_each, function, items[start : start + self.chunk]))
                if len(waiting) == AHEAD * self.processes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise UserError("a process was ended by force (out of memory?): try fewer --processes") from error

    def _executor(self, *, threads: bool) -> Executor:
        if threads:
            self._threads = self._threads or ThreadPoolExecutor(self.processes, "work")
            return self._threads
        # Fresh interpreters: a fork of a process that runs threads (torch, GDAL) can hang.
        self._pool = self._pool or ProcessPoolExecutor(self.processes, multiprocessing.get_context("spawn"), _prepare)
        return self._pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for pool in (self._pool, self._threads):
            if pool:
                pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    """Make a new process leave interrupts to its parent, and end with it: one killed by force stops nobody itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def progress(results: Iterable[Result], total: int, name: str, unit: str = "tile") -> Iterator[Result]:
    """Pass on the results and show how far they are: a bar on a terminal, else a line every few seconds."""
    if sys.stderr.isatty():
        yield from tqdm(results, desc=name, total=total, unit=unit, smoothing=0.05)
        return
    began = told = time.monotonic()
    for count, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - told >= LINE_SECONDS:
            told, rate = now, count / (now - began)
            left = (total - count) / rate
            speed = f"{rate:.{0 if rate >= 10 else 1}f}/s"
            print(f"{name}: {count} of {total} {unit}s, {speed}, {left:.0f} s left", file=sys.stderr, flush=True)


def told_duration(seconds: float) -> str:
    """Some time as people say it: 45 s, 3.5 hours."""
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
