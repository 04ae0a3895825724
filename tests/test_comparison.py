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
from waterscape.comparison import Candidate, Cell, Comparison, check_starts, choose, differences, settings_to_try
from waterscape.comparison.cells import cell, goes_on, images_owed
from waterscape.comparison.speeds import measure_speeds, parts_of
from waterscape.comparison.wanted import changed, conditions, prepare
from waterscape.data.shard import ShardError
from waterscape.errors import UserError
from waterscape.metrics.card import Card
from waterscape.pages.comparison import better, table
from waterscape.training.outcome import Outcome
from waterscape.training.run import Run, describe, resolve, settle

CARD = Card({"name": "reference-1"}, {"synthetic": True}, {}, ())


def test_both_presets_are_tried_with_the_same_settings_and_first_as_they_stand():
    tried = settings_to_try("water_vae", 9)
    assert tried[0] == {}
    assert tried == settings_to_try("water_vae", 12)[:9]
    for name, values in models.search_space("water_vae").items():
        for turn in (tried[1:5], tried[5:9]):
            assert {settings[name] for settings in turn} == set(values), "a value comes twice before all came once"


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_a_damaged_index_is_told_before_anything_is_compared(tmp_path, split):
    write_tiles(tmp_path / "tiles", held_out=("valid", "test"))
    index = sorted((tmp_path / "tiles").glob(f"*-{split}-*.index.npy"))[-1]
    index.write_bytes(index.read_bytes()[:-7])
    with pytest.raises(ShardError, match=rf"{index.name} is damaged"):
        prepare(Comparison("water_vae", data=tmp_path / "tiles", out=tmp_path / "out"))


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


def test_other_settings_to_try_are_other_conditions(tmp_path):
    wanted = Comparison("water_vae", kept=tmp_path, trials=3)
    kept = conditions(wanted)
    kept["search"]["batch"] = [8, 16]
    (tmp_path / "conditions.json").write_text(json.dumps(kept))
    assert changed(wanted) == ["search"]
    (tmp_path / "conditions.json").write_text(json.dumps(conditions(dataclasses.replace(wanted, trials=1))))
    assert changed(dataclasses.replace(wanted, trials=1)) == [], "nothing is tried"


def facts_of(out, images=64, **options):
    run = Run(out=out, images=images, **options)
    return resolve(run, describe("water_vae", "reference", models.presets("water_vae")["reference"], {}), "ab", 1, 1)


def test_only_the_same_training_interrupted_goes_on(tmp_path):
    asked = facts_of(tmp_path)
    settle(tmp_path, asked)
    assert goes_on(tmp_path, asked), "killed: no outcome"
    Outcome("continue", "asked to stop").write(tmp_path)
    assert goes_on(tmp_path, asked)
    assert not goes_on(tmp_path, facts_of(tmp_path, images=32))
    assert not goes_on(tmp_path, facts_of(tmp_path, batch=8))
    Outcome("done", "").write(tmp_path)
    assert not goes_on(tmp_path, asked), "its weights would be judged as new ones"
    (tmp_path / "outcome").unlink()
    (tmp_path / "run.json").write_text("{")
    assert not goes_on(tmp_path, asked)


def test_what_is_kept_is_of_the_settings_asked_for(tmp_path):
    wanted = Comparison("water_vae", kept=tmp_path)
    Cell("reference", 1, {"batch": 8}, 640, 31.4, {}, CARD).save(tmp_path / "reference-1.json")
    candidate = Candidate("reference", {"batch": 8})
    assert cell(wanted, candidate, "reference-1", 1, 60, "test", None).images == candidate.images == 640
    with pytest.raises(
        UserError, match=r"reference-1\.json is of the settings {'batch': 8}, not {'batch': 16}: remove"
    ):
        cell(wanted, Candidate("reference", {"batch": 16}), "reference-1", 1, 60, "test", None)


def test_all_trainings_start_from_the_same_checkpoints(tmp_path):
    wanted = Comparison("ship_gan", kept=tmp_path, start=("vae=runs/vae", "reference.scenes=runs/scenes"))
    one = Cell("reference", 1, {}, 8, None, {"vae": "0a", "scenes": "0b"}, CARD)
    other = Cell("recommended", 1, {}, 8, None, {"vae": "0a"}, CARD)
    check_starts(wanted, {"reference": [one, one], "recommended": [other]})
    anew = dataclasses.replace(other, starts={"vae": "0c"})
    with pytest.raises(UserError, match="from different checkpoints of vae=runs/vae: remove it to train all anew"):
        check_starts(wanted, {"reference": [one, one], "recommended": [anew]})


def test_a_training_of_two_parts_is_as_long_as_both_take():
    candidate = Candidate("reference", {"batch": 8}, parts=[(0.0, 100.0), (200.0, 8.0)])
    assert images_owed(candidate, 1.04) == 104
    assert images_owed(candidate, 5) == 200 + 3 * 8
    assert parts_of(models.presets("water_vae")["reference"]) == [0]
    assert parts_of(models.presets("water_enlarger")["recommended"]) == [0, 5600]


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1.5, 2]", "[[[0, 9]]]", "[[[0, 9]], [[0, 0]]]", "[[], []]"])
def test_damaged_speeds_are_told(content, tmp_path):
    (tmp_path / "speed.json").write_text(content)
    with pytest.raises(UserError, match=r"speed\.json .*: remove it to"):
        measure_speeds(Comparison("water_vae", kept=tmp_path), [Candidate(preset, {}) for preset in "ab"], None)


@pytest.mark.parametrize("change", [{"format": 2}, {"card": []}, {"card": {"format": 2}}, {"more": 1}])
def test_other_results_are_told(change, tmp_path):
    path = tmp_path / "reference-1.json"
    Cell("reference", 1, {}, 8, None, {}, CARD).save(path)
    assert Cell.load(path).card == CARD
    for body in (json.loads(path.read_text()) | change, [1]):
        path.write_text(json.dumps(body))
        with pytest.raises(UserError, match=r"reference-1\.json is no result of a training"):
            Cell.load(path)


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
    told = (tmp_path / "out" / "comparison.json").read_text()
    shutil.rmtree(tmp_path / "out" / "runs")
    again = run_program("tools/compare_presets.py", "water_vae", *words, timeout=600)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert (tmp_path / "out" / "comparison.json").read_text() == told
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
