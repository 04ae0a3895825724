"""R6: each way to a faster training step, with it against without it, in turn, from equal weights.

The recommended preset of water_vae in plain float32, on a small synthetic set; on a GPU that of landscape_gan too. A
figure is the time of a step without the way over that with it, of the processor where that computes: above 1 the way
pays here. How far it moves the first step's gradients is told besides; so is a way that cannot be taken. On a CPU one
thread computes. `waterscape profile MODEL --ways` measures the same of any model.

`compile warp` is the one warp of a batch of photos (`nn.photo_views`, as scene_classifier turns and cuts them) through
torch.compile, from numbers that are drawn before: the draws are NumPy's on a CPU, which the compiler does not trace.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import turns
from benchmarks.figure import Figure, note
from waterscape import models
from waterscape.models.scene_classifier import STATED
from waterscape.profiling import ways
from waterscape.profiling.afresh import compiling_afresh
from waterscape.profiling.table import way_line
from waterscape.proof.made_set import write_made_set
from waterscape.randomness import Draw
from waterscape.training.processes import Processes
from waterscape.training.run import Run
from waterscape.training.torch_threads import torch_threads

MODELS = {"cpu": ("water_vae",), "cuda": ("water_vae", "landscape_gan")}
BATCH = {"cpu": 8, "cuda": 128}
SAMPLES = 256
SIDE = 150  # pixels of the photos that are warped
WARPS = {"cpu": 10, "cuda": 100}  # in a turn
BRIEF = {"SAMPLES": 32, "WARPS": {"cpu": 1, "cuda": 1}}


def figures() -> Iterator[Figure]:
    """A figure for each way that can be taken."""
    if turns.brief:
        ways.TURNS, ways.TURN_SECONDS = 1, 0.0
    with tempfile.TemporaryDirectory() as directory, torch_threads(None if torch.cuda.is_available() else 1):
        processes = Processes(None, "float32", Path(directory))
        kind = processes.device.type if processes.device.type in MODELS else "cpu"
        yield compiled_warp(processes.device, BATCH[kind], WARPS[kind])
        for model in MODELS[kind]:
            recipe, place = models.presets(model)[models.DEFAULT_PRESET], Path(directory) / model
            data = write_made_set(place / "set", recipe.inputs().values(), SAMPLES)
            run = Run(out=place, data=str(data), batch=BATCH[kind], tensorboard=False)
            for row in ways.measure_ways(recipe, run, processes, place):
                note(f"R6 {model} {way_line(row)}")
                if not row.failed:
                    yield Figure.over("R6", f"{model} {row.name}", [1 / ratio for ratio in row.ratios])


class Drawn:
    """A draw's numbers, each drawn once and kept."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.kept: dict[str, Tensor] = {}

    def uniform(self, stream: str, *shape: int) -> Tensor:
        """As `Draw.uniform`."""
        if stream not in self.kept:
            self.kept[stream] = self.draw.uniform(stream, *shape)
        return self.kept[stream]


def compiled_warp(device: torch.device, batch: int, times: int) -> Figure:
    """Time of the plain warp over that of the compiled one, of each turn."""
    draw = Draw(0, torch.arange(batch, device=device))
    photos = draw.uniform("photo", 3, SIDE, SIDE)
    drawn: Any = Drawn(draw)

    def seconds(warp: Callable[..., Tensor]) -> float:
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        began = clock()
        for _ in range(times):
            warp(photos, drawn)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - began

    with compiling_afresh():
        compiled = torch.compile(STATED.warped, dynamic=False)
        wanted = STATED.warped(photos, drawn)
        differs = (compiled(photos, drawn) - wanted).abs().amax()
        seconds(STATED.warped), seconds(compiled)
        taken = [(seconds(STATED.warped), seconds(compiled)) for _ in range(ways.TURNS)]
    note(f"R6 compile warp: pixels differ by {differs:.1e} of 1 at most")
    return Figure.over("R6", "scene_classifier compile warp", [plain / fast for plain, fast in taken])
