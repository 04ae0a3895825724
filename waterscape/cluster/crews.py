"""Who runs the tools of `--submit`: jobs of SLURM, or processes of this machine; both by submitit."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from waterscape.cluster.submit import job_script, minutes
from waterscape.cluster.tool_run import Ended, Submission, ToolRun
from waterscape.cores import cores
from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOST_SECONDS = 15.0  # out of the queue and without a result: as long as a shared disk may be late


class Crew(ABC):
    """Who does the work. `cores`: that one part has. `where`: as a person is told."""

    cores: int
    where: str

    @abstractmethod
    def submit(self, runs: Sequence[ToolRun], name: str) -> list[str]:
        """Submit tools; the number of each job."""

    @abstractmethod
    def ends(self, jobs: dict[int, str]) -> dict[int, Ended]:
        """Those of the jobs that have ended, since they were last asked for."""

    @abstractmethod
    def is_worth_waiting(self, job: str) -> bool:
        """Whether a job of an earlier command is at work, or has ended well."""

    def close(self) -> None:  # noqa: B027
        """The command ends: jobs of a queue go on."""


class Slurm(Crew):
    """Jobs of SLURM."""

    where = "on SLURM"

    def __init__(self, folder: Path, submission: Submission) -> None:
        self.folder, self.submission, self.cores = folder, submission, submission.cpus_per_task
        self._gone: dict[str, float] = {}

    def submit(self, runs: Sequence[ToolRun], name: str) -> list[str]:
        """An array, or a single job."""
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        if not runs:
            return []
        self.folder.mkdir(parents=True, exist_ok=True)
        executor = submitit.SlurmExecutor(folder=self.folder, python='"${srun_flags[@]}" "${python[@]}"')
        executor.update_parameters(**self._parameters(runs, name))
        try:
            with executor.batch():
                jobs = [executor.submit(run) for run in runs]
            return [job.job_id for job in jobs]
        except (FailedJobError, FailedSubmissionError) as error:
            raise UserError(f"sbatch refuses: {error}") from None

    def ends(self, jobs: dict[int, str]) -> dict[int, Ended]:
        """By the results that they leave; a job that left none, and the queue, is lost."""
        found = {part: end for part, job in jobs.items() if (end := result_of(self.folder, job)) is not None}
        queue = queued()
        for part, job in jobs.items():
            if part in found or queue is None or job in queue:
                self._gone.pop(job, None)
            elif time.monotonic() - self._gone.setdefault(job, time.monotonic()) > LOST_SECONDS:
                found[part] = Ended(-1, complaint=f"job {job} left the queue without a result (killed, or out of time)")
        return found

    def is_worth_waiting(self, job: str) -> bool:
        """Whether it is in the queue, or has ended well."""
        end = result_of(self.folder, job)
        return end.code == 0 if end is not None else job in (queued() or ())

    def _parameters(self, runs: Sequence[ToolRun], name: str) -> dict[str, Any]:
        """What submitit writes into the batch script (see `submit`)."""
        asked, script = self.submission, job_script()
        exported = {"WATERSCAPE_HOME": str(script.parent.parent), "WATERSCAPE_PYTHON": sys.executable}
        if asked.image:
            exported["WATERSCAPE_IMAGE"] = asked.image
            exported |= {n: os.environ[n] for n in ("WATERSCAPE_RUNTIME",) if n in os.environ}
        paths = dict.fromkeys(word for run in runs for word in (*run.words, str(self.folder)))
        more: dict[str, Any] = dict(word.split("=", 1) for word in asked.sbatch)
        parameters: dict[str, Any] = {
            "job_name": name,
            "time": minutes(asked.time),
            "nodes": 1,
            "ntasks_per_node": 1,
            "cpus_per_task": asked.cpus_per_task,
            "array_parallelism": len(runs),
            "stderr_to_stdout": True,
            "setup": [
                *(f"export {variable}={shlex.quote(value)}" for variable, value in exported.items()),
                f"source {shlex.quote(str(script))}",
                f"choose_runtime {shlex.join(paths)}",
            ],
            "additional_parameters": {**more, "signal": "TERM@30"},  # not submitit's, which asks for scontrol
        }
        if asked.partition:
            parameters["partition"] = asked.partition
        return parameters


class Here(Crew):
    """Processes of this machine, no more at a time than there are cores."""

    where = "on this machine (no sbatch here)"

    def __init__(self, folder: Path, submission: Submission) -> None:
        self.folder, self.submission = folder, submission
        self.at_once = min(cores(), submission.submit or 1)
        self.cores = max(1, cores() // self.at_once)
        self._waiting: deque[tuple[str, ToolRun]] = deque()
        self._running: dict[str, Any] = {}  # number → job of submitit
        self._count = 0

    def submit(self, runs: Sequence[ToolRun], name: str) -> list[str]:  # noqa: ARG002
        """Put them into the line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        numbers = [str(self._count + place) for place in range(len(runs))]
        self._count += len(runs)
        self._waiting += zip(numbers, runs, strict=True)
        return numbers

    def ends(self, jobs: dict[int, str]) -> dict[int, Ended]:
        """Those that have ended; others start in their place."""
        import submitit

        found = {}
        for part, number in jobs.items():
            job = self._running.get(number)
            if job is not None and job.done():
                del self._running[number]
                lost = Ended(-1, complaint="its process left without a result (killed?)")
                found[part] = result_of(self.folder, job.job_id) or lost
        while self._waiting and len(self._running) < self.at_once:
            number, run = self._waiting.popleft()
            executor = submitit.LocalExecutor(folder=self.folder)
            executor.update_parameters(timeout_min=minutes(self.submission.time), stderr_to_stdout=True)
            self._running[number] = executor.submit(run)
        return found

    def is_worth_waiting(self, job: str) -> bool:  # noqa: ARG002
        """Never: they end with their command."""
        return False

    def close(self) -> None:
        """End what is still at work."""
        import psutil  # type: ignore[import-untyped]

        # All that were given our folder: of one that was being started when an interrupt came, nothing is noted.
        for controller in psutil.Process().children():
            with suppress(psutil.Error):
                if str(self.folder.absolute()) in controller.cmdline():
                    for process in (*controller.children(recursive=True), controller):
                        with suppress(psutil.Error):
                            process.kill()


def result_of(folder: Path, job: str) -> Ended | None:
    """What a job has left; None where that is nothing (yet)."""
    from submitit.core.utils import pickle_load

    try:
        outcome, result = pickle_load(folder / f"{job}_0_result.pkl")
    except (OSError, EOFError):
        return None
    if outcome == "success":
        assert isinstance(result, Ended)
        return result
    return Ended(-1, complaint=str(result).strip().rpartition("\n")[2])


def queued() -> set[str] | None:
    """The jobs in SLURM's queue, those of arrays one by one; None where it gives no answer."""
    try:
        command = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return set(done.stdout.split()) if done.returncode == 0 else None
