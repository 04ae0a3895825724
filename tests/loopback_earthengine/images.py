"""Images as the service holds them: nothing is computed until pixels are asked for, at the grid that is asked for.

A band is a name and a node. A node knows which nodes it needs, at which grid, to make its own pixels at a grid; so a
request at some scale reads its inputs at that scale, by nearest neighbour, unless `reproject` pins them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

METRES_PER_DEGREE = 111319.49079327358
DEGREE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Projection:
    """A coordinate system and the lattice of pixels in it: x = a·column + b·row + c, y = d·column + e·row + f."""

    crs: str = "EPSG:4326"
    transform: tuple[float, ...] = DEGREE

    def at_scale(self, metres: float) -> Projection:
        """The same coordinate system with pixels of so many metres, on the service's lattice at the origin."""
        step = metres / METRES_PER_DEGREE if CRS(self.crs).is_geographic else metres
        return Projection(self.crs, (step, 0.0, 0.0, 0.0, -step, 0.0))

    @property
    def metres(self) -> float:
        """Nominal scale: the side of a pixel."""
        a, b, _, d, e, _ = self.transform
        side = abs(a * e - b * d) ** 0.5
        return side * METRES_PER_DEGREE if CRS(self.crs).is_geographic else side

    def places(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of points of the lattice."""
        a, b, c, d, e, f = self.transform
        return a * columns + b * rows + c, d * columns + e * rows + f

    def lattice(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of coordinates."""
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        x, y = x - c, y - f
        return (e * x - b * y) / determinant, (a * y - d * x) / determinant


@dataclass(frozen=True)
class Grid:
    """A window of a projection's lattice."""

    projection: Projection
    left: int
    top: int
    width: int
    height: int

    def padded(self, left: int, top: int, right: int, bottom: int) -> Grid:
        """The window with so many pixels more at each side."""
        size = self.width + left + right, self.height + top + bottom
        return Grid(self.projection, self.left - left, self.top - top, *size)

    def centres(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates x and y (H W) of the centres of the pixels."""
        columns = np.arange(self.left, self.left + self.width) + 0.5
        rows = np.arange(self.top, self.top + self.height) + 0.5
        return self.projection.places(*np.meshgrid(columns, rows))

    def pixels_of(self, other: Projection, shared_edge: str = "next") -> tuple[np.ndarray, np.ndarray]:
        """Column and row of the pixel of another lattice in which each centre lies (H W, int64)."""
        x, y = transformed(*self.centres(), self.projection.crs, other.crs)
        with np.errstate(invalid="ignore"):
            found = [np.where(np.isfinite(place), place, -1e12) for place in other.lattice(x, y)]
        nearest = [np.where(np.abs(place - np.round(place)) < 1e-7, np.round(place), place) for place in found]
        if shared_edge == "previous":
            return tuple((np.ceil(place) - 1).astype(np.int64) for place in nearest)  # type: ignore[return-value]
        return tuple(np.floor(place).astype(np.int64) for place in nearest)  # type: ignore[return-value]


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def transformed(x: np.ndarray, y: np.ndarray, source: str, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in another system."""
    return (x, y) if source == target else _transformer(source, target).transform(x, y)


@dataclass(frozen=True)
class Pixels:
    """Values (H W, of array bands H W and the array's axes) in float64 and the mask (H W, 0 to 1)."""

    values: np.ndarray
    mask: np.ndarray


class Node:
    """Something that makes pixels out of its parents' pixels.

    `compute` takes the grid and the parents' pixels; `at` says at which grid they are needed.
    """

    def __init__(
        self,
        compute: Callable[..., Pixels],
        parents: Sequence[Node] = (),
        at: Callable[[Grid], Grid] | None = None,
    ) -> None:
        self.compute, self.parents, self.at = compute, tuple(parents), at

    def needs(self, grid: Grid) -> list[tuple[Node, Grid]]:
        """The parents, and the grids at which they are read."""
        there = self.at(grid) if self.at else grid
        return [(parent, there) for parent in self.parents]


def evaluate(nodes: Sequence[Node], grid: Grid) -> list[Pixels]:
    """The pixels of nodes at a grid. Each node is computed once a grid and forgotten after its last use."""
    wanted = [(node, grid) for node in nodes]
    uses, order, seen = Counter(wanted), [], set()
    stack = [(key, False) for key in wanted]
    while stack:
        key, ready = stack.pop()
        if ready:
            order.append(key)
        elif key not in seen:
            seen.add(key)
            stack.append((key, True))
            for parent in key[0].needs(key[1]):
                uses[parent] += 1
                stack.append((parent, False))
    made: dict[tuple[Node, Grid], Pixels] = {}
    for node, there in order:
        needed = node.needs(there)
        made[node, there] = node.compute(there, *(made[key] for key in needed))
        for key in needed:
            uses[key] -= 1
            if not uses[key]:
                del made[key]
    return [made[key] for key in wanted]


@dataclass(frozen=True)
class Band:
    """A name, a node, the type of its numbers (numpy's word), the projection it has by itself, axes of its arrays."""

    name: str
    node: Node
    kind: str = "float64"
    projection: Projection = field(default_factory=Projection)
    axes: int = 0

    def with_node(self, node: Node, kind: str | None = None, axes: int | None = None) -> Band:
        """The band, computed otherwise."""
        return replace(self, node=node, kind=kind or self.kind, axes=self.axes if axes is None else axes)


@dataclass(frozen=True)
class Image:
    """Bands, properties, and a footprint: a shapely polygon in degrees, None where it has no end."""

    bands: tuple[Band, ...]
    properties: Mapping[str, Any] = field(default_factory=dict)
    footprint: Any = None
    id: str | None = None
    region: Any = None
    """What an export was clipped to, a `Geometry` in its own coordinate system."""

    def with_bands(self, bands: Sequence[Band]) -> Image:
        """Other bands, the same properties."""
        return replace(self, bands=tuple(bands))


@dataclass
class Raster:
    """An asset: bands (name → H W numbers) on a lattice. NaN is masked, and so is where `mask` (H W) is 0.

    `transform` is as rasterio's (a, b, c, d, e, f). `properties` are the asset's, `system:time_start` in ms.
    """

    bands: Mapping[str, np.ndarray]
    crs: str
    transform: Sequence[float]
    mask: np.ndarray | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def projection(self) -> Projection:
        """Where its pixels lie."""
        return Projection(self.crs, tuple(float(number) for number in tuple(self.transform)[:6]))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return next(iter(self.bands.values())).shape[:2]

    def footprint(self) -> Any:
        """The polygon of its edge in degrees."""
        from shapely import Polygon

        height, width = self.shape
        ring = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
        x, y = transformed(*self.projection.places(*ring.T), self.crs, "EPSG:4326")
        return Polygon(list(zip(x, y, strict=True)))

    def image(self, name: str | None = None, shared_edge: str = "next") -> Image:
        """The asset as an image."""
        bands = [
            Band(
                band, Node(self._read(np.asarray(values), shared_edge)), np.asarray(values).dtype.name, self.projection
            )
            for band, values in self.bands.items()
        ]
        properties = dict(self.properties)
        if name:
            properties.setdefault("system:index", name.rsplit("/", 1)[-1])
        return Image(tuple(bands), properties, self.footprint(), name)

    def _read(self, values: np.ndarray, shared_edge: str) -> Callable[..., Pixels]:
        def read(grid: Grid) -> Pixels:
            height, width = values.shape[:2]
            columns, rows = grid.pixels_of(self.projection, shared_edge)
            inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
            columns, rows = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
            seen = values[rows, columns].astype(np.float64)
            known = inside & ~np.isnan(seen)
            if self.mask is not None:
                known &= np.asarray(self.mask)[rows, columns] > 0
            return Pixels(np.where(known, seen, 0.0), known.astype(np.float64))

        return read
