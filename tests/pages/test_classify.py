"""`waterscape classify`: photos of every kind, bad ones named and counted; a set with its table and pictures."""

import json

import numpy as np
import pytest
from coloured_scenes import jpeg, photo, train_classifier, write_scenes
from PIL import Image
from programs import run

from waterscape.__main__ import dispatch
from waterscape.errors import UserError
from waterscape.models.scene_classifier import SCENES


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes") / "set")


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    return train_classifier(scenes, tmp_path_factory.mktemp("run") / "run")


def test_a_run_shows_figures_by_class_and_draws_them(trained):
    events = [json.loads(line) for line in (trained / "events.jsonl").read_text().splitlines()]
    figures = [event["measured"] for event in events if event["event"] == "picture"]
    assert figures[-1]["accuracy"] > 0.6 > figures[0]["accuracy"]
    assert {f"recall: {name}" for name in SCENES} <= set(figures[-1])
    for name in ("verdicts.png", "curves.png"):
        assert Image.open(trained / name).size[0] > 300


def test_photos_of_every_kind_are_classified_and_bad_ones_named(trained, tmp_path, capsys):
    upright = photo(2, 999, 80, 120)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera lay on its side: shown upright, it is turned by a quarter
    grey16 = Image.fromarray(np.asarray(upright.convert("L")).astype(np.uint16) << 8)
    good = {
        "plain.jpg": lambda path: path.write_bytes(jpeg(upright)),
        "grey.jpg": lambda path: path.write_bytes(jpeg(upright.convert("L"))),
        "cmyk.jpg": lambda path: path.write_bytes(jpeg(upright.convert("CMYK"))),
        "clear.png": lambda path: upright.convert("RGBA").save(path),
        "deep.png": lambda path: grey16.save(path),
        "lying.jpg": lambda path: path.write_bytes(jpeg(upright.transpose(Image.Transpose.ROTATE_90), exif=turned)),
    }
    bad = {
        "cut.jpg": (lambda path: path.write_bytes(jpeg(upright)[:900]), "damaged or cut short"),
        "enormous.png": (lambda path: Image.new("1", (9000, 9000)).save(path), "too large: 9000 × 9000 pixels"),
        "words.jpg": (lambda path: path.write_text("no photo"), "no picture by its content"),
        "words.txt": (lambda path: path.write_text("no photo"), "no picture by its name"),
        "absent.jpg": (lambda path: path.unlink(missing_ok=True), "cannot be opened"),
    }
    for name, write in good.items():
        write(tmp_path / name)
    for name, (write, _) in bad.items():
        write(tmp_path / name)
    files = [tmp_path / name for name in (*good, *bad)]
    assert dispatch(["classify", *map(str, (trained, *files, "--out", tmp_path / "out"))]) == 1
    printed = capsys.readouterr()
    for name in good:
        assert f"{name}: " in printed.out
    for name, (_, reason) in bad.items():
        line = next(line for line in printed.err.splitlines() if f"{name}: NOT classified" in line)
        assert reason in line
    assert f"{len(good)} classified, {len(bad)} not" in printed.out
    told = json.loads((tmp_path / "out" / "classified.json").read_text())
    assert len(told["classified"]) == len(good)
    assert len(told["not classified"]) == len(bad)
    by_name = {one["file"].rpartition("/")[2]: one for one in told["classified"]}
    assert by_name["cmyk.jpg"]["read"] == ["CMYK made RGB"]
    assert by_name["deep.png"]["read"] == ["PNG made JPEG", "16 bits made 8"]
    assert by_name["lying.jpg"]["read"] == ["turned upright"]
    assert by_name["lying.jpg"]["class"] == by_name["plain.jpg"]["class"]
    probabilities = [list(by_name[name]["probabilities"].values()) for name in ("lying.jpg", "plain.jpg")]
    np.testing.assert_allclose(*probabilities, atol=0.05)
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-4) for one in told["classified"])
    assert Image.open(tmp_path / "out" / "classified.png").text["model"] == "scene_classifier:small"


def test_a_file_is_called_the_same_whatever_stands_beside_it(trained, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(photo(number, number)))
    found = []
    for files in ([0, 1, 2], [2]):
        run("classify", trained, *(tmp_path / f"{n}.jpg" for n in files), "--out", tmp_path / str(len(files)))
        told = json.loads((tmp_path / str(len(files)) / "classified.json").read_text())
        found.append(told["classified"][-1]["probabilities"])
    assert found[0] == found[1]


def test_a_set_is_judged_with_a_table_and_pictures(trained, scenes, tmp_path, capsys):
    run("classify", trained, "--data", scenes, "--out", tmp_path)
    printed = capsys.readouterr().out
    assert all(name in printed for name in SCENES)
    told = json.loads((tmp_path / "test.json").read_text())
    assert sum(map(sum, told["confusion (rows are true)"])) == told["samples"] == 21
    assert told["synthetic_samples"] is True
    for name in ("test.png", "test-examples.png"):
        assert Image.open(tmp_path / name).size[0] > 200


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "name the files to classify, or --data SET"),
        (["--data", "nowhere"], "nowhere"),
        (["a.jpg", "--drawn", "world.json"], "--drawn goes with --data"),
    ],
)
def test_words_that_cannot_be_are_refused(trained, tmp_path, words, told):
    with pytest.raises((UserError, OSError), match=told):
        dispatch(["classify", str(trained), *words, "--out", str(tmp_path)])


def test_a_set_of_other_classes_and_a_run_without_classes_are_refused(trained, tiles, tmp_path):
    other = write_scenes(tmp_path / "other", classes=("beach", "forest"), samples=8)
    with pytest.raises(UserError, match="has the classes beach, forest; the model knows buildings"):
        dispatch(["classify", str(trained), "--data", str(other), "--out", str(tmp_path)])
    with pytest.raises(UserError, match="the shards of other have the classes beach, forest"):
        run("train", "scene_classifier:small", "--data", other, "--out", tmp_path / "run", "--images", 8)
    words = ["--images", 8, "--batch", 8, "--held-out", 0, "--widths", *[4] * 8, "--no-tensorboard"]
    run("train", "water_vae:reference", "--data", tiles, "--out", tmp_path / "vae", *words)
    with pytest.raises(UserError, match="is a run of water_vae, which knows no classes"):
        dispatch(["classify", str(tmp_path / "vae"), "a.jpg"])
