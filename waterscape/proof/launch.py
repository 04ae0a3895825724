"""Real processes of a training, without a launcher between: started as ranks, watched, killed from outside."""

from __future__ import annotations

import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from waterscape.errors import UserError
from waterscape.training.events import read_events

LAUNCHED = re.compile(r"SLURM_.*|(LOCAL_|GROUP_)?(RANK|WORLD_SIZE)|MASTER_.*|TORCHELASTIC_.*")
"""What a launcher may have left in the environment."""
LOOK_EVERY = 0.02
"""Seconds between two looks at a run."""


class Ranks:
    """`python WORDS` as so many processes on this machine's CPU, one thread each; output goes to `log`.

    `device`: they see the machine's GPUs too.
    """

    def __init__(self, world: int, words: Sequence[object], log: Path, *, device: bool = False) -> None:
        self.log = log
        shared = {name: value for name, value in os.environ.items() if not LAUNCHED.fullmatch(name)}
        shared |= {"OMP_NUM_THREADS": "1"}
        if not device:
            shared |= {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
        if world > 1:
            shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
            shared |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
        command = [sys.executable, *map(str, words)]
        self.processes = []
        with log.open("a") as file:
            for rank in range(world):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}
                self.processes.append(subprocess.Popen(command, env=shared | own, stdout=file, stderr=file))

    def running(self) -> bool:
        """Whether any still runs. Raises `UserError`, the others killed, where one ended with an error."""
        codes = [process.poll() for process in self.processes]
        if any(codes):  # neither None nor 0
            self.kill()
            lines = self.log.read_text().strip().splitlines() or ["no word"]
            told = [line for line in lines if line.startswith("error")] or lines
            raise UserError(
                f"a process ended with exit code {next(filter(None, codes))}: {told[-1]} (all of {self.log})"
            )
        return None in codes

    def wait(self, progress: Callable[[], float] = lambda: 0, enough: float = math.inf) -> bool:
        """Until all have ended well, or the progress is enough; returns whether they have ended."""
        try:
            while self.running():
                if progress() >= enough:
                    return False
                time.sleep(LOOK_EVERY)
        except BaseException:
            self.kill()
            raise
        return True

    def kill(self) -> None:
        """Send SIGKILL to each, and wait until they are gone."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()


def images_of(out: Path) -> int:
    """How far a run is: the images of its last event."""
    events = read_events(out)
    return max((event["images"] for event in events[-1:]), default=0)


def free_port() -> int:
    """A port on this machine that nobody listens at just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
