"""`waterscape submit` and `waterscape sweep`: the words are checked as `train` would, before a job waits with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from waterscape import models
from waterscape.cluster.job import Job
from waterscape.cluster.submit import FOLDER, Allocation, submit
from waterscape.cluster.sweep import Sweep, combinations, ranked
from waterscape.errors import UserError
from waterscape.options import parse_some
from waterscape.start import read_options
from waterscape.training.outcome import read_outcome


def submit_training(arguments: list[str]) -> int:
    """`waterscape submit MODEL[:PRESET] …`."""
    model, options = _model(arguments, "submit")
    allocation, words = parse_some(Allocation, options, "waterscape submit MODEL")
    job = checked_job(model, words, allocation)
    for number in submit([job], allocation, model.replace(":", "-"), Path(job.out) / FOLDER):
        print(f"job {number}: {job.out}; `waterscape jobs {job.out}` says how it goes")
    return 0


def sweep(arguments: list[str]) -> int:
    """`waterscape sweep MODEL[:PRESET] --grid … --out DIR …`."""
    model, given = _model(arguments, "sweep")
    options, words = parse_some(Sweep, given, "waterscape sweep MODEL")
    out = Path(checked_job(model, words, options.allocation).out)
    jobs = [
        checked_job(model, [*words, *chosen, "--out", str(out / name)], options.allocation)
        for name, chosen in combinations(options.grid)
    ]
    waiting = [job for job in jobs if not _is_done(Path(job.out))]
    if waiting and not options.table:
        numbers = submit(waiting, options.allocation, model.replace(":", "-"), out / FOLDER)
        for number, job in zip(numbers, waiting, strict=False):  # a dry run has no numbers
            print(f"job {number}: {job.out}")
    for line in ranked([Path(job.out) for job in jobs], options.rank_by):
        print(line)
    return 0


def checked_job(model: str, words: Sequence[str], allocation: Allocation) -> Job:
    """The job that trains. Raises `UserError` for what `train` would refuse."""
    recipe, run = read_options(*models.split_name(model), list(words))
    run.check()
    run.started(recipe)
    ranks = allocation.nodes * allocation.tasks
    if run.processes not in (None, ranks):
        raise UserError(f"--processes {run.processes}, but --nodes and --tasks-per-node make {ranks} ranks")
    return Job(("train", model, *words), str(run.out))


def _model(arguments: list[str], verb: str) -> tuple[str, list[str]]:
    """The model's name, which comes first, and the words after it."""
    if arguments and arguments[0] in ("-h", "--help"):
        return "", arguments
    if not arguments or arguments[0].startswith("-"):
        raise UserError(
            f"say what to train: waterscape {verb} MODEL[:PRESET] …; the models are {', '.join(models.names())}"
        )
    return arguments[0], arguments[1:]


def _is_done(out: Path) -> bool:
    outcome = read_outcome(out) if out.is_dir() else None
    return outcome is not None and outcome.word == "done"
