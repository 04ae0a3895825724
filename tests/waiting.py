"""Waiting for a state instead of for a time, so that a test holds on a machine that has much else to do."""

from __future__ import annotations

import time


def until(true, seconds=120, told=lambda: "", every=0.02):
    """Wait until `true()` is so; returns what it gave. Where it never is, fails with what `told()` tells.

    `every`: seconds between two looks.
    """
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"not within {seconds} s; {told()}"
        time.sleep(every)
    return found
