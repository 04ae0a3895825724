"""Scenes: the rule on a small network in the shapes of Places365's files, and one of our own runs."""

import pickle
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from coloured_scenes import photo, train_classifier, write_scenes
from PIL import Image
from torch.nn import functional

from waterscape.errors import UserError
from waterscape.filters import scenes
from waterscape.filters.scenes import CATEGORIES, Scenes, cropped, read_names
from waterscape.filters.seen import Seen
from waterscape.nn.resnet18 import ResNet18
from waterscape.sources.ledger import Photo

NAMES = ("beach", "lake/natural", "street", "airfield", "field/wild")


class Canary:
    def __reduce__(self):
        return (open, ("touched-by-a-pickle", "w"))


@pytest.fixture
def weights(tmp_path):
    """A file as the Places365 project wrote its own, of a network of five classes, and the names beside it."""
    torch.manual_seed(0)
    tensors = {f"module.{name}": value for name, value in ResNet18(len(NAMES)).state_dict().items()}
    torch.save({"arch": "resnet18", "epoch": 90, "state_dict": tensors}, tmp_path / "places.pth.tar")
    lines = [f"/{name[0]}/{name} {number}\r\n" for number, name in enumerate(NAMES)]
    (tmp_path / CATEGORIES).write_text("".join(lines))
    return tmp_path / "places.pth.tar"


def seen(image, tmp_path, name="photo.png"):
    image.save(tmp_path / name)
    return Seen(Photo("vk-1", "vk", "7", "1", file=name), tmp_path / name)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_names_as_people_and_places365_write_them(tmp_path):
    text = "\ufeff# allowed\n/b/beach 48\n/l/lake/natural\nfield/wild  # steppe\n\n ice floe \nroad 66\n"
    assert read_names(write(tmp_path / "a.txt", text)) == ["beach", "lake/natural", "field/wild", "ice floe", "road"]


def test_the_rule(weights, tmp_path):
    """Top three of the probability, and all three allowed, whatever the network says."""
    one = seen(Image.new("RGB", (300, 260), "grey"), tmp_path)
    probabilities = Scenes(weights, least_sum=0.01).judge(one).facts["classes"]
    assert len(probabilities) == 3
    total = sum(probabilities.values())
    assert Scenes(weights, least_sum=total - 0.01).judge(one).keep
    assert Scenes(weights, least_sum=min(1, total + 0.01)).judge(one).reason == "no clear scene"
    three = "\n".join(probabilities)
    assert Scenes(weights, write(tmp_path / "3.txt", three), least_sum=0.01).judge(one).keep
    two = three.rsplit("\n", 1)[0]
    opinion = Scenes(weights, write(tmp_path / "2.txt", two), least_sum=0.01).judge(one)
    assert opinion.reason == "another scene than allowed"
    assert opinion.score == pytest.approx(total, abs=1e-3)


def test_probabilities_are_those_of_the_network_on_the_cropped_photo(weights, tmp_path):
    image = photo(3, 5, 480, 640)
    told = Scenes(weights, least_sum=0.01).judge(seen(image, tmp_path)).facts["classes"]
    network = ResNet18(len(NAMES)).eval()
    tensors = torch.load(weights, weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("module."): value for name, value in tensors.items()})
    resized = np.asarray(image.resize((341, 256), Image.Resampling.BILINEAR), np.float32)[16:240, 58:282] / 255
    normalised = (resized - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    with torch.inference_mode():
        logits = network(torch.from_numpy(normalised).permute(2, 0, 1)[None].float())[0]
    expected = dict(zip(NAMES, functional.softmax(logits, 0).tolist(), strict=True))
    assert told == pytest.approx({name: expected[name] for name in told}, abs=2e-3)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (256, 256), (30, 500), (150, 150)])
def test_any_shape_is_cropped(size):
    assert cropped(Image.new("RGB", size)).shape == (224, 224, 3)


@pytest.mark.parametrize("size", [(640, 480), (479, 1203), (1343, 256), (150, 151), (96, 3000)])
def test_the_middle_is_that_of_the_whole_photo_made_smaller(size):
    image = photo(3, 5, *size)
    width, height = image.size
    whole = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    small = np.asarray(image.resize(whole, Image.Resampling.BILINEAR), int)
    top, left = (round((side - 224) / 2) for side in small.shape[:2])
    assert np.abs(cropped(image) - small[top : top + 224, left : left + 224]).max() <= 1


