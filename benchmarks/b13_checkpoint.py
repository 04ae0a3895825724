"""B13: how long training stands still for a checkpoint, against accelerate's `save_state`.

Both save the same networks and Adam states (300 MB) in the midst of a training on one core. Counted is how long the
call that saves holds up the next step. Ours copies, and hashes, writes and forces to disk in the background; what that
takes from the steps meanwhile is noted beside it: little where a core is free, all of it where none is. `save_state`
writes before it returns, hashes nothing and forces nothing to disk. The limit is a copy of the same bytes in memory.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from accelerate import Accelerator
from torch import nn

from benchmarks.figure import Figure, note
from waterscape.training import checkpoint
from waterscape.training.keeping import Keeping
from waterscape.training.torch_threads import torch_threads
from waterscape.training.writer import Writer

TURNS = 9
WIDTH, LAYERS = 2048, 6  # 25 million parameters: with Adam's two moments 300 MB
SECONDS = 1.5  # of steps in a stretch: longer than a checkpoint takes to be written
BRIEF = {"TURNS": 1, "WIDTH": 256, "SECONDS": 0.1}


def figures() -> Iterator[Figure]:
    """`save_state`'s stall over ours; and the copy in memory over ours."""
    with (
        tempfile.TemporaryDirectory() as directory,
        warnings.catch_warnings(),
        torch_threads(1),  # one core trains, the other is free
    ):
        warnings.simplefilter("ignore")
        training = Training()
        writer = Writer(Path(directory), Keeping(1), background=True)
        accelerator = Accelerator(cpu=True)
        prepared = accelerator.prepare(training.network, training.optimizer)
        assert len(prepared) == 2
        counter = iter(range(1, 10**6))

        def ours() -> None:
            writer.save(training.tensors(), {"images": next(counter), "optimizers": {}})

        def theirs() -> None:
            accelerator.save_state(str(Path(directory) / "theirs"))

        copied = [torch.empty_like(value) for file in training.tensors().values() for value in file.values()]

        def copy() -> None:
            for kept, value in zip(copied, training.flat(), strict=True):
                kept.copy_(value)

        for save in (ours, theirs, copy):
            save()  # warm up: memory is allocated once
        writer.wait()
        calls: dict[str, list[float]] = {"ours": [], "theirs": [], "copy": []}
        stalls: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(TURNS):
            for name, save in (("ours", ours), ("theirs", theirs)):
                plain = training.stretch()
                stalled, called = training.stretch_with(save, writer.wait)
                stalls[name].append(stalled - plain)
                calls[name].append(called)
            began = time.perf_counter()
            copy()
            calls["copy"].append(time.perf_counter() - began)
        assert writer.failure is None, writer.failure
        shutil.rmtree(directory, ignore_errors=True)
    ms = {name: 1000 * median(values) for name, values in calls.items()}
    stall = {name: 1000 * median(values) for name, values in stalls.items()}
    note(f"call ms: ours {ms['ours']:.0f}, save_state {ms['theirs']:.0f}, a copy in memory {ms['copy']:.0f}")
    note(f"stretch longer by ms: ours {stall['ours']:.0f}, save_state {stall['theirs']:.0f}")
    yield Figure("B13", "save_state", ms["theirs"] / ms["ours"], ">=", 5)
    yield Figure("B13", "copy", ms["copy"] / ms["ours"], ">=", 0.5)


class Training:
    """A network that trains on one core, and stretches of its steps."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-6, fused=True)
        self.batch = torch.randn(4, WIDTH)
        self.step()
        self.count = 8
        self.count = max(4, round(SECONDS / (self.stretch() / self.count)))

    def step(self) -> None:
        """One."""
        self.optimizer.zero_grad()
        self.network(self.batch).square().mean().backward()
        self.optimizer.step()

    def tensors(self) -> dict[str, checkpoint.Tensors]:
        """What a checkpoint holds, by file."""
        return checkpoint.tensors({"net": self.network}, {}, {"net": self.optimizer})

    def flat(self) -> list[torch.Tensor]:
        """The same, one after another."""
        return [value for file in self.tensors().values() for value in file.values()]

    def stretch(self) -> float:
        """Seconds of a stretch of steps."""
        began = time.perf_counter()
        for _ in range(self.count):
            self.step()
        return time.perf_counter() - began

    def stretch_with(self, save: Callable[[], None], after: Callable[[], None]) -> tuple[float, float]:
        """Seconds of the same steps with a checkpoint begun at their start, and of the call that begins it."""
        began = time.perf_counter()
        save()
        called = time.perf_counter() - began
        for _ in range(self.count):
            self.step()
        seconds = time.perf_counter() - began
        after()
        return seconds, called
