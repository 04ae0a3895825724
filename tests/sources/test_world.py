"""The synthetic world: hydrology against plain second implementations, tiles as pure functions, files as exported."""

from __future__ import annotations

import heapq
import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from scipy import ndimage

from waterscape.errors import UserError
from waterscape.sources.world import channels, noise, regions, terrain
from waterscape.sources.world.export import layout, write_world

CELLS = terrain.CELLS


@pytest.fixture(scope="module")
def ground():
    """Rough ground full of pits, and its outlet."""
    lot = noise.Lot(3, "test ground")
    return lot.uniforms("ground", CELLS * CELLS), CELLS // 2


def flooded(ground, outlet):
    """Level of water when every depression is full: priority flood, cell by cell (Barnes 2014)."""
    level = np.full(ground.size, np.inf)
    level[outlet] = ground[outlet]
    border = [(ground[outlet], outlet)]
    while border:
        height, cell = heapq.heappop(border)
        row, column = divmod(cell, CELLS)
        for down, right in terrain.STEPS:
            if 0 <= row + down < CELLS and 0 <= column + right < CELLS:
                other = (row + down) * CELLS + column + right
                if np.isinf(level[other]):
                    level[other] = max(height, ground[other])
                    heapq.heappush(border, (level[other], other))
    return level


def test_depressions_fill_to_the_level_of_a_priority_flood(ground):
    heights, outlet = ground
    downstream = terrain.drain(heights, outlet)
    # Slopes shift the order of passes by at most 1e-4 of a step.
    np.testing.assert_allclose(
        terrain.highest_downstream(downstream, heights), flooded(heights, outlet), atol=2e-4, rtol=0
    )


def test_sums_along_the_drainage_equal_walking_it(ground):
    heights, outlet = ground
    downstream = terrain.drain(heights, outlet)
    rain = 1 + heights
    upstream, downhill = np.zeros(rain.size), np.zeros(rain.size)
    for start in range(rain.size):
        cells = terrain.path(downstream, start)
        assert cells[-1] == outlet
        assert len(set(cells.tolist())) == len(cells)
        upstream[cells] += rain[start]
        downhill[start] = rain[cells].sum()
    np.testing.assert_allclose(terrain.gather_upstream(downstream, rain), upstream)
    np.testing.assert_allclose(terrain.sum_downstream(downstream, rain), downhill)


def test_terrain_falls_to_one_outlet_and_carries_all_water_there():
    made = terrain.terrain(noise.Lot(1, "terrain"), relief=200, inflow=500.0)
    heights = made.coarse.ravel()
    elsewhere = np.arange(heights.size) != made.outlet
    assert (heights[made.downstream[elsewhere]] < heights[elsewhere]).all()
    assert made.area[made.outlet] == pytest.approx(CELLS * CELLS + 500)
    assert made.coarse.max() == pytest.approx(200)
    assert made.elevation.shape == (256, 256)
    main = terrain.path(made.downstream, made.inlet)
    assert (made.area[main] >= 500).all()


def test_draws_depend_on_their_names_only():
    lot = noise.Lot(5, "place")
    first = lot.uniforms("a", 4)
    lot.uniforms("b", 7)
    np.testing.assert_array_equal(noise.Lot(5, "place").uniforms("a", 4), first)
    np.testing.assert_array_equal(lot.uniforms("a", 9)[:4], first)
    assert not np.array_equal(noise.Lot(6, "place").uniforms("a", 4), first)
    many = lot.uniforms("many", 100_000)
    assert (many >= 0).all()
    assert (many < 1).all()
    assert many.mean() == pytest.approx(0.5, abs=0.005)
    grain = lot.grain("grain", 300, 301)
    assert grain.shape == (300, 301)
    assert (grain.min() >= -1, grain.max() < 1) == (True, True)
    assert grain.std() == pytest.approx(1 / 3**0.5, rel=0.01)


def test_splines_keep_constants_and_planes_and_tori_close():
    plane = np.add.outer(np.arange(16.0), 2 * np.arange(16.0)).astype(np.float32)
    inner = noise.enlarge(plane, 64)[12:-12, 12:-12]
    expected = (np.add.outer(np.arange(64), 2 * np.arange(64)) + 1.5)[12:-12, 12:-12] / 4 - 1.5
    np.testing.assert_allclose(inner, expected, atol=1e-4)
    np.testing.assert_allclose(noise.enlarge(np.full((8, 8), 7, np.float32), 50), 7, rtol=1e-6)
    field = noise.octave(noise.Lot(1), "torus", 8, 256, torus=True)
    assert np.abs(field[0] - field[-1]).max() < 1.5 * np.abs(np.diff(field, axis=0)).max()


