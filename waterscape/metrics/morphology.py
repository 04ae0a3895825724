"""Water bodies by their shape: what each one measures, and a class by stated thresholds.

There are no labels to learn from, so classes are defined by rules (`shape_classes`). A body is a connected patch of
pixels that are water at least `Thresholds.water` percent of the time. The rules work in pixels and ratios;
`metres_per_pixel` only scales what the table tells. Nothing changes when a tile is turned by quarters or mirrored:
skeletons, which do depend on the way one looks, are taken in one canonical pose.

    from waterscape.metrics.morphology import bodies, dominant, CLASSES
    table = bodies(occurrence)            # one row per body, largest first, columns COLUMNS
    CLASSES[dominant(table)]              # the tile's class
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from skimage.morphology import skeletonize

from waterscape.metrics import geometry
from waterscape.metrics.shape_classes import CLASSES, USUAL, Thresholds, classify

__all__ = ["CLASSES", "COLUMNS", "LENGTHS", "Survey", "Thresholds", "bodies", "dominant", "survey"]

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

COLUMNS = (
    "class",  # number in CLASSES
    "row",  # the body's first pixel, by which to find it
    "column",
    "area",  # pixels, or square metres where metres_per_pixel is given
    "perimeter",  # pixels or metres of shore, islands included; the tile's edge is no shore
    "elongation",  # long axis over short axis of the ellipse of inertia
    "shoreline_development",  # perimeter / (2 sqrt(pi area)): 1 for a disc (Hutchinson 1957)
    "skeleton_length",  # pixels or metres
    "branch_points",  # of the skeleton
    "longest_path",  # pixels or metres: the longest way through the skeleton
    "sinuosity",  # longest path over the distance of its ends
    "holes",  # islands of at least Thresholds.smallest_hole pixels
    "mean_occurrence",  # percent
    "core_occurrence",  # percent: the part at least half as far from the shore as the body's middle
    "edge_occurrence",  # percent: shore pixels
    "occurrence_gradient",  # percent: core minus edge
    "solidity",  # area over area of the convex hull
    "mean_width",  # pixels or metres: area over skeleton length
    "widest",  # pixels or metres: the greatest disc that fits in
    "narrow_length",  # pixels or metres of skeleton within Thresholds.narrow of a shore
    "edge_contact",  # pixels or metres of the tile's edge that lie in the body
    "cut",  # 1 where the body is cut by the tile's edge
    "edge_stretches",  # separate stretches of the tile's edge in the body: 2 for a river that enters and leaves
    "border_share",  # edge contact over the tile's whole border
    "tile_share",  # area over the tile's area
)
LENGTHS = ("perimeter", "skeleton_length", "longest_path", "mean_width", "widest", "narrow_length", "edge_contact")


class Survey(NamedTuple):
    """The bodies of one tile.

    `table` (N, len(COLUMNS)) float32; `labels` (H, W), 0 for the ground and k for row k - 1; `ignored`, how many bodies
    were smaller than `Thresholds.smallest`.
    """

    table: NDArray[np.float32]
    labels: NDArray[np.int32]
    ignored: int


def bodies(
    occurrence: NDArray[np.uint8], metres_per_pixel: float | None = None, thresholds: Thresholds = USUAL
) -> NDArray[np.float32]:
    """One row of `COLUMNS` per water body of an occurrence tile (H, W) in percent, largest first: (N, len(COLUMNS)).

    Without `metres_per_pixel` lengths are pixels. Raises ValueError for what is no occurrence tile.
    """
    return survey(occurrence, metres_per_pixel, thresholds).table


def survey(
    occurrence: NDArray[np.uint8], metres_per_pixel: float | None = None, thresholds: Thresholds = USUAL
) -> Survey:
    """`bodies`, with the picture of which pixel belongs to which row, and the count of bodies too small for one."""
    if occurrence.ndim != 2 or occurrence.dtype != np.uint8:
        raise ValueError(f"occurrence must be uint8 H×W, not {occurrence.dtype} of shape {occurrence.shape}")
    if occurrence.size and occurrence.max() > 100:
        raise ValueError(f"occurrence is in percent, 0 to 100, not {occurrence.max()}: divide 8-bit pictures by 2.55")
    if metres_per_pixel is not None and not metres_per_pixel > 0:
        raise ValueError(f"metres_per_pixel must be above 0, not {metres_per_pixel}")
    pose = geometry.canonical_pose(occurrence)
    posed = pose.apply(occurrence)
    labels, ignored = geometry.label_bodies(posed >= thresholds.water, thresholds.smallest, thresholds.smallest_hole)
    columns = _measure(posed, labels, int(labels.max(initial=0)), thresholds)
    columns["class"] = classify(columns, thresholds)
    labels = pose.undo(labels)
    columns["row"], columns["column"] = _first_pixels(labels, len(columns["area"]))
    if metres_per_pixel is not None:
        columns["area"] = columns["area"] * metres_per_pixel**2
        columns |= {name: columns[name] * metres_per_pixel for name in LENGTHS}
    table = np.stack([columns[name] for name in COLUMNS], axis=1).astype(np.float32)
    return Survey(table, labels, ignored)


def dominant(table: NDArray[np.float32]) -> int:
    """The number in `CLASSES` of the class that covers most of a tile; unclassifiable where it has no body."""
    area = np.bincount(table[:, 0].astype(int), weights=table[:, COLUMNS.index("area")], minlength=len(CLASSES))
    return int(area.argmax()) if len(table) else CLASSES.index("unclassifiable")


def _first_pixels(labels: NDArray[np.int32], count: int) -> tuple[Values, Values]:
    """Row and column of the first pixel of bodies 1 … count."""
    first = np.zeros(count + 1, np.intp)
    flat = labels.ravel()
    at = np.flatnonzero(flat)[::-1]
    first[flat[at]] = at
    rows, columns = np.divmod(first[1:], max(labels.shape[1], 1))
    return rows.astype(np.float64), columns.astype(np.float64)


def _measure(
    occurrence: NDArray[np.uint8], labels: NDArray[np.int32], count: int, thresholds: Thresholds
) -> dict[str, Values]:
    """All columns but class, row and column, in pixels."""
    if not count:
        return dict.fromkeys(COLUMNS, np.zeros(0))
    area = geometry.count_by_body(labels, count)
    perimeter = geometry.perimeters(labels, count)
    contact = geometry.edge_contact(labels, count)
    # Ground beyond the window is nearest to no water.
    window, distance, skeleton = geometry.window(labels), np.zeros(labels.shape), np.zeros(labels.shape, bool)
    distance[window] = geometry.shore_distance(labels[window])
    skeleton[window] = _skeletonize(labels[window] > 0)
    greatest = geometry.greatest_by_body(distance, labels, count)
    core = np.where(distance >= 0.5 * np.append(0, greatest)[labels], labels, 0)
    core_occurrence = geometry.mean_by_body(occurrence, core, count)
    edge_occurrence = geometry.mean_by_body(occurrence, np.where(distance <= 1, labels, 0), count)
    edge_occurrence = np.where(perimeter > 0, edge_occurrence, core_occurrence)
    middle = geometry.skeletons(skeleton, labels, distance, count, thresholds.narrow)
    return {
        "area": area,
        "perimeter": perimeter,
        "elongation": geometry.elongations(labels, count),
        "shoreline_development": perimeter / (2 * np.sqrt(np.pi * area)),
        "skeleton_length": middle.length,
        "branch_points": middle.branch_points,
        "longest_path": middle.main,
        "sinuosity": np.maximum(middle.main / np.maximum(middle.chord, 1), 1),
        "holes": geometry.holes(labels, count),
        "mean_occurrence": geometry.mean_by_body(occurrence, labels, count),
        "core_occurrence": core_occurrence,
        "edge_occurrence": edge_occurrence,
        "occurrence_gradient": core_occurrence - edge_occurrence,
        "solidity": np.minimum(area / geometry.hull_areas(labels, count), 1),
        "mean_width": area / np.maximum(middle.length, 1),
        "widest": 2 * greatest - 1,
        "narrow_length": middle.narrow,
        "edge_contact": contact,
        "cut": (contact > 0).astype(np.float64),
        "edge_stretches": geometry.edge_stretches(labels, count),
        "border_share": contact / (2 * sum(labels.shape)),
        "tile_share": area / labels.size,
    }


def _skeletonize(water: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(skeletonize(water), dtype=np.bool_)  # type: ignore[no-untyped-call]
