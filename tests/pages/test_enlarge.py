"""`waterscape enlarge` and `sample --enlarge`: files that reduce exactly to those given, marked, each in its place."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image
from programs import run, write_tiles

from waterscape.__main__ import dispatch
from waterscape.errors import UserError
from waterscape.sources import occurrence
from waterscape.sources.occurrence_sample import reduce


@pytest.fixture(scope="module")
def enlarger(tmp_path_factory):
    """A run of an enlarger, trained for a moment."""
    directory = tmp_path_factory.mktemp("enlarger")
    tiles = write_tiles(directory / "tiles", samples=20, full=True)
    words = ["--width", 4, "--blocks", 1, "--window", 8, "--batch", 4, "--images", 8, "--held-out", 2]
    run("train", "water_enlarger", "--data", tiles, "--out", directory / "run", *words, "--no-tensorboard")
    return directory / "run"


def tile(height=64, width=64, seed=0):
    """Percent of every size of number, with dry and wet ground."""
    percent = np.random.default_rng(seed).integers(0, 101, (height, width)).astype(np.uint8)
    percent[: height // 4], percent[-height // 4 :] = 0, 100
    return percent


def means(percent):
    """Exact means of blocks of 4 × 4."""
    height, width = (side // 4 for side in percent.shape)
    return percent.reshape(height, 4, width, 4).mean((1, 3))


def geotiff(path, percent, **options):
    place = {"crs": "EPSG:32642", "transform": rasterio.Affine(100, 0, 500_000, 0, -100, 6_000_000)}
    shape = {"height": percent.shape[0], "width": percent.shape[1], "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **options) as dataset:
        dataset.write(percent, 1)


def test_png_tiles_of_any_size_reduce_to_themselves(enlarger, tmp_path):
    shapes = {"usual": (64, 64), "small": (1, 3), "wide": (30, 250)}
    for name, shape in shapes.items():
        Image.fromarray(tile(*shape)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    run("enlarge", enlarger, *(tmp_path / f"{name}.png" for name in shapes), "--out", out)
    for name, (height, width) in shapes.items():
        found = occurrence.read(out / f"{name}.png")
        assert found.occurrence.shape == (4 * height, 4 * width)
        assert np.array_equal(means(found.occurrence), tile(height, width))
    assert np.array_equal(reduce(occurrence.read(out / "usual.png").occurrence, 64), tile()), "as the packer reduces"
    told = json.loads((out / "enlarged.json").read_text())
    for picture in (out / "usual.png", out / "enlarged.png"):
        with Image.open(picture) as image:
            assert image.text["synthetic"] == told["synthetic"] == "true"
            assert image.text["checkpoint_sha256"] == told["checkpoint_sha256"]
    assert [one["now"] for one in told["enlarged"]] == [[256, 256], [4, 12], [120, 1000]]


def test_a_geotiff_stays_in_its_place_and_masked_where_it_was(enlarger, tmp_path):
    percent = tile()
    percent[:9, :5] = 255
    geotiff(tmp_path / "here.tif", percent, nodata=255)
    geotiff(tmp_path / "whole.tif", tile())
    run("enlarge", enlarger, tmp_path / "here.tif", tmp_path / "whole.tif", "--out", tmp_path / "out")
    before, after = occurrence.read(tmp_path / "here.tif"), occurrence.read(tmp_path / "out" / "here.tif")
    assert after.place.crs == before.place.crs
    assert after.place.metres_per_pixel == pytest.approx([metres / 4 for metres in before.place.metres_per_pixel])
    assert (after.place.longitude, after.place.latitude) == pytest.approx(
        (before.place.longitude, before.place.latitude)
    )
    assert np.array_equal(after.observed, before.observed.repeat(4, 0).repeat(4, 1))
    assert np.array_equal(means(after.occurrence), before.occurrence)
    assert occurrence.read(tmp_path / "out" / "whole.tif").observed is None
    with rasterio.open(tmp_path / "out" / "here.tif") as dataset:
        assert dataset.tags()["synthetic"] == "true"


def test_real_tiles_reduce_to_themselves(enlarger, real_data, tmp_path):
    files = sorted((real_data / "water_occurrence").glob("*.png"))[:3]
    run("enlarge", enlarger, *files, "--out", tmp_path)
    for path in files:
        assert np.array_equal(means(occurrence.read(tmp_path / path.name).occurrence), occurrence.read(path).occurrence)


def test_bad_files_are_named_and_the_others_enlarged(enlarger, tmp_path, capsys):
    Image.fromarray(tile()).save(tmp_path / "good.png")
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "bright.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "colour.png")
    (tmp_path / "words.tif").write_text("no tile")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:300])
    Image.new("L", (9_500, 9_500)).save(tmp_path / "enormous.png")
    names = ["good.png", "bright.png", "colour.png", "words.tif", "absent.png"]
    names += ["clear.png", "deep.png", "cut.png", "enormous.png"]
    words = ["enlarge", enlarger, *(tmp_path / name for name in names), "--out", tmp_path / "out"]
    assert dispatch([str(word) for word in words]) == 1
    told = capsys.readouterr().err.splitlines()
    reasons = ["holds 200, above 100", "mode RGB", "not a GeoTIFF that can be read", "no such file"]
    reasons += ["mode RGBA", "mode I;16", "cannot be read", "gigantic"]
    assert len(told) == len(reasons)
    for line, name, reason in zip(told, names[1:], reasons, strict=True):
        assert line.startswith(f"{tmp_path / name}: NOT enlarged: ")
        assert reason in line
    assert (tmp_path / "out" / "good.png").exists()
    assert len(json.loads((tmp_path / "out" / "enlarged.json").read_text())["not enlarged"]) == len(reasons)


def test_what_cannot_be_is_told_before_anything_is_written(enlarger, runs, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(tile()).save(tmp_path / folder / "tile.png")
    one, two = tmp_path / "a" / "tile.png", tmp_path / "b" / "tile.png"
    with pytest.raises(UserError, match="would both be written as"):
        run("enlarge", enlarger, one, two, "--out", tmp_path / "out")
    with pytest.raises(UserError, match="would be replaced by its enlarged one"):
        run("enlarge", enlarger, one, "--out", tmp_path / "a")
    with pytest.raises(UserError, match="is a run of water_vae, which enlarges nothing"):
        run("enlarge", runs / "vae", one, "--out", tmp_path / "out")
    with pytest.raises(UserError, match="is a run of water_gan, which enlarges nothing"):
        run("sample", runs / "vae", "--enlarge", runs / "gan", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_new_pictures_are_enlarged(enlarger, runs, tmp_path):
    run("sample", runs / "gan", "-n", 5, "--classes", "river,lake", "--enlarge", enlarger, "--out", tmp_path)
    low, high = np.load(tmp_path / "samples.npy"), np.load(tmp_path / "enlarged.npy")
    assert (high.shape, high.dtype) == ((5, 256, 256), np.uint8)
    for small, large in zip(low, high, strict=True):
        assert np.array_equal(means(large), small)
    about = json.loads((tmp_path / "enlarged.json").read_text())
    assert about["classes"] == ["river", "lake", "river", "lake", "river"]
    with Image.open(tmp_path / "enlarged.png") as picture:
        for facts in (about, picture.text):
            assert facts["synthetic"] == "true"
            assert facts["model"] == "water_gan:recommended"
            assert facts["enlarger_model"] == "water_enlarger:recommended"
            assert len(facts["enlarger_checkpoint_sha256"]) == 64
