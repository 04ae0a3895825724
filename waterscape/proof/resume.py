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
from pathlib import Path

import tyro

from waterscape.proof.compare import Check
from waterscape.proof.options import Proof
from waterscape.proof.trials import Trials


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
