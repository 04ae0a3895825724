"""The shape classifier: descriptors there and back, trained on a small synthetic world, and asked about tiles."""

import json

import numpy as np
import pytest
import torch
from packed_worlds import write_packed_world
from PIL import Image
from programs import run

from waterscape.data.batches import ShardSet
from waterscape.metrics.morphology import CLASSES, COLUMNS
from waterscape.models.shape_classifier import DESCRIPTORS, PLACES, restored, standardised
from waterscape.randomness import Draw


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small synthetic world, and its shards."""
    return write_packed_world(tmp_path_factory.mktemp("world"), 60).parent


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("shapes") / "run"
    words = ["--images", 480, "--batch", 16, "--balance", "shape.npy", "--no-tensorboard", "--widths", 8, 16]
    run("train", "shape_classifier", "--data", world / "water", "--out", out, *words, "--average-images", 0)
    return out


def test_descriptors_there_and_back():
    body = 1 + 3 * Draw(0, torch.arange(9), torch.float64).uniform("body", len(COLUMNS))
    assert torch.allclose(restored(standardised(body)), body[:, list(PLACES)])


def test_the_packed_body_is_the_largest_one(world):
    tiles = ShardSet(world / "water", "train")
    for number in range(len(tiles)):
        sample = tiles.read(number)
        bodies = np.asarray(sample["bodies.npy"])
        wanted = bodies[0] if len(bodies) else np.zeros(len(COLUMNS), np.float32)
        np.testing.assert_array_equal(sample["body.npy"], wanted)
        assert len(bodies) == 0 or wanted[COLUMNS.index("area")] == bodies[:, COLUMNS.index("area")].max()


@pytest.mark.long
def test_it_learns_classes_and_descriptors(trained):
    events = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines()]
    losses = [event["losses"] for event in events if event["event"] == "report"]
    assert losses[-1]["cross-entropy"] < 0.8 * losses[0]["cross-entropy"]
    assert losses[-1]["descriptor error"] < 0.8 * losses[0]["descriptor error"]
    measured = [event["measured"] for event in events if event["event"] == "picture"]
    assert {f"{name}, mean absolute error" for name in DESCRIPTORS} <= set(measured[-1])


@pytest.mark.long
def test_a_set_is_shown_whole_and_compared_with_what_was_drawn(trained, world, tmp_path, capsys):
    drawn = world / "exports" / "world.json"
    run("classify", trained, "--data", world / "water", "--split", "train", "--drawn", drawn, "--out", tmp_path)
    assert "agrees with what was drawn" in capsys.readouterr().out
    told = json.loads((tmp_path / "train.json").read_text())
    everything = told["agreement with what was drawn"][0]
    assert everything["which"] == "all"
    assert 0 < everything["tiles"] <= told["samples"]
    assert everything["rules"] > 0.5, "the rules were made to find what is drawn"
    for name in ("train.png", "train-examples.png", "train-seen.png"):
        assert Image.open(tmp_path / name).size[0] > 300


def test_tiles_are_classified_and_measured(trained, world, tmp_path, capsys):
    tile = next((world / "exports").glob("*/*.tif"))
    small = np.zeros((64, 64), np.uint8)
    small[20:40, 10:50] = 90
    Image.fromarray(small).save(tmp_path / "small.png")
    Image.fromarray(small[:50]).save(tmp_path / "odd.png")
    run("classify", trained, tile, tmp_path / "small.png", "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "classified.json").read_text())["classified"]
    assert [one["read"] for one in told] == [["256 pixels made 64"], []]
    assert all(one["class"] in CLASSES and set(one["main body"]) == set(DESCRIPTORS) for one in told)
    from waterscape.__main__ import dispatch

    assert dispatch(["classify", str(trained), str(tmp_path / "odd.png"), "--out", str(tmp_path / "out")]) == 1
    assert "64 × 50 pixels: give a square tile of 64 or more" in capsys.readouterr().err
