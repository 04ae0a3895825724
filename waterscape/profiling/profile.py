"""`waterscape profile MODEL[:PRESET]`: a step's anatomy as a table and a picture, its share of the roofline, a trace.

`waterscape profile all`: a line of one table for each model. And, with `--ways`, what each way to a faster step is
worth here, with and without it, in turn. All of it on as many processes as a launcher starts.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waterscape import models
from waterscape.cluster.ranks import join_tasks
from waterscape.data.opening import open_samples
from waterscape.data.shard import ShardError
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.options import parse_some
from waterscape.pages.anatomy import draw_anatomy
from waterscape.profiling.measuring import circumstances, made_data, measure, plain, rates_of
from waterscape.profiling.roofline import Rates
from waterscape.profiling.table import overview, table, way_line
from waterscape.profiling.ways import measure_ways
from waterscape.recipe import Recipe
from waterscape.start import read_options
from waterscape.training.processes import Processes
from waterscape.training.run import Run
from waterscape.training.torch_threads import torch_threads

BATCH_OF_ALL = 8  # images, unless --batch says otherwise: small, so that all models take minutes


@dataclass(frozen=True)
class Profile:
    """Measure a training step. Other options are those of `waterscape train`."""

    data: str | None = None
    """Shards to read. Left out: a small synthetic set of the right columns, made for this."""
    out: Path | None = None
    """Where table, picture and trace go. Left out: profiles/MODEL-PRESET; of all models: profiles."""
    steps: int = 20
    """How many steps are measured, in whole rounds of the phases that come once in several steps."""
    seconds: float = 20.0
    """After so many of measuring no further round of steps is begun; one is measured in any case."""
    ways: bool = False
    """Measure each way to a faster step too, with and without it."""
    threads: int | None = None
    """Of torch. Left out: as many as it takes by itself."""

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        if self.steps < 1 or (self.threads is not None and self.threads < 1):
            raise UserError(f"--steps {self.steps} --threads {self.threads}: give 1 or more")
        if not self.seconds > 0:
            raise UserError(f"--seconds {self.seconds}: give more than none")


def profile(model: str, preset: str, arguments: Sequence[str]) -> int:
    """Measure, print the table and write what there is to see; returns the exit code."""
    wanted, words = parse_some(Profile, arguments, f"waterscape profile {model}:{preset}")
    wanted.check()
    out = wanted.out or Path("profiles") / f"{model}-{preset}"
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        recipe, run = read_options(model, preset, ["--out", str(scratch / "run"), *words])
        processes = _begin(wanted, run, scratch)
        if wanted.ways and processes.world > 1:
            raise UserError("--ways are measured in one process: start it without a launcher")
        with torch_threads(wanted.threads):
            rates = rates_of(run, processes)
            page = _profile(f"{model}:{preset}", recipe, run, wanted, processes, rates, scratch, out)[1]
        if processes.first:
            print(page)
            print(f"{out}: profile.md, profile.png, profile.json; open trace.json.gz at https://ui.perfetto.dev")
        processes.wait()
        processes.close()
    return 0


def profile_all(arguments: Sequence[str]) -> int:
    """Every model's recommended preset, one after another: each in a directory of its own, and all in one table."""
    wanted, words = parse_some(Profile, arguments, "waterscape profile all")
    wanted.check()
    if wanted.ways:
        raise UserError("--ways take minutes a model: measure them of one, waterscape profile MODEL --ways")
    out = wanted.out or Path("profiles")
    words = ["--batch", str(BATCH_OF_ALL), *words]
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    processes = rates = None
    with tempfile.TemporaryDirectory() as directory, torch_threads(wanted.threads):
        for model in models.names():
            scratch = Path(directory) / model
            recipe, run = read_options(model, models.DEFAULT_PRESET, ["--out", str(scratch / "run"), *words])
            processes = processes or _begin(wanted, run, Path(directory))
            rates = rates or rates_of(run, processes)
            title, place = f"{model}:{models.DEFAULT_PRESET}", out / f"{model}-{models.DEFAULT_PRESET}"
            try:
                if recipe.wants():
                    raise UserError(f"wants {recipe.wants()}")
                found[model] = _profile(title, recipe, run, wanted, processes, rates, scratch, place)[0]
            except ShardError:  # in the midst of steps, perhaps of this process alone
                raise
            except UserError as reason:  # on all processes: of the model, of the set's columns, or of memory
                left_out[model] = str(reason)
            if processes.first:
                how = f"batch of {run.batch} on {circumstances(processes)}, {run.precision}"
                page = overview(how, found, left_out, synthetic=wanted.data is None)
                out.mkdir(parents=True, exist_ok=True)
                write_text(out / "profiles.md", page)  # after each, so that nothing is lost where it is cut short
                told = f"{found[model]['images_per_second']:.3g} images/s" if model in found else left_out[model]
                print(f"{title}: {told}", flush=True)
        if processes is not None and processes.first:
            print(f"\n{page}\n{out}: profiles.md, and of each model profile.md, profile.png, trace.json.gz")
        if processes is not None:
            processes.wait()
            processes.close()
    if not found:
        raise UserError(f"{out / 'profiles.md'}: no model could be measured; it says of each why")
    return 0


def _begin(wanted: Profile, run: Run, scratch: Path) -> Processes:
    run.check()
    join_tasks(run.processes)
    processes = Processes(run.processes, run.precision, scratch)
    if wanted.data is not None:
        with processes.together("cannot read the set"):
            open_samples(wanted.data, run.columns)
    return processes


def _profile(
    title: str,
    recipe: Recipe,
    run: Run,
    wanted: Profile,
    processes: Processes,
    rates: Rates,
    scratch: Path,
    out: Path,
) -> tuple[dict[str, Any], str]:
    """Measure one model; the first process writes what there is to see. Returns what was found, and its page."""
    synthetic = wanted.data is None
    run = dataclasses.replace(run, data=wanted.data or made_data(recipe, run, scratch, processes))
    if processes.first:
        out.mkdir(parents=True, exist_ok=True)
    trace = (out if processes.first else scratch) / "trace.json.gz"
    found = measure(recipe, run, processes, rates, scratch, trace, steps=wanted.steps, seconds=wanted.seconds)
    rows = []
    for row in measure_ways(recipe, run, processes, scratch / "ways") if wanted.ways else ():
        rows.append(row)
        print(way_line(row), flush=True)
    model, _, preset = title.partition(":")
    facts = {"model": model, "preset": preset, "synthetic data": synthetic, **found, "ways": rows}
    page = table(title, facts)
    if processes.first:
        write_text(out / "profile.json", json.dumps(facts, indent=1, default=plain) + "\n")
        write_text(out / "profile.md", page)
        of = ", synthetic set" if synthetic else ""
        draw_anatomy(out / "profile.png", f"{title}, {found['what']}{of}", found["parts"])
    return facts, page
