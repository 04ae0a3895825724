"""A trace of some steps for Perfetto (https://ui.perfetto.dev): each operation, below its part of a step."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from waterscape.durable import replacing
from waterscape.profiling.anatomy import hearing

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler tells people of its own beginning and end
DEVICE_WORK = ("kernel", "gpu_memcpy", "gpu_memset")


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


def device_busy(path: Path) -> float | None:
    """Of a trace: the share of its steps' time in which the device did something; None where there was no device."""
    with gzip.open(path, "rt") as file:
        events = [event for event in json.load(file)["traceEvents"] if event.get("ph") == "X"]
    steps = [event for event in events if event["name"].startswith("step ")]
    work = [(event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") in DEVICE_WORK]
    if not work or not steps:
        return None
    began: float = max(min(event["ts"] for event in steps), min(start for start, _ in work))
    ended = max(stop for _, stop in work)
    busy: float = sum(stop - start for start, stop in _merged(work))
    share: float = busy / (ended - began)
    return share


def _merged(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Spans that overlap, as one."""
    first, last = 0.0, 0.0
    for start, stop in sorted(spans):
        if start > last:
            yield first, last
            first = start
        last = max(last, stop)
    yield first, last
