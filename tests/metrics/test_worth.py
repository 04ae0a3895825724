"""The figures of a card: against direct computation, between their limits, the same in one process and in two."""

import numpy as np
import pytest
import torch
from programs import finish, start

import waterscape
from waterscape.data.manifest import Manifest
from waterscape.data.shards import ShardSet
from waterscape.metrics.card import Card
from waterscape.metrics.feature_sources import features
from waterscape.metrics.frechet_distance import frechet_distance
from waterscape.metrics.hydro_morphology import MEAN, describe, hydro_morphology_distance
from waterscape.metrics.worth import Worth
from waterscape.training.processes import Processes


@pytest.fixture(scope="module")
def worth(runs, tiles, tmp_path_factory):
    trained = waterscape.load(runs / "gan")
    sets = ShardSet(tiles, "valid"), ShardSet(tiles, "train")
    processes = Processes(None, "float32", tmp_path_factory.mktemp("worth"))
    return Worth(trained, *sets, features("random"), 48, 0, processes)


@pytest.fixture(scope="module")
def card(worth, tiles):
    return worth.card(Manifest.load(tiles), "valid")


def test_distances_are_those_of_the_pictures(worth, card, tiles):
    valid = ShardSet(tiles, "valid")
    true = np.stack([valid.read(number)["occurrence64.npy"] for number in range(len(valid))])
    made = worth.made.pictures
    assert made.shape == (48, 1, 64, 64)
    sees = features("random")
    expected = frechet_distance(sees(torch.from_numpy(true / 100).float()[:, None]), sees(made))
    assert card.figure("Fréchet distance").value == pytest.approx(expected, rel=1e-6)
    percent = [np.round(100 * tile[0]).astype(np.uint8) for tile in made.numpy()]
    expected = hydro_morphology_distance(describe(true), describe(percent))[MEAN]
    assert card.figure(MEAN).value == pytest.approx(expected, rel=1e-6)


def test_figures_stand_between_their_limits(card):
    for name in ("Fréchet distance", "kernel distance", MEAN):
        figure = card.figure(name)
        assert figure.floor < figure.value, name
        assert figure.floor < figure.ceiling, name
        assert figure.low < figure.value < figure.high, name
        assert figure.better == "lower"
    assert card.figure("coverage").floor > card.figure("coverage").value
    assert 0 <= card.figure("memorisation: copied share").value <= 1
    assert card.figure("effective rank").value < card.figure("effective rank").ceiling


def test_errors_are_those_of_a_whole_evaluation(worth, card):
    direct = worth._evaluation.figures(worth.trained.networks)
    for name in ("squared error", "PSNR", "SSIM"):
        assert card.figure(f"made again: {name}").value == pytest.approx(direct[name], rel=1e-5)
    assert card.figure("made again: PSNR").better == "higher"
    assert card.figure("made again: squared error").better == "lower"


def test_a_card_says_what_it_depends_on(card, runs, tiles):
    assert card.run["sha256"] == waterscape.load(runs / "gan").sha256
    assert card.data == {
        "name": Manifest.load(tiles).name,
        "manifest_sha256": Manifest.load(tiles).sha256,
        "split": "valid",
        "samples": 20,
        "synthetic": True,
        "licence": None,
        "trained_on_it": True,
    }
    assert card.conditions["features_sha256"] == features("random").sha256
    assert (card.conditions["made"], card.conditions["pictures"]) == (48, "1 × 64 × 64")


@pytest.mark.long
@pytest.mark.parametrize("name", ["vae", "gan"])
def test_two_processes_write_the_same_card(name, runs, tmp_path):
    for world in (1, 2):
        words = ["evaluate", runs / name, "--split", "valid", "--samples", 70, "--out", tmp_path / f"{world}"]
        finish(start(world, *words))
    one, two = (Card.load(next((tmp_path / f"{world}").glob("*.json"))) for world in (1, 2))
    assert one.differences(two) == []
    assert [figure.name for figure in one.figures] == [figure.name for figure in two.figures]
    for mine, its in zip(one.figures, two.figures, strict=True):
        assert mine.value == pytest.approx(its.value, rel=1e-6), mine.name
