"""What was found, kept after every figure: one JSON and one table, so that nothing is lost where time runs out."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.figure import Figure, note
from benchmarks.results import Result, stamped, table
from waterscape.durable import write_text
from waterscape.errors import UserError

FORMAT = 1


class Report:
    """Figures, rates, what checks found, and what could not be had, in `out` as g01.json and g01.md.

    What another call left there stands beside them from now on, as g01-1.json and g01-1.md, then g01-2. `began`, by
    `time.monotonic`: when this call did; none: now.
    """

    def __init__(self, out: Path, began: float | None = None) -> None:
        self.out = out
        self.began = time.monotonic() if began is None else began
        self.rates: dict[str, Mapping[str, list[float]]] = {}
        self.figures: list[Result] = []
        self.checks: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        out.mkdir(parents=True, exist_ok=True)
        self._set_aside()

    def add(self, figure: Figure) -> Figure:
        """Keep a figure."""
        self.figures += stamped([figure], {})
        self._save()
        return figure

    def passed(self, what: str, told: str) -> None:
        """Keep what a check found."""
        self.checks[what] = told
        self._save()

    def keep_rates(self, what: str, rates: Mapping[str, list[float]]) -> None:
        """Keep images a second by side, turn by turn, in place of what was kept of them."""
        self.rates[what] = rates
        self._save()

    def fail(self, what: str, reason: object) -> None:
        """Keep why something failed."""
        note(f"G {what} failed: {_words(reason)}")
        self.failed[what] = _words(reason)
        self._save()

    @contextlib.contextmanager
    def going_on(self, what: str) -> Iterator[None]:
        """Whatever goes wrong inside is kept as why `what` failed, and does not end what comes after."""
        try:
            yield
        except Exception as reason:  # the device's memory, a compiler, a worker process: all else may be well
            if not isinstance(reason, UserError):
                note(traceback.format_exc())
            self.fail(what, reason)

    def leave_out(self, what: str, reason: object) -> None:
        """Keep why something was not tried."""
        note(f"G {what} left out: {_words(reason)}")
        self.left_out[what] = _words(reason)
        self._save()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def _set_aside(self) -> None:
        free = next(number for number in itertools.count(1) if not (self.out / f"g01-{number}.json").exists())
        for suffix in (".json", ".md"):
            if (self.out / f"g01{suffix}").exists():
                (self.out / f"g01{suffix}").rename(self.out / f"g01-{free}{suffix}")

    def _save(self) -> None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: figures say nothing of one"
        held: dict[str, Any] = {"format": FORMAT, "device": device, "seconds": round(self.seconds(), 1)}
        told = {"checks": self.checks, "failed": self.failed, "left out": self.left_out}
        found = {"images a second": self.rates, "figures": self.figures}
        write_text(self.out / "g01.json", json.dumps({**held, **told, **found}, indent=1) + "\n")
        lines = [f"# G1, G2, G3: {device}", "", f"{self.seconds():.0f} s; synthetic data.", "", table(self.figures)]
        for title, entries in {"images a second, medians": self._medians(), **told}.items():
            lines += [f"{title.capitalize()}:", "", *(f"- {what}: {text}" for what, text in entries.items()), ""]
        write_text(self.out / "g01.md", "\n".join(lines))

    def _medians(self) -> dict[str, str]:
        return {
            what: ", ".join(f"{side} {np.median(taken):,.0f}" for side, taken in sides.items())
            for what, sides in self.rates.items()
        }


def _words(reason: object) -> str:
    """In one line, with the kind of error where it is not a user's mistake."""
    kind = f"{type(reason).__name__}: " if isinstance(reason, Exception) and not isinstance(reason, UserError) else ""
    return " ".join(f"{kind}{reason}".split())[:500]
