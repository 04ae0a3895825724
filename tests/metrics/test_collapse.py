"""The collapse watch: what it calls a collapse, and that looking changes nothing."""

import dataclasses
import json

import pytest
import torch
from coloured_scenes import write_scenes
from every_model import fingerprint
from programs import run

from waterscape import models
from waterscape.data.shards import ShardSet
from waterscape.metrics.collapse import ACCURACY, DIVERSITY, RANK, USE, CollapseWatch, is_collapse, signs
from waterscape.randomness import Draw
from waterscape.training.events import read_events
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

TRUE = {DIVERSITY: 0.6, RANK: 30.0}
GOOD = {ACCURACY: 0.7, DIVERSITY: 0.5, RANK: 20.0, USE: 0.9}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("collapse") / "scenes")


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        ({}, [GOOD], {}),
        ({ACCURACY: 0.99}, [], {ACCURACY: "the discriminator wins"}),
        ({DIVERSITY: 0.16}, [GOOD], {DIVERSITY: "diversity fell from 0.5 to 0.16 (true pictures 0.6)"}),
        ({DIVERSITY: 0.17}, [GOOD], {}),
        ({DIVERSITY: 0.21}, [{**GOOD, DIVERSITY: 0.99}], {}),  # noise at first; what true pictures have is enough
        ({DIVERSITY: 0.01}, [], {}),  # it has just begun
        ({DIVERSITY: 0.01}, [{**GOOD, DIVERSITY: 0.01}] * 2, {DIVERSITY: "diversity is next to nothing: 0.01"}),
        ({RANK: 6.0, USE: 0.25}, [GOOD], {RANK: "effective rank fell", USE: "latent use fell from 0.9 to 0.25"}),
    ],
)
def test_signs(now, before, told):
    found = signs({**GOOD, **now}, before, TRUE)
    assert found.keys() == told.keys()
    assert all(found[name].startswith(phrase) for name, phrase in told.items())


def test_a_collapse_takes_two_looks_at_like_pictures_or_five_at_a_lost_game():
    alike, lost = {DIVERSITY: "…"}, {ACCURACY: "…"}
    assert not is_collapse([{}, alike, {}, alike])
    assert is_collapse([{}, alike, {RANK: "…"}])
    assert not is_collapse([lost] * 4)
    assert is_collapse([{}, *[lost] * 5])
    assert not is_collapse([alike, lost])
    assert not is_collapse([])


def learner(scenes, out, preset="reference"):
    """The reference has running statistics, which a look could spoil."""
    recipe = dataclasses.replace(models.presets("landscape_gan")[preset], side=16, width=4)
    torch.manual_seed(0)
    processes = Processes(None, "float32", out)
    return Learner(recipe, Run(out=out, data=str(scenes), batch=8), recipe.networks({}), processes, 42)


def step(taught, first):
    numbers = torch.arange(first, first + 8)
    pictures = (255 * Draw(1, numbers).uniform("pictures", 16, 16, 3)).to(torch.uint8)
    return {name: value.item() for name, value in taught.step({"jpg": pictures}, numbers, 8).items()}


def test_looking_changes_nothing_and_sees_the_same_again(scenes, tmp_path):
    watched, alone = (learner(scenes, tmp_path) for _ in range(2))
    watch = CollapseWatch(watched.recipe, ShardSet(scenes, "train"), tmp_path, 0, steers=False)
    for first in (0, 8):
        before = fingerprint(watched.networks)
        assert watch.figures(watched) == watch.figures(watched)
        assert fingerprint(watched.networks) == before
        assert step(watched, first) == step(alone, first)
    assert fingerprint(watched.networks) == fingerprint(alone.networks)


def test_a_generator_that_makes_one_picture_is_called_collapsed(scenes, tmp_path):
    taught = learner(scenes, tmp_path, "small")
    watch = CollapseWatch(taught.recipe, ShardSet(scenes, "train"), tmp_path, 0, steers=True)
    taught.images = 100
    first = watch.look(taught)
    assert first.advice.good
    assert not first.warning
    assert first.figures[USE] > 0.5
    for network in (taught.networks["generator"], taught.averages.shown["generator"]):
        torch.nn.init.zeros_(next(network.parameters()))  # the noise reaches nothing any more
    taught.images = 200
    second = watch.look(taught)
    assert second.figures[DIVERSITY] == pytest.approx(0, abs=1e-6)
    assert second.figures[USE] == second.figures[RANK] == 0
    assert second.facts["signs"].keys() >= {DIVERSITY, RANK, USE}
    assert "a sign of collapse at 200 images: diversity fell from" in second.warning
    assert second.advice == dataclasses.replace(second.advice, good=False, roll_back="")
    taught.images = 300
    third = watch.look(taught)
    assert third.advice.roll_back.startswith("collapse at 300 images: ")


def test_what_is_damaged_is_passed_over(scenes, tmp_path, monkeypatch):
    taught, training, payload = learner(scenes, tmp_path, "small"), ShardSet(scenes, "train"), ShardSet.payload

    def damaged(self, shard, row, column):
        if shard == 0:
            raise self.fault(shard, row, column, "damaged")
        return payload(self, shard, row, column)

    monkeypatch.setattr(ShardSet, "payload", damaged)
    watch = CollapseWatch(taught.recipe, training, tmp_path, 0, steers=False)
    assert len(next(iter(watch._stored.values()))) == len(training) - training.counts[0] == 10
    assert watch.figures(taught).keys() == GOOD.keys()


