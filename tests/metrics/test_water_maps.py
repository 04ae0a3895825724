"""Maps judged on a small set whose truth is known, by hand and by the tool that makes the table."""

import json

import numpy as np
import pytest
from PIL import Image
from programs import run, run_program
from skimage.filters import threshold_otsu

from waterscape.data.pack import SetWriter
from waterscape.data.shards import ShardSet
from waterscape.metrics.segmentation import confusion
from waterscape.metrics.water_maps import INDEX, Worth, judge, otsu_of, otsu_way, threshold_way, windows
from waterscape.sources.landsat.bands import BANDS, UNKNOWN

SIDE = 32


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_lakes(tmp_path_factory.mktemp("maps") / "small")


def write_lakes(out, seed=0, last="truth.npy"):
    """Windows with a lake each, which MNDWI shows with some noise: labels that miss a corner, `last` does not."""
    random = np.random.default_rng(seed)
    facts = {"synthetic": True, "tiles": {"side": SIDE, "metres_per_pixel": 30, "crs": None, "bands": list(BANDS)}}
    with SetWriter(out, facts=facts) as writer:
        for number in range(24):
            truth = np.zeros((SIDE, SIDE), np.uint8)
            top, left = random.integers(4, 12, 2)
            truth[top : top + 12, left : left + 14] = 1
            bands = random.normal(0.2, 0.05, (SIDE, SIDE, 8)).astype(np.float32)
            bands[..., INDEX] = random.normal(-0.4, 0.2, (SIDE, SIDE)) + 0.8 * truth
            bands[0, 0] = np.nan
            labels = truth.copy()
            labels[top : top + 4, left : left + 4] = 0
            truth[20, 20] = labels[20, 20] = UNKNOWN
            cover = np.full((SIDE, SIDE), 40, np.uint8)
            cover[:, 16:] = 10
            told = {"latitude": 5.0 if number % 2 else -61.5}
            columns = {"bands.npy": bands, "water.npy": labels, last: truth, "cover.npy": cover, "json": told}
            writer.add(("train", "train", "test")[number % 3], columns)
        writer.finish()
    return out


def test_maps_are_judged_by_the_masks_where_all_is_known(small):
    held = list(windows(ShardSet(small, "test")))
    whole = judge(threshold_way(), held)
    wanted = Worth().whole
    for window in held:
        inner = (slice(3, -3), slice(3, -3))
        assert not window.known[20, 20]
        assert not window.known[3, 3], "a corner that sees nodata"
        assert window.known[inner].sum() == 26 * 26 - 2
        assert window.known.sum() == window.known[inner].sum()
        wanted += confusion((window.bands[..., INDEX] > 0)[inner], window.water[inner], window.known[inner])
    assert whole.whole == wanted
    assert 0.8 < whole.figures()["IoU"] < 1
    assert sum(whole.by_cover.values(), Worth().whole) == whole.whole
    assert sum(whole.by_latitude.values(), Worth().whole) == whole.whole
    assert set(whole.by_cover) == {10, 40}
    assert set(whole.by_latitude) == {0, -70}


def test_otsu_parts_each_window_or_all(small):
    held = list(windows(ShardSet(small, "test")))
    for window in held:
        index = window.bands[..., INDEX]
        theirs = index > threshold_otsu(index[np.isfinite(index)], nbins=1024)
        assert (otsu_way(window.bands) != theirs).sum() <= 2
    assert -0.2 < otsu_of(held) < 0.2


def test_labels_that_a_network_has_corrected_judge_nothing(small, tmp_path):
    """As correct-labels writes them: `given.npy` is what people said."""
    corrected = windows(ShardSet(write_lakes(tmp_path / "corrected", last="given.npy"), "test"))
    for one, other in zip(corrected, windows(ShardSet(small, "test")), strict=True):
        np.testing.assert_array_equal(one.water, other.water)


def test_a_window_of_one_index_has_no_threshold_of_its_own():
    bands = np.zeros((4, 4, 8), np.float32)
    for index, water in ((1.0, True), (-1.0, False), (np.nan, False)):
        bands[..., INDEX] = index
        assert (otsu_way(bands) == water).all()


@pytest.mark.long
def test_the_table_of_ways(small, tmp_path):
    words = ["--batch", 8, "--side", SIDE, "--no-tensorboard", "--held-out", 4, "--images", 80, "--data", small]
    for seed in (1, 2):
        run("train", "pixel_cnn", "--out", tmp_path / f"r{seed}", "--seed", seed, *words)
    runs = [tmp_path / "r1", tmp_path / "r2"]
    done = run_program("tools/compare_segmentation.py", small, *runs, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = {line.split(" | ")[0].strip("| "): line for line in done.stdout.splitlines() if line.startswith("|")}
    held = list(windows(ShardSet(small, "test")))
    iou = judge(threshold_way(), held).figures()["IoU"]
    assert rows["MNDWI > 0"].split(" | ")[1] == f"{iou:.3f}"
    assert " ± " in rows[f"pixel_cnn:recommended, side {SIDE}"], "the mean over two seeds"
    assert "cropland" in rows
    assert "-70° to -60°" in rows
    facts = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert len(facts[f"pixel_cnn:recommended, side {SIDE}"]) == 2
    with Image.open(tmp_path / "out" / "segmentation.png") as picture:
        assert picture.text["synthetic"] == "true"
    other = write_lakes(tmp_path / "other", seed=1)
    done = run_program("tools/compare_segmentation.py", other, runs[0], "--out", tmp_path / "out2")
    assert done.returncode == 1
    assert "r1 was trained on another set than other" in done.stderr


@pytest.mark.long
def test_a_run_that_maps_nothing_is_refused(small, runs, tmp_path):
    done = run_program("tools/compare_segmentation.py", small, runs / "vae", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "vae is a run of water_vae, which maps no water" in done.stderr
