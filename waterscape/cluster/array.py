"""`--submit N`: a tool that works in parts, as an array of jobs of submitit, and its join; failed parts alone again.

The command itself waits and tells how far all is. When it is ended, jobs on SLURM go on: the same command again waits
for those, and submits what is lacking. Without SLURM the parts are processes of this machine, no more at a time than
there are cores, and end with the command.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waterscape.cluster.crews import Crew, Here, Slurm
from waterscape.cluster.tool_run import USUAL_SUBMISSION, Ended, Submission, ToolRun
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.options import parse_some

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["USUAL_SUBMISSION", "Submission", "submit_parts"]

RECORD = "parts.json"
LINE_SECONDS = 5.0
LONGEST_PAUSE = 10.0  # seconds between two looks at the queue
JOIN = 0  # its number among the parts


def submit_parts(
    tool: Path, arguments: Sequence[str], folder: Path, submission: Submission, *, processes: bool = True
) -> int:
    """Run a tool's command line in parts and join them; prints what the join tells, and returns the exit code.

    Args:
        tool: the program, which knows `--part I/N` and `--join`.
        arguments: all of its words, those of `Submission` among them.
        folder: takes jobs and logs; removed when all is done.
        submission: how many parts, and what to ask SLURM for.
        processes: whether the tool has an option `--processes`, to be told how many cores a part has.

    Raises:
        UserError: options that cannot be; SLURM refuses; a part or the join fails at each attempt.
    """
    submission.check()
    assert submission.submit is not None
    words = parse_some(Submission, arguments, tool.name)[1]
    for word in words:
        if word.split("=")[0] in ("--part", "--join"):
            raise UserError(f"{word.split('=')[0]} and --submit exclude each other: --submit does both")
    began = time.monotonic()
    folder = folder.absolute()
    crew: Crew = Slurm(folder, submission) if shutil.which("sbatch") else Here(folder, submission)
    if processes and not any(word.split("=")[0] == "--processes" for word in words):
        words = [*words, "--processes", str(crew.cores)]
    count = submission.submit
    runs = {part: ToolRun(str(tool.absolute()), (*words, "--part", f"{part}/{count}")) for part in range(1, count + 1)}
    work = Work(folder, crew, submission.attempts)
    try:
        again = work.through(runs)
        joined = ToolRun(str(tool.absolute()), (*words, "--join"))
        work.through({JOIN: joined})
        print(work.ended[JOIN].told, end="")
    finally:
        crew.close()
    shutil.rmtree(folder, ignore_errors=True)
    more = f", {again} of them at a later attempt" if again else ""
    print(f"{count} parts{more}, and joined, in {time.monotonic() - began:.0f} s, {crew.where}")
    return 0


@dataclass
class Work:
    """Tools on their way: rounds of jobs, each of those that failed in the round before."""

    folder: Path
    crew: Crew
    attempts: int
    ended: dict[int, Ended] = field(default_factory=dict)

    def through(self, runs: dict[int, ToolRun]) -> int:
        """All of them to a good end; returns how many wanted more than one attempt. Raises `UserError`."""
        failed: dict[int, ToolRun] = runs
        tried_again: set[int] = set()
        for attempt in range(1, self.attempts + 1):
            jobs = self._submit(failed, adopt=attempt == 1)
            self._wait(jobs)
            failed = {part: run for part, run in runs.items() if self.ended[part].code}
            if not failed:
                return len(tried_again)
            complaints = Counter(self.ended[part].complaint for part in failed)
            if len(failed) == len(runs) > 1 and len(complaints) == 1 and next(iter(complaints)).startswith("error: "):
                break  # a mistake of the command line, or of the data: no attempt would mend it
            tried_again |= set(failed)
            if attempt < self.attempts:
                told = ", ".join("join" if part == JOIN else str(part) for part in sorted(failed)[:20])
                print(f"failed: {told}; again, attempt {attempt + 1}: {_most(complaints)}", file=sys.stderr, flush=True)
        (self.folder / RECORD).unlink(missing_ok=True)
        names = ", ".join("the join" if part == JOIN else f"part {part}" for part in sorted(failed)[:10])
        raise UserError(f"{names} failed: {_most(complaints)}; logs: {self.folder}")

    def _submit(self, runs: dict[int, ToolRun], *, adopt: bool) -> dict[int, str]:
        """Jobs of these parts: of an earlier command, where they are still at it or were done; else new ones."""
        record = _read(self.folder / RECORD)
        told = {str(part): list(run.words) for part, run in runs.items()}
        known: dict[int, str] = {}
        if adopt:
            for part, (job, words) in record.items():
                if int(part) in runs and words == told[part] and self.crew.is_worth_waiting(job):
                    known[int(part)] = job
            if known:
                print(f"{len(known)} parts of an earlier command are waited for", file=sys.stderr, flush=True)
        new = {part: run for part, run in runs.items() if part not in known}
        jobs = known | dict(zip(new, self.crew.submit(list(new.values()), self._name(new)), strict=True))
        record |= {str(part): (job, told[str(part)]) for part, job in jobs.items()}
        write_text(self.folder / RECORD, json.dumps(record, indent=1))
        return jobs

    def _name(self, runs: Iterable[int]) -> str:
        return f"{self.folder.stem}-{'join' if JOIN in runs else 'parts'}"

    def _wait(self, jobs: dict[int, str]) -> None:
        """Until all of them have ended, telling how far it is."""
        waiting = dict(jobs)
        told, pause, began = time.monotonic(), 0.2, time.monotonic()
        while waiting:
            for part, end in self.crew.ends(waiting).items():
                self.ended[part] = end
                del waiting[part]
            now = time.monotonic()
            if waiting and now - told >= LINE_SECONDS and JOIN not in jobs:
                told = now
                done = len(jobs) - len(waiting)
                bad = sum(bool(self.ended[part].code) for part in jobs if part not in waiting)
                failed = f", {bad} of them failed" if bad else ""
                print(f"parts: {done} of {len(jobs)} ended{failed}, {now - began:.0f} s", file=sys.stderr, flush=True)
            if waiting:
                time.sleep(pause)
                pause = min(1.2 * pause, LONGEST_PAUSE)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _most(complaints: Counter[str]) -> str:
    """The most frequent complaint, without its own "error:"."""
    return (complaints.most_common(1)[0][0] or "no word of it").removeprefix("error: ")
