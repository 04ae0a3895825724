"""`waterscape prove-resume MODEL`: that a run killed and resumed, on any number of processes, is the undisturbed run.

Real trainings in real processes, killed from outside by SIGKILL at random moments. Promised on a CPU: the same number
of processes ends bitwise the same; another number reads the same samples, draws the same numbers, has the same first
loss and the same gradients up to rounding (in float64 to 1e-9), and in float64 the same parameters after 50 steps.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.errors import UserError
from waterscape.proof.compare import Check
from waterscape.proof.trials import Trials

STEPS = 50


@dataclass(frozen=True)
class Proof:
    """Prove that killed and resumed runs are the undisturbed one. Other options are those of `waterscape train`."""

    data: str | None = None
    """Shards to train on. Left out: a small synthetic set, made for the proof."""
    images: int | None = None
    """Length of each run; left out: 50 batches."""
    batch: int = 7
    """Images a step, over all processes together; 2, 3 and 4 processes share 7 unequally."""
    kills: int = 2
    """How often a run is killed, within its first epoch."""
    processes: tuple[int, ...] = (1, 2, 3)
    """Numbers of processes to try."""
    seed: int = 0
    """Of the runs and of the moments of the kills."""
    float64: bool = False
    """Compute in float64: then any number of processes must end with the same parameters, to 1e-9."""
    out: Path | None = None
    """Keep the runs in this directory, which must not exist yet; left out: they are removed."""

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        for name in ("batch", "kills"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}; give 1 or more")
        if not self.processes or min(self.processes) < 1:
            raise UserError(f"--processes {' '.join(map(str, self.processes))}: give numbers of 1 or more")
        if self.length < 4 * self.every * (self.kills + 1):
            raise UserError(f"{self.length} images are too few to be killed {self.kills} times: give more --images")
        if self.out is not None and self.out.exists():
            raise UserError(f"--out {self.out} exists already: name a new directory")

    @property
    def length(self) -> int:
        """Images of each run, in whole batches."""
        return -(-(self.images or STEPS * self.batch) // self.batch) * self.batch

    @property
    def every(self) -> int:
        """Images between two checkpoints."""
        return max(1, self.length // self.batch // 16) * self.batch


def prove_resume(model: str, preset: str, arguments: list[str]) -> int:
    """Run the trainings, print the table and the verdict; returns the exit code: 0 for PASS, 1 for FAIL."""
    program = f"waterscape prove-resume {model}:{preset}"
    proof, words = tyro.cli(Proof, args=arguments, prog=program, return_unknown_args=True)
    proof.check()
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        place = proof.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prove-resume-")))
        place.mkdir(parents=True, exist_ok=True)
        checks = list(Trials(proof, model, preset, words, place).checks())
    passed = all(check.passed for check in checks)
    print(f"\n{table(checks)}\n")
    print(
        f"{'PASS' if passed else 'FAIL'}: {model}:{preset}, {proof.length} images in batches of {proof.batch}, "
        f"{'float64' if proof.float64 else 'float32'}, seed {proof.seed}; {time.monotonic() - began:.0f} s"
    )
    return 0 if passed else 1


def table(checks: Sequence[Check]) -> str:
    """The checks as lines of aligned columns; a subject is named once."""
    rows = [("", "compared", "found", "promised", "")]
    before = ""
    for check in checks:
        subject = "" if check.subject == before else check.subject
        rows.append((subject, check.what, check.found, check.promised, "ok" if check.passed else "BROKEN"))
        before = check.subject
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = (
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
