"""Ranks as real processes without a launcher: each has a log and a pid of its own, which a test may signal.

They are forks of this program, which has imported everything, so that each starts at once. It is told on stdin, one
JSON object a line, what to start, answers with the pid, and writes a rank's exit code beside its log.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from programs import ROOT, free_port
from waiting import until

from waterscape.__main__ import dispatch
from waterscape.data.batches import Batches
from waterscape.errors import run_command
from waterscape.training.exhibit import Exhibit

FOR_EVER = 10**9
QUIET = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}


def words(tiles, out, *more):
    """The words of a small training without pictures and without end."""
    small = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 0, "--no-tensorboard"]
    intervals = ["--report-every", 3200, "--picture-every", FOR_EVER, "--evaluate-every", 0, "--checkpoint-every", 640]
    return ["train", "water_vae", "--data", tiles, "--out", out, *small, *intervals, "--images", FOR_EVER, *more]


class Nursery:
    """A process of this program, and the ranks that it has started; `environment` is theirs too."""

    def __init__(self, **environment):
        environ = {**os.environ, **QUIET, **{name: str(value) for name, value in environment.items()}}
        self.held, pipe = [], subprocess.PIPE
        command = [sys.executable, __file__]
        self.server = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.server.stdin.close()
        self.server.wait(30)
        self.server.stdout.close()

    def start(self, world, words, logs, **how):
        """`Ranks`; `how` as they take it."""
        self.held.append(Ranks(self.server, world, words, logs, **how))
        return self.held[-1]

    def end(self):
        """Kill the ranks that live."""
        while self.held:
            self.held.pop().end()


class Ranks:
    """`waterscape …` in so many processes.

    `stuck`: kind, number and rank; that rank's loader gets stuck at its number-th batch.
    `memory`: bytes and rank; so much address space that rank may take beyond what it has when it starts.
    `pause`: seconds that the first rank takes longer to draw a picture.
    """

    def __init__(self, server, world, arguments, logs, *, stuck=None, memory=None, pause=0):
        logs.mkdir(parents=True, exist_ok=True)
        self.logs, self.pids, port = [], [], free_port()
        for rank in range(world):
            place = {}
            if world > 1:
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
                place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            self.logs.append(logs / f"{rank}.log")
            request = {"words": arguments, "log": self.logs[-1], "place": place}
            request |= {"stuck": stuck[:2] if stuck and stuck[2] == rank else None}
            request |= {"pause": pause}
            request |= {"memory": memory[0] if memory and memory[1] == rank else None}
            server.stdin.write(json.dumps(request, default=str) + "\n")
            server.stdin.flush()
            self.pids.append(int(server.stdout.readline()))

    def signal(self, rank, number):
        os.kill(self.pids[rank], number)

    def stop(self, rank):
        """SIGSTOP, and wait until /proc says so."""
        self.signal(rank, signal.SIGSTOP)
        stat = Path(f"/proc/{self.pids[rank]}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 10)

    def log(self, rank):
        return self.logs[rank].read_text()

    def code(self, rank):
        """The rank's exit code, negative for a signal; None while it lives."""
        path = self.logs[rank].with_suffix(".code")
        return int(path.read_text()) if path.exists() else None

    def trained(self, out, images=64, seconds=120):
        """Wait until the run has come so far, or some steps further, by the first rank's heartbeat."""

        def is_so_far():
            self.alive()
            return self._stands(out) >= images

        until(is_so_far, seconds, lambda: self.log(0))

    def _stands(self, out):
        with contextlib.suppress(OSError):
            return json.loads((out / "heartbeat" / "rank-00000.json").read_text())["look"]["images"]
        return 0

    def alive(self):
        for rank in range(len(self.pids)):
            assert self.code(rank) is None, self.log(rank)

    def ended(self, rank, seconds=60):
        """The rank's exit code. Fails where it does not end in time."""
        until(lambda: self.code(rank) is not None, seconds, lambda: f"rank {rank} did not end: {self.log(rank)}")
        return self.code(rank)

    def end(self):
        """Kill those that live."""
        for rank in range(len(self.pids)):
            if self.code(rank) is None:
                with contextlib.suppress(ProcessLookupError):
                    self.signal(rank, signal.SIGKILL)
                self.ended(rank)


def serve():
    """Start what is asked for, and bury the dead."""
    for slow in ("waterscape.start", "matplotlib.pyplot", "torch._dynamo"):
        importlib.import_module(slow)
    logs = {}
    while True:
        if select.select([0], [], [], 0.02)[0]:
            line = os.read(0, 1 << 16)
            if not line:
                return
            request = json.loads(line)  # whole: who asks waits for the answer
            pid = os.fork()
            if not pid:
                work(**request)
            logs[pid] = Path(request["log"])
            print(pid, flush=True)
        while logs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            code = logs[pid].with_suffix(".partial")
            code.write_text(str(os.waitstatus_to_exitcode(status)))
            code.replace(logs.pop(pid).with_suffix(".code"))


def work(words, log, place, stuck, memory, pause):
    """A rank's life."""
    code = 1
    try:
        for handle, path in ((0, os.devnull), (1, log), (2, log)):
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            os.dup2(opened, handle)
            os.close(opened)
        os.environ.update({name: str(value) for name, value in place.items()})
        if stuck:
            get_stuck(*stuck)
        if pause:
            draw = Exhibit.draw
            Exhibit.draw = lambda *arguments: (time.sleep(pause), draw(*arguments))
        if memory:
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
        run_command(lambda: dispatch([str(word) for word in words]))
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def get_stuck(kind, number):
    """The loader's `number`-th batch does not come, as if a file server did not answer any more.

    `kind`: waiting (the rank's other threads go on) or gil (no thread runs Python any more).
    """
    seen = []

    def assemble(self, planned, before=Batches._assemble):
        seen.append(planned)
        if len(seen) == number:
            if kind == "gil":
                mutex, lock = ctypes.create_string_buffer(64), ctypes.PyDLL(None).pthread_mutex_lock
                lock(mutex)
                lock(mutex)  # for ever; PyDLL does not release Python's own lock meanwhile
            time.sleep(10**6)
        return before(self, planned)

    Batches._assemble = assemble


if __name__ == "__main__":
    serve()
