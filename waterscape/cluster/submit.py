"""`waterscape submit`: a training as a job of submitit, on SLURM or, where there is none, on this machine."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from waterscape.cluster.job import Job
from waterscape.errors import UserError

FOLDER = "jobs"
"""Where a run keeps what submitit writes: the batch script, the job and the logs of each rank."""


@dataclass(frozen=True)
class Allocation:
    """What a job asks SLURM for. All other options are those of `waterscape train`."""

    nodes: int = 1
    """Nodes."""
    gpus_per_node: int = 0
    """GPUs on each node; 0: train on CPUs."""
    tasks_per_node: int | None = None
    """Ranks on each node. None: one per GPU, or a single one."""
    cpus_per_task: int = 4
    """Cores for each rank."""
    time: str = "12:00:00"
    """Time limit, as SLURM writes it: minutes, hours:minutes:seconds or days-hours. The job saves before it and goes
    back into the queue."""
    signal_seconds: int = 180
    """How long before the limit the ranks are told to save: longer than a step and a checkpoint take."""
    partition: str | None = None
    """SLURM partition."""
    sbatch: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """NAME=VALUE: any other option of sbatch, such as account=geo; repeat it for each."""
    image: str | None = None
    """Run in this container image; WATERSCAPE_RUNTIME names the program (see slurm/job.sh)."""
    after: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Number of a job that must have succeeded first; repeat it for each."""
    dry_run: bool = False
    """Print the batch script and submit nothing."""

    @property
    def tasks(self) -> int:
        """Ranks on each node."""
        return self.tasks_per_node or max(1, self.gpus_per_node)

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        for name in ("nodes", "cpus_per_task", "signal_seconds"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give 1 or more")
        if self.signal_seconds >= 60 * minutes(self.time):
            raise UserError(
                f"--signal-seconds {self.signal_seconds} is not within --time {self.time}: nothing would be trained"
            )
        for word in self.sbatch:
            if "=" not in word:
                raise UserError(f"--sbatch {word} is not NAME=VALUE, such as --sbatch account=geo")
        for number in self.after:
            if not re.fullmatch(r"\d+(_\d+)?", number):
                raise UserError(f"--after {number} is no number of a job")


def submit(jobs: Sequence[Job], allocation: Allocation, name: str, folder: Path) -> list[str]:
    """Submit jobs, several as an array; the numbers that they got. With `dry_run` print instead.

    `folder` takes the batch script, the jobs and the logs of their ranks.

    Raises:
        UserError: options that cannot be; SLURM refuses; several nodes without SLURM.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    allocation.check()
    folder = folder.absolute()
    if shutil.which("sbatch") is None:
        return _submit_here(jobs, allocation, folder)
    executor = submitit.SlurmExecutor(
        folder=folder,
        max_num_timeout=1_000_000,  # slurm/job.sh stops a job that makes no progress
        python='"${srun_flags[@]}" "${python[@]}"',  # decided when the job runs, by slurm/job.sh
    )
    executor.update_parameters(**_parameters(jobs, allocation, name))
    if allocation.dry_run:
        print(executor._make_submission_file_text(executor._submitit_command_str, "dry-run"))
        return []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if len(jobs) == 1:
            return [executor.submit(jobs[0]).job_id]
        with executor.batch():
            submitted = [executor.submit(job) for job in jobs]
        return [job.job_id for job in submitted]
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(f"sbatch refuses: {error}") from None


def _parameters(jobs: Sequence[Job], allocation: Allocation, name: str) -> dict[str, Any]:
    """What submitit writes into the batch script."""
    script = job_script()
    exported = {"WATERSCAPE_HOME": str(script.parent.parent), "WATERSCAPE_PYTHON": sys.executable}
    if allocation.image:
        exported["WATERSCAPE_IMAGE"] = allocation.image
        exported |= {n: os.environ[n] for n in ("WATERSCAPE_RUNTIME",) if n in os.environ}
    paths = list(dict.fromkeys(str(word) for job in jobs for word in job.words))
    outs = [job.out for job in jobs]
    more: dict[str, Any] = dict(word.split("=", 1) for word in allocation.sbatch)
    # Not submitit's own signal: its handler asks for scontrol, which a container lacks, and misjudges short limits.
    more |= {"requeue": True, "signal": f"USR1@{allocation.signal_seconds}"}
    if allocation.after:
        more |= {"dependency": f"afterok:{':'.join(allocation.after)}", "kill-on-invalid-dep": "yes"}
    asked: dict[str, Any] = {
        "job_name": name,
        "time": minutes(allocation.time),
        "nodes": allocation.nodes,
        "ntasks_per_node": allocation.tasks,
        "cpus_per_task": allocation.cpus_per_task,
        "stderr_to_stdout": True,
        "srun_args": ["--kill-on-bad-exit=1"],
        "setup": [
            *(f"export {name}={shlex.quote(value)}" for name, value in exported.items()),
            f"source {shlex.quote(str(script))}",
            f"choose_runtime {shlex.join(paths)}",
            f"outs=({shlex.join(outs)})",
            'watch_over "${outs[${SLURM_ARRAY_TASK_ID:-0}]}"',
        ],
        "additional_parameters": more,
    }
    if allocation.gpus_per_node:
        asked["gpus_per_node"] = allocation.gpus_per_node
    if allocation.partition:
        asked["partition"] = allocation.partition
    return asked


def _submit_here(jobs: Sequence[Job], allocation: Allocation, folder: Path) -> list[str]:
    """Without SLURM: on this machine, by submitit's local executor, one job after the other being started at once."""
    import submitit

    if allocation.nodes > 1:
        raise UserError(f"--nodes {allocation.nodes}, but there is no SLURM here (no sbatch): give --nodes 1")
    if allocation.after or allocation.image:
        raise UserError("--after and --image need SLURM, and there is none here (no sbatch)")
    if allocation.dry_run:
        for job in jobs:
            print(f"on this machine, {allocation.tasks} processes: waterscape {shlex.join(job.words)}")
        return []
    numbers = []
    for job in jobs:
        executor = submitit.LocalExecutor(folder=folder, max_num_timeout=1_000_000)
        executor.update_parameters(
            tasks_per_node=allocation.tasks,
            gpus_per_node=allocation.gpus_per_node,
            timeout_min=minutes(allocation.time),
            signal_delay_s=allocation.signal_seconds,
            stderr_to_stdout=True,
        )
        numbers.append(executor.submit(job).job_id)
    return numbers


def job_script() -> Path:
    """The checkout's slurm/job.sh. Raises `UserError` where it is not to be found."""
    home = Path(os.environ.get("WATERSCAPE_HOME") or Path(__file__).parent.parent.parent)
    script = home.absolute() / "slurm" / "job.sh"
    if not script.is_file():
        raise UserError(f"there is no {script}: set WATERSCAPE_HOME to a checkout of waterscape")
    return script


def minutes(text: str) -> int:
    """A time limit as SLURM writes it, in whole minutes, rounded up: 90, 12:00:00, 30:00 (minutes:seconds), 1-12.

    Raises `UserError` for anything else.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise UserError(f"--time {text} is no time limit; give minutes, hours:minutes:seconds or days-hours")
    days, parts = match[1], [int(part) for part in match.groups()[1:] if part is not None]
    if days is not None:  # days-hours[:minutes[:seconds]]
        hours, mins, seconds = [*parts, 0, 0][:3]
    elif len(parts) == 3:
        hours, mins, seconds = parts
    else:  # minutes[:seconds]
        hours, mins, seconds = 0, *[*parts, 0][:2]
    total = 86_400 * int(days or 0) + 3_600 * hours + 60 * mins + seconds
    return max(1, -(-total // 60))
