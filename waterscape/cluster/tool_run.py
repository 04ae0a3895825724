"""A tool of this project in a job of submitit: what is asked for, what the job carries, and what it leaves."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import tyro

from waterscape.cluster.submit import minutes
from waterscape.errors import UserError

IN_IMAGE = Path("/opt/waterscape/tools")  # where a container has the tools
LAST_LINES = 20


@dataclass(frozen=True)
class Submission:
    """Parts as jobs."""

    submit: int | None = None
    """So many parts, each a job of an array on SLURM or, where there is none, a process of this machine; then the
    join. Parts that fail are tried again alone. The same command again goes on where it was."""
    attempts: int = 3
    """With --submit: how often a part is tried."""
    cpus_per_task: int = 4
    """With --submit on SLURM: cores for each part."""
    time: str = "4:00:00"
    """With --submit: a part's time limit, as SLURM writes it; a part that meets it goes on in its next attempt."""
    partition: str | None = None
    """With --submit: SLURM partition."""
    sbatch: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With --submit: NAME=VALUE, any other option of sbatch, such as account=geo; repeat it for each."""
    image: str | None = None
    """With --submit: run in this container image; WATERSCAPE_RUNTIME names the program (see slurm/job.sh)."""

    def check(self) -> None:
        """Raise `UserError` for options that cannot be."""
        if self.submit is not None and not 1 <= self.submit <= 9999:
            raise UserError(f"--submit {self.submit}: give a number of parts from 1 to 9999")
        for name in ("attempts", "cpus_per_task"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more")
        for word in self.sbatch:
            if "=" not in word:
                raise UserError(f"--sbatch {word} is not NAME=VALUE, such as --sbatch account=geo")
        minutes(self.time)


USUAL_SUBMISSION = Submission()


@dataclass(frozen=True)
class Ended:
    """What became of a tool that ran in a job."""

    code: int
    told: str = ""
    """Its stdout."""
    complaint: str = ""
    """The last line of its stderr."""


@dataclass(frozen=True)
class ToolRun:
    """What submitit carries: a tool of this project and its words, run in a process of its own."""

    program: str
    words: tuple[str, ...]

    def __call__(self) -> Ended:
        """Run it to its end; its stderr goes to the job's log at once."""
        program = Path(self.program) if Path(self.program).is_file() else IN_IMAGE / Path(self.program).name
        words = [sys.executable, str(program), *self.words]
        print(shlex.join(words), flush=True)
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        last: deque[str] = deque(maxlen=LAST_LINES)
        listener = Thread(target=_pass_on, args=(process.stderr, last))
        listener.start()
        assert process.stdout is not None
        told = process.stdout.read()
        code = process.wait()
        listener.join()
        print(told, flush=True)
        return Ended(code, told, next((line for line in reversed(last) if line.strip()), ""))


def _pass_on(lines: Any, last: deque[str]) -> None:
    for line in lines:
        print(line, end="", file=sys.stderr, flush=True)
        last.append(line.rstrip("\n"))