def test_pixels_lie_beside_a_line_where_geometry_says():
    line = np.stack([np.linspace(-20, 280, 500), np.linspace(40, 190, 500)], axis=1)
    place = channels.beside([line], [np.full(500, 6.0)])
    rows, columns = np.mgrid[:256, :256] + 0.5
    down, right = np.array([300.0, 150.0]) / np.hypot(300, 150)
    offset = (columns - 40) * down - (rows + 20) * right
    np.testing.assert_allclose(place.offset, offset, atol=0.01)
    np.testing.assert_allclose(place.distance, np.abs(offset), atol=0.4)
    assert (place.width == 6).all()


def test_a_meander_is_as_sinuous_as_its_swing():
    base = channels.respace(np.array([[128.0, 0.0], [128.0, 600.0]]))
    lengths = [len(channels.meander(noise.Lot(seed), base, 60, 1.1)) for seed in range(12)]
    assert np.mean(lengths) / len(base) == pytest.approx(1.39, abs=0.12)  # 1 / J0(1.1)
    straight = channels.meander(noise.Lot(0), base, 60, 0.0)
    np.testing.assert_allclose(straight[:, 0], 128, atol=1e-6)


def test_occurrence_is_the_share_of_stages_that_reach_the_ground():
    """Against stages drawn one by one from Gumbel's law."""
    stages = -np.log(-np.log(noise.Lot(1).uniforms("stages", 200_000, low=1e-12)))
    for height in (-1.0, 0.0, 1.0, 2.5):
        seen = regions._occurrence(noise.Lot(2), np.full((256, 256), np.float32(height)))
        assert seen.mean() == pytest.approx(100 * (stages > height).mean(), rel=0.06, abs=0.3)
    assert (regions._occurrence(noise.Lot(2), np.full((256, 256), np.float32(9))) == 0).all()
    assert regions._occurrence(noise.Lot(2), np.full((256, 256), np.float32(-4))).min() >= 93


def test_a_tile_is_a_pure_function_of_seed_and_number():
    first = [regions.tile(7, number).occurrence for number in range(6)]
    for number in reversed(range(6)):
        np.testing.assert_array_equal(regions.tile(7, number).occurrence, first[number])
    assert not np.array_equal(regions.tile(8, 2).occurrence, first[2])


def test_tiles_are_occurrence_with_masks_and_true_records():
    settings, untouched = set(), 0
    for number in range(60):
        tile = regions.tile(2, number)
        settings.add(tile.setting)
        assert tile.occurrence.shape == (256, 256)
        assert tile.occurrence.dtype == np.uint8
        assert tile.occurrence.max() <= 100
        np.testing.assert_array_equal(tile.mask, tile.occurrence > 0)
        untouched += not tile.mask.any()
        labels, _ = ndimage.label(tile.occurrence >= regions.WATER, np.ones((3, 3)))
        found = set()
        for body in tile.bodies():
            number = labels[body.row, body.column]
            assert number > 0
            assert (labels == number).sum() == body.pixels
            rows, columns = np.nonzero(labels == number)
            touches = min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == 255
            assert body.whole == (not touches)
            assert 0.5 <= body.share <= 1 or len(tile.kinds) > 2
            found.add(number)
        sizes = np.bincount(labels.ravel())[1:]
        assert len(found) == (sizes >= regions.SMALLEST).sum()
    assert settings >= {"river", "lake", "wetland", "lake district", "coast", "delta"}
    assert untouched < 6


def test_shares_of_landscapes_are_those_of_the_regions():
    for region in regions.REGIONS.values():
        assert sum(region.shares.values()) == 100
        assert set(region.shares) <= set(regions.SETTINGS)
    drawn = [regions.tile(1, number).setting for number in range(3, 203, 4)]
    assert 0.25 <= drawn.count("coast") / len(drawn) <= 0.55


@pytest.mark.parametrize("tiles", [1, 2, 7, 101, 9000])
def test_every_tile_has_its_own_place(tiles):
    sheets = layout(tiles)
    assert len({sheet.file for sheet in sheets}) == tiles
    assert len({(sheet.crs, sheet.easting, sheet.northing) for sheet in sheets}) == tiles
    assert [sheet.number for sheet in sheets] == list(range(tiles))
    for sheet in sheets:
        assert sheet.row % 256 == sheet.column % 256 == 0
        assert 0 < sheet.easting < 1_000_000
    if tiles > 100:
        smaller = [sheet for sheet in sheets if (sheet.height, sheet.width) != (256, 256)]
        assert 0 < len(smaller) < 0.4 * tiles


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "made"
    return out, write_world(out, 71, seed=7)


