"""Two presets of a model against each other: same data, time, threads, tuning trials; paired seeds with an interval."""

from __future__ import annotations

import sys

from waterscape.comparison import Comparison, compare
from waterscape.errors import run_command
from waterscape.options import parse


def main() -> int:
    """Run the command line."""
    path = compare(parse(Comparison, sys.argv[1:], "compare_presets.py"))
    print(path.read_text())
    print(f"{path}, comparison.json and comparison.png beside it")
    return 0


if __name__ == "__main__":
    run_command(main)
