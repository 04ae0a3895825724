"""Squares of UTM: where they lie, to which zone they belong, and that no ground lies in two."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from pyproj import Geod, Transformer

from waterscape.sources.utm import Cell, cells_centred_in, giving_way, near

SIDE = 25_600.0


@pytest.mark.parametrize(
    "cell", [Cell(37, 210, -5), Cell(1, 300, -4), Cell(60, 0, 6), Cell(19, -1, 0), Cell(33, -150, 3)]
)
def test_outline_and_corner_are_those_of_the_crs(cell):
    longitudes, latitudes = cell.outline(SIDE)
    east, north = cell.north_west(SIDE)
    to_degrees = Transformer.from_crs(cell.crs, "EPSG:4326", always_xy=True)
    x, y = to_degrees.transform(east, north)
    assert (near(longitudes[2][-1], x), latitudes[2][-1]) == pytest.approx((x, y), abs=1e-9)
    x, y = to_degrees.transform(east + SIDE, north - SIDE)
    assert (near(longitudes[0][-1], x), latitudes[0][-1]) == pytest.approx((x, y), abs=1e-9)
    assert cell.crs.startswith("EPSG:326" if cell.row >= 0 else "EPSG:327")
    for edge in range(4):  # as long on the ground as in the projection, to 0.1 %
        length = Geod(ellps="WGS84").line_length(longitudes[edge], latitudes[edge])
        assert length == pytest.approx(SIDE, rel=1.1e-3)


@pytest.mark.parametrize(
    "box",
    [(36.2, 54.1, 44.3, 56.0), (172.0, 69.0, 197.5, 71.0), (-1.0, -1.0, 7.0, 1.5), (-181.0, -79.5, -170.0, -78.0)],
)
def test_a_box_holds_the_squares_whose_centre_lies_in_it_however_it_is_cut(box):
    west, south, east, north = box
    found = list(cells_centred_in(*box, SIDE))
    assert len(found) == len(set(found))
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(
        np.concatenate([np.linspace(west, east, 500), np.linspace(east, west, 500)]),
        np.concatenate([np.full(500, south), np.full(500, north)]),
    )
    edge = 2 * (north - south) * 111 / 25.6 + 2 * (east - west) * 111 / 25.6
    assert len(found) == pytest.approx(abs(area) / SIDE**2, abs=edge)
    for cell in found:
        to_degrees = Transformer.from_crs(cell.crs, "EPSG:4326", always_xy=True)
        left, top = cell.north_west(SIDE)
        x, y = to_degrees.transform(left + SIDE / 2, top - SIDE / 2)
        assert math.floor((x + 180) / 6) % 60 + 1 == cell.zone
        assert south <= y <= north
        assert west <= near(x, (west + east) / 2) <= east
    x, y = np.linspace(west, east, 8), np.linspace(south, north, 5)
    boxes = [(a, c, b, d) for a, b in pairwise(x) for c, d in pairwise(y)]
    cut = [cell for part in boxes for cell in cells_centred_in(*part, SIDE)]
    assert sorted(cut) == sorted(found)
    assert set(cells_centred_in(west + 360, south, east + 360, north, SIDE)) == set(found)


@pytest.mark.parametrize("latitude", [12.0, 52.0, 60.0, 78.0])
def test_no_ground_lies_in_two_squares_and_little_is_lost(latitude):
    """At the antimeridian, where zones 60 and 1 meet; overlaps are found another way, by points of a fine lattice."""
    cells = set(cells_centred_in(178.8, latitude - 0.6, 181.2, latitude + 0.6, SIDE))
    gone = giving_way(cells, SIDE)
    steps = (np.arange(40) + 0.5) / 40 * SIDE
    zones = {zone: Transformer.from_crs("EPSG:4326", f"EPSG:{32600 + zone}", always_xy=True) for zone in (60, 1)}

    def overlap(one, other):
        """Whether a point of one lies in the other."""
        grid = np.meshgrid(5e5 + one.column * SIDE + steps, one.row * SIDE + steps)
        x, y = zones[other.zone].transform(*zones[one.zone].transform(*grid, direction="INVERSE"))
        return np.any((np.floor((x - 5e5) / SIDE) == other.column) & (np.floor(y / SIDE) == other.row))

    pairs = [(a, b) for a, b in combinations(sorted(cells), 2) if a.zone != b.zone and abs(a.row - b.row) < 3]
    overlapping = [pair for pair in pairs if overlap(*pair)]
    assert overlapping
    assert not [pair for pair in overlapping if not gone & set(pair)]
    assert all(any(cell in pair for pair in overlapping) for cell in gone)
    assert len(gone) <= 1.5 * len({cell.row for cell in cells})  # of two columns at the edge, about one


def test_squares_of_one_zone_stay():
    cells = set(cells_centred_in(36.1, 60, 41.9, 61, SIDE))
    assert len({cell.zone for cell in cells}) == 1
    assert not giving_way(cells, SIDE)
