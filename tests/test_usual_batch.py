"""Images a step where nobody says: as the sources state them, and in a comparison the same for both presets."""

import importlib
from pathlib import Path

import pytest

from waterscape import models
from waterscape.comparison import Candidate, Comparison
from waterscape.comparison.cells import batch_of, words
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
