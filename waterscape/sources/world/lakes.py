"""Standing water: lakes, lake districts, reservoirs, wetlands, ponds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from waterscape.sources.world.noise import enlarge, fractal, look_up, octave
from waterscape.sources.world.terrain import CELLS, SIZE, drain, highest_downstream, path, sum_downstream
from waterscape.sources.world.waters import CENTRE, DEEP, DRY, SELDOM, USUAL, Water, basin, shore, turned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.sources.world.noise import Field, Lot
    from waterscape.sources.world.terrain import Site, Terrain


def lake(site: Site) -> list[Water]:
    """One to three lakes: basins dug into the terrain, as ice digs them, and filled to the brim."""
    count = 1 + site.lot.chance("second", 0.45) + site.lot.chance("third", 0.3)
    waters = []
    for number in range(count):
        lot = site.lot.under(f"lake {number}")
        radius = 10 * 5.0 ** lot.uniform("radius") / (1 + 0.7 * number)
        margin = min(radius * 1.6, 110) if lot.chance("whole", 0.85) else 20
        row, column = lot.uniforms("place", 2, low=margin, high=SIZE - margin)
        waters.append(Water("lake", _dug(lot, site.terrain, row, column, radius)))
    return waters


def _dug(lot: Lot, terrain: Terrain, row: float, column: float, radius: float) -> Field:
    """Height above a lake in a depression that is dug at one place and fills to its lowest pass."""
    relief = float(terrain.coarse.max())
    bowl = basin(lot, row, column, radius, lot.uniform("rough", 0.1, 0.35))
    depth = np.float32(relief / radius) * np.minimum(bowl, np.float32(radius / 3))
    dug = terrain.elevation * np.float32(lot.uniform("ground", 0.15, 0.6)) + depth
    cell = SIZE // CELLS
    ground = dug.reshape(CELLS, cell, CELLS, cell).mean(axis=(1, 3)).ravel().astype(np.float64)
    filled = highest_downstream(drain(ground, terrain.outlet), ground)
    level = np.float32(filled[int(row) // cell * CELLS + int(column) // cell])
    steepness = np.float32(lot.uniform("shore", 0.5, 1.5) * radius / relief)
    return np.where(bowl < 0.6 * radius, np.maximum((dug - level) * steepness, DEEP), DRY)


def lake_district(site: Site) -> list[Water]:
    """Many lakes: where uneven ground dips below one water table, drawn out as ice left them; or round thaw lakes."""
    lot = site.lot.under("district")
    if lot.chance("thaw", 0.45):
        return [Water("lake district", scattered(lot, lot.integer("count", 22, 55), 3.0, 12.0))]
    cells = lot.integer("cells", 13, 24)
    uneven = fractal(lot, "ground", int(2.2 * cells), 3, SIZE)
    middle = np.float32(SIZE / 2)
    angle, stretch = lot.uniform("angle", high=np.pi), lot.uniform("stretch", 1.2, 2.4)
    u, v = turned(CENTRE[:, None] - middle, CENTRE[None, :] - middle, angle, stretch)
    uneven = look_up(uneven, middle + v / 2.2, middle + u / 2.2)  # the turned tile fits within the field
    table = np.quantile(uneven[::4, ::4], lot.uniform("share", 0.08, 0.2))
    steepness = np.float32(SIZE / cells * lot.uniform("shore", 0.8, 1.8))
    return [Water("lake district", np.maximum((uneven - np.float32(table)) * steepness - np.float32(0.7), DEEP))]


def scattered(lot: Lot, count: int, smallest: float, spread: float) -> Field:
    """Height above roundish lakes anywhere, of `smallest` to `smallest + spread` pixels radius, drawn out one way."""
    rows, columns = lot.uniforms("places", 2, count, low=4, high=SIZE - 4)
    radii = smallest + spread * lot.uniforms("radii", count) ** 2.5
    angle, stretch = lot.uniform("angle", high=np.pi), lot.uniform("stretch", 1.0, 1.5)
    uneven = fractal(lot, "rim", 24, 2, SIZE)
    height = np.full((SIZE, SIZE), DRY)
    for row, column, radius in zip(rows, columns, radii, strict=True):
        reach = int(radius * stretch + 8)
        down = slice(max(int(row) - reach, 0), int(row) + reach + 1)
        right = slice(max(int(column) - reach, 0), int(column) + reach + 1)
        y, x = CENTRE[down, None] - np.float32(row), CENTRE[None, right] - np.float32(column)
        outside = np.hypot(*turned(y, x, angle, stretch)) + np.float32(0.35 * radius) * uneven[down, right]
        height[down, right] = np.minimum(height[down, right], shore(outside - np.float32(radius), 1.2))
    return height


def ponds(lot: Lot) -> Water:
    """A few small lakes anywhere."""
    return Water("lake", scattered(lot, lot.integer("count", 1, 6), lot.uniform("radius", 2.5, 5.0), 4.0))


def specks(lot: Lot) -> Water:
    """Puddles and wet fields that are seldom seen: never a body of water, but ink on the tile."""
    uneven = octave(lot, "specks", 72, SIZE)
    rare = np.float32(np.quantile(uneven[::4, ::4], 1 - lot.uniform("share", 0.002, 0.02)))
    return Water("lake", np.where(uneven > rare, np.maximum(4.8 - 8 * (uneven - rare), SELDOM + np.float32(0.4)), DRY))


def reservoir(site: Site) -> list[Water]:
    """A dam across the main valley: water backs up into every valley above it."""
    lot, terrain = site.lot.under("reservoir"), site.terrain
    ground = terrain.coarse.ravel().astype(np.float64)
    course = path(terrain.downstream, int(sum_downstream(terrain.downstream, np.ones(ground.size)).argmax()))
    wanted = int(lot.uniform("share", 0.05, 0.15) * ground.size)
    whole = lot.chance("whole", 0.92)
    best = (-1, 0.0, np.zeros(0, bool))
    for place in lot.uniforms("dam", 6, low=0.4, high=0.88):
        catchment = _catchment(terrain, course[int(len(course) * place)])
        level = _dam_level(ground, catchment, wanted, whole)
        best = max(best, (int((ground[catchment] < level).sum()), level, catchment), key=lambda dam: dam[0])
    _, level, catchment = best
    above_dam = enlarge(np.where(catchment, 1.0, -1.0).astype(np.float32).reshape(CELLS, CELLS), SIZE)
    drawdown = np.float32(lot.uniform("drawdown", 0.01, 0.03) * ground.max())
    height = np.where(above_dam > 0, np.maximum((terrain.elevation - np.float32(level)) / drawdown, DEEP), DRY)
    return [Water("dendritic reservoir", _in_one_piece(height))]


def _in_one_piece(height: Field) -> Field:
    """The same water in one piece: a low bank divides its largest patch from ground that is seldom wet.

    Without the bank a pixel's chance difference from its neighbours would tear pieces off.
    """
    patch, count = ndimage.label(height < USUAL, np.ones((3, 3)))
    if not count:
        return height
    largest = patch == np.bincount(patch.ravel())[1:].argmax() + 1
    foot = np.float32(0.7)
    inside = np.minimum(height, foot) + np.maximum(height - foot, 0) * np.float32(0.5)
    return np.where(largest, inside, np.maximum(height, SELDOM))


def _catchment(terrain: Terrain, cell: int) -> NDArray[np.bool_]:
    """The cells whose water passes one cell."""
    mark = np.zeros(CELLS * CELLS)
    mark[cell] = 1.0
    return highest_downstream(terrain.downstream, mark) > 0


def _dam_level(ground: NDArray[np.float64], catchment: NDArray[np.bool_], wanted: int, whole: bool) -> float:
    """The water level that floods `wanted` cells of a catchment; a whole reservoir stays inside of the tile."""
    heights = np.sort(ground[catchment])
    level = heights[min(wanted, len(heights) // 2)]
    rim = np.ones((CELLS, CELLS), bool)
    rim[3:-3, 3:-3] = False
    brink = ground[catchment & rim.ravel()]
    if whole and len(brink):
        level = min(level, brink.min() - 0.04 * ground.max())
    return float(level)


def wetland(site: Site) -> list[Water]:
    """Flat ground near the water's usual level: shallow, patchy, wet for part of the time, seldom for all of it."""
    lot = site.lot.under("wetland")
    hollows = fractal(lot, "hollows", lot.integer("cells", 14, 30), 3, SIZE, gain=0.65)
    waters = []
    for number in range(1 + lot.chance("second", 0.5)):
        one = lot.under(number)
        radius = one.uniform("radius", 35, 85) / (1 + 0.5 * number)
        row, column = one.uniforms("place", 2, low=radius, high=SIZE - radius)
        edge = shore(basin(one, row, column, radius, rough=0.35), 1.0)
        flat = np.float32(one.uniform("level", 0.1, 0.7)) + np.float32(one.uniform("relief", 0.9, 1.6)) * hollows
        height = np.maximum(flat, -1) + np.maximum(edge * np.float32(0.12) + 0.3, 0)
        waters.append(Water("wetland", _in_one_piece(height)))
    return waters
