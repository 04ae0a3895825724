"""Synthetic places: the same bytes for a seed; a photo follows from the ground by geometry; pairs can be packed."""

import json
import math

import numpy as np
import pytest
import rasterio
from packed_photos import samples
from PIL import Image

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.pairs import USUAL_JOINING, Pairs
from waterscape.sources.world.noise import Lot
from waterscape.sources.world.views import place, within
from waterscape.sources.world.views.above import from_above, lit
from waterscape.sources.world.views.ground import CLEARING, LEEWAY, SETTINGS, Ground, ground, setting_of
from waterscape.sources.world.views.plot import COVERS, FOREST, MEADOW, WATER
from waterscape.sources.world.views.within import EYE, from_within

SEED = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("views") / "world"
    place.write_views(out, 2, SEED)
    return out


@pytest.fixture(scope="module")
def grounds():
    """A smaller ground of each setting."""
    found = {}
    for number in range(40):
        lot = Lot(SEED, "test", number)
        if setting_of(lot) not in found:
            found[setting_of(lot)] = ground(lot, 240, 5.0)
    assert set(found) == set(SETTINGS)
    return found


def flat(height=0.0, cover=MEADOW, pixels=400, metres=2.5):
    """Level ground of one cover."""
    square = (pixels, pixels)
    colour = np.full((*square, 3), 0.5, np.float32)
    level = np.full(square, height, np.float32)
    return Ground("flat", metres, level, np.zeros(square, np.float32), np.full(square, cover, np.uint8), colour)


def cast(around, rise, across=(0.0,)):
    return within._cast(around, Lot(0, "test"), np.array(across, np.float32), np.array(rise, np.float32))


def test_a_place_is_a_pure_function_of_seed_and_number(world):
    again, other = place.place(SEED, 1), place.place(SEED + 1, 1)
    names = sorted(path.name for path in (world / "photos").iterdir())
    for folder, picture in (("photos", again.photo), ("satellite", again.satellite)):
        stored = np.asarray(Image.open(world / folder / names[1]))
        assert np.abs(stored.astype(int) - picture).mean() < 4  # JPEG
    assert not np.array_equal(again.photo, other.photo)


def test_the_same_seed_gives_the_same_bytes(world, tmp_path):
    place.write_views(tmp_path / "again", 2, SEED)
    files = sorted(path.relative_to(world) for path in world.rglob("*") if path.is_file())
    assert len(files) == 2 * 3 + 2
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (world / file).read_bytes(), file


def test_an_observer_stands_on_dry_open_ground(grounds):
    for name, around in grounds.items():
        middle = len(around.height) // 2
        near = round(0.6 * CLEARING / around.metres_per_pixel)
        part = np.s_[middle - near : middle + near, middle - near : middle + near]
        assert around.height[middle, middle] >= min(LEEWAY, 1.5) - 0.1, name
        assert not (around.cover[part] == FOREST).any(), name
        assert around.canopy[part].max() == 0, name
    assert (grounds["lake"].cover == WATER).mean() > 0.05
    assert (grounds["river"].cover == WATER).mean() > 0.005


def test_covers_lie_where_they_can(grounds):
    for name, around in grounds.items():
        assert set(np.unique(around.cover)) <= set(COVERS)
        assert sum(around.shares().values()) == pytest.approx(1, abs=1e-3)
        assert (around.height[around.cover == WATER] < 0).all(), name
        assert ((around.canopy > 0) <= np.isin(around.cover, [FOREST, MEADOW])).all(), name
        assert 0 <= around.colour.min() <= around.colour.max() <= 1


def test_level_ground_is_seen_where_a_ray_meets_it():
    """A ray that falls by `rise` a metre meets level ground EYE / rise metres away; planes are 1.5 % apart."""
    rise = -np.geomspace(EYE / 300, EYE / 5, 20)[::-1]
    found = cast(flat(7.0), rise[::-1])
    assert found.depth[:, 0] == pytest.approx(EYE / -rise[::-1], rel=0.03)
    assert found.east[:, 0] == pytest.approx(0)
    aside = cast(flat(7.0), [-EYE / 100], across=(-0.5, 0.5))
    assert aside.east[0] == pytest.approx([-50, 50], rel=0.03)


