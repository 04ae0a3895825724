"""Which checkpoints stay: the newest, milestones, the best by a stated figure, and the newest that was called good.

The directory alone decides it.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from waterscape.errors import UserError
from waterscape.training.checkpoint import Checkpoint, every, peek

Kind = Literal["newest", "milestone", "best", "good"]


@dataclass(frozen=True)
class Keeping:
    """The newest `newest` checkpoints; those marked as milestones; the best; and the newest of those marked as good.

    `milestone_every`: the first checkpoint past each multiple of so many images is a milestone, kept for ever.
    `best`: NAME:lower or NAME:higher, a figure of held-out samples or of a watcher.
    """

    newest: int = 3
    milestone_every: int | None = None
    best: str | None = None

    @property
    def figure(self) -> tuple[str, float] | None:
        """The figure's name, and the sign that makes lower better. Raises `UserError` where no direction is stated."""
        if self.best is None:
            return None
        name, _, direction = self.best.rpartition(":")
        signs = {"lower": 1.0, "higher": -1.0}
        if not name or direction not in signs:
            raise UserError(f"--best {self.best} is not NAME:lower or NAME:higher, which say what is better")
        return name, signs[direction]

    def is_milestone(self, images: int, before: int) -> bool:
        """Whether a step from `before` to `images` images passed a milestone."""
        every = self.milestone_every
        return every is not None and images // every > before // every

    def cost(self, figures: Mapping[str, float]) -> float:
        """The stated figure such that lower is better; infinite where it was not measured or is not finite."""
        if self.figure is None:
            return math.inf
        name, sign = self.figure
        value = sign * figures.get(name, math.inf * sign)
        return value if math.isfinite(value) else math.inf

    def kinds(self, checkpoints: Iterable[Checkpoint]) -> dict[Path, list[Kind]]:
        """Why each of them is kept; an empty list: it is not."""
        ordered = sorted(checkpoints, key=lambda one: one.images)
        found: dict[Path, list[Kind]] = {one.path: [] for one in ordered}
        for one in ordered[-self.newest :]:
            found[one.path].append("newest")
        for one in ordered:
            if one.state.get("milestone"):
                found[one.path].append("milestone")
        best = min(ordered, key=lambda one: self.cost(_figures(one.state)), default=None)
        if best and math.isfinite(self.cost(_figures(best.state))):
            found[best.path].append("best")
        good = [one for one in ordered if one.state.get("good")]
        if good:
            found[good[-1].path].append("good")
        return found

    def best_cost(self, directory: Path) -> float:
        """That of the best checkpoint of a directory; infinite where there is none."""
        return min((self.cost(_figures(one.state)) for one in readable(directory)), default=math.inf)

    def prune(self, directory: Path, images: int) -> list[Path]:
        """Drop what is not kept, now that a checkpoint of `images` stands; returns what was dropped.

        What lies beyond `images` was passed over on resuming, since it is broken: it must not count as the newest.
        """
        kinds = self.kinds([one for one in readable(directory) if one.images <= images])
        dropped = [path for path in every(directory) if not kinds.get(path)]
        for path in dropped:
            shutil.rmtree(path)
        return dropped


def readable(directory: Path) -> list[Checkpoint]:
    """The checkpoints of a directory whose files are there in their sizes, oldest first."""
    found = []
    for path in every(directory):
        try:
            found.append(peek(path))
        except (OSError, ValueError):
            continue
    return found


def _figures(state: Mapping[str, Any]) -> Mapping[str, float]:
    found: Mapping[str, float] = state.get("figures", {})
    return found
