"""The traversal sheets: each picture is the one of its numbers, and all say that they are synthetic."""

import json

import numpy as np
import pytest
import torch
from coloured_scenes import write_scenes
from PIL import Image
from programs import run
from scipy.stats import norm

import waterscape
from waterscape.errors import UserError
from waterscape.pages.explore.sliders import Sliders
from waterscape.pages.traversal import LARGEST, VALUES, full_sheet
from waterscape.sheet import GAP, MARGIN, ROW_GAP, TITLE_SIZE
from waterscape.training.exhibit import as_array


@pytest.fixture(scope="module")
def landscapes(tmp_path_factory):
    directory = tmp_path_factory.mktemp("traversal")
    words = ["--data", write_scenes(directory / "scenes"), "--side", 16, "--width", 4, "--batch", 8, "--images", 16]
    words += ["--held-out", 0, "--no-tensorboard", "--picture-every", 10**9, "--evaluate-every", 0]
    run("train", "landscape_gan:small", "--out", directory / "run", *words)
    return directory / "run"


def test_values_are_equally_probable():
    assert norm.cdf(VALUES) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])


def test_each_of_625_pictures_is_that_of_its_numbers(landscapes):
    trained = waterscape.load(landscapes)
    whole = np.asarray(full_sheet(Sliders(trained), 0, "SYNTHETIC"))
    scale = LARGEST // 16
    side = 16 * scale
    block = 5 * side
    lefts = []  # where the sheet's first picture would begin, by each of these
    for one, two, three, four in [(0, 0, 0, 0), (4, 1, 3, 2), (2, 4, 0, 3), (4, 4, 4, 4)]:
        numbers = torch.tensor([[VALUES[place] for place in (one, two, three, four)]])
        made = as_array(trained.recipe.generate(trained.networks, numbers, torch.zeros(1, dtype=torch.int64)))[0]
        picture = np.kron(np.round(made * 255).astype(np.uint8), np.ones((scale, scale, 1), np.uint8))
        top = MARGIN + TITLE_SIZE + ROW_GAP + 4 + one * (block + ROW_GAP) + three * side
        band = whole[top : top + side]
        found = [x for x in range(whole.shape[1] - side) if np.array_equal(band[:, x : x + side], picture)]
        lefts.append({x - two * (block + GAP) - four * side for x in found})
    assert len(set.intersection(*lefts)) == 1


def test_sheets_and_figures_of_a_run(landscapes, tmp_path, capsys):
    run("sample", landscapes, "--traverse", "--out", tmp_path)
    names = ["traversal.png", "traversal-axes.png", "traversal.json"]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    about = json.loads((tmp_path / "traversal.json").read_text())
    shares = about["classes"]["all"]["share_of_change"]
    assert list(shares) == ["number 1", "number 2", "number 3", "number 4"]
    assert sum(shares.values()) == pytest.approx(1, abs=1e-3)
    for name in names[:2]:
        with Image.open(tmp_path / name) as picture:
            assert picture.text["synthetic"] == about["synthetic"] == "true"
            assert picture.text["checkpoint_sha256"] == about["checkpoint_sha256"]


def test_many_numbers_and_classes(runs, tmp_path):
    run("sample", runs / "gan", "--traverse", "--classes", "river,lake", "--out", tmp_path)
    about = json.loads((tmp_path / "traversal.json").read_text())
    assert list(about["classes"]) == ["river", "lake"]
    assert len(about["classes"]["lake"]["share_of_change"]) == 8
    assert not (tmp_path / "traversal.png").exists()
    with pytest.raises(UserError, match="no class 'sea' in this model"):
        run("sample", runs / "gan", "--traverse", "--classes", "sea", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()
