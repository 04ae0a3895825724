"""New pictures: marked synthetic, and the same for any number of processes."""

import json

import numpy as np
import pytest
from PIL import Image
from programs import finish, run, start

from waterscape import load
from waterscape.errors import UserError
from waterscape.metrics.morphology import CLASSES
from waterscape.training.exhibit import weights_sha256


@pytest.mark.long
def test_the_same_for_any_number_of_processes(runs, tmp_path):
    for world in (1, 2):
        finish(start(world, "sample", runs / "gan", "-n", 21, "--out", tmp_path / str(world)))
    one, two = (np.load(tmp_path / str(world) / "samples.npy") for world in (1, 2))
    assert one.shape == (21, 64, 64)
    assert one.dtype == np.uint8
    assert 0 <= one.min() <= one.max() <= 100
    assert np.array_equal(one, two)


def test_samples_do_not_depend_on_how_many_there_are(runs, tmp_path):
    for count in (5, 40):
        run("sample", runs / "vae", "-n", count, "--out", tmp_path / str(count))
    few, many = (np.load(tmp_path / str(count) / "samples.npy") for count in (5, 40))
    assert np.array_equal(few, many[:5])


def test_samples_say_that_they_are_synthetic_and_of_which_class(runs, tmp_path):
    run("sample", runs / "gan", "-n", 5, "--classes", "river,lake", "--out", tmp_path)
    about = json.loads((tmp_path / "samples.json").read_text())
    assert about["classes"] == ["river", "lake", "river", "lake", "river"]
    with Image.open(tmp_path / "samples.png") as picture:
        for facts in (about, picture.text):
            assert facts["synthetic"] == "true"
            assert facts["model"] == "water_gan:recommended"
            assert len(facts["checkpoint_sha256"]) == 64


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--classes", "ocean"], f"no class 'ocean' in this model; it has {', '.join(CLASSES)}"),
        (["-n", "0"], "-n is 0; give 1 or more"),
        (["--clases", "lake"], "did you mean --classes?"),
    ],
)
def test_bad_input_is_told(runs, tmp_path, words, told):
    with pytest.raises(UserError) as error:
        run("sample", runs / "gan", *words, "--out", tmp_path / "out")
    assert told in str(error.value)
    assert not (tmp_path / "out").exists()


def test_no_run_and_the_wrong_run(tiles, runs, tmp_path):
    with pytest.raises(UserError, match="is not a run"):
        run("sample", tmp_path / "nothing")
    with pytest.raises(UserError, match="is a run of water_gan; a run of water_vae is wanted"):
        run("train", "water_gan", "--data", tiles, "--out", tmp_path / "x", "--start", f"vae={runs / 'gan'}")


def test_pictures_stand_in_the_run(runs):
    for name in ("vae", "gan"):
        assert {path.name for path in (runs / name).glob("*.png")} == {"curves.png", "strip.png"}
        assert len(list((runs / name / "pictures").glob("*.png"))) == 3


def test_pictures_of_a_training_say_what_they_are_and_by_which_weights(runs):
    for name in ("vae", "gan"):
        trained = load(runs / name)
        for path in [*sorted((runs / name / "pictures").glob("*.png")), runs / name / "strip.png"]:
            with Image.open(path) as picture:
                assert picture.text["synthetic"] == "true"
                assert picture.text["run"] == str(runs / name)
                told = picture.text
        assert told["images"] == "0, 32, 64"
        with Image.open(runs / name / "pictures" / f"{trained.checkpoint}.png") as picture:
            assert picture.text["weights_sha256"] == weights_sha256(trained.networks)
            assert picture.text["images"] == "64"
