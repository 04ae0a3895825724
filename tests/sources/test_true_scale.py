"""Exports in degrees cut anew: lakes that are round on the ground are round in the tiles, and nothing else changes."""

from __future__ import annotations

import io
import json
import math
import tarfile
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from exports_in_degrees import BLUR, DEGREES, RADIUS, lakes_around, write_region, write_tile
from pyproj import Geod, Transformer
from rasterio.transform import Affine
from scipy import ndimage

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.metrics import morphology
from waterscape.metrics.labelling import LABELLING
from waterscape.sources.occurrence import find
from waterscape.sources.occurrence_pack import Packing, pack
from waterscape.sources.occurrence_rules import LACKS_NEIGHBOURS, ZONE_EDGE
from waterscape.sources.true_scale import cut_anew

SIDE = 64
TRUE = Packing(tile_size=SIDE, true_scale=True)
GROUND = Geod(ellps="WGS84")
LATITUDES = (45, 60, 70, 78)
ANTIMERIDIAN = 180.02  # and tiles on both sides of it, counted over 180 as in an export


def columns_at(latitude):
    """Columns of tiles that make up a region about as wide as high."""
    return round(5 / np.cos(np.radians(latitude)))


def here(_, work, items):
    """Runs a stage in this process."""
    return [work(item) for item in items]


def tiles_of(folder, metres=None, size=SIDE):
    """Every tile that is cut whole: (its name, tile)."""
    cuts = [cut for cut in cut_anew(find([folder]), size, metres, here) if cut.reason is None]
    return [(cut.name, tile) for cut in cuts if (tile := cut.read()).covered is None]


def axes_ratio(occurrence):
    """Of every lake that does not touch the picture's edge: the ratio of its axes, by moments of its occurrence."""
    label, count = ndimage.label(occurrence > 0)
    cut = set(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]).tolist())
    ratios = []
    for body in set(range(1, count + 1)) - cut:
        rows, columns = np.nonzero(label == body)
        spread = np.cov(rows, columns, aweights=occurrence[rows, columns])
        low, high = np.linalg.eigvalsh(spread)
        ratios.append(float(np.sqrt(high / low)))
    return ratios


def developments(occurrence, metres=100.0):
    """Shoreline developments of the lakes that do not touch the edge."""
    table = morphology.bodies(occurrence, metres)
    names = morphology.COLUMNS
    whole = table[:, names.index("edge_contact")] == 0
    return table[whole, names.index("shoreline_development")]


@pytest.fixture(scope="module")
def lakes(tmp_path_factory):
    """Regions at four latitudes across the antimeridian, and one far from it: folder, pictures."""
    folder = tmp_path_factory.mktemp("lakes")
    pictures = {}
    for latitude in LATITUDES:
        columns = columns_at(latitude)
        pictures[latitude] = write_region(folder, f"at{latitude}", ANTIMERIDIAN, latitude, 5, columns)
    write_region(folder, "inland", 96.5, 66, 5, 12, nodata=0)
    return folder, pictures


@pytest.mark.parametrize("latitude", LATITUDES)
def test_round_lakes_are_round_after_and_were_not_before(lakes, latitude):
    folder, pictures = lakes
    before = axes_ratio(pictures[latitude])
    assert len(before) > 10
    assert np.allclose(before, 1 / np.cos(np.radians(latitude)), rtol=0.03)
    assert np.median(developments(pictures[latitude])) > 1.015
    tiles = tiles_of(folder / f"at{latitude}")
    zones = {name.split("-")[1][:2] for name, _ in tiles}
    assert zones == {"01", "60"}
    ratios = [ratio for _, tile in tiles for ratio in axes_ratio(tile.occurrence)]
    shores = np.concatenate([developments(tile.occurrence) for _, tile in tiles])
    assert len(ratios) >= 6
    assert max(ratios) < 1.02
    assert np.abs(shores - 1).max() < 0.03


