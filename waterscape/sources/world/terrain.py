"""Land that water has shaped: elevation in balance with the rivers that drain it.

A tile's ground is made on a coarse grid of cells. Rough noise is drained without leaving pits (each cell's water takes
the path of lowest passes to the outlet: the minimum spanning tree of the grid, whose highest pass on the way is the
level to which a depression fills; Barnes 2014, doi:10.1016/j.cageo.2013.04.024), flow is accumulated along that tree,
and the ground is then rebuilt as the profile at which erosion balances uplift: slope ~ area^-θ (Flint's law; Whipple &
Tucker 1999, doi:10.1029/1999JB900120). The result has ridges, valleys and a branching network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from waterscape.sources.world.noise import Lot, enlarge, fractal, octave

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field

SIZE = 256  # pixels a side of a tile
CELLS = 64  # cells a side of the grid on which water is routed
STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
CONCAVITY = 0.45  # θ of Flint's law; rivers of the world have 0.4 to 0.6


@dataclass(frozen=True)
class Terrain:
    """The ground of one tile before any water is drawn on it.

    `elevation` (SIZE, SIZE) and `coarse` (CELLS, CELLS) are metres above the outlet; `downstream` (CELLS·CELLS) is the
    cell to which each cell drains (the outlet to itself); `area` the cells drained through each, inflow included;
    `inlet` the cell where a river from outside comes in, `outlet` where all water leaves.
    """

    elevation: Field
    coarse: Field
    downstream: NDArray[np.intp]
    area: NDArray[np.float64]
    inlet: int
    outlet: int


class Site:
    """The place of one tile: its random numbers, and its terrain once somebody asks for it.

    `shape` goes to `terrain`.
    """

    def __init__(self, seed: int, number: int, **shape: float) -> None:
        self.lot = Lot(seed, "world", number)
        self._shape = shape

    @cached_property
    def terrain(self) -> Terrain:
        """The ground before any water is drawn on it."""
        return terrain(self.lot.under("terrain"), relief=self.lot.uniform("relief", 40, 400), **self._shape)


@cache
def _neighbours() -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Every pair of touching cells, once, and the distance between their centres in cells."""
    cell = np.arange(CELLS * CELLS).reshape(CELLS, CELLS)
    pairs = [
        (cell[:, 1:], cell[:, :-1], 1.0),
        (cell[1:], cell[:-1], 1.0),
        (cell[1:, 1:], cell[:-1, :-1], 2**0.5),
        (cell[1:, :-1], cell[:-1, 1:], 2**0.5),
    ]
    first = np.concatenate([a.ravel() for a, _, _ in pairs])
    second = np.concatenate([b.ravel() for _, b, _ in pairs])
    return first, second, np.concatenate([np.full(a.size, length) for a, _, length in pairs])


def drain(ground: NDArray[np.float64], outlet: int) -> NDArray[np.intp]:
    """The cell to which each cell drains on its path of lowest passes to the outlet; the outlet drains to itself.

    `ground` is (CELLS·CELLS), any unit. Among passes of one height the steepest way down is taken.
    """
    first, second, length = _neighbours()
    a, b = ground[first], ground[second]
    # A slope never changes which of two passes is lower, unless they differ by less than this.
    passes = np.maximum(a, b) - np.abs(a - b) / length * 1e-4
    passes -= passes.min() - 1.0  # a sparse graph's weights must not be 0
    graph = sparse.coo_array((passes, (first, second)), shape=(ground.size, ground.size)).tocsr()
    tree = csgraph.minimum_spanning_tree(graph)
    _, towards = csgraph.breadth_first_order(tree, outlet, directed=False)
    downstream: NDArray[np.intp] = towards.astype(np.intp)
    downstream[outlet] = outlet
    return downstream


