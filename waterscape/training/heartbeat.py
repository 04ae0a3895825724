"""The heartbeat: each rank says what it does, in a small file, and ends its process where the run has stalled.

A thread writes the rank's file every `SECONDS`. It also keeps the time since anything moved here, not counting what
the process was stopped for: a job that is suspended as a whole and continued has lost nothing. All ranks take the same
steps, so a run has stalled when nobody has moved for its limit, or when one process is gone. Whoever sees it first, as
a rule the first process, reports it and leaves; the others follow. A thread of Python cannot interrupt another one that
waits in a collective, so the process ends without unwinding: checkpoints are whole or absent at any moment.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from waterscape.durable import Lines, write_text
from waterscape.errors import UserError
from waterscape.training.beats import FOLDER, Beat, Process, path_of, read_beat
from waterscape.training.causes import is_of_another, told
from waterscape.training.events import EVENTS
from waterscape.training.outcome import CODES, Outcome
from waterscape.training.owner import OutdatedError, Owner
from waterscape.training.processes import Processes
from waterscape.training.pulse import Look, pulse
from waterscape.training.stall import Seen, headline, late, report, tell

SECONDS = 2.0
"""Between two beats, or an eighth of the limit where that is less."""
LONG = 6
"""What may take long (the start, evaluation, pictures, saving) may take so many times the limit."""
LEAST_PATIENCE, MOST_PATIENCE = 1800.0, 7 * 86400.0  # seconds
GONE = 10.0
"""Seconds without a move after which ranks whose process is gone are looked for: its end may reach us by itself."""
LAST = 30.0
"""Seconds that a report may take, whatever the disks do; then the process ends without."""

ASK = signal.SIGRTMIN + 11 if hasattr(signal, "SIGRTMIN") else 0
"""The signal by which a neighbour asks for the stack of a process whose Python does not run; 0: there is none."""

_NOTHING = Look(0, 0, 0, False, "", "", "")


def patience(limit: float) -> float:
    """Seconds that collectives get where `limit` means a stall: longer, since the heart's report is the clearer one."""
    return max(LEAST_PATIENCE, 2 * LONG * limit) if limit else MOST_PATIENCE


@contextlib.contextmanager
def beating(out: Path, processes: Processes, limit: float, owner: Owner | None) -> Iterator[None]:
    """While the block runs, this rank's heart beats. All ranks enter together.

    Args:
        out: the run's directory.
        processes: all ranks.
        limit: seconds without a move that mean a stall; 0: nothing does.
        owner: of the directory; the first process's.

    Raises:
        UserError: the block's error, where another rank's end was its cause, or a stall: names that rank.
    """
    heartbeat = Heartbeat(out, processes, limit, owner)
    left = "done"
    try:
        yield
    except BaseException as error:
        cause = heartbeat.cause(error)
        left = " ".join(str(cause).split())[:400] or type(cause).__name__
        if cause is error:
            raise
        raise cause from error
    finally:
        heartbeat.end(left)


