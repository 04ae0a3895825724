"""`waterscape predict` of a scene: maps, outlines and picture; going on; memory; scenes that will not do."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import small_scenes
import torch
from PIL import Image
from programs import ROOT
from rasterio.transform import from_origin

from waterscape import models
from waterscape.__main__ import dispatch
from waterscape.errors import UserError
from waterscape.pages.predict_raster import segmenter
from waterscape.rasters.unfinished import beside, publish
from waterscape.sources.landsat.bands import band_stack
from waterscape.sources.landsat.scene import open_scene

HOLE = (slice(40, 60), slice(70, 100))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A scene, and a run of pixel_cnn."""
    made = tmp_path_factory.mktemp("predict")
    small_scenes.train_pixels(made, images=96)
    small_scenes.write_scene(made / "scene.tif", 230, 310, hole=HOLE)
    return made


def predict(root, *words, scene="scene.tif", run="run"):
    return dispatch(["predict", str(root / run), str(root / scene), *map(str, words)])


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture(scope="module")
def made(root):
    """The folder of a prediction with all that there is."""
    assert predict(root, "--out", root / "made" / "water.tif", "--outlines", root / "made" / "water.gpkg") == 0
    return root / "made"


def test_the_maps_are_what_the_model_says_of_the_whole(root, made):
    trained = models.load(root / "run")
    scene = open_scene(root / "scene.tif")
    bands = torch.from_numpy(band_stack(*scene.read(scene.whole))).permute(2, 0, 1)[None]
    with torch.no_grad():
        whole = trained.recipe.segment(trained.networks, {"bands": bands})[0, 0].numpy()
    probability, mask = read(made / "water-probability.tif"), read(made / "water.tif")
    np.testing.assert_allclose(probability, whole, atol=1e-6, rtol=0)
    assert np.array_equal(mask == 255, np.isnan(whole))
    differ = (mask == 1) != (whole > 0.5)
    assert (np.abs(whole[differ] - 0.5) <= 1e-6).all()
    assert np.isnan(whole[:5]).all()
    assert not np.isnan(whole[5, 5:-5]).any()


def test_all_that_is_left_is_the_result(made):
    names = {"water.tif", "water-probability.tif", "water.gpkg", "water.png"}
    assert {path.name for path in made.iterdir()} == names
    with rasterio.open(made / "water.tif") as dataset, rasterio.open(made.parent / "scene.tif") as scene:
        assert (dataset.crs, dataset.transform, dataset.shape) == (scene.crs, scene.transform, scene.shape)
        tags = dataset.tags()
    assert (tags["model"], tags["threshold"], tags["synthetic"]) == ("pixel_cnn:recommended", "0.5", "true")


def test_outlines_hold_the_pixels_of_the_mask(made):
    mask = read(made / "water.tif")
    about, _, found, (areas, pixels) = pyogrio.raw.read(made / "water.gpkg")
    assert about["crs"] == small_scenes.CRS
    assert pixels.sum() == (mask == 1).sum()
    np.testing.assert_allclose(areas, pixels * 900.0)
    burnt = rasterio.features.rasterize(shapely.from_wkb(found), mask.shape, transform=small_scenes.PLACE)
    assert np.array_equal(burnt, mask == 1)


def test_the_picture_says_that_it_is_synthetic(made):
    with Image.open(made / "water.png") as picture:
        assert picture.text["synthetic"] == "true"
        assert picture.width > 600


def test_threads_and_layout_change_nothing(root, made, tmp_path):
    predict(root, "--out", tmp_path / "water.tif", "--threads", 3)
    assert (tmp_path / "water.tif").read_bytes() == (made / "water.tif").read_bytes()
    small_scenes.write_scene(root / "tiled.tif", 230, 310, hole=HOLE, tiled=True, blockxsize=64, blockysize=64)
    predict(root, "--out", tmp_path / "tiled.tif", scene="tiled.tif")
    assert np.array_equal(read(tmp_path / "tiled.tif"), read(made / "water.tif"))


