"""Synthetic Landsat scenes: the same from the same seed, as plausible as they claim, and called synthetic."""

import json

import numpy as np
import pytest
import rasterio
from PIL import Image

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import mndwi
from waterscape.sources.landsat.scene import open_scene
from waterscape.sources.world.landsat import COVERS, SNOW, WATER, draw_scene
from waterscape.sources.world.landsat_export import place, write_landsat

SCENES = 16


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed, 160) for seed in range(SCENES)]


def test_a_scene_follows_from_seed_and_side(scenes):
    again = draw_scene(3, 160)
    for name in ("reflectances", "elevation", "water", "cover"):
        assert np.array_equal(getattr(again, name), getattr(scenes[3], name))
    assert not np.array_equal(scenes[3].water, scenes[4].water)
    larger = draw_scene(3, 300)
    assert larger.reflectances.shape == (300, 300, 5)
    assert (larger.water.dtype, larger.cover.dtype, larger.elevation.dtype) == (bool, np.uint8, np.float32)


def test_grounds_have_the_spectra_that_tell_them_apart(scenes):
    seen = np.concatenate([one.reflectances.reshape(-1, 5) for one in scenes])
    cover = np.concatenate([one.cover.ravel() for one in scenes])
    water = np.concatenate([one.water.ravel() for one in scenes])
    assert set(np.unique(cover)) <= set(COVERS)
    assert len(np.unique(cover)) >= 8
    assert seen.min() > -0.02
    assert seen.max() < 1.6
    green, nir, swir = seen[:, 1], seen[:, 3], seen[:, 4]
    assert np.median(swir[water]) < 0.05 < 0.1 < np.median(swir[~water])
    assert np.median(nir[cover == 10]) > 3 * np.median(seen[cover == 10, 2])  # plants
    assert np.median(green[cover == SNOW]) > 0.5 > 0.2 > np.median(swir[cover == SNOW])
    assert (cover[water] == WATER).mean() > 0.5
    assert not water[cover == SNOW].any()
    assert all(0.01 < one.water.mean() < 0.9 for one in scenes)


def test_an_index_alone_does_not_do(scenes):
    scores = []
    for one in scenes:
        index = mndwi(one.reflectances[..., 1].astype(np.float64), one.reflectances[..., 4].astype(np.float64)) > 0
        scores.append((index & one.water).sum() / (index | one.water).sum())
    assert 0.5 < np.mean(scores) < 0.95
    assert min(scores) < 0.7


def test_water_is_level_and_low(scenes):
    """Lakes hardly rise within a pixel; the slope of land is what tells mountains."""
    slopes = [np.hypot(*np.gradient(one.elevation, 30)) for one in scenes]
    wet = np.concatenate([slope[one.water] for slope, one in zip(slopes, scenes, strict=True)])
    dry = np.concatenate([slope[~one.water] for slope, one in zip(slopes, scenes, strict=True)])
    assert np.median(wet) < 0.5 * np.median(dry)


def test_files_hold_what_was_drawn(tmp_path):
    facts = write_landsat(tmp_path / "world", 3, seed=5, side=64)
    assert facts["synthetic"] is True
    assert json.loads((tmp_path / "world" / "world.json").read_text())["files"] == facts["files"]
    for number, entry in enumerate(facts["files"]):
        path = tmp_path / "world" / entry["file"]
        drawn = draw_scene(entry["seed"], 64)
        opened = open_scene(path)
        reflectances, elevation = opened.read(opened.whole)
        quality, _ = opened.layer("qa", opened.whole)
        clear = quality >> 3 & 1 == 0
        assert np.abs(reflectances - drawn.reflectances)[clear].max() < 2e-5
        assert np.abs(elevation - drawn.elevation).max() <= 0.5
        mask = np.asarray(Image.open(tmp_path / "world" / "masks" / f"{path.stem}.png"))
        assert np.array_equal(mask, drawn.water)
        wrong = (quality >> 7 & 1 != drawn.water)[clear].mean()
        assert 0.001 < wrong < 0.5
        assert entry["shares"]["water_bit_wrong"] == pytest.approx(wrong * clear.mean(), abs=1e-4)
        with rasterio.open(path) as dataset:
            assert dataset.tags()["synthetic"] == "true"
            assert dataset.crs.to_string() == place(number)[0]
    again = write_landsat(tmp_path / "again", 3, seed=5, side=64)
    assert again == facts
    with pytest.raises(UserError, match="exists: choose another directory, or add --replace"):
        write_landsat(tmp_path / "world", 1)
    with pytest.raises(UserError, match="--landsat is 0; give 1 or more"):
        write_landsat(tmp_path / "none", 0)