class Heartbeat:
    """This rank's. `idle`: seconds since anything moved here."""

    def __init__(self, out: Path, processes: Processes, limit: float, owner: Owner | None) -> None:
        pulse.begin()
        pulse.taking_long("starting")
        self.out, self.limit = out, limit
        self.interval = min(SECONDS, limit / 8) if limit else SECONDS
        me = Process.this(processes.rank, pulse.descriptor)
        word, facts = processes.broadcast((os.urandom(8).hex(), owner.facts if owner else None))
        self.owner = Owner(out, facts, -1) if facts else None  # for its fence: any rank may have to report
        number = self.owner.number if self.owner else 0
        self.start = f"{number:06d}-{word}"  # a later start's is greater
        self.report = out / FOLDER / f"stall-{number:04d}.txt"
        with contextlib.suppress(OSError):  # a heart that cannot be heard is no reason not to train
            (out / FOLDER).mkdir(exist_ok=True)
            if processes.first:
                self._clear()
        self.ranks: list[Process] = processes.gather(me)
        self.me = me
        self._stack: int | None = None
        with contextlib.suppress(OSError):
            self._stack = os.open(path_of(out, me.rank, "stack"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            if ASK:
                faulthandler.register(ASK, self._stack)
        self.idle = self._awake = 0.0
        self._beats, self._dumped, self._last = 0, False, pulse.look()
        self._watched: dict[int, tuple[tuple[int, Look], float]] = {}
        self._ended = threading.Event()
        self._write()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def _clear(self) -> None:
        """Remove what the ranks of an earlier start have left, but for reports."""
        for path in [*(self.out / FOLDER).glob("*rank-*"), self.report, self._claim]:
            path.unlink(missing_ok=True)

    @property
    def _claim(self) -> Path:
        return self.report.with_suffix(".claim")

    def end(self, left: str) -> None:
        """Beat no more; say why."""
        self._ended.set()
        self._thread.join(LAST)
        self._write(left)
        if self._stack is not None:
            if ASK:
                faulthandler.unregister(ASK)
            with contextlib.suppress(OSError):
                if not os.fstat(self._stack).st_size and not self._is_outdated():
                    path_of(self.out, self.me.rank, "stack").unlink(missing_ok=True)
            os.close(self._stack)
        pulse.end()

    # What the thread does.

    def _beat(self) -> None:
        before = time.monotonic()
        while not self._ended.wait(self.interval):
            now = time.monotonic()
            gap, before = now - before, now
            self._measure(gap)
            self._write()
            if self.limit:
                with contextlib.suppress(OSError):
                    self._keep_stack()
                    asleep = gap > 4 * self.interval + 1
                    if (self.idle or asleep) and (self._claim.exists() or self.report.exists()):
                        self._follow()
                    self._judge()

    def _measure(self, gap: float) -> None:
        """What has gone by since the last beat, as far as this process was awake."""
        awake, look = min(gap, 2 * self.interval), pulse.look()
        self._awake += awake
        self.idle = self.idle + awake if look == self._last else 0.0
        self._last = look

    @property
    def _allowed(self) -> float:
        return self.limit * (LONG if self._last.long else 1)

    def _now(self, left: str = "") -> Beat:
        self._beats += 1
        idle, facts = round(self.idle, 3), (self.start, len(self.ranks))
        return Beat(self.me, *facts, self._last, idle, self._allowed, left, self._beats, time.time())

    def _write(self, left: str = "") -> None:
        self._last = pulse.look() if left else self._last
        if not self._is_outdated():
            with contextlib.suppress(OSError):
                self._now(left).write(self.out)

    def _is_outdated(self) -> bool:
        """Whether a later start writes there: this one was stopped, or its node lost; the fence will end it."""
        beat = read_beat(path_of(self.out, self.me.rank))
        return beat is not None and beat.start > self.start

    def _keep_stack(self) -> None:
        """Leave the stack in time for a report, and have those left of neighbours who cannot run Python any more.

        (faulthandler's own timer would do without neighbours, but it walks through running threads when a process that
        was stopped for longer goes on, and that can crash it.)
        """
        due = 0.8 * self._allowed
        if self._stack is None:
            return
        if self.idle < due and os.fstat(self._stack).st_size:
            self._dumped = False
            os.ftruncate(self._stack, 0)
            os.lseek(self._stack, 0, os.SEEK_SET)
        if self.idle >= due and not self._dumped:
            self._dumped = True
            faulthandler.dump_traceback(self._stack)
            for process in self.ranks:
                if process != self.me and process.state() == "runs" and self._is_silent(process):
                    os.kill(process.pid, ASK)

    def _is_silent(self, process: Process) -> bool:
        """Whether nothing of a neighbour has moved since half of our limit."""
        beat = read_beat(path_of(self.out, process.rank))
        if beat is None or beat.start != self.start or beat.left or process.rank not in self._watched:
            return False
        return self._watched[process.rank][0] == (beat.beats, beat.now().look)

    # Whether the run has stalled.

    def _judge(self) -> None:
        """Report a stall and leave, if there is one."""
        # The first process comes first, since its stderr is the one that is read: two beats sooner, as ranks beat at
        # different moments and who waits for a stuck one has moved a little longer.
        turn = min(self.me.rank, 4) * 2 * self.interval
        lost = self.idle >= min(GONE, self.limit) + turn and any(process.state() == "gone" for process in self.ranks)
        if self.idle < self.limit / 2 and not lost:
            self._watched.clear()
            return
        if not self._watched or self.idle >= self.limit + turn or lost:
            ranks = [self._see(process) for process in self.ranks]
            if (self.idle >= self.limit + turn or lost) and all(
                seen.is_over(min(GONE, self.limit) if lost else None) for seen in ranks
            ):
                self._declare(ranks)

    def _see(self, process: Process) -> Seen:
        """A rank as it looks from here."""
        if process == self.me:
            return Seen(self._now(), "runs")
        state = process.state()
        beat = read_beat(path_of(self.out, process.rank))
        if beat is None or beat.start != self.start:
            beat = Beat(process, self.start, len(self.ranks), _NOTHING, self.idle, LONG * self.limit, "", 0, 0.0)
            if state == "unknown":
                return Seen(beat, "unseen")
        beat = beat.now()
        if beat.left:
            return Seen(beat, "left")
        if state == "gone":
            return Seen(beat, "gone")
        shown = beat.beats, beat.look
        before, since = self._watched.setdefault(process.rank, (shown, self._awake))
        if before != shown:
            self._watched[process.rank] = shown, self._awake
        elif self._awake - since >= self.limit / 2 - self.interval:
            return Seen(beat, "stopped" if state == "stopped" else "silent")
        return Seen(beat, "runs")

    # What is done about it.

    def _declare(self, ranks: list[Seen]) -> NoReturn:
        """Tell it, on stderr and in the run's directory, and leave."""
        faulthandler.dump_traceback_later(LAST, exit=True, file=2)  # whatever keeps this from ending
        try:
            os.close(os.open(self._claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            self._follow()
        except OSError:
            pass  # told on stderr at least
        reason = headline(ranks, self.idle)
        if not self._dumped and self._stack is not None:
            faulthandler.dump_traceback(self._stack)
        advice = f"the same command goes on from the last checkpoint; all stacks: {self.report}"
        print(f"error: {report(ranks, reason, self.out, everybody=False)}{advice}", file=sys.stderr, flush=True)
        try:
            with self.owner.fence() if self.owner else contextlib.nullcontext():
                Outcome("failed", reason).write(self.out)
                behind = [seen.beat.process.rank for seen in late(ranks)]
                event = {"event": "stalled", "images": self._last.images, "time": time.time(), "late": behind}
                Lines(self.out / EVENTS).write(json.dumps({**event, "reason": reason}) + "\n")
                write_text(self.report, report(ranks, reason, self.out, everybody=True))
        except (OSError, OutdatedError) as error:
            print(f"error: not written: {error}", file=sys.stderr, flush=True)
        os._exit(CODES["failed"])

    def _follow(self) -> NoReturn:
        """Leave after another rank has reported. It is given time: a launcher may end it once one process has left."""
        faulthandler.dump_traceback_later(LAST, exit=True, file=2)
        deadline = time.monotonic() + LAST / 2
        while not self.report.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        print(f"rank {self.me.rank}: the run has stalled, so it ends: see {self.report}", file=sys.stderr, flush=True)
        os._exit(CODES["failed"])

    def cause(self, error: BaseException) -> BaseException:
        """The error as it is told: where a stall or another rank's end is behind it, that one is named."""
        if self.report.exists():
            return UserError(self.report.read_text().partition("\n")[0])
        return told(error, self._lost() if is_of_another(error) else "")

    def _lost(self) -> str:
        """A rank of this machine that is gone, in words; it may take a moment until that shows."""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            for process in self.ranks:
                beat = read_beat(path_of(self.out, process.rank))
                if process.state() != "gone" or beat is None or beat.start != self.start:
                    continue
                return tell(Seen(beat.now(), "left" if beat.left else "gone"))
            time.sleep(0.05)
        return ""