def test_lakes_have_their_place_and_area(lakes):
    folder, _ = lakes
    for latitude in LATITUDES:
        columns = columns_at(latitude)
        drawn = lakes_around(ANTIMERIDIAN, latitude, 5, columns)
        found = 0
        for _, tile in tiles_of(folder / f"at{latitude}"):
            into = Transformer.from_crs("EPSG:4326", tile.place.crs, always_xy=True)
            pixel = ~Affine(*tile.place.transform)
            label, _ = ndimage.label(tile.occurrence > 0)
            edge = {*label[0], *label[-1], *label[:, 0], *label[:, -1]}
            for longitude, y in drawn:
                column, row = pixel @ into.transform((longitude + 180) % 360 - 180, y)
                if 0 <= row < SIDE and 0 <= column < SIDE and label[int(row), int(column)] not in edge:
                    weights = np.where(label == label[int(row), int(column)], tile.occurrence, 0)
                    centre = ndimage.center_of_mass(weights)
                    assert centre == pytest.approx((row - 0.5, column - 0.5), abs=0.12)  # pixels
                    disc = np.pi * (RADIUS**2 + BLUR**2 / 3) / 100**2  # of the drawn profile
                    assert weights.sum() / 100 == pytest.approx(disc, rel=0.02)
                    found += 1
        assert found >= 6


def test_a_pixel_is_as_many_metres_wide_as_high_all_over_the_tile(lakes):
    folder, _ = lakes
    for _, tile in tiles_of(folder):
        affine = Affine(*tile.place.transform)
        to_degrees = Transformer.from_crs(tile.place.crs, "EPSG:4326", always_xy=True)
        for column, row in ((0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE), (SIDE / 2, SIDE / 2)):
            points = [affine @ at for at in ((column, row), (column + 1, row), (column, row + 1))]
            x, y = to_degrees.transform(*zip(*points, strict=True))
            wide, high = GROUND.inv(np.repeat(x[0], 2), np.repeat(y[0], 2), x[1:], y[1:])[2]
            assert wide == pytest.approx(high, rel=1e-4)
            assert wide == pytest.approx(100, rel=2e-3)
        assert tile.place.metres_per_pixel == pytest.approx((100, 100), rel=2e-3)


def test_other_scales(lakes):
    folder, _ = lakes
    for metres in (80.0, 150.0):
        tiles = tiles_of(folder / "at60", metres, 48)
        assert tiles
        for _, tile in tiles:
            assert tile.place.metres_per_pixel == pytest.approx((metres, metres), rel=2e-3)
            assert all(ratio < 1.03 for ratio in axes_ratio(tile.occurrence))


def samples(out):
    found = []
    for shard in Manifest.load(out).shards:
        with tarfile.open(out / f"{shard.name}.tar") as tar:
            values = {}
            for member in tar:
                key, _, column = member.name.partition(".")
                content = tar.extractfile(member).read()
                value = json.loads(content) if column == "json" else np.load(io.BytesIO(content))
                values.setdefault(key, {})[column] = value
        found += values.values()
    return found


@pytest.mark.long
def test_packing_tells_every_tile_and_the_sums(lakes, tmp_path):
    folder, _ = lakes
    summary = pack([folder], tmp_path / "water", LABELLING, TRUE)
    facts = summary.manifest.facts
    files = 5 * (sum(map(columns_at, LATITUDES)) + 12)
    assert (summary.exports, facts["read"]) == (files, files)
    assert summary.came_in == facts["cut"] == summary.kept + sum(summary.dropped.values())
    assert summary.dropped[LACKS_NEIGHBOURS] > 20
    assert summary.dropped[ZONE_EDGE] > 5
    assert summary.kept > 50
    assert 0 < facts["exports_used"] < files
    for counted in ("kept", "cut"):
        whole = {"kept": summary.kept, "cut": summary.came_in}[counted]
        assert sum(region[counted] for region in facts["regions"].values()) == whole
    assert sum(region["read"] for region in facts["regions"].values()) == files
    assert facts["metres_per_pixel"] == 100
    assert not [note for note in summary.notes if "stretched" in note]
    table = summary.table()
    assert f"files read{files:22d}" in table
    assert "lacks neighbours" in table
    kept = samples(tmp_path / "water")
    assert len(kept) == summary.kept
    used = set()
    for values in kept:
        origin = values["json"]
        used |= set(origin["exports"])
        assert origin["region"] in facts["regions"]
        assert {name.split("/")[0] for name in origin["exports"]} == {origin["region"]}
        assert origin["crs"].startswith("EPSG:326")
        assert [origin["column"], origin["row"]] == [
            (origin["transform"][2] - 5e5) / 100,
            -origin["transform"][5] / 100,
        ]
        assert values["occurrence.npy"].max() <= 100
        assert origin["metres_per_pixel"] == pytest.approx([100, 100], rel=2e-3)
    assert len(used) == facts["exports_used"]


