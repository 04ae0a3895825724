"""The same noise over time: how a generator's pictures came about, as one strip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from waterscape.sheet import save_png, sheet

MOMENTS = 12
"""Moments on a strip at most: the first, the last, and as evenly as may be between."""


def draw_strip(out: Path, title: str, facts: dict[str, str]) -> Path | None:
    """Draw `strip.png` of a run from its pictures; None where they hold no new pictures from fixed noise.

    A model with classes shows one picture of each class and moment, any other its row of new ones.
    """
    moments = sorted((out / "pictures").glob("[0-9]*.npz"))
    spread = np.unique(np.linspace(0, len(moments) - 1, MOMENTS).round().astype(int))
    rows, shown = {}, []
    for path in (moments[i] for i in spread):
        with np.load(path) as pictured:
            new = [pictured[name] for name in pictured.files if name.startswith("new")]
        if not new:
            return None
        frames = new[0] if len(new) == 1 else np.stack([row[0] for row in new])
        shown.append(str(int(path.stem)))
        rows[f"{int(path.stem)} images"] = frames.astype(np.float32) / 255
    if not rows:
        return None
    save_png(sheet(rows, title=title, scale=2), out / "strip.png", **facts, images=", ".join(shown))
    return out / "strip.png"
