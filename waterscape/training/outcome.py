"""How a run ended: the word in its file `outcome`, and the exit code that goes with it.

    done      0   all images were trained on
    continue  75  asked to stop: everything is saved, the same command goes on (75: EX_TEMPFAIL of sysexits.h)
    failed    1   with the reason in the file's second line

No file: the run goes on, or was killed. torchrun and accelerate turn every code but 0 into 1: trust the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from waterscape.durable import write_text

Word = Literal["done", "continue", "failed"]

CODES: dict[Word, int] = {"done": 0, "continue": 75, "failed": 1}

FILE = "outcome"


@dataclass(frozen=True)
class Outcome:
    """A word, and why."""

    word: Word
    reason: str

    @property
    def code(self) -> int:
        """The exit code."""
        return CODES[self.word]

    def write(self, out: Path) -> None:
        """Put it into the run's directory, durably."""
        write_text(out / FILE, f"{self.word}\n{' '.join(self.reason.split())}\n")


def read_outcome(out: Path) -> Outcome | None:
    """How the run in `out` ended last; None while it goes on, or where it was killed."""
    path = out / FILE
    if not path.exists():
        return None
    word, _, reason = path.read_text().partition("\n")
    if word not in CODES:
        raise ValueError(f"{path} says {word!r}; an outcome is one of {', '.join(CODES)}")
    return Outcome(word, reason.strip())


def clear_outcome(out: Path) -> None:
    """A run starts: what the last start came to holds no more."""
    (out / FILE).unlink(missing_ok=True)
