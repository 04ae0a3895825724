"""Synthetic Landsat scenes on disk: GeoTIFFs in UTM whose bands are named, and beside them masks that are true.

`images/scene-00000.tif` holds B2 … B6 as the numbers of Landsat Collection 2, Level 2, elevation in metres, QA_PIXEL
and land cover; `masks/scene-00000.png` is 1 where there is water. The water bit of QA_PIXEL is wrong in places, as real
ones are: streams and shores are missing, snow and shadow are called water, and single pixels are flipped. Some scenes
have clouds, which QA_PIXEL tells. `world.json` says that all of it is synthetic.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from PIL import Image
from rasterio import Affine
from scipy import ndimage

from waterscape.durable import sync, write_text
from waterscape.errors import UserError
from waterscape.sources.landsat.bands import OFFSET, REFLECTANCES, SCALE, mndwi
from waterscape.sources.parallel import Workers, progress
from waterscape.sources.world.export import FACTS, being_made, listed
from waterscape.sources.world.landsat import COVERS, METRES_PER_PIXEL, SNOW, Scene, draw_scene
from waterscape.sources.world.noise import Lot, octave

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1
SIDE = 364  # pixels: 3 × 3 windows of 128 that share 10
NAMES = (*REFLECTANCES, "elevation", "QA_PIXEL", "cover")
NODATA = -32768
APART = 40_000.0  # metres from scene to scene: none lie in one block of ground
COLUMNS, ROWS, FIRST_ZONE = 8, 100, 43
EAST, NORTH = 300_000.0, 3_000_000.0  # metres of scene 0
DILATED, CLOUD, SHADOW, SNOW_BIT, CLEAR, WATER = 1, 3, 4, 5, 6, 7
"""Bits of QA_PIXEL (USGS, Landsat 8–9 Collection 2)."""
CLOUDY = 0.25  # share of the scenes


def write_landsat(
    out: Path, scenes: int, seed: int = 0, *, side: int = SIDE, replace: bool = False, processes: int = 1
) -> dict[str, Any]:
    """Write so many scenes of `side` × `side` pixels under `out`, and return what its `world.json` says.

    The same seed gives the same numbers, for any number of `processes`. `out` appears once all of it is on the disk.

    Raises:
        UserError: fewer than one scene, or `out` exists (and is no synthetic world, or `replace` is False).
    """
    if scenes < 1:
        raise UserError(f"--landsat is {scenes}; give 1 or more")
    with being_made(out, replace=replace) as beside, Workers(processes) as workers:
        for folder in ("images", "masks"):
            (beside / folder).mkdir()
        write = partial(_write, directory=beside, seed=seed, side=side)
        made = workers.in_order(write, range(scenes))
        files = list(progress(made, scenes, "making synthetic Landsat scenes", "scene"))
        facts = _facts(seed, scenes, side) | {"files": files}
        write_text(beside / FACTS, listed(facts))
    return facts


def draw_quality(scene: Scene, lot: Lot) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """QA_PIXEL of a scene, its water bit partly wrong, and where there are clouds (H W both)."""
    side = len(scene.water)
    index = mndwi(scene.reflectances[..., 1].astype(np.float64), scene.reflectances[..., 4].astype(np.float64))
    careless = octave(lot, "careless", 6, side) > 0
    water = np.where(careless, ndimage.binary_opening(scene.water, iterations=2), scene.water)
    water |= ~scene.water & (index > 0.15) & (octave(lot, "credulous", 5, side) > -0.1)
    water ^= lot.uniforms("flipped", side, side) < 0.005
    clouds = np.zeros((side, side), bool)
    if lot.chance("cloudy", CLOUDY):
        billows = octave(lot, "clouds", 5, side) + np.float32(0.5) * octave(lot, "billows", 20, side)
        clouds = billows > np.quantile(billows, 0.92)
    dilated = ndimage.binary_dilation(clouds, iterations=3)
    shadow = np.roll(clouds, (-6, -4), (0, 1)) & ~dilated
    set_bits = {
        DILATED: dilated & ~clouds,
        CLOUD: clouds,
        SHADOW: shadow,
        SNOW_BIT: scene.cover == SNOW,
        CLEAR: ~dilated,
        WATER: water & ~clouds,
    }
    quality = sum(mask.astype(np.uint16) << bit for bit, mask in set_bits.items())
    return np.asarray(quality, np.uint16), clouds


def _write(number: int, directory: Path, seed: int, side: int) -> dict[str, Any]:
    """Make and write one scene; what `world.json` says of it."""
    lot = Lot(seed, "landsat scene", number)
    drawn = lot.integer("seed", 0, 2**31 - 1)
    scene = draw_scene(drawn, side)
    quality, clouds = draw_quality(scene, lot)
    seen = np.where(clouds[..., None], 0.45 + 0.1 * octave(lot, "bright", 12, side)[..., None], scene.reflectances)
    numbers = np.rint((seen - OFFSET) / SCALE).clip(1, 65535)
    bands = [*numbers.transpose(2, 0, 1), np.rint(scene.elevation), quality, scene.cover]
    name, (crs, east, north) = f"scene-{number:05d}", place(number)
    path = directory / "images" / f"{name}.tif"
    options: dict[str, Any] = {"count": len(NAMES), "height": side, "width": side, "dtype": "int32", "nodata": NODATA}
    options |= {"crs": crs, "transform": Affine(METRES_PER_PIXEL, 0, east, 0, -METRES_PER_PIXEL, north)}
    with rasterio.open(path, "w", driver="GTiff", compress="deflate", predictor=2, tiled=True, **options) as dataset:
        dataset.write(np.stack(bands).astype(np.int32))
        dataset.descriptions = NAMES
        dataset.update_tags(synthetic="true", generator="waterscape synthetic Landsat", seed=drawn)
    sync(path)
    mask = directory / "masks" / f"{name}.png"
    Image.fromarray(scene.water.astype(np.uint8)).save(mask)
    sync(mask)
    wrong = ((quality >> WATER & 1) != scene.water) & ~clouds
    shares = {"water": scene.water.mean(), "cloud": clouds.mean(), "water_bit_wrong": wrong.mean()}
    covers = {label: np.mean(scene.cover == code) for code, label in COVERS.items()}
    rounded = {label: round(float(share), 4) for label, share in (shares | covers).items()}
    return {"file": f"images/{name}.tif", "seed": drawn, "shares": rounded}


def place(number: int) -> tuple[str, float, float]:
    """CRS, easting and northing of the upper left corner of where a scene pretends to lie."""
    lap, within = divmod(number, COLUMNS * ROWS)
    row, column = divmod(within, COLUMNS)
    return f"EPSG:{32600 + (FIRST_ZONE + lap - 1) % 60 + 1}", EAST + APART * column, NORTH + APART * row


def _facts(seed: int, scenes: int, side: int) -> dict[str, Any]:
    return {
        "synthetic": True,
        "about": "Synthetic Landsat scenes: none shows a real place. Made by waterscape (tools/make_world.py).",
        "format": FORMAT,
        "seed": seed,
        "scenes": scenes,
        "pixels": side,
        "metres_per_pixel": METRES_PER_PIXEL,
        "bands": list(NAMES),
        "reflectance": {"scale": SCALE, "offset": OFFSET},
    }
