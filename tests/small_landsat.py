"""A small set of tiles with labels for tests: dark lakes on bright land, with masks, as tools/pack_landsat.py packs."""

from __future__ import annotations

import numpy as np

from waterscape.data.pack import SetWriter
from waterscape.sources.landsat.bands import BANDS, UNKNOWN, band_stack

SIDE = 16


def draw_lake(number, side=SIDE):
    """Bands (H W 8) and the true water (H W) of lake `number`."""
    draw = np.random.default_rng(number)
    rows, columns = np.indices((side, side)) - draw.uniform(0.3, 0.7, (2, 1, 1)) * side
    water = np.hypot(rows, columns) < draw.uniform(0.2, 0.35) * side
    reflectances = np.where(water[..., None], [0.06, 0.05, 0.04, 0.02, 0.01], [0.08, 0.1, 0.12, 0.3, 0.25])
    noisy = reflectances + draw.normal(0, 0.005, reflectances.shape)
    return band_stack(noisy, 200 + draw.normal(0, 5, (side, side))), water


def write_lakes(out, tiles=6, side=SIDE, spoil=None):
    """Write a set of lakes whose label misses a tenth at random; `spoil` changes the columns of a tile."""
    facts = {"synthetic": True, "tiles": {"side": side, "metres_per_pixel": 30, "crs": None, "bands": list(BANDS)}}
    with SetWriter(out, facts=facts, samples_per_shard=3) as writer:
        for number in range(tiles):
            bands, water = draw_lake(number, side)
            given = water.astype(np.uint8) ^ (np.random.default_rng(100 + number).uniform(size=water.shape) < 0.1)
            given[0] = UNKNOWN
            told = {"key": f"lake {number}", "group": f"place {number // 2}"}
            values = {"bands.npy": bands, "water.npy": given, "truth.npy": water.astype(np.uint8), "json": told}
            writer.add("test" if number % 3 == 2 else "train", values if spoil is None else spoil(values))
    return out
