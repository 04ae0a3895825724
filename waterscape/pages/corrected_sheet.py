"""The tiles whose labels were changed most: before, after, the mask by hand, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from waterscape.labels.correction import Result
from waterscape.labels.labelled_set import LabelledSet, Tile
from waterscape.sheet import save_png, sheet
from waterscape.sources.landsat.bands import BANDS, UNKNOWN, WATER

BRIGHTEST = 0.4  # the reflectance that is drawn white
SMALLEST = 128  # pixels that a tile is drawn in
SEEN = tuple(BANDS.index(name) for name in ("B6", "B5", "B4"))
ADDED, REMOVED, STAYED, DRY, NOT_KNOWN = (
    (34, 140, 69),
    (204, 46, 41),
    (38, 104, 171),
    (240, 232, 214),
    (150, 148, 146),
)


def draw_corrected(tiles: LabelledSet, results: Sequence[Result], path: Path, most: int, title: str) -> None:
    """Write a sheet of the tiles with the most changed labels, the noisiest first."""
    changed = {one.number: int(np.count_nonzero(tiles.tile(one.number).given != one.label)) for one in results}
    noisiest = sorted(results, key=lambda one: (-changed[one.number], one.number))[:most]
    shown = [(tiles.tile(one.number), one) for one in noisiest]
    kind = "synthetic scenes, " if tiles.manifest.facts.get("synthetic") else ""
    rows = {
        "B6 B5 B4": np.stack([_picture(tile) for tile, _ in shown]),
        "given": np.stack([_water(tile.given) for tile, _ in shown]),
        "corrected": np.stack([_water(one.label) for _, one in shown]),
        "changed:\ngreen to water\nred to land": np.stack([_changes(tile, one) for tile, one in shown]),
    }
    masks = [tile.truth for tile, _ in shown]
    if any(mask is not None for mask in masks):
        rows["by hand"] = np.stack(
            [_water(np.full_like(tile.given, UNKNOWN) if tile.truth is None else tile.truth) for tile, _ in shown]
        )
    told = f"{kind}the {len(shown)} tiles with the most changed labels, {title}"
    scale = max(1, SMALLEST // max(1, len(shown[0][0].given))) if shown else 1
    save_png(sheet(rows, title=told, columns=most, scale=scale), path, title=told)


def _picture(tile: Tile) -> np.ndarray:
    """Water dark, plants green: H W 3 in 0..1; nodata is black."""
    seen: np.ndarray = np.nan_to_num(np.clip(tile.bands[..., SEEN] / BRIGHTEST, 0, 1))
    return seen


def _water(label: np.ndarray) -> np.ndarray:
    """H W in 0..1, NaN where it is not known."""
    return np.where(label == UNKNOWN, np.nan, (label == WATER).astype(np.float64))


def _changes(tile: Tile, result: Result) -> np.ndarray:
    """H W 3 in 0..1."""
    before, after = tile.given, result.label
    colours: dict[tuple[int, int, int], Any] = {
        STAYED: after == WATER,
        ADDED: (after == WATER) & (before != WATER),
        REMOVED: (after != WATER) & (before == WATER),
        NOT_KNOWN: before == UNKNOWN,
    }
    drawn = np.full((*before.shape, 3), DRY, np.float64)
    for colour, where in colours.items():
        drawn[where] = colour
    return drawn / 255
