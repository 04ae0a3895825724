"""Peers that cannot share our environment: each gets one of its own, and runs there as a program that takes turns.

A peer's file in this directory is run by its own Python. It is started with its settings as arguments, prints `ready`,
and for each line `go` that it reads it takes a turn and prints the rate. Between turns it sleeps.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import signal
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks.figure import note
from benchmarks.surroundings import KEPT

HERE = Path(__file__).parent
PATIENCE_SECONDS = 300
STARTS = 2  # litdata stands still now and then while it writes its set: twice in some thirty times


def python_of(name: str) -> Path:
    """The Python of a peer's environment, which is made from `NAME.txt` (exact versions) where it is not there yet."""
    wanted = HERE / f"{name}.txt"
    environment = KEPT / name
    made_from = environment / "made-from"
    stamp = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    python = environment / "bin" / "python"
    if not made_from.is_file() or made_from.read_text() != stamp:
        note(f"making the environment of {name} in {environment}")
        venv.create(environment, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", wanted], check=True)
        made_from.write_text(stamp)
    return python


def versions_of(*peers: str) -> dict[str, str]:
    """Package → version of peers with environments of their own, for a row's `VERSIONS`."""
    wanted = (line.partition("==") for name in peers for line in (HERE / f"{name}.txt").read_text().splitlines())
    return {package: version for package, _, version in wanted if package.endswith(peers)}


class PeerProcess:
    """A peer's program, called like the peer or `program`, and its rate for each turn.

    One that stands still instead of getting ready is started once more. Raises `RuntimeError` where it fails.
    """

    def __init__(self, name: str, *words: object, program: str = "") -> None:
        self.name = name
        command = [python_of(name), HERE / f"{program or name}.py", *map(str, words)]
        for left in reversed(range(STARTS)):
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                start_new_session=True,  # so that its own processes end with it
            )
            try:
                self._expect("ready")
            except TimeoutError as error:
                if not left:
                    raise RuntimeError(str(error)) from None
                note(f"{error}; it is started once more")
            else:
                break

    def __call__(self) -> float:
        """One turn."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return float(self._expect("rate").split()[1])

    def close(self) -> None:
        """End the program: it leaves at the end of its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self._kill()

    def __del__(self) -> None:
        if hasattr(self, "process") and self.process.poll() is None:
            self.close()

    def _expect(self, word: str) -> str:
        """The next line that begins with a word; the peer's libraries may print others."""
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while selector.select(PATIENCE_SECONDS):
                line = self.process.stdout.readline().decode()
                if line.startswith(word):
                    return line
                if not line:
                    self._kill()
                    raise RuntimeError(f"the peer {self.name} ended, {self.process.returncode}")
        self._kill()
        raise TimeoutError(f"the peer {self.name} stood still for {PATIENCE_SECONDS} s")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