def test_files_are_as_earth_engine_exports_them(exported):
    out, facts = exported
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.tif"))
    assert files == sorted(entry["file"] for entry in facts["files"])
    assert len(files) == 71
    sizes = set()
    for entry in facts["files"]:
        region, name = entry["file"].split("/")
        row, column = (int(part) for part in name.removesuffix(".tif").removeprefix(region + "-").split("-"))
        assert name == f"{region}-{row:010d}-{column:010d}.tif"
        with rasterio.open(out / entry["file"]) as dataset:
            assert (dataset.count, dataset.dtypes[0], dataset.nodata) == (1, "uint8", 0)
            assert dataset.crs.is_projected
            assert dataset.res == (100, 100)
            assert dataset.tags()["synthetic"] == "true"
            sizes.add(dataset.shape)
            expected = regions.tile(7, entry["number"]).cropped(*dataset.shape)
            np.testing.assert_array_equal(dataset.read(1), expected.occurrence)
            np.testing.assert_array_equal(dataset.dataset_mask() > 0, expected.mask)
            assert [body["kind"] for body in entry["bodies"]] == [body.kind for body in expected.bodies()]
    assert (256, 256) in sizes
    assert len(sizes) > 1


def test_neighbours_in_a_region_meet_edge_to_edge(exported):
    out, facts = exported
    origins = {}
    for entry in facts["files"]:
        with rasterio.open(out / entry["file"]) as dataset:
            row, column = (int(part) for part in entry["file"].removesuffix(".tif").rsplit("-", 2)[1:])
            origin = dataset.transform.c - 100 * column, dataset.transform.f + 100 * row
            origins.setdefault(entry["file"].split("/")[0], set()).add(origin)
    assert len(origins) == 4
    assert all(len(origin) == 1 for origin in origins.values())


def test_the_world_says_that_it_is_synthetic_and_what_it_drew(exported):
    out, facts = exported
    told = json.loads((out / "world.json").read_text())
    assert told == json.loads(json.dumps(facts))
    assert told["synthetic"] is True
    assert (told["seed"], told["tiles"], told["format"]) == (7, 71, 1)


def test_a_second_run_gives_the_same_bytes(exported, tmp_path):
    out, _ = exported
    write_world(tmp_path / "again", 71, seed=7)
    mine, theirs = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
        for folder in (out, tmp_path / "again")
    )
    assert mine == theirs


@pytest.mark.long
def test_the_number_of_processes_changes_no_byte(tmp_path):
    for processes in (1, 2):
        write_world(tmp_path / str(processes), 130, seed=3, processes=processes)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*") if p.is_file()} for n in ("1", "2"))
    assert one == two


def test_visualised_tiles_have_three_equal_bands(tmp_path):
    facts = write_world(tmp_path / "seen", 5, seed=7, visualised=True)
    for entry in facts["files"]:
        with rasterio.open(tmp_path / "seen" / entry["file"]) as dataset:
            bands = dataset.read()
        assert bands.shape[0] == 3
        assert (bands == bands[0]).all()
        percent = np.rint(bands[0] / 2.55).astype(np.uint8)
        np.testing.assert_array_equal(percent, regions.tile(7, entry["number"]).occurrence)


def test_nothing_is_overwritten_or_left_half_written(tmp_path, monkeypatch):
    write_world(tmp_path / "made", 2)
    before = (tmp_path / "made" / "world.json").read_bytes()
    with pytest.raises(UserError, match="--replace"):
        write_world(tmp_path / "made", 3)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(UserError, match="no synthetic world"):
        write_world(tmp_path / "precious", 2, replace=True)
    with pytest.raises(UserError, match="--tiles"):
        write_world(tmp_path / "none", 0)
    monkeypatch.setattr("waterscape.sources.world.export.write_text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_world(tmp_path / "made", 3, replace=True)
    assert (tmp_path / "made" / "world.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "precious"]
    monkeypatch.undo()
    write_world(tmp_path / "made", 3, replace=True)
    assert len(list((tmp_path / "made").rglob("*.tif"))) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "precious"]


@pytest.mark.parametrize(
    ("words", "said"), [(["--tiles", "0"], "--tiles is 0"), (["--tile", "5"], "--tiles"), (["--sed", "5"], "--seed")]
)
def test_the_command_tells_mistakes_in_one_line(tmp_path, pytestconfig, words, said):
    script = pytestconfig.rootpath / "tools" / "make_world.py"
    run = subprocess.run([sys.executable, script, tmp_path / "w", *words], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert run.stderr.startswith("error: ")
    assert said in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not (tmp_path / "w").exists()
