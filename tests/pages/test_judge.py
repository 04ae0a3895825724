"""`waterscape judge`: the table, numbers and pictures of a VAE's reconstructions, and what is refused."""

import json

import numpy as np
import pytest
import torch
from coloured_scenes import train_classifier, write_scenes
from packed_worlds import write_packed_world
from PIL import Image
from programs import run

from waterscape import models
from waterscape.__main__ import dispatch
from waterscape.data.batches import ShardSet
from waterscape.errors import UserError
from waterscape.metrics.judged import judge as judge_verdicts
from waterscape.metrics.morphology import CLASSES
from waterscape.models.scene_classifier import SCENES

QUIET = ["--no-tensorboard", "--picture-every", 10**6, "--evaluate-every", 0, "--held-out", 0]
LADDER = ["--widths", 16, "--latents", 8, "--warm-up-images", 0, "--no-views", "--average-images", 0]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "set")


@pytest.fixture(scope="module")
def classifier(scenes, tmp_path_factory):
    return train_classifier(scenes, tmp_path_factory.mktemp("runs") / "classifier")


@pytest.fixture(scope="module")
def vae(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "vae"
    run("train", "scene_vae", "--data", scenes, "--out", out, "--batch", 6, "--images", 12, *LADDER, *QUIET)
    return out


def test_a_vae_is_judged_with_a_table_numbers_and_pictures(vae, classifier, tmp_path, capsys):
    run("judge", vae, classifier, "--new", 20, "--out", tmp_path)
    printed = capsys.readouterr().out
    assert all(f"\n{name}" in printed for name in (*SCENES, "all"))
    assert "20 new pictures: " in printed
    told = json.loads((tmp_path / "test.json").read_text())
    assert told["synthetic_samples"] is True
    assert told["synthetic"] == "true"
    assert sum(told["new pictures"]["shares"].values()) == pytest.approx(1)
    lines = {line["name"]: line for line in told["survival"]}
    assert lines["all"]["samples"] == told["samples"] == 21
    moved = np.array(told["confusion (rows are what originals are called)"])
    assert moved.sum() == 21
    assert lines["all"]["same"] == pytest.approx(np.trace(moved) / 21)
    for before, recall in (("originals", "recall_original"), ("decoded ones", "recall_decoded")):
        confusion = np.array(told[f"confusion of {before} (rows are true)"])
        assert lines["all"][recall] == pytest.approx(np.trace(confusion) / 21)
    assert lines["all"]["recall_original"] > 0.6
    right = lines["all"]["recall_original"] * 21
    assert lines["all"]["survives"] * right <= lines["all"]["recall_decoded"] * 21 + 1e-9
    for name in ("test.png", "test-examples.png"):
        picture = Image.open(tmp_path / name)
        assert picture.size[0] > 300
        assert picture.text["synthetic"] == "true"
    sheet = np.asarray(Image.open(tmp_path / "test-examples.png").convert("RGB")).reshape(-1, 3)
    assert (sheet == (34, 140, 69)).all(1).any(), "no picture is framed as called right"


@pytest.mark.long
def test_originals_of_the_classifiers_own_size_are_called_as_classify_does(scenes, tmp_path):
    """With no resizing between them both commands see the same numbers."""
    wide = tmp_path / "wide"
    words = ["--side", 150, "--widths", 8, 16, "--batch", 14, "--images", 14, "--average-images", 0, *QUIET]
    run("train", "scene_classifier:small", "--data", scenes, "--out", wide, *words)
    made = tmp_path / "autoencoder"
    run("train", "scene_vae:autoencoder", "--data", scenes, "--out", made, "--batch", 6, "--images", 6, *QUIET)
    run("judge", made, wide, "--split", "valid", "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "valid.json").read_text())
    trained = models.load(wide)
    own = judge_verdicts(trained.recipe, trained.networks, ShardSet(scenes, "valid"))
    assert told["confusion of originals (rows are true)"] == own.confusion.tolist()
    with pytest.raises(UserError, match="20 new pictures of scene_vae"):
        dispatch(["judge", str(made), str(wide), "--new", "20", "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


@pytest.mark.long
def test_tiles_of_water_are_judged_by_their_shape(tmp_path):
    """What it tells of tiles and of the same decoded is what the two networks say, asked one after the other."""
    water, vae, shapes = write_packed_world(tmp_path, 60), tmp_path / "vae", tmp_path / "shapes"
    usual = ["--data", water, "--images", 480, "--batch", 16, "--average-images", 0, *QUIET]
    run("train", "water_vae", "--out", vae, *usual)
    run("train", "shape_classifier", "--out", shapes, "--balance", "shape.npy", "--widths", 8, 16, *usual)
    run("judge", vae, shapes, "--split", "train", "--new", 16, "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "train.json").read_text())
    maker, classifier, tiles = models.load(vae), models.load(shapes), ShardSet(water, "train")
    stored = [tiles.read(number) for number in range(len(tiles))]
    image = torch.stack([torch.from_numpy(one["occurrence64.npy"].copy()) for one in stored])[:, None] / 100
    kinds = np.array([int(one["shape.npy"]) for one in stored])
    with torch.no_grad():
        decoded = maker.networks["decoder"](maker.networks["encoder"](image)[0])
        called = {
            name: classifier.recipe.classify(classifier.networks, {"image": some}).argmax(1).numpy()
            for name, some in (("originals", image), ("decoded ones", decoded))
        }
    assert not np.array_equal(*called.values())
    for name, found in called.items():
        confusion = np.zeros((len(CLASSES), len(CLASSES)), int)
        np.add.at(confusion, (kinds, found), 1)
        assert told[f"confusion of {name} (rows are true)"] == confusion.tolist()
    lines = {line["name"]: line for line in told["survival"]}
    assert set(lines) == {*CLASSES, "all"}
    assert told["samples"] == lines["all"]["samples"] == len(tiles)
    assert sum(told["new pictures"]["shares"].values()) == pytest.approx(1)
    for name in ("train.png", "train-examples.png"):
        assert Image.open(tmp_path / "out" / name).text["synthetic"] == "true"


def test_what_cannot_be_judged_is_refused(vae, classifier, tiles, tmp_path):
    def refused(told, *words):
        with pytest.raises(UserError, match=told) as error:
            dispatch(["judge", *map(str, words), "--out", str(tmp_path / "out")])
        assert "\n" not in str(error.value)
        assert not (tmp_path / "out").exists()

    refused("is a run of scene_classifier, which makes no pictures again", classifier, classifier)
    refused("is a run of scene_vae, which knows no classes: name a classifier's run second", vae, vae)
    words = ["--data", tiles, "--images", 8, "--batch", 8, "--widths", *[4] * 8, *QUIET]
    run("train", "water_vae:reference", "--out", tmp_path / "vae", *words)
    refused("water_vae makes .* of 1 channels, and scene_classifier reads jpg of 3", tmp_path / "vae", classifier)
    other = write_scenes(tmp_path / "other", classes=("beach", "forest"), samples=8)
    refused("has the classes beach, forest, and .* knows buildings", vae, classifier, "--data", other)
    refused("has the classes .* and .* knows buildings", vae, classifier, "--data", tiles)
    refused("nowhere", vae, classifier, "--data", tmp_path / "nowhere")
    refused("is not a run", tmp_path / "nowhere", classifier)
    refused("no split", vae, classifier, "--split", "none")
