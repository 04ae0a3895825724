"""A map of what an export is made of: the parts with their names and areas, and how true to scale each tile will be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.durable import replacing
from waterscape.sources.area import middle_longitude
from waterscape.sources.degrees_map import PAPER, in_degrees, stretch_of
from waterscape.sources.utm import near

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.sources.occurrence_export.distortion import Distortion
    from waterscape.sources.occurrence_export.parts import Part
    from waterscape.sources.occurrence_export.sheets import Sheet

COLOURS = ("#7fb7be", "#e9c46a", "#c98f6b", "#a3b18a", "#b8a1c9", "#d9a5a5", "#8fa8d0", "#c9c27f")
INK = "#262c34"
INCHES = 11.0
NAMED = 24  # parts, beyond which the largest alone are named


def draw_parts(
    path: Path, parts: Sequence[Part], sheets: Sequence[Sheet], found: Sequence[Distortion], title: str
) -> None:
    """Draw parts and tiles as a PNG: above the parts' ground, below the tiles by their predicted distortion."""
    import shapely
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    middle = middle_longitude(shapely.MultiPolygon([piece for part in parts for piece in part.area.shape.geoms]))
    rings = np.concatenate([sheet.rings_in_degrees() for sheet in sheets])
    own = rings[..., 0].mean(1, keepdims=True)
    rings[..., 0] += near(own, middle) - own
    (west, south), (east, north) = rings.reshape(-1, 2).min(0), rings.reshape(-1, 2).max(0)
    each = INCHES * np.clip((north - south) * stretch_of(south, north) / (east - west), 0.25, 1.0)
    figure = Figure(figsize=(INCHES, 2 * each + 1.6), layout="constrained", facecolor=PAPER)
    axes = figure.subplots(2, 1)
    _ground(axes[0], parts, middle)
    axes[0].set_title(title, color=INK)
    error = np.concatenate([each.worst for each in found]) * 100
    edge = 0.3 if len(rings) < 3000 else 0.0
    tiles = PolyCollection(
        list(rings), array=error, cmap="viridis_r", edgecolors=PAPER if edge else "face", linewidths=edge
    )
    tiles.set_clim(0, error.max())
    axes[1].add_collection(tiles)
    axes[1].set_title(f"{len(rings):,} tiles, by how far a length in them is off, at most", color=INK)
    bar = figure.colorbar(tiles, ax=axes[1], orientation="horizontal", shrink=0.5, aspect=40, pad=0.02)
    bar.set_label("% of a length")
    bar.outline.set_visible(False)
    for axis in axes:
        in_degrees(axis, (west, south), (east, north), 0.02)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png")


def _ground(axis: Any, parts: Sequence[Part], middle: float) -> None:
    """Each part in a colour of its own, its name and area on its largest piece."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Line
    from shapely.affinity import translate

    areas = [part.km2 for part in parts]
    least = sorted(areas)[-min(NAMED, len(areas))]
    for number, (part, km2) in enumerate(zip(parts, areas, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        for piece in part.area.shape.geoms:
            own = (piece.bounds[0] + piece.bounds[2]) / 2
            shape = translate(piece, near(own, middle) - own)
            rings = [np.asarray(ring.coords)[:, :2] for ring in (shape.exterior, *shape.interiors)]
            line = Line.make_compound_path(*(Line(ring, closed=True) for ring in rings))
            axis.add_patch(PathPatch(line, facecolor=colour, edgecolor=INK, linewidth=0.4))
        if km2 >= least:
            largest = max(part.area.shape.geoms, key=lambda piece: piece.area)
            at = largest.representative_point()
            words = f"{part.name}\n{km2:,.0f} km²"
            box = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1.5}
            axis.text(near(at.x, middle), at.y, words, ha="center", va="center", fontsize=8, color=INK, bbox=box)
