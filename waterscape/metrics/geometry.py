"""Measures of all bodies of a label image at once, without a loop over bodies.

A label image (H, W) has 0 for the ground and 1 … N for bodies, 8-connected and therefore never touching one another.
Every function returns N values, body 1 first, in pixels. All but the skeleton's are exactly the same for a picture that
was turned by quarters or mirrored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import csgraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.int32]
    Values = NDArray[np.float64]

HULL_DIRECTIONS = 32  # sides of the polygon about a body; about a disc it is 0.3 % too large
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))  # a pixel's neighbours in turn
STRAIGHT, DIAGONAL = (
    0.948,
    1.343,
)  # unbiased step lengths of a digital path (Kulpa 1977, doi:10.1016/S0146-664X(77)80021-X)


class Pose(NamedTuple):
    """One of the eight ways to turn and mirror a picture: first the flips, then the transposition."""

    flip_rows: bool
    flip_columns: bool
    transpose: bool

    def apply(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The picture in this pose."""
        picture = picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(picture.T if self.transpose else picture)

    def undo(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The picture as it was before."""
        picture = picture.T if self.transpose else picture
        return np.ascontiguousarray(picture[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1])


def canonical_pose(occurrence: NDArray[np.uint8]) -> Pose:
    """The pose that brings a tile and all its turned and mirrored copies to the same picture.

    In it the water's centre of mass lies below and right of the middle, and further below than right.
    """

    def moment(profile: NDArray[np.int64]) -> int:
        return int(profile @ (2 * np.arange(len(profile)) - len(profile) + 1))

    down, right = moment(occurrence.sum(axis=1, dtype=np.int64)), moment(occurrence.sum(axis=0, dtype=np.int64))
    return Pose(down < 0, right < 0, abs(right) > abs(down))


def label_bodies(water: NDArray[np.bool_], smallest: int, smallest_hole: int) -> tuple[Labels, int]:
    """Number the 8-connected bodies of at least `smallest` pixels, largest first; also how many were smaller.

    Holes of fewer than `smallest_hole` pixels (4-connected) are filled.
    """
    ground, count = ndimage.label(~water)
    if count:
        small = np.bincount(ground.ravel(), minlength=count + 1) < smallest_hole
        for line in (ground[0], ground[-1], ground[:, 0], ground[:, -1]):
            small[line] = False
        small[0] = False
        water = water | small[ground]
    labels, count = ndimage.label(water, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    kept = int((sizes >= smallest).sum())
    renumber = np.zeros(count + 1, np.int32)
    renumber[order[:kept] + 1] = np.arange(1, kept + 1)
    return renumber[labels], count - kept


def count_by_body(labels: NDArray[np.int32], bodies: int) -> Values:
    """How often each body occurs among labels of any shape."""
    return np.bincount(labels.ravel(), minlength=bodies + 1)[1:].astype(np.float64)


def mean_by_body(values: NDArray[np.uint8], labels: Labels, bodies: int) -> Values:
    """Mean of values (H, W) over each body's pixels; 0 where a label does not occur."""
    at = np.flatnonzero(labels)
    body = labels.ravel()[at]
    sums = np.bincount(body, weights=values.ravel()[at], minlength=bodies + 1)[1:]
    return sums / np.maximum(count_by_body(body, bodies), 1)


def greatest_by_body(values: Values, labels: Labels, bodies: int) -> Values:
    """Greatest of values (H, W) on each body."""
    greatest = np.zeros(bodies + 1)
    np.maximum.at(greatest, labels.ravel(), values.ravel())
    return greatest[1:]


def perimeters(labels: Labels, bodies: int) -> Values:
    """Length of the shore, islands included, the picture's edge not, by Crofton's formula in four directions."""
    total = np.zeros(bodies)
    pairs = [
        (labels[:, 1:], labels[:, :-1], 1.0),
        (labels[1:], labels[:-1], 1.0),
        (labels[1:, 1:], labels[:-1, :-1], 0.5**0.5),
        (labels[1:, :-1], labels[:-1, 1:], 0.5**0.5),
    ]
    for first, second, spacing in pairs:
        crossing = first != second
        total += spacing * count_by_body((first | second)[crossing], bodies)  # one of the two is 0
    return total * (np.pi / 8)


def holes(labels: Labels, bodies: int) -> Values:
    """Islands: patches of ground wholly inside a body, by Euler's number from 2×2 windows (Gray 1971)."""
    padded = np.pad(labels, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    filled = (a > 0).view(np.uint8) + (b > 0).view(np.uint8) + (c > 0).view(np.uint8) + (d > 0).view(np.uint8)
    body = a | b | c | d  # a window never holds two bodies
    ones = count_by_body(body[filled == 1], bodies)
    threes = count_by_body(body[filled == 3], bodies)
    diagonals = count_by_body(body[(filled == 2) & ((a > 0) == (d > 0))], bodies)
    return 1 - (ones - threes - 2 * diagonals) / 4


def edge_contact(labels: Labels, bodies: int) -> Values:
    """Pixels' sides that lie on the picture's edge."""
    lines = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    return np.asarray(sum(count_by_body(line, bodies) for line in lines))


def edge_stretches(labels: Labels, bodies: int) -> Values:
    """Separate stretches of the picture's edge that lie in the body: 2 for a river that enters and leaves."""
    ring = np.concatenate([labels[0, :-1], labels[:-1, -1], labels[-1, :0:-1], labels[:0:-1, 0]])
    begins = count_by_body(ring[ring != np.roll(ring, 1)], bodies)
    return np.maximum(begins, count_by_body(ring, bodies) > 0)


def elongations(labels: Labels, bodies: int) -> Values:
    """Long axis over short axis of the ellipse with the body's second moments; 1 for a disc or a square."""
    at = np.flatnonzero(labels)
    rows, columns = np.divmod(at, labels.shape[1])
    body = labels.ravel()[at] - 1
    area = np.bincount(body, minlength=bodies)

    def mean(values: NDArray[Any]) -> Values:
        return np.bincount(body, weights=values, minlength=bodies) / area

    y, x = rows - mean(rows)[body], columns - mean(columns)[body]
    yy, xx, xy = mean(y * y) + 1 / 12, mean(x * x) + 1 / 12, mean(x * y)
    middle, apart = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    return np.sqrt((middle + apart) / (middle - apart))


def hull_areas(labels: Labels, bodies: int) -> Values:
    """Area of the convex polygon half a pixel about the pixels' centres, its sides facing `HULL_DIRECTIONS` ways."""
    water = np.pad(labels > 0, 1)
    inner = water[:-2, 1:-1] & water[2:, 1:-1] & water[1:-1, :-2] & water[1:-1, 2:]
    at = np.flatnonzero((labels > 0) & ~inner)
    rows, columns = np.divmod(at, labels.shape[1])
    body = labels.ravel()[at]
    order = np.argsort(body.astype(np.uint16) if bodies < 1 << 16 else body, kind="stable")  # 16 bits: a radix sort
    starts = np.searchsorted(body[order], np.arange(1, bodies + 1))
    rows, columns = rows[order].astype(np.float64), columns[order].astype(np.float64)
    angle = 2 * np.pi * np.arange(HULL_DIRECTIONS) / HULL_DIRECTIONS
    reach = np.stack([np.maximum.reduceat(rows * np.sin(t) + columns * np.cos(t), starts) + 0.5 for t in angle])
    # Each side's length follows from its own distance and its neighbours'.
    turn = angle[1]
    side = (np.roll(reach, 1, axis=0) + np.roll(reach, -1, axis=0) - 2 * reach * np.cos(turn)) / np.sin(turn)
    return np.asarray((reach * side).sum(axis=0) / 2)


def window(labels: Labels) -> tuple[slice, slice]:
    """The smallest window about all bodies and one more pixel, as far as the picture has it; there is a body."""
    rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    return slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def shore_distance(labels: Labels) -> Values:
    """Distance (H, W) of water from the nearest pixel of ground: 1 at the shore, 0 on the ground.

    The picture's edge is no shore. In a picture without ground every pixel is as far as the picture is wide.
    """
    if labels.all():
        return np.full(labels.shape, float(max(labels.shape, default=0)))
    nearest = ndimage.distance_transform_edt(labels, return_distances=False, return_indices=True)
    down = nearest[0] - np.arange(labels.shape[0], dtype=np.int32)[:, None]
    right = nearest[1] - np.arange(labels.shape[1], dtype=np.int32)
    return np.sqrt(np.asarray(down * down + right * right, np.float64))  # half the time of asking for distances


class Skeletons(NamedTuple):
    """Of each body's skeleton: its `length` and `branch_points`, and of the longest way through it.

    That way's length is `main`, the distance of its ends `chord`. `narrow` is the length, in pixels passed, of those
    parts that lie at most `narrow_distance` from a shore.
    """

    length: Values
    branch_points: Values
    main: Values
    chord: Values
    narrow: Values


def skeletons(
    skeleton: NDArray[np.bool_], labels: Labels, distance: NDArray[np.float64], bodies: int, narrow_distance: float
) -> Skeletons:
    """Measure the skeleton (H, W, one pixel wide) of all bodies; one that it misses is given its innermost pixel."""
    missed = np.flatnonzero(count_by_body(labels[skeleton], bodies) == 0) + 1
    for body in missed:
        skeleton[np.unravel_index(np.where(labels == body, distance, 0).argmax(), labels.shape)] = True
    rows, columns = np.nonzero(skeleton)
    owner = labels[rows, columns].astype(np.intp) - 1
    node = np.full((labels.shape[0] + 2, labels.shape[1] + 2), -1)
    node[rows + 1, columns + 1] = np.arange(len(rows))
    first, second, weight = [], [], []
    for down, right, step in ((0, 1, STRAIGHT), (1, 0, STRAIGHT), (1, 1, DIAGONAL), (1, -1, DIAGONAL)):
        other = node[rows + 1 + down, columns + 1 + right]
        linked = np.flatnonzero(other >= 0)
        first.append(linked)
        second.append(other[linked])
        weight.append(np.full(len(linked), step))
    a, b, w = np.concatenate(first), np.concatenate(second), np.concatenate(weight)
    corner = (w == DIAGONAL) & _turns_a_corner(skeleton, rows, columns, a, b)  # the two straight steps count already
    ways = sparse.coo_array((w, (a, b)), shape=(len(rows), len(rows))).tocsr()
    ring = np.stack([node[rows + 1 + y, columns + 1 + x] >= 0 for y, x in RING])
    arms = (ring & ~np.roll(ring, 1, axis=0)).sum(axis=0)
    start = np.full(bodies, -1)
    start[owner[::-1]] = np.arange(len(rows))[::-1]
    near = _farthest(ways, start, owner)[1]
    main, far = _farthest(ways, near, owner)
    chord = np.hypot(rows[near] - rows[far], columns[near] - columns[far])
    close = distance[rows, columns] <= narrow_distance
    return Skeletons(
        length=np.bincount(owner[a[~corner]], w[~corner], bodies).astype(np.float64),
        branch_points=np.bincount(owner[arms > 2], minlength=bodies).astype(np.float64),
        main=main,
        chord=chord,
        narrow=np.bincount(owner[close], minlength=bodies).astype(np.float64),
    )


def _turns_a_corner(
    skeleton: NDArray[np.bool_],
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    a: NDArray[np.intp],
    b: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Whether two nodes also share a neighbour that continues both in a straight step."""
    return skeleton[rows[a], columns[b]] | skeleton[rows[b], columns[a]]


def _farthest(
    ways: sparse.csr_array, start: NDArray[np.intp], owner: NDArray[np.intp]
) -> tuple[Values, NDArray[np.intp]]:
    """For each body, the way from its start to the node farthest from it, and that node."""
    away = csgraph.dijkstra(ways, directed=False, indices=start, min_only=True)
    away[np.isinf(away)] = 0  # a skeleton in two pieces: the start's counts
    order = np.lexsort((away, owner))
    last = np.append(np.flatnonzero(np.diff(owner[order])), len(order) - 1)
    return away[order[last]], order[last]