def test_a_wall_hides_what_lies_behind_it():
    around = flat()
    wall, away = 25.0, 100.0
    row = len(around.height) // 2 - round(away / around.metres_per_pixel)
    around.height[row - 4 : row] = wall
    top = (wall - EYE) / away
    found = cast(around, [top * 1.1, top * 0.8, -EYE / (1.5 * away), -EYE / (0.5 * away)])
    assert found.depth[0, 0] > 2 * away  # over it
    assert found.depth[1:3, 0] == pytest.approx(away, rel=0.05)  # against it
    assert found.depth[3, 0] == pytest.approx(0.5 * away, rel=0.03)  # before it


def test_water_mirrors_the_sky_and_a_meadow_does_not():
    """Both are black of themselves, so what comes from the near part of them is what they mirror."""
    seen = {}
    for cover in (WATER, MEADOW):
        around = flat(-1.0, cover)
        around.colour[:] = 0
        seen[cover] = from_within(around, Lot(1, "weather of a test"), 64).astype(int)
    sky, near = slice(0, 12), slice(42, 52)
    assert (seen[WATER][sky] == seen[MEADOW][sky]).all()
    assert seen[MEADOW][near].mean() < 10
    assert seen[WATER][near].mean() > 0.15 * seen[WATER][sky].mean()


def test_light_follows_the_cosine_law():
    slope = 0.5
    down, right = np.mgrid[:8, :8].astype(np.float32)
    up = math.atan(slope)
    facing, averted = (lit(sign * slope * right, 1.0, 90.0, 30.0)[4, 4] for sign in (-1, 1))  # the sun in the east
    assert facing == pytest.approx(math.sin(math.radians(30) + up) / math.sin(math.radians(30)), rel=1e-5)
    assert averted == pytest.approx(max(0, math.sin(math.radians(30) - up) / math.sin(math.radians(30))), abs=1e-5)
    assert lit(slope * down, 1.0, 90.0, 30.0)[4, 4] == pytest.approx(math.cos(up), rel=1e-5)
    assert lit(0 * down, 1.0, 210.0, 40.0) == pytest.approx(1)


def test_a_tile_is_the_middle_of_its_ground():
    around = flat(cover=WATER, pixels=100)
    around.colour[48:52, 48:52] = 1
    tile = from_above(around, 20)
    assert tile.shape == (20, 20, 3)
    assert {tuple(row) for row in np.argwhere(tile[..., 0] > 200)} == {
        (r, c) for r in range(8, 12) for c in range(8, 12)
    }


def test_places_lie_apart_on_the_earth():
    spots = [place.coordinates(number) for number in range(4000)]
    assert len(set(spots)) == 4000
    assert all(-180 <= longitude < 180 and 50 < latitude < 70 for longitude, latitude in spots)


def test_pairs_are_packed_with_size_and_scale_and_called_synthetic(world, tmp_path):
    told = json.loads((world / "world.json").read_text())
    assert told["synthetic"] is True
    assert told["photos"]["looking"] == "north"
    assert [entry["number"] for entry in told["files"]] == [0, 1]
    origin = Pairs.find(world / "photos", world / "satellite", tmp_path / "set", USUAL_JOINING)
    making.pack(origin, tmp_path / "set", processes=1)
    manifest = Manifest.load(tmp_path / "set")
    assert manifest.facts["synthetic"] is True
    assert manifest.facts["tiles"]["pixels"] == [450, 450]
    assert manifest.facts["tiles"]["metres_per_pixel"] == 2.5
    assert {sample["json"]["metres_per_pixel"][0] for sample in samples(tmp_path / "set").values()} == {2.5}


def test_the_mosaic_is_a_geotiff_that_says_so(world):
    told = json.loads((world / "world.json").read_text())["mosaic"]
    with rasterio.open(world / told["file"]) as dataset:
        assert dataset.tags()["synthetic"] == "true"
        assert dataset.crs.to_epsg() == 32637
        assert dataset.res == (2.5, 2.5)
        assert dataset.count == 3


def test_what_cannot_be_asked(world, tmp_path):
    with pytest.raises(UserError, match=r"--views is 0; give 1 or more"):
        place.write_views(tmp_path / "none", 0)
    with pytest.raises(UserError, match="exists: choose another directory, or add --replace"):
        place.write_views(world, 1)
