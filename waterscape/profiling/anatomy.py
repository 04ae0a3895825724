"""A step's parts, by the marks that the engine sets for whoever watches a run: what is done from when on."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from waterscape.training.pulse import pulse

PARTS = (
    "data",
    "copy",
    "forward",
    "backward",
    "all-reduce",
    "guard",
    "optimizer",
    "average",
    "logging",
    "deciding",
    "other",
)
_MARKS = {
    "reading": "data",
    "copy to the device": "copy",
    "loss of": "forward",
    "backward of": "backward",
    "all_reduce of a sum": "deciding",
    "all_reduce": "all-reduce",
    "guard": "guard",
    "optimizer step": "optimizer",
    "average": "average",
    "records": "logging",
    "deciding": "deciding",
}


class Seconds(NamedTuple):
    """Of the clock, and of the processor (all threads of this process)."""

    wall: float
    processor: float


def part_of(mark: str) -> str:
    """The part of a step that a mark begins."""
    return next((part for beginning, part in _MARKS.items() if mark.startswith(beginning)), "other")


@contextlib.contextmanager
def hearing(heard: Callable[[str], None]) -> Iterator[None]:
    """Have each mark told, within the block; leaving a collective is told as the mark before it."""
    before = ""

    def tell(mark: str) -> None:
        nonlocal before
        heard(mark or before)
        if not mark.startswith("all_reduce"):
            before = mark or before

    pulse.heard = tell
    try:
        yield
    finally:
        pulse.heard = None


class Anatomy:
    """Seconds of each part, step by step: `steps`, one entry a step. Give it to `hearing`.

    On a GPU each mark waits until the device has done what was asked of it, so that its time counts where it belongs;
    the parts of a step then overlap less than they do in a training.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.steps: list[dict[str, Seconds]] = []
        self._now: defaultdict[str, Seconds] = defaultdict(lambda: Seconds(0.0, 0.0))
        self._part, self._since = "other", self._clock()

    def __call__(self, mark: str) -> None:
        """What was done up to now was the part before `mark`."""
        now, held = self._clock(), self._now[self._part]
        self._now[self._part] = Seconds(*(h + n - s for h, n, s in zip(held, now, self._since, strict=True)))
        self._part, self._since = part_of(mark), now

    def begin_step(self) -> None:
        """What was done since the last step counts for none."""
        self._part, self._since = "other", self._clock()

    def end_step(self) -> None:
        """What comes next is the next step's."""
        self("")
        self.steps.append(dict(self._now))
        self._now.clear()

    def _clock(self) -> Seconds:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return Seconds(time.perf_counter(), time.process_time())

    def usual(self, period: int = 1) -> dict[str, Seconds]:
        """Of each part that there was, in the order of `PARTS`: a step's, where phases come once in `period` steps.

        It is the mean over a period of the medians of the steps at the same place in it. Their number is a multiple.
        """
        found = {}
        for part in PARTS:
            taken = torch.tensor([step.get(part, Seconds(0, 0)) for step in self.steps], dtype=torch.float64)
            wall, processor = taken.view(-1, period, 2).quantile(0.5, dim=0).mean(0).tolist()
            if wall:
                found[part] = Seconds(wall, processor)
        return found
