"""No warnings within a block, from several threads at once: `warnings.catch_warnings` alone is for one at a time.

It keeps Python's filters and puts them back; of two threads that overlap, the one to end last would put back those of
the other's block, and no warning would be shown ever after.
"""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_within = 0
"""Threads, under the lock."""
_kept = warnings.catch_warnings()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Show no warnings of any thread while one is within; the last one out puts the filters back."""
    global _within, _kept
    with _lock:
        if _within == 0:
            _kept = warnings.catch_warnings()
            _kept.__enter__()
            warnings.simplefilter("ignore")
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                _kept.__exit__(None, None, None)
