"""Images a step where nobody says: as the sources state them, and in a comparison the same for both presets."""

import importlib
import json
from pathlib import Path

import pytest
from programs import run, write_tiles

from waterscape import models
from waterscape.comparison import Candidate, Comparison
from waterscape.comparison.cells import batch_of, words
from waterscape.errors import UserError
from waterscape.start import read_options
from waterscape.training.run import Run

STATED = {  # as published
    "landscape_gan:reference": 64,
    "satellite_encoder:reference": 64,
    "scene_classifier:baseline": 64,
    "scene_classifier:reference": 64,
    "ship_gan:printed": 20,
    "ship_gan:reference": 20,
}


@pytest.mark.parametrize("model", models.names())
def test_a_preset_takes_the_batch_that_its_source_states(model):
    stated = getattr(importlib.import_module(f"waterscape.models.{model}"), "BATCH", {})
    assert set(stated) <= set(models.presets(model))
    for preset in models.presets(model):
        name = f"{model}:{preset}"
        assert read_options(model, preset, ["--out", "run"])[1] == Run(out=Path("run"), batch=STATED.get(name, 32))
        assert read_options(model, preset, ["--out", "run", "--batch", "7"])[1].batch == 7


def test_both_presets_of_a_comparison_take_the_same_batch(tmp_path):
    wanted = Comparison("landscape_gan", presets=("reference", "small"), data=tmp_path, out=tmp_path)
    for settings, batch in (({}, 32), ({"batch": "16"}, 16)):
        for preset in wanted.presets:
            candidate = Candidate(preset, settings)
            options = words(wanted, candidate, tmp_path / "run", 1)
            assert options.count("--batch") == 1
            assert read_options(wanted.model, preset, options)[1].batch == batch_of(candidate) == batch


def test_a_run_goes_on_with_the_batch_that_it_began_with(tmp_path, capfd):
    tiles, out = write_tiles(tmp_path / "tiles", samples=40), tmp_path / "run"
    words = ["train", "water_vae:reference", "--data", tiles, "--out", out, "--no-tensorboard", "--held-out", 4]
    run(*words, "--images", 8, "--batch", 4)  # as where another batch was usual
    run(*words, "--images", 16)
    facts = json.loads((out / "run.json").read_text())
    assert (facts["run"]["batch"], facts["run"]["images"], len(facts["history"])) == (4, 16, 2)
    assert "16 images done" in capfd.readouterr().out
    with pytest.raises(UserError, match="batch: 4 then, 32 now"):
        run(*words, "--images", 16, "--batch", 32)
