"""Programs of the checkout, installed or not, run to their end as process groups of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Finished(NamedTuple):
    """A program's exit code and what it wrote."""

    code: int
    out: str
    error: str


def run_apart(words: Sequence[object], seconds: float, **environment: str) -> Finished:
    """`python WORDS` in the checkout. Raises `subprocess.TimeoutExpired`, all processes ended, after `seconds`."""
    found = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": found, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as started:
        try:
            told, complaint = started.communicate(timeout=seconds)
        except BaseException:
            os.killpg(started.pid, signal.SIGKILL)  # and with it the processes that it has started
            raise
    return Finished(started.returncode, told, complaint)
