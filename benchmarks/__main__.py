"""`python -m benchmarks B1 B11 [--write]`: measure rows by name; without names, all of them.

`--brief` takes one round of little work, seconds for most rows: it shows that they run, and its figures say nothing.

Each row runs in a process of its own, so that none inherits another's threads or memory, and one that fails does not
end the others. `--write` puts what was measured into `results.json` and the table of `README.md` (`make bench`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import turns
from benchmarks.figure import Figure, NotHereError, note
from benchmarks.results import Result, save, stamped
from waterscape.errors import UserError, run_command

ROW = re.compile(r"([a-z])(\d+)_\w+\.py")
NOT_HERE = 3  # exit code of a row that this machine cannot measure


def rows() -> dict[str, str]:
    """Row → module, in the rows' order: `b01_reading.py` is B1."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return {f"{match[1].upper()}{int(match[2])}": file.stem for file in files if (match := ROW.fullmatch(file.name))}


def main() -> int:
    """Print a line for each figure of the rows asked for; exit code 1 where a row failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition(":")[2])
    parser.add_argument("rows", nargs="*", help="such as B1 B11; none: all")
    parser.add_argument("--write", action="store_true", help="keep the figures in results.json and README's table")
    parser.add_argument("--brief", action="store_true", help="see only whether they run; the figures say nothing")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # a row's own process: where its figures go
    options = parser.parse_args()
    if options.brief and options.write:
        raise UserError("--brief measures nothing that could be kept: leave out --write")
    there = rows()
    asked = [word.upper() for word in options.rows] or list(there)
    for row in asked:
        if row not in there:
            raise UserError(f"no measurement {row!r}: there are {', '.join(there)}")
    if options.into is not None:
        return measure_here(there[asked[0]], options.into, brief=options.brief)
    failed = []
    for row in asked:
        results = measure_apart(row, brief=options.brief)
        if results is None:
            failed.append(row)
        elif results and options.write:
            save(results)
    if failed:
        note(f"failed: {', '.join(failed)}" + ("; what is kept of them stays as it was" if options.write else ""))
    return 1 if failed else 0


def measure_here(module: str, into: Path, *, brief: bool = False) -> int:
    """Measure a row in this process, print its figures as they come, and store them; in brief by its `BRIEF` sizes."""
    found = importlib.import_module(f"benchmarks.{module}")
    turns.brief = brief
    for name, value in getattr(found, "BRIEF", {}).items() if brief else ():
        assert hasattr(found, name), f"{module} has no {name}"
        setattr(found, name, value)
    figures: list[Figure] = []
    try:
        for figure in found.figures():
            print(figure, flush=True)
            figures.append(figure)
    except NotHereError as reason:
        note(f"not on this machine: {reason}")
        return NOT_HERE
    into.write_text(json.dumps(stamped(figures, getattr(found, "VERSIONS", {}))))
    return 0


def measure_apart(row: str, *, brief: bool = False) -> list[Result] | None:
    """A row's figures, measured in a process of its own; empty where this machine cannot, None where it failed."""
    note(f"{row} …")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        into = Path(directory) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", row, "--into", into, *(["--brief"] if brief else [])]
        code = subprocess.run(command, check=False).returncode
        failed = f", failed with exit code {code}" if code not in (0, NOT_HERE) else ""
        note(f"{row}: {time.monotonic() - began:.0f} s{failed}")
        if code == NOT_HERE:
            return []
        if code:
            return None
        results: list[Result] = json.loads(into.read_bytes())
        return results


if __name__ == "__main__":
    run_command(main)
