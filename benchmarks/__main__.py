"""`python -m benchmarks B1 B11`: run rows by name; without names, all of them."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from waterscape.errors import UserError, run_command

ROW = re.compile(r"b(\d+)_\w+\.py")


def rows() -> dict[str, str]:
    """Row -> module, in the rows' order: `b01_reading.py` is B1."""
    files = sorted(Path(__file__).parent.glob("b*_*.py"))
    return {f"B{int(match[1])}": file.stem for file in files if (match := ROW.fullmatch(file.name))}


def main() -> None:
    """Print a line for each figure of the rows asked for."""
    there = rows()
    asked = [word.upper() for word in sys.argv[1:]] or list(there)
    for row in asked:
        if row not in there:
            raise UserError(f"no measurement {row!r}: there are {', '.join(there)}")
    for row in asked:
        for figure in importlib.import_module(f"benchmarks.{there[row]}").figures():
            print(figure, flush=True)


if __name__ == "__main__":
    run_command(main)
