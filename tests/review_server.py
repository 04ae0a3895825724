"""`tools/review_photos.py` as a process of its own."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager

from page_server import started
from programs import ROOT


@contextmanager
def reviewing(ledger, *words):
    """The page of a ledger, served; killed at the end."""
    out = ledger.parent / f"server-{time.monotonic_ns()}.txt"
    command = [sys.executable, ROOT / "tools/review_photos.py", ledger, *(words or ("--port", 0))]
    with started(command, out) as server:
        yield server
