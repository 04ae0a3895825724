"""Processes for tests of faults: forks of this program, which has imported everything, so that each starts at once.

python faults.py WORD TILES OUT …       WORD is one of the functions at the end
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from safetensors.torch import load_file
from waiting import until

import waterscape.start  # noqa: F401
from waterscape.__main__ import dispatch
from waterscape.errors import run_command
from waterscape.training import checkpoint
from waterscape.training.events import read_events, read_ledger
from waterscape.training.outcome import read_outcome

for slow in ("matplotlib.pyplot", "torch._dynamo"):  # else imported in each fork
    importlib.import_module(slow)

SMALL = ["--widths", 4, 4, 4, 4, 8, 8, 8, 8, "--batch", 32, "--held-out", 0, "--no-tensorboard", "--evaluate-every", 0]
NEVER = 10**9


def train(tiles, out, *more):
    """The words of a small training, without pictures."""
    rest = ["--picture-every", NEVER, "--report-every", 320, *SMALL, *more]
    return ["train", "water_vae", "--data", tiles, "--out", out, *rest]


class Processes:
    """`waterscape …` in one forked process or several; `arm` is called in each before it starts."""

    def __init__(self, words, log, world=1, arm=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.log = log
        self.pids = []
        for rank in range(world):
            pid = os.fork()
            if not pid:
                self._work([str(word) for word in words], rank, world, port, arm)
            self.pids.append(pid)

    def _work(self, words, rank, world, port, arm):
        code = 1
        try:
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            if world > 1:
                place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
                place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
                os.environ.update({name: str(value) for name, value in place.items()})
            if arm:
                arm()
            run_command(lambda: dispatch(words))
        except SystemExit as error:
            code = error.code
        except KeyboardInterrupt:  # before `run_command`, which says so itself
            code = 130
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def signal(self, number, ranks=None):
        """Send a signal to all, or to some of them; to those that are still there."""
        for rank, pid in enumerate(self.pids):
            if ranks is None or rank in ranks:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    def wait(self, seconds=120):
        """Their exit codes, negative for a signal. Fails where one does not end in time."""
        codes = []
        try:
            for pid in self.pids:
                ended = until(partial(_ended, pid), seconds, self.log.read_text, every=0.005)
                codes.append(os.waitstatus_to_exitcode(ended[1]))
        except AssertionError:
            self.signal(signal.SIGKILL)
            raise
        return codes


def _ended(pid):
    """Number and status of a child that has ended."""
    found = os.waitpid(pid, os.WNOHANG)
    return found if found[0] else None


def finish(words, log, world=1):
    codes = Processes(words, log, world).wait()
    assert codes == [0] * world, log.read_text()


def newest(out):
    return max((int(path.name) for path in checkpoint.every(out / "checkpoints")), default=0)


def content(out):
    """All tensors of the newest checkpoint, optimizers included."""
    path = checkpoint.newest(out / "checkpoints").path
    return {file.name: load_file(file) for file in sorted(path.glob("*.safetensors"))}


def assert_same(out, tiles, directory, world=1):
    """What stands in `out` is bitwise what an undisturbed run of as many images makes."""
    images = newest(out)
    undisturbed = directory / "undisturbed"
    finish(train(tiles, undisturbed, "--images", images, "--checkpoint-every", NEVER), directory / "log", world)
    one, other = content(undisturbed), content(out)
    assert one.keys() == other.keys()
    for file, tensors in one.items():
        for key, value in tensors.items():
            assert value.equal(other[file][key]), f"{file}: {key} differs"
    assert read_ledger(out) == read_ledger(undisturbed)
    assert sorted(read_ledger(out)) == list(range(images))
    curve = [event["images"] for event in read_events(out) if event["event"] == "report"]
    assert curve == sorted(set(curve)), "a curve doubles"


def kills(tiles, out, number, seed, world=1):
    """SIGKILL at random moments, then to the end: bitwise the undisturbed run. At most one interval is lost."""
    number, moment, world = int(number), random.Random(int(seed)), int(world)
    every = 160
    words = train(tiles, out / "run", "--checkpoint-every", every, "--checkpoint-writer", "background")
    reached, resumed = 0, []
    for _ in range(number):
        before = newest(out / "run")
        processes = Processes([*words, "--images", NEVER], out / "log", world)
        if moment.random() < 0.8:  # some die before they get on
            until(lambda: newest(out / "run") > before, told=(out / "log").read_text, every=0.002)  # noqa: B023 at once
        time.sleep(moment.uniform(0, 0.4))
        processes.signal(signal.SIGSTOP)  # none sees another's end
        processes.signal(signal.SIGKILL)
        assert processes.wait() == [-signal.SIGKILL] * world, (out / "log").read_text()
        whole = checkpoint.newest(out / "run" / "checkpoints")
        assert whole is None or whole.images >= before
        reached = newest(out / "run")
        resumed.append(reached > before > 0)
    goal = reached + 2 * every
    finish([*words, "--images", goal], out / "log", world)
    starts = [event["images"] for event in read_events(out / "run") if event["event"] == "start"]
    assert newest(out / "run") >= goal
    assert_same(out / "run", tiles, out, world)
    print(f"{number} kills, {len(set(starts))} places resumed from, {goal} images")


def signals(tiles, out, number, seed):
    """Random signals, until so many were sent: one save each time, nothing torn, bitwise the undisturbed run."""
    number, moment = int(number), random.Random(int(seed))
    kinds = [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2]
    words = train(tiles, out / "run", "--checkpoint-every", 320, "--images", NEVER)
    sent = starts = saved = 0
    while sent < number:
        processes = Processes(words, out / "log")
        time.sleep(moment.uniform(0.02, 0.6))
        storm = [moment.choice([signal.SIGINT, *kinds]), *moment.choices(kinds, k=moment.choice([0, 0, 1, 4, 20]))]
        before = newest(out / "run")
        for kind in storm:
            processes.signal(kind)
            time.sleep(moment.choice([0, 0, 0.001, 0.02]))
        (code,) = processes.wait()
        early = {130, *(-kind for kind in storm)}  # before the handlers stood: ended by any that waited, nothing begun
        assert code == 75 or code in early, f"code {code} after {storm}: {(out / 'log').read_text()}"
        starts, sent = starts + 1, sent + len(storm)
        whole = checkpoint.newest(out / "run" / "checkpoints")
        if code == 75:
            outcome = read_outcome(out / "run")
            assert outcome.word == "continue"
            assert f"after {whole.images} of" in outcome.reason, "it left without saving where it stood"
            saved += whole.images > before
        if whole:
            steps = {float(v) for o in ("encoder", "decoder") for k, v in steps_of(whole, o)}
            assert steps == {float(whole.state["steps"])}, "the optimizers are at different steps"
    finish([*words, "--images", newest(out / "run") + 320], out / "log")
    assert_same(out / "run", tiles, out)
    print(f"{sent} signals in {starts} processes, {saved} saves")


def steps_of(whole, name):
    return [(k, v) for k, v in whole.read(f"optimizer.{name}.safetensors").items() if k.endswith(".step")]


def die_at(count, where):
    """End this process before its `count`-th operation on a file below `where`, from the first partial one on."""
    seen = [0]

    def strike(path, directory=-1):
        if not isinstance(path, str | os.PathLike):
            return
        if directory != -1:
            path = Path(f"/proc/self/fd/{directory}").readlink() / path
        if where in str(path) and (seen[0] or ".partial" in str(path)):
            seen[0] += 1
            if seen[0] == count:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(event, arguments):
        if event in ("open", "os.mkdir", "os.rename"):
            strike(arguments[0])
        elif event in ("os.remove", "os.rmdir"):
            strike(*arguments)

    sys.addaudithook(watch)
    force = os.fsync
    os.fsync = lambda handle: (strike(Path(f"/proc/self/fd/{handle}").readlink()), force(handle))


def steps(tiles, out, stride):
    """SIGKILL before each file operation of a save (or each `stride`-th): the old checkpoint or the new, never none."""
    words = train(tiles, out / "before", "--keep", 2, "--checkpoint-every", 64, "--checkpoint-writer", "foreground")
    finish([*words, "--images", 128], out / "log")
    words += ["--images", NEVER]
    count, found = 1, []
    while True:
        run = out / str(count)
        shutil.copytree(out / "before", run)
        words[words.index("--out") + 1] = run
        processes = Processes(words, out / "log", arm=lambda count=count, run=run: die_at(count, f"{run}/checkpoints"))
        assert processes.wait() == [-signal.SIGKILL], (out / "log").read_text()
        whole = checkpoint.newest(run / "checkpoints")
        assert whole is not None
        if whole.images > 192:  # it died in the next save
            break
        assert whole.images in (128, 192)
        found.append(whole.images)
        count += int(stride)
    assert found == sorted(found)
    goal = newest(run) + 64
    again = [*words[:-1], goal]  # in the directory of the last one
    finish(again, out / "log")
    assert [int(path.name) for path in sorted((run / "checkpoints").iterdir())] == [goal - 64, goal]
    assert_same(run, tiles, out)
    print(f"killed before {len(found)} operations; newest then {sorted(set(found))}")


if __name__ == "__main__":
    word, tiles, out, *rest = sys.argv[1:]
    Path(out).mkdir(exist_ok=True)
    {"kills": kills, "signals": signals, "steps": steps}[word](Path(tiles), Path(out), *rest)
