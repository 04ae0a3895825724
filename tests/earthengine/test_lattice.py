"""The pixels that a network is pinned to."""

from __future__ import annotations

import pytest

from waterscape.earthengine import Pixels
from waterscape.errors import UserError


def test_metres_become_a_whole_transform_with_rows_from_the_north():
    assert Pixels("EPSG:32718", metres=30).lattice == (30, 0, 0, 0, -30, 0)
    degrees = Pixels("EPSG:4326", metres=30).lattice
    assert degrees[0] == pytest.approx(0.00026949458523585647, rel=1e-12)  # Earth Engine's 30 m
    assert degrees[4] == -degrees[0]


def test_a_transform_is_kept():
    from rasterio.transform import Affine

    transform = Affine(10, 0, 500_000, 0, -10, 9_000_000)
    assert Pixels("EPSG:32718", transform=transform).lattice == (10, 0, 500_000, 0, -10, 9_000_000)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"crs": "EPSG:99999", "metres": 30}, "is no coordinate system"),
        ({"crs": "EPSG:4326"}, "give one of them"),
        ({"crs": "EPSG:4326", "metres": 30, "transform": (1, 0, 0, 0, -1, 0)}, "give one of them"),
        ({"crs": "EPSG:4326", "metres": -3}, "above 0"),
        ({"crs": "EPSG:2263", "metres": 30}, "neither in metres nor in degrees"),  # feet
        ({"crs": "EPSG:32718", "transform": (30, 1, 0, 0, -30, 0)}, "rotated"),
        ({"crs": "EPSG:32718", "transform": (30, 0, 0, 0, 30, 0)}, "south up"),
        ({"crs": "EPSG:32718", "transform": (30, 0, 0)}, "six numbers"),
    ],
)
def test_what_is_no_lattice(given, told):
    with pytest.raises(UserError, match=told):
        Pixels(**given)
