"""Maps of water judged by latitude: known from a scene's coordinates, and not made up where a scene has none."""

from __future__ import annotations

import numpy as np
import pytest
from landsat_files import NORTH_UP, UTM, numbers, scene, write_mask, write_tif
from pyproj import Transformer

from waterscape.data.shards import ShardSet
from waterscape.metrics.water_maps import judge, threshold_way, windows
from waterscape.pages.water_maps import table
from waterscape.sources import making
from waterscape.sources.landsat.packing import Packing
from waterscape.sources.landsat.tiles import Tiles
from waterscape.sources.photo_set import Sharing

SIDE = 64


def packed(folder, crs):
    """A set of one scene, with coordinates or without, all of it in train."""
    drawn = scene(3, SIDE)
    write_tif(folder / "scenes" / "lake.tif", numbers(drawn), crs=crs)
    write_mask(folder / "masks" / "lake.png", drawn.water)
    sharing = Sharing(shares=(1.0, 0.0, 0.0))
    options = {"metres_per_pixel": 30.0, "group": "file", "tile_size": 40, "least_water": 0, "sharing": sharing}
    making.pack(
        Tiles.find([folder / "scenes"], folder / "set", Packing(masks=folder / "masks", **options)), folder / "set"
    )
    return ShardSet(folder / "set", "train")


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("crs", [UTM, None])
def test_a_row_for_each_latitude_that_is_known(crs, tmp_path):
    found = packed(tmp_path, crs)
    told = [found.read(number)["json"]["latitude"] for number in range(len(found))]
    worth = judge(threshold_way(), windows(found))
    told_table = table({"MNDWI > 0": [worth]})
    rows = [line.split(" | ")[0].strip("| ") for line in told_table.splitlines()]
    assert "land cover" in rows
    assert ("Latitude: not known" in told_table) == (crs is None)
    if crs is None:
        assert told == [None] * len(found)
        assert not worth.by_latitude
        assert not [row for row in rows if "°" in row]
    else:
        north = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(*(NORTH_UP @ (SIDE / 2, SIDE / 2)))[1]
        np.testing.assert_allclose(told, north, atol=0.01)
        assert worth.by_latitude == {60: worth.whole}
        assert [row for row in rows if "°" in row] == ["60° to 70°"]