def test_a_threshold_and_another_place_for_probabilities(root, made, tmp_path):
    elsewhere = tmp_path / "other" / "p.tif"
    predict(root, "--out", tmp_path / "water.tif", "--threshold", "0.9", "--probability", elsewhere)
    probability = read(elsewhere)
    assert np.array_equal(probability, read(made / "water-probability.tif"), equal_nan=True)
    assert np.array_equal(read(tmp_path / "water.tif") == 1, probability > 0.9)
    assert not list(elsewhere.parent.glob(".partial*"))


def test_bands_in_another_order_are_found_by_name(root, made, tmp_path):
    turned = small_scenes.numbers(230, 310)[::-1].copy()
    turned[(slice(None), *HOLE)] = small_scenes.FILL
    with (
        rasterio.open(root / "scene.tif") as usual,
        rasterio.open(root / "turned.tif", "w", **usual.profile) as other,
    ):
        other.write(turned)
        other.scales, other.offsets = usual.scales[::-1], usual.offsets[::-1]
        other.descriptions = usual.descriptions[::-1]
    predict(root, "--out", tmp_path / "water.tif", scene="turned.tif")
    assert np.array_equal(read(tmp_path / "water.tif"), read(made / "water.tif"))


def test_bands_without_names_are_stated(root, made, tmp_path):
    small_scenes.write_scene(root / "unnamed.tif", 230, 310, hole=HOLE, names=("",) * 6)
    with pytest.raises(UserError, match=r"bands missing: B2.*--bands B2=2,B3=3"):
        predict(root, "--out", tmp_path / "water.tif", scene="unnamed.tif")
    stated = "B2=1,B3=2,B4=3,B5=4,B6=5,elevation=6"
    predict(root, "--out", tmp_path / "water.tif", "--bands", stated, scene="unnamed.tif")
    assert np.array_equal(read(tmp_path / "water.tif"), read(made / "water.tif"))


def refused(root, tmp_path, match, *words, **options):
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=match) as told:
        predict(root, "--out", tmp_path / "new" / "water.tif", *words, **options)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "new"] == before


DEGREES = {"crs": "EPSG:4326", "transform": from_origin(38, 55, 0.00027, 0.00027)}


@pytest.mark.parametrize(
    ("profile", "match"),
    [
        (
            {"transform": from_origin(400_000, 6_100_000, 10, 10)},
            r"10 m per pixel, and the run was trained on 30",
        ),
        (DEGREES, r"is in degrees, and the run was trained on metres: gdalwarp .*--any-scale"),
        ({"transform": from_origin(4e5, 6.1e6, 30, -30)}, "south up"),
        ({"transform": from_origin(4e5, 6.1e6, 30, 30) @ rasterio.Affine.rotation(20)}, "rotated"),
    ],
)
def test_scenes_of_another_kind_are_refused(root, tmp_path, profile, match):
    small_scenes.write_scene(root / "odd.tif", 60, 60, **profile)
    refused(root, tmp_path, match, scene="odd.tif")


def test_another_scale_is_taken_where_it_is_wanted(root, tmp_path):
    small_scenes.write_scene(root / "degrees.tif", 60, 60, **DEGREES)
    words = ["--outlines", tmp_path / "water.gpkg", "--any-scale"]
    assert predict(root, "--out", tmp_path / "water.tif", *words, scene="degrees.tif") == 0


def test_a_scene_without_a_crs_is_taken_but_has_no_areas(root, tmp_path, capsys):
    small_scenes.write_scene(root / "nowhere.tif", 60, 60, crs=None, transform=None)
    refused(root, tmp_path, r"has no CRS, so no areas", "--outlines", tmp_path / "w.gpkg", scene="nowhere.tif")
    assert predict(root, "--out", tmp_path / "water.tif", scene="nowhere.tif") == 0
    assert "has no CRS" in capsys.readouterr().out