@pytest.mark.long
def test_the_set_does_not_depend_on_processes(lakes, tmp_path, monkeypatch):
    folder, _ = lakes
    monkeypatch.setattr("waterscape.sources.parallel.FEW", 8)
    sets = []
    for processes in (1, 2):
        out = tmp_path / str(processes) / "water"
        pack([folder / "at45"], out, LABELLING, TRUE, processes=processes)
        sets.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert sets[0] == sets[1]


@pytest.mark.long
def test_one_large_file_gives_the_tiles_that_its_parts_give_in_little_memory(lakes, tmp_path, monkeypatch):
    folder, pictures = lakes
    picture = pictures[70]
    with rasterio.open(folder / "at70" / "at70-0000000000-0000000000.tif") as first:
        corner = first.transform
    path = tmp_path / "at70" / "at70-0000000000-0000000000.tif"
    write_tile(path, picture, corner.c, corner.f)
    expected = tiles_of(folder / "at70")
    for largest in (10**9, 10_000):  # read whole, or by windows
        monkeypatch.setattr("waterscape.sources.mosaic.LARGEST_WHOLE", largest)
        found = tiles_of(tmp_path)
        assert [name for name, _ in found] == [name for name, _ in expected]
        for (_, one), (_, other) in zip(found, expected, strict=True):
            assert np.array_equal(one.occurrence, other.occurrence)
    big = np.zeros((3000, 6000), np.uint8)
    write_tile(tmp_path / "big" / "big.tif", big, 40.0, 66.0, compress="deflate", tiled=True)
    cut = cut_anew(find([tmp_path / "big"]), SIDE, None, here)[40]
    tracemalloc.start()
    cut.read()
    assert tracemalloc.get_traced_memory()[1] < big.size / 10
    tracemalloc.stop()


