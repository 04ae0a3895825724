"""The job that submitit carries: the words of a command line, and nothing else."""

from __future__ import annotations

import os
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

from waterscape.cluster.ranks import PORTS
from waterscape.training.outcome import CODES, read_outcome

LOCAL_REQUEUE = 144
"""The exit code by which submitit's local executor starts a job again."""


@dataclass(frozen=True)
class Job:
    """`waterscape …` with these words, in one process of a job; `out` is the run's directory."""

    words: tuple[str, ...]
    out: str

    def __call__(self) -> None:
        """Run the words as `python -m waterscape` does; leave with their exit code unless it is 0.

        Under SLURM the batch script reads the run's outcome and puts the job back into the queue (slurm/job.sh). The
        local executor has no such script, so there the time limit's signal is answered here.
        """
        local = os.environ.get("SUBMITIT_EXECUTOR") == "local"
        if local:
            take_local_place()
        sys.argv = ["waterscape", *self.words]
        try:
            runpy.run_module("waterscape", run_name="__main__", alter_sys=True)
        except SystemExit as leaving:
            if leaving.code == CODES["continue"] and local:
                outcome = read_outcome(Path(self.out))
                if outcome and outcome.reason.startswith("SIGUSR2"):
                    sys.exit(LOCAL_REQUEUE)
            if leaving.code:
                raise

    def checkpoint(self) -> object:
        """What submitit submits again where its own handler is asked: the same words resume."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def take_local_place() -> None:
    """Torch's variables from those of submitit's local executor, which starts all tasks on this machine."""
    job, tasks = int(os.environ["SUBMITIT_LOCAL_JOB_ID"]), os.environ["SUBMITIT_LOCAL_NTASKS"]
    if int(tasks) > 1:
        rank = os.environ["SUBMITIT_LOCAL_GLOBALID"]
        os.environ.update(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=tasks, LOCAL_WORLD_SIZE=tasks)
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(PORTS[job % len(PORTS)]))