def test_what_shows_nothing_is_refused(root, tmp_path):
    small_scenes.write_scene(root / "empty.tif", 60, 60, hole=(slice(None), slice(None)))
    refused(root, tmp_path, "all nodata", scene="empty.tif")
    small_scenes.write_scene(root / "tiny.tif", 10, 400)
    refused(root, tmp_path, "11 pixels a side without nodata are the least", scene="tiny.tif")


def test_words_that_do_not_fit_are_refused(root, made, tmp_path):
    refused(root, tmp_path, "already reflectance|no reflectances", "--scale", "1", "--offset", "0")
    refused(root, tmp_path, "probabilities lie between 0 and 1", "--threshold", "50")
    refused(root, tmp_path, "--threads is -1", "--threads", "-1")
    refused(root, tmp_path, r"name a GeoPackage, .*a\.gpkg", "--outlines", tmp_path / "a.shp")
    refused(root, tmp_path, "two results would both be", "--probability", tmp_path / "new" / "water.tif")
    refused(root, tmp_path, "does not exist", scene="none.tif")
    refused(root, tmp_path, "is not a run", run="made")
    for path, match in (("water.jpg", "is a GeoTIFF"), ("../made/water.tif", "is there already: say --overwrite")):
        with pytest.raises(UserError, match=match):
            predict(root, "--out", made / path)
    for path, match in ((root / "scene.tif", "is the scene itself"), (tmp_path, "is a GeoTIFF")):
        with pytest.raises(UserError, match=match):
            predict(root, "--out", path, "--overwrite")


def test_files_are_replaced_where_that_is_wanted(root, tmp_path):
    (tmp_path / "water.png").write_text("mine")
    with pytest.raises(UserError, match=r"water\.png is there already"):
        predict(root, "--out", tmp_path / "water.tif")
    assert (tmp_path / "water.png").read_text() == "mine"
    assert predict(root, "--out", tmp_path / "water.tif", "--overwrite") == 0


def test_unfinished_work_replaces_its_own_files_alone(root, tmp_path, monkeypatch):
    def killed(made, final):
        publish(made, final)
        raise KeyboardInterrupt

    monkeypatch.setattr("waterscape.pages.predict_raster.publish", killed)
    with pytest.raises(KeyboardInterrupt):
        predict(root, "--out", tmp_path / "water.tif")
    monkeypatch.undo()
    (tmp_path / "mine.gpkg").write_text("mine")
    with pytest.raises(UserError, match=r"mine\.gpkg is there already"):
        predict(root, "--out", tmp_path / "water.tif", "--outlines", tmp_path / "mine.gpkg")
    assert (tmp_path / "mine.gpkg").read_text() == "mine"
    assert predict(root, "--out", tmp_path / "water.tif") == 0
    assert {path.name for path in tmp_path.iterdir()} >= {"water.tif", "water-probability.tif", "water.png"}
    assert not list(tmp_path.glob(".*"))


