"""`python -m benchmarks.study`: for each model `reference` against `recommended`; writes benchmarks/results.md.

    make study                                   all of it, at most 90 minutes on two cores
    python -m benchmarks.study pixel_cnn         one model
    python -m benchmarks.study --page            only the page, of what is kept
    python -m benchmarks.study --quick           the whole way, about a minute of processor time, into runs/study-quick

The result of each training is kept as a small JSON in benchmarks/study/cells; the same command again, after whatever
interruption and without the runs, does only what is missing. Real inputs are named by --real; without them, what is
kept of them stays.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.figure import note
from benchmarks.study.entries import ENTRIES, QUICK
from benchmarks.study.page import write_page
from benchmarks.study.work import Places, study
from waterscape.errors import UserError, run_command

HERE = Path(__file__).parent
USUAL_REAL = HERE.parent.parent.parent / "shared" / "data"


def main() -> int:
    """Run the command line; exit code 1 where something could not be found out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=(__doc__ or "").partition(":")[2])
    parser.add_argument("names", nargs="*", metavar="MODEL", help="models, or MODEL-SET; none: all")
    parser.add_argument(
        "--quick", action="store_true", help="the whole way, about a minute of processor time; its figures mean nothing"
    )
    parser.add_argument("--page", action="store_true", help="train nothing: only write the page")
    parser.add_argument("--processes", type=int, default=2, help="comparisons at a time, each on one thread (2)")
    parser.add_argument("--work", type=Path, help="where sets and runs go (runs/study)")
    parser.add_argument("--real", type=Path, help="the folder of real inputs (../shared/data, where that is)")
    options = parser.parse_args()
    entries = QUICK if options.quick else ENTRIES
    chosen = [entry for entry in entries if not options.names or {entry.model, entry.name} & set(options.names)]
    unknown = [name for name in options.names if all(name not in (one.model, one.name) for one in entries)]
    if unknown or options.processes < 1:
        there = ", ".join(dict.fromkeys(one.name for one in entries))
        raise UserError(f"{unknown[0] if unknown else '--processes 0'}: there are {there}; --processes is 1 or more")
    work = options.work or Path("runs/study-quick" if options.quick else "runs/study")
    kept, page = (work, work) if options.quick else (HERE, HERE.parent)
    places = Places(
        work, kept / "cells", page / "results.md", options.real or (USUAL_REAL if USUAL_REAL.is_dir() else None)
    )
    failed = [] if options.page else study(chosen, places, options.processes)
    note(str(write_page(entries, places.cells, places.page, quick=options.quick)))
    for line in failed:
        note(line)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent.parent))
    run_command(main)
