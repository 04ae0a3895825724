"""One tile → one sample: the full tile, its reductions, its mask, its water bodies measured and named, its origin.

`body.npy` is the first row of `bodies.npy`, that of the largest body, for models: of one shape; zeros where none is.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from waterscape.data.shard import Value
    from waterscape.sources.occurrence_survey import Surveyed


@dataclass(frozen=True)
class Labelling:
    """How water bodies are measured and named: the functions and words of `waterscape.metrics.morphology`."""

    bodies: Callable[[NDArray[np.uint8], float | None], NDArray[Any]]
    dominant: Callable[[NDArray[Any]], int]
    classes: tuple[str, ...]
    columns: tuple[str, ...]


def sample(tile: Surveyed, sizes: Sequence[int], with_mask: bool, labelling: Labelling) -> tuple[int, dict[str, Value]]:
    """One tile's class and columns. Raises `UserError` where the tile is no longer what the survey found."""
    again = tile.source.read(sizes[0])
    occurrence = again.occurrence
    if occurrence is None or again.crc != tile.crc:
        raise UserError(f"{tile.source} was changed while it was being packed: pack again when nobody writes there")
    values: dict[str, Value] = {"occurrence.npy": occurrence}
    for size in sizes[1:]:
        values[f"occurrence{size}.npy"] = reduce(occurrence, size)
    if with_mask:
        observed = again.observed
        values["mask.npy"] = np.ones_like(occurrence) if observed is None else observed.astype(np.uint8)
    # bodies are measured on the ground: a mean length, where the projection stretches
    metres = None if tile.place is None else math.sqrt(math.prod(tile.place.metres_per_pixel))
    bodies = labelling.bodies(occurrence, metres)
    shape = int(labelling.dominant(bodies))
    main = bodies[0] if len(bodies) else np.zeros(bodies.shape[1], np.float32)
    values |= {"bodies.npy": bodies, "body.npy": main, "shape.npy": np.array(shape, np.uint8), "json": _told(tile)}
    return shape, values


def _told(tile: Surveyed) -> dict[str, Any]:
    """A sample's JSON: where it comes from and where it lies; None for what is not known."""
    place = asdict(tile.place) if tile.place else dict.fromkeys(known.name for known in fields(Place))
    found = {"masked_share": tile.masked_share, "group": tile.group, "split": tile.split}
    return {**tile.source.origin(), **place, **found}


def reduce(occurrence: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The area means of a square tile, `size` × `size`, rounded half up.

    Where the size does not divide the tile's, a pixel counts by its area in each part (area interpolation). Lengths are
    counted in whole parts of a pixel, so that every sum is exact and no rounding depends on the machine.
    """
    sums = _part_sums(_part_sums(occurrence, size).T, size).T
    whole = len(occurrence) ** 2
    return ((2 * sums + whole) // (2 * whole)).astype(np.uint8)


def _part_sums(values: NDArray[Any], parts: int) -> NDArray[np.int64]:
    """Sums over `parts` equal stretches of rows, times `parts`; a row that two stretches share counts by its share."""
    row, share = np.divmod(np.arange(parts + 1) * len(values), parts)
    shared = values[row % len(values)].astype(np.int64) * share[:, None]  # nothing is shared at either end
    sums: NDArray[np.int64] = np.add.reduceat(values, row[:-1], axis=0, dtype=np.int64) * parts
    sums += np.diff(shared, axis=0)
    return sums