def test_help_and_a_verb_without_a_run(root, capsys):
    assert dispatch(["predict", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--out water.tif" in told
    assert "TILE" in told
    with pytest.raises(UserError, match="say by which run"):
        dispatch(["predict"])
    with pytest.raises(SystemExit):
        dispatch(["predict", str(root / "run"), "--help"])
    assert "--outlines" in capsys.readouterr().out


def test_a_full_disk_is_told_before_and_loses_nothing(root, small_disk):
    disk = small_disk("256k")
    with pytest.raises(UserError, match=r"GB free, and up to .* GB may be needed"):
        predict(root, "--out", disk / "water.tif")
    assert not list(disk.iterdir())


def test_a_run_without_facts_of_its_tiles_takes_any_scene(root, tmp_path):
    facts = json.loads((root / "run" / "run.json").read_text())
    (root / "run" / "run.json").write_text(json.dumps({**facts, "tiles": None}))
    try:
        small_scenes.write_scene(root / "fine.tif", 40, 40, transform=from_origin(4e5, 6.1e6, 10, 10))
        assert predict(root, "--out", tmp_path / "water.tif", scene="fine.tif") == 0
    finally:
        (root / "run" / "run.json").write_text(json.dumps(facts))


SMALL_PARTS = """
import sys
from waterscape.rasters import segment, windows
windows.SIDE, segment.KEEP_SECONDS = 64, 0.0
from waterscape.__main__ import main
sys.argv[0] = "waterscape"
main()
"""


@pytest.mark.long
def test_killed_at_any_moment_it_ends_with_the_same_bytes(root, tmp_path):
    scene = small_scenes.write_scene(tmp_path / "scene.tif", 700, 900, tiled=True, blockxsize=64, blockysize=64)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(out):
        words = ["predict", root / "run", scene, "--out", out / "water.tif", "--outlines", out / "water.gpkg"]
        command = [sys.executable, "-c", SMALL_PARTS, *map(str, words), "--threads", "2"]
        return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)

    def done(out):
        ledger = beside(out / "water.tif") / "ledger"
        return ledger.read_text().count("\n") if ledger.exists() else 0

    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(undisturbed).wait() == 0
    draws = random.Random(0)
    kills, targets = 0, [5, 60, 150, 10_000]
    while True:
        process = start(killed)
        while process.poll() is None:
            ready = done(killed) >= targets[0] or (beside(killed / "water.tif") / "water.tif").exists()
            if targets and kills < 4 and ready:
                time.sleep(draws.random() / 5)
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills, targets = kills + 1, targets[1:] or [0]
                assert not (killed / "water.tif").exists() or not beside(killed / "water.tif").exists()
            time.sleep(0.01)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, process.stderr.read()
    assert kills >= 2
    assert {path.name for path in killed.iterdir()} == {path.name for path in undisturbed.iterdir()}
    for name in ("water.tif", "water-probability.tif"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()
    one, other = (pyogrio.raw.read(out / "water.gpkg") for out in (killed, undisturbed))
    assert all(np.array_equal(a, b) for a, b in zip((one[2], *one[3]), (other[2], *other[3]), strict=True))


PEAK = """
import sys
from pathlib import Path
from waterscape.__main__ import dispatch
from waterscape.rasters import cog, windows
windows.SIDE, cog.CACHE_BYTES = 512, 4 << 20
assert dispatch(sys.argv[1:]) == 0
print("PEAK", Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # kB, of this program alone
"""


@pytest.mark.long
def test_memory_does_not_grow_with_the_scene(tmp_path):
    """1536² and 3072² in small parts: held as a whole, their bands alone are 227 MB apart."""
    small_scenes.train_pixels(tmp_path, images=32, widths=(1, 1, 1, 1))
    peaks = []
    for side in (1536, 3072):
        scene = small_scenes.write_scene(
            tmp_path / f"{side}.tif", side, side, tiled=True, blockxsize=256, blockysize=256, zlevel=1
        )
        words = ["predict", tmp_path / "run", scene, "--out", tmp_path / f"water{side}.tif", "--threads", "2"]
        made = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, words), "--outlines", str(tmp_path / f"{side}.gpkg")],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(made.stdout.split("PEAK")[1]) / 1024)
    assert peaks[1] < peaks[0] + 110, peaks  # MB; threads' heaps and GDAL's buffers fill up with time


def test_the_function_of_a_run_is_the_recipes_own(root):
    trained = models.load(root / "run")
    bands = np.random.default_rng(0).random((30, 25, 8), np.float32)
    bands[20, 12, 3] = np.nan
    found = segmenter(trained)(bands)
    with torch.no_grad():
        batch = {"bands": torch.from_numpy(bands).permute(2, 0, 1)[None].contiguous()}
        expected = trained.recipe.segment(trained.networks, batch)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