def gather_upstream(downstream: NDArray[np.intp], amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each cell, the sum of `amount` over all cells that drain through it, itself included.

    Pointer doubling: after k rounds every cell holds its upstream cells less than 2ᵏ steps away.
    """
    cells = len(amount)
    jump = np.where(downstream == np.arange(cells), cells, downstream)  # beyond the outlet: nowhere
    total = np.append(amount.astype(np.float64), 0.0)
    jump = np.append(jump, cells)
    while (jump != cells).any():
        total = total + np.bincount(jump, weights=total, minlength=cells + 1)
        total[cells] = 0.0
        jump = jump[jump]
    return total[:cells]


def sum_downstream(downstream: NDArray[np.intp], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each cell, the sum of `step` over the cells on its way to the outlet, itself included."""
    jump, total = downstream, step.copy()
    outlet = downstream == np.arange(len(downstream))
    rest = total[outlet].copy()
    total[outlet] = 0.0
    while not outlet[jump].all():
        total = total + total[jump]
        jump = jump[jump]
    return np.asarray(total + rest)


def highest_downstream(downstream: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each cell, the greatest value on its way to the outlet.

    Of the ground this is the level to which depressions fill; of a mark on one cell, that cell's catchment.
    """
    highest, jump = values.copy(), downstream
    while True:
        highest = np.maximum(highest, highest[jump])
        further = jump[jump]
        if (further == jump).all():
            return highest
        jump = further


def path(downstream: NDArray[np.intp], start: int) -> NDArray[np.intp]:
    """The cells from `start` to the outlet."""
    cells = [start]
    while downstream[cells[-1]] != cells[-1]:
        cells.append(int(downstream[cells[-1]]))
    return np.array(cells)


def descend(ground: NDArray[np.float64], outlet: int) -> NDArray[np.intp]:
    """The lowest way down from each cell of ground without pits: the neighbour with the steepest fall."""
    picture = np.pad(ground.reshape(CELLS, CELLS), 1, constant_values=np.inf)
    cell = np.arange(CELLS * CELLS)
    steepest, downstream = np.zeros(CELLS * CELLS), cell.copy()
    for rows, columns in STEPS:
        neighbour = picture[1 + rows : CELLS + 1 + rows, 1 + columns : CELLS + 1 + columns].ravel()
        fall = (ground - neighbour) / np.hypot(rows, columns)
        better = fall > steepest
        downstream[better] = cell[better] + rows * CELLS + columns
        steepest[better] = fall[better]
    downstream[outlet] = outlet
    return downstream


def terrain(lot: Lot, *, relief: float, inflow: float = 0.0, roughness: float = 0.4, trough: float = 0.0) -> Terrain:
    """Make the ground of one tile.

    `relief` is the height of its highest divide in metres; `inflow` the area in cells that a river drains before it
    enters (0: none); `roughness` how much the first noise wanders against a general fall of 1.5; `trough` how much the
    first ground rises away from the line between inlet and outlet, which keeps a river off the tile's sides.
    """
    side, place = lot.integer("outlet side", 0, 3), lot.integer("outlet", CELLS // 4, 3 * CELLS // 4)
    opposite = lot.integer("inlet", CELLS // 6, 5 * CELLS // 6)
    outlet, inlet = _border_cell(side, place), _border_cell((side + 2) % 4, opposite)
    cell = np.arange(CELLS * CELLS)
    rough = fractal(lot, "ground", 4, 4, CELLS, gain=0.6).ravel().astype(np.float64)
    ground = 1.5 * _far(cell, outlet) / CELLS + roughness * rough
    ground += trough * (_far(cell, outlet) + _far(cell, inlet) - _far(inlet, outlet)) / CELLS
    rain = np.ones(CELLS * CELLS)
    rain[inlet] += inflow
    downstream = drain(ground, outlet)
    for _ in range(2):
        area = gather_upstream(downstream, rain)
        ground = sum_downstream(downstream, np.maximum(_far(cell, downstream), 1.0) * area**-CONCAVITY)
        downstream = descend(ground, outlet)
    area = gather_upstream(downstream, rain)
    ground -= ground[outlet]
    coarse = (relief / ground.max() * ground).astype(np.float32).reshape(CELLS, CELLS)
    detail = np.float32(0.02 * relief) * octave(lot, "detail", 48, SIZE)
    return Terrain(enlarge(coarse, SIZE) + detail, coarse, downstream, area, inlet, outlet)


def _far(first: NDArray[np.intp] | int, second: NDArray[np.intp] | int) -> NDArray[np.float64]:
    """Distance between cells, in cells."""
    (row, column), (other_row, other_column) = np.divmod(first, CELLS), np.divmod(second, CELLS)
    return np.asarray(np.hypot(row - other_row, column - other_column), dtype=np.float64)


def _border_cell(side: int, place: int) -> int:
    """The cell at `place` along a side: 0 top, 1 right, 2 bottom, 3 left."""
    last = CELLS - 1
    row, column = ((0, place), (place, last), (last, place), (place, 0))[side]
    return row * CELLS + column
