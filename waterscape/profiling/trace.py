"""A trace of some steps for Perfetto (https://ui.perfetto.dev): each operation, below its part of a step."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from waterscape.durable import replacing
from waterscape.profiling.anatomy import hearing

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler tells people of its own beginning and end


class Busy(NamedTuple):
    """The shares of time in which a device computes and in which it copies; it may do both at once."""

    kernels: float
    copies: float


class _Spans:
    """Lays a named span over all that is done from one mark to the next."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()

    def __call__(self, mark: str) -> None:
        self.stack.close()
        if mark:
            self.stack.enter_context(record_function(mark))


def write_trace(step: Callable[[], object], steps: int, path: Path) -> Path:
    """Take steps and write what was done when, compressed, as Perfetto and chrome://tracing read it."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    spans = _Spans()
    with profile(activities=activities) as found:
        for number in range(steps):
            with record_function(f"step {number}"), hearing(spans):
                step()
                spans("")
    with replacing(path) as partial:
        found.export_chrome_trace(str(partial))
    return path


def watch_device(step: Callable[[], object], steps: int, path: Path) -> Busy | None:
    """Take steps, of which nothing is recorded but what the device does; None where there is none.

    To record what the host does would slow its launches, and the device would seem to wait for them. What was there
    before counts for nothing: whoever asks takes so many steps before that no batch was ready from a quiet time.
    """
    if not torch.cuda.is_available():
        for _ in range(steps):
            step()
        return None
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    with replacing(path) as partial:
        found.export_chrome_trace(str(partial))
    return device_busy(path)


def device_busy(path: Path) -> Busy | None:
    """How busy a device was from the first thing that it did in a trace to the last; None where it did nothing."""
    with gzip.open(path, "rt") as file:
        events = [event for event in json.load(file)["traceEvents"] if event.get("ph") == "X"]

    def spans(*kinds: str) -> list[tuple[float, float]]:
        return [(event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") in kinds]

    kernels, copies = spans("kernel"), spans("gpu_memcpy", "gpu_memset")
    if not kernels:
        return None
    whole = max(stop for _, stop in kernels + copies) - min(start for start, _ in kernels + copies)
    return Busy(*(sum(stop - start for start, stop in _merged(work)) / whole for work in (kernels, copies)))


def _merged(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Spans that overlap, as one."""
    first, last = 0.0, 0.0
    for start, stop in sorted(spans):
        if start > last:
            yield first, last
            first = start
        last = max(last, stop)
    yield first, last