STRIP = """
import numpy, resource
from PIL import Image
from waterscape.filters.scenes import cropped

strips = [Image.new("RGB", size, "teal") for size in ((65000, 16), (16, 65000), (3_900_000, 16))]
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)
for strip in strips:
    assert (cropped(strip) == (0, 128, 128)).all()
print("all cropped")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded as Linux does it")
def test_the_middle_of_a_strip_takes_little_memory():
    found = subprocess.run([sys.executable, "-c", STRIP], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout) == (0, "all cropped\n"), found.stderr


def test_what_cannot_be_used_is_told_before_anything_is_judged(weights, tmp_path):
    wrong = {
        "no such file of weights": Scenes(tmp_path / "absent.pth"),
        "did you mean lake/natural": Scenes(weights, write(tmp_path / "a.txt", "lake/naturl")),
        "names no class": Scenes(weights, write(tmp_path / "b.txt", "# nothing")),
        "name a text file": Scenes(weights, tmp_path),
        "give a probability": Scenes(weights, least_sum=2),
        "--categories": Scenes(weights, categories=tmp_path / "absent.txt"),
    }
    for words, one in wrong.items():
        with pytest.raises(UserError, match=words):
            one.check()


def test_a_pickle_or_another_network_is_refused_and_never_run(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = seen(Image.new("RGB", (300, 260)), tmp_path)
    torch.save({"state_dict": Canary()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match="cannot be read safely"):
        Scenes(tmp_path / "bad.pth").judge(one)
    assert not (tmp_path / "touched-by-a-pickle").exists()
    more = write(tmp_path / "more.txt", "\n".join((*NAMES, "one more")))
    with pytest.raises(UserError, match="another network than ResNet-18 of 6 classes"):
        Scenes(weights, categories=more).judge(one)


def test_what_an_opinion_depends_on_is_in_the_digest(weights, tmp_path):
    allowed = write(tmp_path / "a.txt", "beach\nstreet")
    before = Scenes(weights, allowed).digest
    write(allowed, "# the same, in another order\nstreet\n/b/beach")
    assert Scenes(weights, allowed).digest == before
    write(allowed, "beach")
    changed = Scenes(weights, allowed).digest
    assert changed != before
    assert Scenes(weights, allowed, least_sum=0.5).digest != changed
    with weights.open("ab") as file:
        file.write(b"0")
    assert Scenes(weights).digest != before


def test_what_was_hashed_is_what_judges_also_in_another_process(weights, tmp_path):
    allowed, photo = write(tmp_path / "a.txt", "\n".join(NAMES)), seen(Image.new("RGB", (300, 260)), tmp_path)
    one = Scenes(weights, allowed, least_sum=0.01)
    before = one.digest
    write(allowed, "beach")
    elsewhere = pickle.loads(pickle.dumps(one))  # as it comes to another process
    assert elsewhere.judge(photo).keep
    assert elsewhere.digest == before
    assert not Scenes(weights, allowed, least_sum=0.01).judge(photo).keep

    late = Scenes(weights, least_sum=0.01)
    assert late.digest
    with weights.open("ab") as file:
        file.write(b"0")
    scenes._places.cache_clear()  # as in another process
    with pytest.raises(UserError, match="was changed while photos were judged"):
        pickle.loads(pickle.dumps(late)).judge(photo)


@pytest.mark.long
def test_one_of_our_runs_judges_as_classify_does(tmp_path):
    run = train_classifier(write_scenes(tmp_path / "set"), tmp_path / "run")
    from waterscape.models import load

    names = load(run).recipe.known_classes()
    allowed = write(tmp_path / "a.txt", "\n".join(names[:2]))
    told = SimpleNamespace(right=0, allowed=0)
    for kind in range(4):
        opinion = Scenes(run, allowed, least_sum=0.01).judge(seen(photo(kind, 1000 + kind), tmp_path))
        (called,) = opinion.facts["classes"]
        told.right += called == names[kind]
        assert opinion.keep == (called in names[:2])
    assert told.right >= 3
