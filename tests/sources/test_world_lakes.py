"""The synthetic world of circular lakes: circles on the ground, stretched in its exports, round at true scale."""

from __future__ import annotations

import json
import re
from collections import defaultdict

import numpy as np
import pytest
import rasterio
from programs import run_program
from pyproj import Geod
from test_true_scale import axes_ratio, samples, tiles_of

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.sources.world.circles import RADIUS, SHORE, write_lakes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "lakes"
    done = run_program("tools/make_world.py", out, "--lakes-at", "60,-45")
    assert done.returncode == 0, done.stderr
    assert "66 synthetic tiles of circular lakes" in done.stdout
    return out


def test_the_world_says_that_it_is_synthetic_and_where_its_lakes_are(world):
    facts = json.loads((world / "world.json").read_text())
    assert facts["synthetic"] is True
    assert {region["name"] for region in facts["regions"]} == {path.name for path in world.iterdir() if path.is_dir()}
    longitudes = []
    for region in facts["regions"]:
        tiles = list((world / region["name"]).iterdir())
        assert len(tiles) == region["tiles"]
        for path in tiles:
            with rasterio.open(path) as dataset:
                assert dataset.tags()["synthetic"] == "true"
                assert dataset.crs.to_epsg() == 4326
                assert dataset.nodata == 0
                longitudes.append(dataset.bounds.right)
    assert max(longitudes) > 180.5


def test_a_lake_is_a_circle_on_the_ground(world):
    region = json.loads((world / "world.json").read_text())["regions"][0]
    paths = sorted((world / region["name"]).iterdir())
    with rasterio.open(paths[len(paths) // 2]) as dataset:
        rows, columns = np.mgrid[:256:4, :256:4].reshape(2, -1)
        occurrence = dataset.read(1)[rows, columns]
        x, y = (np.array(part) for part in dataset.xy(rows, columns))
    ground = Geod(ellps="WGS84")
    near = np.full(x.size, np.inf)
    for lake in region["lakes"]:
        near = np.minimum(near, ground.inv(x, y, np.full(x.size, lake[0]), np.full(x.size, lake[1]))[2])
    expected = np.clip(50 - 50 * (near - RADIUS) / SHORE, 0, 100)
    assert np.abs(expected - occurrence).max() < 0.51


@pytest.mark.long
def test_lakes_are_round_at_true_scale_and_were_not_before(world, tmp_path):
    for path in sorted(world.glob("*/*-0000000256-0000000256.tif")):
        latitude = float(re.search(r"lakes(-?\d+)", path.parent.name.replace("lakes-", "lakes", 1))[1])
        with rasterio.open(path) as dataset:
            before = axes_ratio(dataset.read(1))
        assert np.allclose(before, 1 / np.cos(np.radians(latitude)), rtol=0.02)
        after = [ratio for _, tile in tiles_of(path.parent, size=256) for ratio in axes_ratio(tile.occurrence)]
        assert len(after) >= 6
        assert max(after) < 1.01
    done = run_program("tools/pack_occurrence.py", world, "--out", tmp_path / "water", "--true-scale", "--processes", 1)
    assert done.returncode == 0, done.stderr
    facts = Manifest.load(tmp_path / "water").facts
    assert facts["synthetic"] is True
    assert facts["read"] == 66
    shapes = {name: sum(split[name] for split in facts["shapes"].values()) for name in facts["classes"]}
    assert shapes["lake"] == sum(shapes.values())


@pytest.mark.long
def test_four_latitudes_by_the_tools_alone_in_one_go_and_in_eight_parts(tmp_path):
    world, whole, joined = tmp_path / "world", tmp_path / "whole" / "water", tmp_path / "joined" / "water"
    done = run_program("tools/make_world.py", world, "--lakes-at", "45,60,70,78")
    assert done.returncode == 0, done.stderr
    ends = [["--part", f"{part}/8"] for part in range(1, 9)] + [["--join"]]
    for out, words in [(whole, []), *((joined, end) for end in ends)]:
        done = run_program("tools/pack_occurrence.py", world, "--out", out, "--true-scale", *words)
        assert done.returncode == 0, done.stderr
    files = [{path.name: path.read_bytes() for path in out.glob("*.tar")} for out in (whole, joined)]
    assert files[0] == files[1]
    ratios = defaultdict(list)
    for sample in samples(joined):
        assert sample["occurrence.npy"].shape == (256, 256)
        ratios[sample["json"]["region"]] += axes_ratio(sample["occurrence.npy"])
    assert set(ratios) == {f"synthetic-lakes-{at}{end}" for at in (45, 60, 70, 78) for end in ("", "-antimeridian")}
    for region in ratios.values():
        assert len(region) >= 6
        assert max(region) < 1.01


def test_a_world_is_replaced_only_when_told_so(world):
    before = {path: path.stat().st_mtime_ns for path in world.rglob("*.tif")}
    with pytest.raises(UserError, match="--replace"):
        write_lakes(world, [50])
    assert {path: path.stat().st_mtime_ns for path in world.rglob("*.tif")} == before


@pytest.mark.parametrize("latitudes", [[], [81.0], [45.0, 45.0]])
def test_latitudes_that_cannot_be_are_refused(tmp_path, latitudes):
    with pytest.raises(UserError, match="--lakes-at"):
        write_lakes(tmp_path / "out", latitudes)
    assert not list(tmp_path.iterdir())