@pytest.mark.parametrize(
    ("batch", "micro_batch", "together"), [(64, None, 42), (14, None, 14), (64, 14, 14), (8, 1, 1)], ids=str
)
def test_no_more_is_looked_at_together_than_a_step_has(scenes, tmp_path, batch, micro_batch, together):
    """And the figures are the same, but for rounding."""
    taught, seen = learner(scenes, tmp_path, "small"), {"generator": set(), "discriminator": set()}
    watch = CollapseWatch(taught.recipe, ShardSet(scenes, "train"), tmp_path, 0, steers=False)
    alone = watch.figures(taught)
    taught.run = dataclasses.replace(taught.run, batch=batch, micro_batch=micro_batch)
    for network in (*taught.networks.values(), taught.averages.shown["generator"]):
        name = "discriminator" if network is taught.networks["discriminator"] else "generator"
        network.register_forward_hook(lambda _, taken, __, name=name: seen[name].add(len(taken[0])))
    figures = watch.figures(taught)
    assert max(seen["discriminator"]) == max(seen["generator"]) == together
    assert {name: pytest.approx(value, abs=1e-4) for name, value in figures.items()} == alone


def test_a_process_makes_no_more_together_than_its_share_of_a_step(scenes, tmp_path):
    """And the discriminator judges a whole step's, as its normalisation has it: the figures stay."""
    taught, seen = learner(scenes, tmp_path), {"generator": set(), "discriminator": set()}
    watch = CollapseWatch(taught.recipe, ShardSet(scenes, "train"), tmp_path, 0, steers=False)
    alone = watch.figures(taught)
    taught.processes.world = 3  # of 8 images a step the first has 3
    with taught.shown() as networks:
        networks["generator"].register_forward_hook(lambda _, taken, __: seen["generator"].add(len(taken[0])))
    hook = taught.networks["discriminator"]
    hook.register_forward_hook(lambda _, taken, __: seen["discriminator"].add(len(taken[0])))
    figures = watch.figures(taught)
    assert max(seen["discriminator"]) == 7  # 42 in pieces of 8 at most
    assert figures[ACCURACY] == alone[ACCURACY]
    assert {name: pytest.approx(value, abs=1e-4) for name, value in figures.items()} == alone
    assert max(seen["generator"] - {7}) == 3


def test_it_applies_to_gans_alone():
    applies = {name for name in models.names() if CollapseWatch.applies(models.presets(name)["reference"])}
    assert applies == {"landscape_gan", "ship_gan", "water_gan"}


@pytest.mark.long
def test_a_warning_stands_in_the_events_and_on_the_terminal(scenes, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("waterscape.metrics.collapse.WON", 0.0)
    words = ["--data", scenes, "--side", 16, "--width", 4, "--batch", 8, "--held-out", 0, "--evaluate-every", 0]
    words += ["--no-tensorboard", "--picture-every", 10**9]
    run("train", "landscape_gan:small", "--out", tmp_path / "run", *words, "--images", 48, "--collapse-every", 8)
    looks = [event for event in read_events(tmp_path / "run") if event["event"] == "collapse"]
    assert [look["images"] for look in looks] == [8, 16, 24, 32, 40, 48]
    assert all(look["figures"].keys() == {*GOOD, f"floor: {DIVERSITY}", f"floor: {RANK}"} for look in looks)
    assert looks[0]["warning"].startswith("a sign of collapse at 8 images: the discriminator wins")
    assert looks[-1]["warning"].startswith("collapse at 48 images: ")
    assert looks[-1]["warning"] in capfd.readouterr().err
    assert not [event for event in read_events(tmp_path / "run") if event["event"] == "rollback"]
    card = (tmp_path / "run" / "model-card.md").read_text()
    assert "| signs of collapse | at 6 looks; the last: collapse at 48 images" in card

    going_back = ["--on-collapse", "rollback", "--collapse-every", 8, "--images", 64]
    run("train", "landscape_gan:small", "--out", tmp_path / "run", *words, *going_back)  # no look was good so far
    refused = [event for event in read_events(tmp_path / "run") if event["event"] == "rollback"]
    assert [event["to"] for event in refused] == [None]
    assert refused[0]["refused"] == "no checkpoint was called good yet"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["run"]["on_collapse"] == "rollback"


@pytest.mark.long
def test_a_discriminator_that_wins_is_called_a_collapse_which_going_back_postpones(scenes, tmp_path):
    """Nothing is injected: few synthetic photos, normalised batches, twenty times the published rate."""
    words = ["--data", scenes, "--side", 16, "--width", 8, "--learning-rate", 2e-3, "--batch", 16, "--images", 3000]
    words += ["--held-out", 0, "--evaluate-every", 0, "--no-tensorboard", "--picture-every", 10**9]
    found = {}
    for what in ("warn", "rollback"):
        out = tmp_path / what
        run("train", "landscape_gan:reference", "--out", out, *words, "--collapse-every", 200, "--on-collapse", what)
        found[what] = read_events(out)
    called = {
        what: [event["images"] for event in events if event.get("warning", "").startswith("collapse at")]
        for what, events in found.items()
    }
    assert called["warn"], "the discriminator won"
    assert len(called["warn"]) > 3, "and went on winning"
    assert called["rollback"][0] == called["warn"][0]
    assert len(called["rollback"]) < len(called["warn"])
    gone = [event for event in found["rollback"] if event["event"] == "rollback"]
    assert gone[0]["images"] == called["warn"][0]
    assert gone[0]["to"] < gone[0]["images"]
    assert gone[0]["rate_share"] == 0.5
