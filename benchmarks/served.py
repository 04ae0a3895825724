"""Processes that take some steps whenever they are asked, all at once: sides that must not share this one's memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Self


class Served:
    """`python -m MODULE WORDS`, which must `serve`, in one process for each environment."""

    def __init__(self, module: str, words: Sequence[object], environments: Sequence[Mapping[str, str]]) -> None:
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", module, *map(str, words)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for environment in environments
        ]

    def __call__(self) -> None:
        """One turn of all of them. Raises `RuntimeError` where one has ended."""
        self._tell("go\n")
        for process in self.processes:
            assert process.stdout is not None
            if process.stdout.readline() != "done\n":
                raise RuntimeError("a process of the benchmark ended")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell("")
        for process in self.processes:
            process.wait()

    def _tell(self, word: str) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(word)
            process.stdin.flush()
            if not word:
                process.stdin.close()


def serve(steps: Callable[[], None]) -> None:
    """Take steps for each line on stdin."""
    for _ in sys.stdin:
        steps()
        print("done", flush=True)
