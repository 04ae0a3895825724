"""What a peer's program says and hears; imports nothing but the standard library."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable


def take_turns(epoch: Callable[[], Iterable[int]]) -> None:
    """Print `ready`, and for each line of input the images a second of an epoch, from its first batch on."""
    print("ready", flush=True)
    for _ in sys.stdin:
        batches = iter(epoch())
        next(batches)
        started = time.perf_counter()
        images = sum(batches)
        print("rate", images / (time.perf_counter() - started), flush=True)
