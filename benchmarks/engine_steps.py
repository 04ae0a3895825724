"""Where the engine's step spends its time: `python -m benchmarks.engine_steps`, milliseconds and shares of a bare loop.

What B11's engine does is put on one after another, from the bare loop that is lent our heap to the step of a run. Same
model, batch and threads, in turn; medians, a share is the rounds' ratio to the bare loop. The last line is what a
batch's draws take by themselves, again and again, with all that they need in the processor's caches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.b11_engine import BATCH, STEPS, EngineSteps, bare_steps, turns_a_second, write_tiles
from benchmarks.turns import take_turns
from waterscape.models.water_vae import LATENT
from waterscape.randomness import Draw

ROUNDS = 25


def draw(like: torch.Tensor) -> torch.Tensor:
    """A batch's latent noise."""
    assert like.shape == (BATCH, LATENT)
    return Draw(0, torch.arange(BATCH)).normal("latent", LATENT)


def sides(tiles: Path, engine: EngineSteps) -> dict[str, Callable[[], None]]:
    """What is done → some steps of it; each does all that the one before it does."""
    kept, step = engine.noted[0], engine.learner.step

    def on_a_kept_batch() -> None:
        for _ in range(STEPS):
            step(kept.columns, kept.numbers, kept.count)

    def on_live_batches() -> None:
        for _ in range(STEPS):
            loaded = next(engine.stream)
            step(loaded.columns, loaded.numbers, loaded.count)

    return {
        "forward, loss, backward, optimizer: the bare loop": bare_steps(tiles),
        "its noise by counter-based draws": bare_steps(tiles, noise=draw),
        "stored values to numbers, gradients in one tensor, guard: Learner.step": on_a_kept_batch,
        "batches read live": on_live_batches,
        "ledger, sums of losses: the engine": engine,
    }


def table(directory: Path) -> Iterator[str]:
    """A line for each: milliseconds of a step, the share of the bare loop's, its quartiles."""
    tiles = write_tiles(directory / "tiles")
    with EngineSteps(tiles, directory / "run") as engine:
        there = sides(tiles, engine)
        rates = take_turns("engine", {name: partial(turns_a_second, steps) for name, steps in there.items()}, ROUNDS)
    bare = next(iter(rates.values()))
    for name, values in rates.items():
        low, median, high = np.percentile(bare / values, (25, 50, 75))
        yield f"{1000 / np.median(values) / STEPS:8.2f} ms  {median:5.3f}  {low:.3f} to {high:.3f}  {name}"
    like = torch.empty(BATCH, LATENT)
    alone = 1 / np.median([turns_a_second(partial(draw, like)) for _ in range(1000)])
    yield f"{1000 * alone:8.2f} ms  {'':21}a batch's draws, again and again"


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as directory:
        for line in table(Path(directory)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
