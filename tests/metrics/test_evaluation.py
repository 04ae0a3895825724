"""Evaluation of networks against held-out tiles, alone and as a run's watcher."""

import json
import time

import numpy as np
import pytest
import torch
from programs import finish, start

import waterscape
from waterscape.data.shards import ShardSet
from waterscape.metrics.evaluation import Evaluation
from waterscape.metrics.hydro_morphology import MEAN, SCALES
from waterscape.metrics.morphology import CLASSES
from waterscape.training.engine import Records, Sight, Watcher
from waterscape.training.events import read_events
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

DISTANCES = {"kernel distance", MEAN, *SCALES}
ERRORS = {"squared error", "absolute error", "PSNR", "SSIM"}


def evaluation_of(name, runs, tiles, **options):
    trained = waterscape.load(runs / name)
    return Evaluation(trained.recipe, ShardSet(tiles, "valid"), ShardSet(tiles, "train"), 32, **options), trained


def test_the_same_figures_every_time(runs, tiles):
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        evaluation, trained = evaluation_of("vae", runs, tiles)
        found.append(evaluation.figures(trained.networks))
    assert found[0] == found[1]
    other, _ = evaluation_of("vae", runs, tiles, seed=1)
    assert other.figures(trained.networks)["kernel distance"] != found[0]["kernel distance"]


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_what_is_measured(runs, tiles, name):
    evaluation, trained = evaluation_of(name, runs, tiles)
    found = evaluation.figures(trained.networks)
    limits = {f"{limit}: {distance}" for limit in ("floor", "ceiling") for distance in DISTANCES}
    assert set(found) == DISTANCES | ERRORS | limits | {"kernel distance, standard error"}
    assert all(np.isfinite(value) for value in found.values())
    assert found["floor: kernel distance"] < found["kernel distance"]
    assert found["floor: kernel distance"] < found["ceiling: kernel distance"]
    assert 0 <= found[f"floor: {MEAN}"] < found[f"ceiling: {MEAN}"]


def test_held_out_tiles_are_at_no_distance_from_themselves(runs, tiles):
    evaluation, _ = evaluation_of("vae", runs, tiles)
    valid = ShardSet(tiles, "valid")
    true = np.stack([valid.read(number)["occurrence64.npy"] for number in range(len(valid))])
    found = evaluation.distances(torch.from_numpy(true)[:, None] / 100)
    assert [found[name] for name in (MEAN, *SCALES)] == [0.0] * (1 + len(SCALES))
    assert abs(found["kernel distance"]) < 4 * found["kernel distance, standard error"] + 1


def test_errors_are_those_that_the_recipe_measures(runs, tiles):
    """The recipe's own figure, summed over all held-out tiles at once, says the same."""
    evaluation, trained = evaluation_of("vae", runs, tiles)
    valid = ShardSet(tiles, "valid")
    stored = torch.from_numpy(np.stack([valid.read(number)["occurrence64.npy"] for number in range(len(valid))]))
    image = trained.recipe.inputs()["image"].numbers(stored, torch.float32)
    with torch.no_grad():
        summed = trained.recipe.measure(trained.networks, {"image": image})
    found = evaluation.figures(trained.networks)
    for one, other in (("squared", "squared error per pixel"), ("absolute", "absolute error per pixel")):
        assert found[f"{one} error"] == pytest.approx(float(summed[other]) / len(valid), rel=1e-5)


def test_new_pictures_have_the_classes_of_the_held_out_ones(runs, tiles):
    evaluation, trained = evaluation_of("gan", runs, tiles)
    valid = ShardSet(tiles, "valid")
    held_out = [int(valid.read(number)["shape.npy"]) for number in range(len(valid))]
    wanted = (held_out * 2)[:32]
    asked = []
    sample = type(trained.recipe).sample

    class Listening(type(trained.recipe)):
        def sample(self, networks, draw, classes):
            asked.extend(classes.tolist())
            return sample(self, networks, draw, classes)

    evaluation.recipe = Listening(**vars(trained.recipe))
    evaluation.figures(trained.networks)
    assert asked == wanted
    assert len(set(wanted)) > 3
    assert max(wanted) < len(CLASSES)


def test_a_run_writes_them_down_and_keeps_the_best(runs):
    found = [event for event in read_events(runs / "vae") if event["event"] == "evaluation"]
    assert [event["images"] for event in found] == [0, 32, 64]
    for event in found:
        assert event["held_out"] == 20
        assert event["samples"] == 32
        assert event["seconds"] > 0
        assert set(event["figures"]) >= DISTANCES | ERRORS
    assert len({event["figures"]["floor: kernel distance"] for event in found}) == 1
    kept = [json.loads(path.read_text()) for path in (runs / "vae" / "checkpoints").glob("*/state.json")]
    best = min(found[1:], key=lambda event: event["figures"]["kernel distance"])
    measured = [state["figures"].get("kernel distance") for state in kept]
    assert best["figures"]["kernel distance"] in measured


def test_a_short_run_is_not_evaluated(runs):
    assert not [event for event in read_events(runs / "gan") if event["event"] == "evaluation"]


@pytest.mark.long
def test_one_process_and_two_find_the_same(tiles, tmp_path):
    found = []
    for world in (1, 2):
        out = tmp_path / str(world)
        words = ["--images", 64, "--batch", 16, "--no-tensorboard", "--held-out", 8, "--processes", world]
        words += ["--precision", "float64", "--evaluate-every", 64, "--evaluate-samples", 32]
        words += ["--widths", 4, 4, 4, 4, 8, 8, 8, 8]
        finish(start(world, "train", "water_vae", "--data", tiles, "--out", out, *words))
        found += [event["figures"] for event in read_events(out) if event["event"] == "evaluation"][-1:]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_watchers_take_no_time_from_the_training(tmp_path):
    recipe = waterscape.models.presets("water_vae")["reference"]
    learner_run = Run(out=tmp_path, batch=16, images=64)
    learner = Learner(recipe, learner_run, recipe.networks({}), Processes(None, "float32", tmp_path), 180)
    records = Records(learner, "watched", quiet=True)
    records.seen = 1000  # images
    began = time.monotonic()
    records.look([Watcher("slow", 16, lambda _: Sight({"figure": float(bool(time.sleep(1.5)))}))])
    records.sums = {("loss",): torch.tensor([0.0, 1.0])}
    time.sleep(0.1)
    records.report()
    elapsed = time.monotonic() - began
    records.close()
    events = {event["event"]: event for event in read_events(tmp_path)}
    assert events["slow"]["figures"] == {"figure": 0.0}
    assert events["slow"]["seconds"] >= 1.5
    assert 1000 / events["report"]["images_per_second"] < elapsed - 1.4