def test_masked_pixels_do_not_thin_out_percentages_and_masks_stay(tmp_path):
    """A lake of 80 % all over on masked ground: every pixel that is not masked says 80."""
    centres = lakes_around(25.0, 65, 5, 10)

    def flat(tile):
        return np.where(tile > 50, 80, 255).astype(np.uint8)

    write_region(tmp_path, "flat", 25.0, 65, 5, 10, lakes=centres, change=flat, nodata=255)
    for _, tile in tiles_of(tmp_path):
        assert set(np.unique(tile.occurrence[tile.observed])) == {80}
        assert not tile.occurrence[~tile.observed].any()
        assert not tile.observed.all()
    write_region(tmp_path / "b", "flat", 25.0, 65, 5, 10, lakes=centres, change=lambda tile: flat(tile) // 255 * 0 + 40)
    assert all(tile.observed is None and (tile.occurrence == 40).all() for _, tile in tiles_of(tmp_path / "b"))


def test_the_visualised_form_gives_the_same_tiles(lakes, tmp_path):
    folder, _ = lakes

    def visualised(tile):
        return np.stack([np.floor(tile / 100 * 255 + 0.5).astype(np.uint8)] * 3)

    write_region(tmp_path, "at60", ANTIMERIDIAN, 60, 5, columns_at(60), change=visualised)
    for (_, one), (_, other) in zip(tiles_of(folder / "at60"), tiles_of(tmp_path), strict=True):
        assert np.array_equal(one.occurrence, other.occurrence)


def test_tiles_are_whole_where_halves_out_of_step_meet_at_the_antimeridian(tmp_path):
    """360° are no whole number of pixels: a half counted from -180 is out of step with one that ends at 180."""
    drawn = lakes_around(180, 66, 5, 24)
    halves = {"west": math.ceil(180 / DEGREES) - 11 * SIDE, "east": math.floor(-180 / DEGREES)}
    (tmp_path / "halves").mkdir()
    for half, left in halves.items():
        write_region(tmp_path / half, "halves", 180, 66, 5, 11, lakes=drawn, left=left)
        for path in (tmp_path / half / "halves").iterdir():  # the folder is the region where names tell no offsets
            path.rename(tmp_path / "halves" / f"{half}{path.stem.removeprefix('halves')}x.tif")
    cuts = cut_anew(find([tmp_path / "halves"]), 60, None, here)
    both = [cut for cut in cuts if {export.name[:4] for export in cut.exports} == {"west", "east"} and not cut.reason]
    whole = [tile for cut in both if (tile := cut.read()).covered is None]
    assert len(whole) >= 2
    ratios = [ratio for tile in whole for ratio in axes_ratio(tile.occurrence)]
    assert ratios
    assert max(ratios) < 1.03


def test_artefacts_are_looked_for_along_the_pixels_of_the_files(tmp_path):
    def seamed(tile):
        return np.maximum(tile, np.where(np.arange(SIDE) < 20, 60, 30)[None]).astype(np.uint8)

    write_region(tmp_path, "seamed", 51.0, 72, 5, 15, change=seamed)
    with pytest.raises(UserError, match=r"straight seam"):
        pack([tmp_path / "seamed"], tmp_path / "out", LABELLING, TRUE)


def bad_sources():
    lake = np.full((SIDE, SIDE), 40, np.uint8)

    def tile(folder, name="a", **options):
        place = {"west": 30.0, "north": 60.0, **options}
        write_tile(folder / f"{name}.tif", lake, place.pop("west"), place.pop("north"), **place)

    def overlapping(folder):
        tile(folder)
        tile(folder, "b", west=30.01, north=60.01)

    def mixed(folder):
        tile(folder)
        tile(folder, "b", west=40.0, degrees=2 * DEGREES)

    def picture(folder):
        from PIL import Image

        Image.fromarray(lake).save(folder / "a.png")

    return {
        "is in EPSG:32637": lambda folder: tile(folder, crs="EPSG:32637"),
        "is in no CRS": lambda folder: tile(folder, crs=None),
        "is a PNG": picture,
        "reaches from 83.97° to 84.03°": lambda folder: tile(folder, north=84.03),
        "ends at -80° and 84°": lambda folder: tile(folder, north=-79.97),
        "cover the same ground": overlapping,
        "differ in scale": mixed,
        "turned or mirrored": lambda folder: tile(folder, transform=Affine(DEGREES, 0, 30, 0, DEGREES, 60)),
        "none is left (1 lacks neighbours)": lambda folder: tile(folder, west=30.06, north=60.03),
        "4 bands": lambda folder: write_tile(folder / "a.tif", np.stack([lake] * 4), 30, 60),
    }


@pytest.mark.parametrize("message", bad_sources())
def test_bad_sources_are_told_in_one_line_and_leave_nothing(tmp_path, message):
    (tmp_path / "in").mkdir()
    bad_sources()[message](tmp_path / "in")
    with pytest.raises(UserError) as caught:
        pack([tmp_path / "in"], tmp_path / "out", LABELLING, TRUE)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_tiles_that_are_too_large_for_a_zone_are_refused(lakes, tmp_path):
    with pytest.raises(UserError, match="sides of up to 100 km"):
        pack([lakes[0] / "inland"], tmp_path / "out", LABELLING, replace(TRUE, metres_per_pixel=5000.0))
