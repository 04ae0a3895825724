"""What a proof is asked for: on which data, how long, how often killed, on how many processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from waterscape.errors import UserError

STEPS = 50


@dataclass(frozen=True)
class Proof:
    """Prove that killed and resumed runs are the undisturbed one. Other options are those of `waterscape train`."""

    data: str | None = None
    """Shards to train on. Left out: a small synthetic set, made for the proof."""
    images: int | None = None
    """Length of each run; left out: 50 batches."""
    batch: int = 7
    """Images a step, over all processes together; 2, 3 and 4 processes share 7 unequally."""
    kills: int = 2
    """How often a run is killed, within its first epoch."""
    processes: tuple[int, ...] = (1, 2, 3)
    """Numbers of processes to try."""
    seed: int = 0
    """Of the runs and of the moments of the kills."""
    float64: bool = False
    """Compute in float64: then any number of processes must end with the same parameters, to 1e-9."""
    out: Path | None = None
    """Keep the runs in this directory, which must not exist yet; left out: they are removed."""

    def check(self) -> None:
        """Raise `UserError` for a value that cannot be."""
        for name in ("batch", "kills"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} is {getattr(self, name)}; give 1 or more")
        if not self.processes or min(self.processes) < 1:
            raise UserError(f"--processes {' '.join(map(str, self.processes))}: give numbers of 1 or more")
        if self.length < 4 * self.every * (self.kills + 1):
            raise UserError(f"{self.length} images are too few to be killed {self.kills} times: give more --images")
        if self.out is not None and self.out.exists():
            raise UserError(f"--out {self.out} exists already: name a new directory")

    @property
    def length(self) -> int:
        """Images of each run, in whole batches."""
        return -(-(self.images or STEPS * self.batch) // self.batch) * self.batch

    @property
    def every(self) -> int:
        """Images between two checkpoints."""
        return max(1, self.length // self.batch // 16) * self.batch
