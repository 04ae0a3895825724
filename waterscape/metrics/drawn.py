"""Labels by rules and a network's calls beside what a synthetic world drew: where do the rules fail?

A tile's drawn class is the kind of water of most of its recorded bodies' pixels. What was drawn has a name that shape
alone may not show: a lake may be drawn so that it looks like a river.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from waterscape.errors import UserError
from waterscape.metrics.classification import Verdicts

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNNAMED = "unclassifiable"


class Agreement(NamedTuple):
    """Shares of `tiles` tiles whose drawn class is that of the rules; of the network; and of its best name."""

    which: str
    tiles: int
    rules: float
    network: float
    best_name: float


def drawn_classes(path: Path, classes: Sequence[str]) -> dict[str, str]:
    """File's name → class drawn, by a synthetic world's `world.json`; tiles of other waters are left out.

    Raises:
        UserError: it is no such file.
    """
    try:
        entries = json.loads(path.read_text())["files"]
        found = {Path(entry["file"]).name: _kind(entry["bodies"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--drawn {path} is no world.json of tools/make_world.py ({error})") from error
    return {name: kind for name, kind in found.items() if kind in classes and kind != UNNAMED}


def agreements(
    verdicts: Verdicts, sources: Sequence[str], cut: NDArray[np.bool_], drawn: dict[str, str]
) -> list[Agreement]:
    """Of samples made from the files `sources`, `cut` where the tile's edge cuts the main body. Raises `UserError`."""
    kinds = [drawn.get(Path(source).name) for source in sources]
    known = np.array([kind is not None for kind in kinds], bool)
    if not known.any():
        raise UserError("the world drew none of these tiles: name the world.json that the set was packed from")
    true = np.array([verdicts.classes.index(kind) if kind else -1 for kind in kinds])
    named = verdicts.probabilities.copy()
    named[:, verdicts.classes.index(UNNAMED)] = -1
    best = named.argmax(1)
    unnamed = verdicts.kinds == verdicts.classes.index(UNNAMED)
    groups = {
        "all": known,
        "main body whole": known & ~cut,
        "main body cut": known & cut,
        f"rules: {UNNAMED}": known & unnamed,
        "rules and network differ": known & (verdicts.called != verdicts.kinds),
    }
    three = [calls == true for calls in (verdicts.kinds, verdicts.called, best)]
    return [
        Agreement(name, int(some.sum()), *(float(right[some].mean()) for right in three))
        for name, some in groups.items()
        if some.any()
    ]


def table(found: Sequence[Agreement]) -> str:
    """A line for each group of tiles."""
    lines = [f"{'agrees with what was drawn':28} {'tiles':>6} {'rules':>7} {'network':>8} {'its best name':>14}"]
    lines += [
        f"{one.which:28} {one.tiles:6} {one.rules:7.1%} {one.network:8.1%} {one.best_name:14.1%}" for one in found
    ]
    return "\n".join(lines)


def _kind(bodies: Sequence[dict[str, Any]]) -> str:
    pixels: Counter[str] = Counter()
    for body in bodies:
        pixels[body["kind"]] += int(body["pixels"])
    return pixels.most_common(1)[0][0] if pixels else ""
