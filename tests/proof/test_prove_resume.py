"""`waterscape prove-resume`: it passes, and it fails for each kind of thing that could be broken."""

import pytest
import torch
from safetensors.torch import save_file

from waterscape import models
from waterscape.__main__ import dispatch
from waterscape.data.batches import ShardSet
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.errors import UserError
from waterscape.proof import compare
from waterscape.proof.compare import Check, identical, within
from waterscape.proof.made_set import HELD_OUT, write_made_set
from waterscape.proof.resume import Proof, table
from waterscape.proof.trials import Trials, inputs

SMALL = ["--widths", *"44448888"]

BREAK = {
    "draws that depend on the rank": (
        ["--processes", 1, 2],
        ["draws", "gradients in float64: bound", "gradients: bound"],
        """
import os
from waterscape.randomness import Draw
true = Draw.words
def words(self, stream, *shape):
    return true(self, stream + os.environ.get("RANK", "0"), *shape)
Draw.words = words
""",
    ),
    "a place in the stream that is lost": (
        ["--processes", 1],
        ["samples"],
        """
from waterscape.data.order import Order
true, first = Order.locate, []
def locate(self, start, count):
    first.append(start)
    return true(self, start + (7 if first[0] else 0), count)
Order.locate = locate
""",
    ),
    "a training that begins anew": (
        ["--processes", 1],
        ["resumed within an epoch"],
        """
from waterscape.training import checkpoint
checkpoint.newest = lambda directory: None
""",
    ),
    "optimizers that forget": (
        ["--processes", 1],
        ["losses", "weights, optimizers"],
        """
import torch
torch.optim.Optimizer.load_state_dict = lambda self, state: None
""",
    ),
}


def prove(*words):
    return dispatch(["prove-resume", "water_vae", *map(str, words)])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_small_vae_passes_on_one_three_and_four_processes(capsys):
    # As published and so narrow, float32 rounds this seed's gradients by 4e-5: a rectifier's input is nearly zero.
    assert prove(*SMALL, "--fold", 1, "--processes", 1, 3, 4, "--seed", 751) == 0
    told = capsys.readouterr().out
    assert "PASS: water_vae:recommended, 350 images" in told
    assert "BROKEN" not in told


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_weighted_run_in_float64_agrees_in_its_parameters(tiles, capsys):
    words = ["--data", tiles, "--balance", "shape.npy", "--processes", 1, 2, "--float64"]
    assert prove(*SMALL, *words) == 0
    assert capsys.readouterr().out.count("parameters") == 2


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", BREAK)
def test_it_fails_where_something_is_broken(name, tmp_path, monkeypatch, capsys):
    words, shown, program = BREAK[name]
    (tmp_path / "sitecustomize.py").write_text(program)  # every Python process that starts from here runs it
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert prove(*SMALL, *words, "--kills", 1, "--images", 210) == 1
    told = capsys.readouterr().out
    broken = [line for line in told.splitlines() if line.endswith("BROKEN")]
    assert {what for what in shown if any(what in line for line in broken)} == set(shown), told
    assert told.rstrip().splitlines()[-1].startswith("FAIL")


def test_checks_tell_what_differs():
    same = identical("run", "samples", {0: "a", 1: "b"}, {0: "a", 1: "b"})
    other = identical("run", "samples", {0: "a", 1: "b"}, {0: "a", 1: "c", 2: "d"})
    nothing = identical("run", "samples", {}, {})
    assert [check.passed for check in (same, other, nothing)] == [True, False, False]
    assert other.found == "2 differ, first at 1: c for b"
    assert within("run", "loss", 1e-7, 1e-6).passed
    assert not within("run", "loss", float("nan"), 1e-6).passed
    lines = table([same, Check("run", "loss", "2", "≤ 1", passed=False)]).splitlines()
    assert lines[1].startswith("run  samples")
    assert lines[2].startswith("     loss")
    assert lines[2].endswith("BROKEN")


def test_the_plan_names_samples_as_the_records_do(tiles):
    shards = ShardSet(tiles, "train")
    plan = compare.planned(shards, Order(shards.counts, 3), 2 * len(shards))
    once = [plan[number] for number in range(len(shards))]
    assert len(set(once)) == len(shards)
    assert sorted(once) == sorted(plan[number] for number in range(len(shards), 2 * len(shards)))
    assert once[0].startswith("tiles-train-00000")


@pytest.mark.parametrize("model", models.names())
def test_a_made_set_has_what_each_model_and_its_starts_read(model, tmp_path):
    recipe = models.presets(model)["recommended"]
    made = write_made_set(tmp_path / "made", inputs(recipe), 20)
    manifest, shards = Manifest.load(made), ShardSet(made, "train")
    assert manifest.facts["synthetic"] is True
    assert (len(shards), len(ShardSet(made, "valid"))) == (20, HELD_OUT)
    for entry in recipe.inputs().values():
        value = shards.read(3)[entry.column]
        if entry.column.endswith("npy"):
            numbers = entry.numbers(torch.tensor(value)[None], torch.float64)
            assert numbers.shape == (1, *entry.shape)


def test_moments_of_kills_lie_in_the_first_epoch_and_differ(tmp_path):
    trials = Trials(Proof(kills=3, processes=(1,)), "water_vae", "recommended", SMALL, tmp_path)
    trials.seconds_per_step = 0.1
    found = trials.moments(3)
    images = [moment[0] for moment in found[:3]]
    assert images == sorted(images)
    assert trials.proof.every <= images[0] <= images[-1] <= 0.9 * len(trials.shards)
    assert found != trials.moments(3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--processes", 0], "give numbers of 1 or more"),
        (["--kills", 0], "--kills is 0"),
        (["--images", 14], "too few to be killed 2 times"),
        (["--bath", 3], "no option --bath (did you mean --batch?)"),
    ],
)
def test_bad_options(words, told):
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        prove(*words)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("rounding", "apart", "apart_exactly", "passed"),
    [
        (2e-6, 4e-6, 1e-12, [True, True]),
        (4e-5, 5e-5, 1e-12, [True, True]),  # a last bit decided what a rectifier lets through
        (2e-6, 5e-5, 1e-12, [True, False]),
        (4e-5, 4e-5, 1e-7, [False, True]),
        (float("nan"), 4e-5, 1e-12, [True, False]),
    ],
)
def test_gradients_are_judged_by_their_rounding(tmp_path, rounding, apart, apart_exactly, passed):
    exact = torch.zeros(100, dtype=torch.float64)
    exact[0] = 1

    def left(name, distance, distance_exactly):
        found = exact.float()
        found[1] = distance
        precise = exact.clone()
        precise[2] = distance_exactly
        save_file({"bound": found, "bound, float64": precise}, tmp_path / name)
        return tmp_path / name

    checks = list(compare.gradients("2 processes", left("1", rounding, 0), left("2", rounding + apart, apart_exactly)))
    assert [check.what for check in checks] == ["gradients in float64: bound", "gradients: bound"]
    assert ("its own rounding" in checks[1].promised) == (rounding > 1e-5)
    assert [check.passed for check in checks] == passed
