"""`waterscape jobs`: what the runs of a directory are doing, from their own files and from SLURM's queue."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from waterscape.cluster.submit import FOLDER
from waterscape.errors import UserError
from waterscape.training.beats import age, read_beats
from waterscape.training.events import read_events
from waterscape.training.outcome import read_outcome
from waterscape.training.stall import TOLD, Seen, late, tell

STILL = 20.0
"""Seconds without a sign of life, or without a move, after which a rank is told of."""


@dataclass(frozen=True)
class Jobs:
    """The runs below a directory: state, progress, speed, last checkpoint, late ranks, the end of each rank's log."""

    directory: tyro.conf.Positional[Path] = Path("runs")
    """A run, or a directory of runs."""
    tail: int = 0
    """So many last lines of each rank's log (of jobs that `waterscape submit` has started)."""


def list_jobs(options: Jobs) -> list[str]:
    """The lines to print, a table and, if asked for, the ends of logs. Raises `UserError` where there is no run."""
    outs = sorted(runs_below(options.directory))
    if not outs:
        raise UserError(f"there is no run in {options.directory}: name a run, or a directory that holds some")
    queue = queued()
    width = max(len(str(out)) for out in outs)
    lines = [f"{'run':{width}} {'job':>9} {'state':12} {'images':>19} {'per second':>10}  last checkpoint"]
    for out in outs:
        facts = describe(out, queue)
        lines.append(
            f"{out!s:{width}} {facts['job'] or '-':>9} {facts['state']:12} {facts['progress']:>19} "
            f"{facts['speed']:>10}  {facts['checkpoint']}"
        )
        if facts["reason"]:
            lines.append(f"{'':{width}}   {facts['reason']}")
        lines += [f"{'':{width}}   {line}" for line in facts["late"]]
        for path in rank_logs(out, facts["job"]) if options.tail else ():
            ends = path.read_text(errors="replace").splitlines()[-options.tail :]
            lines += [f"  {path.name}:", *(f"    {line}" for line in ends)]
    return lines


def runs_below(directory: Path) -> Iterator[Path]:
    """Runs, and places where a submitted job is yet to make one, at most two levels down."""
    for path in (directory, *directory.glob("*"), *directory.glob("*/*")):
        if path.is_dir() and ((path / "run.json").is_file() or any((path / FOLDER).glob("*_submitted.pkl"))):
            yield path


def describe(out: Path, queue: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """What a run is doing. `queue` is SLURM's: the job's number → its state and why it waits."""
    owner = json.loads((out / "owner.json").read_text()) if (out / "owner.json").exists() else {}
    submitted = sorted((out / FOLDER).glob("*_submitted.pkl"), key=lambda path: path.stat().st_mtime)
    job = submitted[-1].name.removesuffix("_submitted.pkl") if submitted else owner.get("job")
    state, reason = queue.get(str(job), ("", ""))
    outcome = read_outcome(out)
    if not state and outcome:
        state, reason = outcome.word, outcome.reason
    elif not state:
        state = "training?" if owner and not owner["left"] else "ended"
        reason = f"process {owner['pid']} on {owner['host']}" if state == "training?" else ""
    events = read_events(out)
    reports = [event for event in events if event["event"] == "report"]
    total = json.loads((out / "run.json").read_text())["run"]["images"] if (out / "run.json").exists() else "?"
    checkpoints = sorted(path for path in (out / "checkpoints").glob("[0-9]*") if path.is_dir())
    last = "-"
    if checkpoints:
        ago = time.time() - checkpoints[-1].stat().st_mtime
        last = f"{int(checkpoints[-1].name)} images, {ago / 60:.0f} minutes ago"
    return {
        "job": job,
        "state": state.lower(),
        "reason": reason,
        "progress": f"{events[-1]['images'] if events else 0} of {total}",
        "speed": f"{reports[-1]['images_per_second']:.0f}" if reports else "-",
        "checkpoint": last,
        "late": still_ranks(out) if owner and not owner["left"] else [],
    }


def still_ranks(out: Path) -> list[str]:
    """The ranks of a run that the others wait for, and since when, where nothing has moved for a while."""
    beats = [beat.now() for beat in read_beats(out)]
    beats = [beat for beat in beats if beat.start == beats[0].start]
    if not beats or max(beat.idle + age(beat) for beat in beats) < STILL:
        return []
    ranks = []
    for beat in beats:
        state = beat.process.state()
        if beat.left:
            ranks.append(Seen(beat, "left"))
        elif state in ("stopped", "gone"):
            ranks.append(Seen(beat, state))
        else:
            ranks.append(Seen(beat, "silent" if age(beat) > STILL else "runs"))
    return [f"{tell(seen)}; last heartbeat {age(seen.beat):.0f} s ago" for seen in late(ranks)[:TOLD]]


def queued() -> dict[str, tuple[str, str]]:
    """SLURM's queue: job → state and, where it waits, why. Empty without SLURM."""
    if shutil.which("squeue") is None:
        return {}
    done = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i|%T|%r"], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        return {}
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {number: (state, reason if state == "PENDING" else "") for number, state, reason in rows}


def rank_logs(out: Path, job: str | None) -> list[Path]:
    """The logs of a job's ranks, by rank."""
    return sorted((out / FOLDER).glob(f"{job}_*_log.out"), key=lambda path: int(path.name.split("_")[-2]))
