"""R6: each way to a faster training step, with it against without it, in turn, from equal weights.

The recommended preset of water_vae in plain float32, on a small synthetic set; on a GPU that of landscape_gan too. A
figure is the time of a step without the way over that with it, of the processor where that computes: above 1 the way
pays here. How far it moves the first step's gradients is told besides; so is a way that cannot be taken. On a CPU one
thread computes. `waterscape profile MODEL --ways` measures the same of any model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.figure import Figure, note
from waterscape import models
from waterscape.profiling.table import way_line
from waterscape.profiling.ways import measure_ways
from waterscape.proof.made_set import write_made_set
from waterscape.training.processes import Processes
from waterscape.training.run import Run
from waterscape.training.torch_threads import torch_threads

MODELS = {"cpu": ("water_vae",), "cuda": ("water_vae", "landscape_gan")}
BATCH = {"cpu": 8, "cuda": 128}
SAMPLES = 256


def figures() -> Iterator[Figure]:
    """A figure for each way that can be taken."""
    with tempfile.TemporaryDirectory() as directory, torch_threads(None if torch.cuda.is_available() else 1):
        processes = Processes(None, "float32", Path(directory))
        for model in MODELS.get(processes.device.type, MODELS["cpu"]):
            recipe, place = models.presets(model)[models.DEFAULT_PRESET], Path(directory) / model
            data = write_made_set(place / "set", recipe.inputs().values(), SAMPLES)
            batch = BATCH.get(processes.device.type, BATCH["cpu"])
            run = Run(out=place, data=str(data), batch=batch, tensorboard=False)
            for row in measure_ways(recipe, run, processes, place):
                note(f"R6 {model} {way_line(row)}")
                if not row.failed:
                    yield Figure.over("R6", f"{model} {row.name}", [1 / ratio for ratio in row.ratios])
