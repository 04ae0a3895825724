"""What the survey finds in a scene, and what a window of it becomes: the columns of a sample."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import UNKNOWN, WATER
from waterscape.sources.landsat.blocks import in_block_of
from waterscape.sources.landsat.layers import SceneError
from waterscape.sources.landsat.raster_file import opened
from waterscape.sources.landsat.scene import open_scene
from waterscape.sources.landsat.water_labels import Labelling, Labels, Mask
from waterscape.sources.landsat.windows import Cut, cuts
from waterscape.sources.occurrence import is_synthetic
from waterscape.sources.place import locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from waterscape.data.shard import Value
    from waterscape.sources.landsat.scene import Scene
    from waterscape.sources.landsat.tile_files import Found

    Columns = dict[str, NDArray[Any]]

FILE_FACTS = ("year", "season", "collection")
"""Tags of a file that its samples carry on."""
OPEN = 256  # scenes that a process remembers, which it has looked at


@dataclass(frozen=True)
class Reading:
    """How scenes are read."""

    side: int
    overlap: int
    band_map: tuple[tuple[str, int], ...]
    scale: float | None
    offset: float | None
    labels: Labels
    qa_bit: int | None
    hidden: tuple[int, ...]
    group_band: int | None
    """The band of a file by which a place is known again."""
    block_km: float | None
    """Side of a block of ground, beyond whose edges a window labels nothing; None: it labels all that it owns."""
    mask_water: int = WATER
    """The value that means water in masks."""

    def open(self, found: Found) -> Scene:
        """Raises `SceneError`."""
        return open_scene(
            found.path, dict(self.band_map), self.scale, self.offset, dict(found.files) or None, self.hidden
        )

    def labelling(self, found: Found) -> Labelling:
        """From where a scene's labels come."""
        mask = Mask(found.mask, self.mask_water) if found.mask is not None else None
        return Labelling(self.labels, self.qa_bit, mask)


def look(found: Found, reading: Reading) -> dict[str, Any]:
    """What a scene is, and its windows, as plain JSON; or the reason why it is not used."""
    try:
        return _look(found, reading)
    except SceneError as error:
        return {"reason": error.reason, "detail": error.detail}


def _look(found: Found, reading: Reading) -> dict[str, Any]:
    scene = reading.open(found)
    labelling = reading.labelling(found)
    labelling.check(scene)
    windows = []
    for cut in cuts(*scene.shape, reading.side, reading.overlap):
        columns = columns_of(scene, labelling, cut, reading)
        label = columns["water.npy"]
        windows.append(
            {
                "row": cut.row,
                "column": cut.column,
                "rows": cut.rows,
                "columns": cut.columns,
                "water": int((label == WATER).sum()),
                "known": int((label != UNKNOWN).sum()),
                "nodata": bool(np.isnan(columns["bands.npy"][..., 0]).all()),
                "sha256": digest(columns),
                "place": _place(scene, cut),
            }
        )
    return {
        "shape": scene.shape,
        "crs": scene.crs,
        "degrees": scene.grid.degrees,
        "metres_per_pixel": scene.metres_per_pixel,
        "pixel": (scene.grid.transform.a, -scene.grid.transform.e),
        "scaling": scene.scaling.told(),
        "synthetic": is_synthetic(found.path.parent) or scene.tags.get("synthetic") == "true",
        "tags": {name: scene.tags[name] for name in FILE_FACTS if name in scene.tags},
        "same_place": _digest_of_band(found, reading.group_band) if reading.group_band else None,
        "windows": windows,
    }


def columns_of(scene: Scene, labelling: Labelling, cut: Cut, reading: Reading) -> Columns:
    """The arrays of a window. What another window or block of ground owns, and what has no band, has no label."""
    side = reading.side
    window = (cut.row, cut.column, side, side)
    bands = scene.bands(window)
    label = labelling.read(scene, window)
    truth = labelling.truth(scene, window)
    mine = np.zeros((side, side), bool)
    mine[slice(*cut.rows), slice(*cut.columns)] = _of_its_block(scene, cut, reading.block_km)
    mine &= ~np.isnan(bands).any(axis=-1)
    columns: Columns = {"bands.npy": bands, "water.npy": np.where(mine, label, UNKNOWN).astype(np.uint8)}
    if truth is not None:
        columns["truth.npy"] = np.where(mine, truth, UNKNOWN).astype(np.uint8)
    if "cover" in scene.layers:
        cover, known = scene.layer("cover", window)
        columns["cover.npy"] = np.where(known, cover, 0).astype(np.uint8)
    return columns


def make(source: tuple[Found, Cut, str, Reading]) -> dict[str, Value]:
    """A window's columns once more. Raises `UserError` where they are no longer what the survey found."""
    found, cut, sha256, reading = source
    try:
        columns = columns_of(_remembered(found, reading), reading.labelling(found), cut, reading)
    except SceneError:
        columns = {}
    if digest(columns) != sha256:
        raise UserError(f"{found.path} was changed while it was being packed: pack again when nobody writes there")
    return dict(columns)


@lru_cache(OPEN)
def _remembered(found: Found, reading: Reading) -> Scene:
    return reading.open(found)


def digest(columns: Columns) -> str:
    """A sha256 over all arrays."""
    hashed = hashlib.sha256()
    for name, values in sorted(columns.items()):
        hashed.update(name.encode())
        hashed.update(np.ascontiguousarray(values).tobytes())
    return hashed.hexdigest()


def _of_its_block(scene: Scene, cut: Cut, block_km: float | None) -> NDArray[np.bool_]:
    """Which of the pixels that a window owns (H W) lie in its block of ground; all where there are no blocks."""
    (top, bottom), (left, right) = cut.rows, cut.columns
    shape = (bottom - top, right - left)
    place = _place(scene, cut) if block_km is not None else None
    if block_km is None or scene.crs is None or place is None:
        return np.ones(shape, bool)
    transform = scene.transform @ scene.transform.translation(cut.column + left, cut.row + top)
    return in_block_of(place, scene.crs, transform, shape, block_km)


def _place(scene: Scene, cut: Cut) -> tuple[float, float] | None:
    """Longitude and latitude of the middle of what a window owns; None where that is not known."""
    if scene.crs is None:
        return None
    (top, bottom), (left, right) = cut.rows, cut.columns
    corner = scene.transform.translation(cut.column + left, cut.row + top)
    try:
        there = locate(scene.crs, scene.transform @ corner, right - left, bottom - top)
    except (ValueError, RuntimeError) as error:
        raise SceneError(scene.path, "outside of its CRS", str(error)) from error
    return round(there.longitude, 6), round(there.latitude, 6)


def _digest_of_band(found: Found, band: int) -> str:
    with opened(found.path) as dataset:
        if band > dataset.count:
            raise SceneError(found.path, "no band to group by", f"--group band:{band}, it has {dataset.count}")
        return hashlib.sha256(dataset.read(band).tobytes()).hexdigest()[:16]
