"""What was found, kept after every figure: one JSON and one table, so that nothing is lost where time runs out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.figure import Figure, note
from benchmarks.results import Result, stamped, table
from waterscape.durable import write_text

FORMAT = 1


class Report:
    """Figures, what checks found, and what could not be had, in `out` as g01.json and g01.md."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.began = time.monotonic()
        self.figures: list[Result] = []
        self.checks: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self.left_out: dict[str, str] = {}
        out.mkdir(parents=True, exist_ok=True)

    def add(self, figure: Figure) -> Figure:
        """Keep a figure."""
        self.figures += stamped([figure], {})
        self._save()
        return figure

    def passed(self, what: str, told: str) -> None:
        """Keep what a check found."""
        self.checks[what] = told
        self._save()

    def fail(self, what: str, reason: object) -> None:
        """Keep why something failed."""
        note(f"G {what} failed: {reason}")
        self.failed[what] = " ".join(str(reason).split())[:500]
        self._save()

    def leave_out(self, what: str, reason: object) -> None:
        """Keep why something was not tried."""
        note(f"G {what} left out: {reason}")
        self.left_out[what] = str(reason)
        self._save()

    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def _save(self) -> None:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU: figures say nothing of one"
        held: dict[str, Any] = {"format": FORMAT, "device": device, "seconds": round(self.seconds(), 1)}
        told = {"checks": self.checks, "failed": self.failed, "left out": self.left_out}
        write_text(self.out / "g01.json", json.dumps({**held, **told, "figures": self.figures}, indent=1) + "\n")
        lines = [f"# G1, G2, G3: {device}", "", f"{self.seconds():.0f} s; synthetic data.", "", table(self.figures)]
        for title, entries in told.items():
            lines += [f"{title.capitalize()}:", "", *(f"- {what}: {text}" for what, text in entries.items()), ""]
        write_text(self.out / "g01.md", "\n".join(lines))
