"""Waiting for a state instead of for a time, so that a test holds on a machine that has much else to do."""

from __future__ import annotations

import time
from pathlib import Path


def until(true, seconds=120, told=lambda: "", every=0.02):
    """Wait until `true()` is so; returns what it gave. Where it never is, fails with what `told()` tells.

    `every`: seconds between two looks.
    """
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds} s; {told()}"
        time.sleep(every)
    return found


def alive(process):
    """Whether a process runs still; one that has ended but was not yet reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
