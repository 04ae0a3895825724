"""`waterscape evaluate`: card, table and pictures of several kinds of models, and what is refused."""

import json

import pytest
from coloured_scenes import train_classifier, write_scenes
from PIL import Image
from programs import run, write_tiles

from waterscape.__main__ import dispatch
from waterscape.errors import UserError
from waterscape.metrics.card import Card


def test_a_generator(runs, tmp_path, capsys):
    words = ["evaluate", runs / "vae", "--split", "valid", "--samples", 32]
    run(*words, "--out", tmp_path)
    printed = capsys.readouterr().out
    assert "on synthetic valid of" in printed
    path = next(tmp_path.glob("*.json"))
    card = Card.load(path)
    assert all(figure.name in printed for figure in card.figures)
    for picture in (path.with_suffix(".png"), path.with_name(f"{path.stem}-nearest.png")):
        with Image.open(picture) as opened:
            assert opened.text["synthetic"] == "true"
            assert opened.text["checkpoint_sha256"] == card.run["sha256"]
            assert opened.width > 600
    run(*words, "--seed", 1, "--out", tmp_path / "other", "--beside", path)
    printed = capsys.readouterr()
    assert f"NOT alike with {path.stem}: seed: 1 and 0" in printed.err
    assert path.stem in printed.out


@pytest.mark.long
def test_a_classifier(tmp_path, capsys):
    scenes = write_scenes(tmp_path / "set")
    out = train_classifier(scenes, tmp_path / "classifier")
    run("evaluate", out)
    card = Card.load(next((out / "cards").glob("*.json")))
    accuracy = card.figure("accuracy")
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1
    run("classify", out, "--data", scenes)
    told = json.loads((out / "classified" / "test.json").read_text())
    assert accuracy.value == pytest.approx(told["accuracy"])
    assert card.data["samples"] == told["samples"]
    run("evaluate", out, "--samples", 8, "--out", tmp_path / "few")  # a figure without an interval
    assert Card.load(next((tmp_path / "few").glob("*.json"))).figure("accuracy").low is None
    assert "accuracy" in capsys.readouterr().out


def test_what_cannot_be_evaluated_is_refused(runs, tmp_path):
    few = write_tiles(tmp_path / "few", samples=30)
    for words, message in {
        (tmp_path / "none",): "no run",
        (runs / "vae", "--data", tmp_path / "nowhere"): "no set of shards",
        (runs / "vae", "--split", "test"): "splits train, valid: name one",
        (runs / "vae", "--split", "valid", "--samples", 5): "6 or more",
        (runs / "vae", "--split", "valid", "--data", few): "3 samples in valid",
        (runs / "vae", "--split", "valid", "--features", "clip"): "give random",
        (runs / "vae", "--split", "valid", "--beside", tmp_path / "no.json"): "cannot be read",
    }.items():
        with pytest.raises(UserError, match=message):
            dispatch([str(word) for word in ("evaluate", *words)])


def test_a_set_that_has_gone(runs, tmp_path):
    facts = json.loads((runs / "vae" / "run.json").read_text())
    facts["run"]["data"] = str(tmp_path / "gone")
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "run.json").write_text(json.dumps(facts))
    (moved / "checkpoints").symlink_to(runs / "vae" / "checkpoints")
    with pytest.raises(UserError, match="at hand: name one by --data"):
        dispatch(["evaluate", str(moved)])
