"""Synthetic Landsat scenes as GeoTIFFs of any size and kind, and a pixel_cnn trained for a moment on such."""

from __future__ import annotations

import numpy as np
import rasterio
from programs import run
from rasterio.transform import from_origin

from waterscape.data.pack import SetWriter
from waterscape.sources.landsat.bands import BANDS, OFFSET, REFLECTANCES, SCALE, band_stack
from waterscape.sources.world.landsat import draw_scene

CRS, PLACE = "EPSG:32637", from_origin(400_000, 6_100_000, 30, 30)
NAMES = (*REFLECTANCES, "elevation")
FILL = -32768
SIDE = 40


def numbers(height, width, seed=0):
    """Six bands (6 H W, int16) of a synthetic scene as Landsat's numbers would be, but signed, repeated in mirrors."""
    scene = draw_scene(seed, 256)
    bands = np.dstack([(scene.reflectances - OFFSET) / SCALE - 32768, scene.elevation])
    bands = np.rint(np.clip(bands, -32767, 32767)).astype(np.int16).transpose(2, 0, 1)
    around = ((0, 0), (0, max(0, height - 256)), (0, max(0, width - 256)))
    return np.pad(bands, around, mode="symmetric")[:, :height, :width]


def write_scene(path, height, width, *, seed=0, hole=None, names=NAMES, **profile):
    """A synthetic scene as a GeoTIFF: whole numbers, that the file tells how to scale. `hole`: a slice of nodata."""
    bands = numbers(height, width, seed)
    if hole is not None:
        bands[(slice(None), *hole)] = FILL
    usual = {"crs": CRS, "transform": PLACE, "dtype": "int16", "nodata": FILL, "compress": "deflate"}
    size = {"count": len(bands), "height": height, "width": width}
    with rasterio.open(path, "w", driver="GTiff", **{**usual, **profile}, **size) as dataset:
        dataset.write(bands)
        dataset.scales = [SCALE] * 5 + [1]
        dataset.offsets = [32768 * SCALE + OFFSET] * 5 + [0]
        for number, name in enumerate(names, 1):
            if name:
                dataset.set_band_description(number, name)
        dataset.update_tags(synthetic="true")
    return path


def train_pixels(root, images, widths=(16, 32, 64, 128)):
    """A run of pixel_cnn on synthetic windows of 40 pixels."""
    tiles = {"side": SIDE, "metres_per_pixel": 30.0, "crs": CRS, "bands": list(BANDS)}
    with SetWriter(root / "shards", facts={"synthetic": True, "tiles": tiles}, samples_per_shard=64) as writer:
        for seed in range(4):
            scene = draw_scene(seed, 256)
            stack = band_stack(scene.reflectances, scene.elevation)
            for number, (row, column) in enumerate(np.ndindex(6, 6)):
                at = np.s_[40 * row + 4 : 40 * row + 44, 40 * column + 4 : 40 * column + 44]
                columns = {"bands.npy": stack[at].copy(), "water.npy": scene.water[at].astype(np.uint8)}
                writer.add("valid" if number % 6 == 5 else "train", columns)
        writer.finish()
    words = [
        "--side",
        SIDE,
        "--data",
        root / "shards",
        "--batch",
        32,
        "--images",
        images,
        "--held-out",
        8,
        "--widths",
        *widths,
    ]
    words += ["--widths", *widths, "--no-tensorboard", "--picture-every", 100_000]
    run("train", "pixel_cnn", "--out", root / "run", *words)
    return root / "run"
