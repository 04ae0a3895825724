"""Comparison of presets: the rules of fairness, and one small comparison from start to end."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
from PIL import Image
from programs import run_program, write_tiles

from waterscape import models
from waterscape.comparison import Candidate, Comparison, choose, differences, settings_to_try
from waterscape.comparison.wanted import changed, conditions
from waterscape.errors import UserError
from waterscape.pages.comparison import better, table


def test_both_presets_are_tried_with_the_same_settings_and_first_as_they_stand():
    tried = settings_to_try("water_vae", 9)
    assert tried[0] == {}
    assert tried == settings_to_try("water_vae", 12)[:9]
    for name, values in models.search_space("water_vae").items():
        for turn in (tried[1:5], tried[5:9]):
            assert {settings[name] for settings in turn} == set(values), "a value comes twice before all came once"


def test_the_best_mean_rank_is_chosen():
    figures = [(0.03, 9.0, 0.9), (0.02, 5.0, 0.8), (0.01, 8.0, 0.85)]
    names = ("made again: squared error", "kernel distance", "hydro-morphology distance")
    candidates = [
        Candidate("reference", {"batch": i}, figures=dict(zip(names, f, strict=True))) for i, f in enumerate(figures)
    ]
    assert choose(candidates).settings == {"batch": 1}
    assert choose(candidates[:1]) is candidates[0]


def test_the_interval_is_that_of_paired_differences():
    first = [{"error": value} for value in (1.0, 2.0, 4.0)]
    second = [{"error": value} for value in (0.5, 1.7, 3.1)]
    found = differences(first, second)["error"]
    changes = [-0.5, -0.3, -0.9]
    mean = sum(changes) / 3
    spread = math.sqrt(sum((change - mean) ** 2 for change in changes) / 2)
    half = 4.302652729911275 * spread / math.sqrt(3)  # Student's t, two degrees of freedom, 97.5 %
    assert found["mean"] == pytest.approx(mean)
    assert (found["low"], found["high"]) == pytest.approx((mean - half, mean + half))


def test_a_lost_comparison_is_told():
    wanted = {"model": "water_vae", "presets": ("reference", "recommended"), "seeds": 3, "seconds": 60.0}
    wanted |= {"threads": 1, "data": "shards/world", "trial_seconds": 15.0}
    figures = {"reference": [], "recommended": []}
    for seed in range(3):
        figures["reference"].append({"squared error": 0.01 + seed / 1e4, "SSIM": 0.80, "PSNR": 20 + seed})
        figures["recommended"].append({"squared error": 0.02 + seed / 9e3, "SSIM": 0.85 + seed / 1e3, "PSNR": 21.0})
    chosen = {side: {"preset": side, "settings": {}, "rate": 10.0, "images": 9, "figures": {}} for side in figures}
    result = {
        "comparison": wanted,
        "candidates": list(chosen.values()),
        "chosen": chosen,
        "processor_seconds": {"reference": [60.0] * 3, "recommended": [61.0, None, 60.0]},
        "figures": figures,
        "differences": differences(figures["reference"], figures["recommended"]),
        "limits": {"squared error": [0.001, 0.3]},
        "better": {"squared error": "lower", "SSIM": "higher", "PSNR": "higher"},
        "judged_by": ["squared error"],
        "synthetic": True,
    }
    lines = {line.split(" | ")[0]: line for line in table(result).splitlines() if line.startswith("| ")}
    assert lines["| squared error"].endswith("| reference |")
    assert lines["| SSIM"].endswith("| recommended |")
    assert lines["| PSNR"].endswith("| undecided |")
    assert "synthetic tiles" in table(result)
    assert "recommended 9 images in 61, ?, 60 s" in table(result)


def test_pairs_that_differ_alike_decide_nothing():
    """A share of 34 photos: three times two more are called right."""
    first, second = ([{"accuracy": count / 34} for count in counts] for counts in ((20, 22, 21), (22, 24, 23)))
    change = differences(first, second)["accuracy"]
    assert change["mean"] == pytest.approx(2 / 34)
    assert better("higher", change, "reference", "recommended") == "undecided"


def test_a_setting_may_be_one_presets_alone():
    wanted = Comparison("ship_gan", settings=("reference.width=16", "batch=8"), start=("recommended.vae=runs/vae",))
    assert wanted.given("reference") == {"width": "16", "batch": "8"}
    assert wanted.given("recommended") == {"batch": "8"}
    assert (wanted.starts("reference"), wanted.starts("recommended")) == ([], ["vae=runs/vae"])
    with pytest.raises(UserError, match=r"best\.width=16 is not \[PRESET\.\]NAME=…, of the presets reference and"):
        Comparison("ship_gan", settings=("best.width=16",)).given("reference")


def test_results_of_other_conditions_are_told_apart(tmp_path):
    wanted = Comparison("water_vae", kept=tmp_path, seconds=2, trials=1)
    assert changed(wanted) == [], "nothing is kept yet"
    (tmp_path / "conditions.json").write_text(json.dumps(conditions(wanted)))
    assert changed(dataclasses.replace(wanted, seeds=9, data=Path("elsewhere"), out=Path("there"))) == []
    assert changed(dataclasses.replace(wanted, seconds=3, presets=("recommended", "reference"))) == [
        "presets",
        "seconds",
    ]
    assert changed(wanted, {"tars_sha256": "0"}) == ["tars sha256"]
    (tmp_path / "conditions.json").write_text("{")
    with pytest.raises(UserError, match=r"conditions\.json cannot be read"):
        changed(wanted)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_small_comparison(tmp_path):
    tiles = write_tiles(tmp_path / "tiles", samples=400, held_out=("valid", "test"))
    words = ["--data", tiles, "--out", tmp_path / "out", "--seconds", 2, "--seeds", 2, "--samples", 32]
    words += ["--trials", 2, "--trial-seconds", 1]
    done = run_program("tools/compare_presets.py", "water_vae", *words, timeout=600)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert result["synthetic"] is True
    for preset, chosen in result["chosen"].items():
        owed = chosen["images"] / chosen["rate"]
        batch = chosen["settings"].get("batch", 32)
        assert owed == pytest.approx(2, abs=batch / chosen["rate"]), "the trainings are not of equal time"
        settings = {json.dumps(c["settings"]) for c in result["candidates"] if c["preset"] == preset}
        assert len(settings) == 2
    history = {json.loads(path.read_text())["run"]["seed"] for path in (tmp_path / "out" / "runs").glob("*/run.json")}
    assert history == {1, 2}
    assert "| kernel distance |" in done.stdout
    with Image.open(tmp_path / "out" / "comparison.png") as picture:
        assert picture.text["synthetic"] == "true"
    shutil.rmtree(tmp_path / "out" / "runs")
    again = run_program("tools/compare_presets.py", "water_vae", *words, timeout=600)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert not (tmp_path / "out" / "runs").exists(), "what was kept was trained again"
    other = run_program("tools/compare_presets.py", "water_vae", *words, "--samples", 16)
    assert other.returncode == 1
    assert "holds results of other conditions (samples): give the same ones" in other.stderr


@pytest.mark.long
def test_what_cannot_be_compared(tmp_path):
    words = ["--data", tmp_path, "--out", tmp_path / "out"]
    done = run_program("tools/compare_presets.py", "water_vae", *words, "--seeds", 1)
    assert done.returncode == 1
    assert done.stderr.startswith("error: --seeds 1 --trials 6: an interval takes 2 seeds")
