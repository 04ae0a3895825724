"""What holds for every model that there is, and for every one that will come: they are found by file."""

import json

import every_model
import pytest
import torch
from foreign_sets import write_foreign
from programs import ROOT, run
from safetensors.torch import load_file

from waterscape import models
from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.nn.batchnorm import GlobalBatchNorm1d, GlobalBatchNorm2d
from waterscape.proof.launch import Ranks
from waterscape.randomness import Draw
from waterscape.training import checkpoint
from waterscape.training.events import read_events, read_ledger
from waterscape.training.keeping import Keeping
from waterscape.training.processes import Processes
from waterscape.training.writer import Writer

PARAMETERS = {  # as published, or as planned where nothing was: (preset, network) → number
    "water_vae": {("reference", "encoder"): 208_792, ("reference", "decoder"): 127_737},
    "landscape_gan": {("reference", "generator"): 11_213_696, ("reference", "discriminator"): 11_164_416},
    "ship_gan": {
        ("reference", "generator"): 6_380_291,
        ("reference", "discriminator"): 668_929,
        ("printed", "generator"): 4_741_635,
        ("printed", "discriminator"): 452_353,
    },
    "pixel_cnn": {("reference", "pixels"): 38_514},
    "satellite_encoder": {("reference", "encoder"): 714_436, ("reference", "generator"): 11_213_696},
    "scene_classifier": {("reference", "features"): 19_392, ("reference", "head"): 11_215_879},
    "scene_vae": {
        ("autoencoder", "encoder"): 105_504,
        ("autoencoder", "decoder"): 105_443,
        ("reference", "encoder"): 8_494_240,
        ("reference", "decoder"): 4_365_283,
    },
    "shape_classifier": {("reference", "features"): 204_664, ("reference", "classes"): 1_161},
    "water_enlarger": {("reference", "enlarger"): 93_021, ("reference", "discriminator"): 41_905},
    "water_gan": {("reference", "encoder"): 208_792, ("reference", "decoder"): 127_737},
}
EVERY = [
    (model, preset)
    for model in models.names()
    for preset, recipe in models.presets(model).items()
    if not recipe.wants()  # what is not installed here
]
NUMBERS = torch.arange(every_model.BATCH)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return Processes(None, "float32", tmp_path_factory.mktemp("alone"))


def step(learner, first=0):
    numbers = NUMBERS + first
    return learner.step(every_model.columns(learner.recipe, numbers), numbers, len(numbers))


def weights(learner):
    """A hash of each network's weights; running statistics move in whatever phase calls the network."""
    return {name: every_model.fingerprint({name: net}, buffers=False) for name, net in learner.networks.items()}


def test_every_file_is_a_model_with_both_presets():
    files = {path.stem for path in (ROOT / "waterscape" / "models").glob("[!_]*.py")}
    assert set(models.names()) == files == set(PARAMETERS)
    assert all({"reference", "recommended"} <= set(models.presets(model)) for model in models.names())


@pytest.mark.parametrize("model", models.names())
def test_parameter_counts_of_the_reference(model):
    rows = [row for row in models.count_parameters(model) if "wants" not in row]
    counted = {(row["preset"], row["network"]): row["parameters"] for row in rows}
    assert {key: counted[key] for key in PARAMETERS[model]} == PARAMETERS[model]


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_a_step_is_finite_and_each_phase_changes_what_it_names(model, preset, processes):
    learner = every_model.learner(model, preset, processes)
    batch = learner.batch(every_model.columns(learner.recipe, NUMBERS))
    for phase in learner.phases:
        before = weights(learner)
        names, losses = learner.backward(phase, batch, Draw(0, NUMBERS), len(NUMBERS))
        assert losses.isfinite().all(), dict(zip(names, losses.tolist(), strict=True))
        for name in phase.trains:
            assert learner.gradients[name].finite, f"{phase.name} gives {name} gradients that are not finite"
            learner.optimizers[name].step()
        after = weights(learner)
        assert {name for name in after if after[name] != before[name]} == set(phase.trains)


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_inputs_are_in_the_declared_range_and_outputs_can_cover_it(model, preset, processes):
    learner = every_model.learner(model, preset, processes)
    batch = learner.batch(every_model.columns(learner.recipe, NUMBERS))
    for name, entry in learner.inputs.items():
        assert batch[name].shape == (len(NUMBERS), *entry.shape)
        if len(entry.shape) == 3:
            channels, *side = entry.shape
            low_high = torch.tensor(entry.stored).reshape(2, 1, 1, 1).expand(2, *side, channels)
            ends = entry.numbers(low_high, torch.float64)[:, 0, 0, 0]
            assert ends.tolist() == list(entry.range)
            assert entry.range[0] <= batch[name].min() <= batch[name].max() <= entry.range[1]


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_pictures_and_samples_are_pictures(model, preset, processes):
    learner = every_model.learner(model, preset, processes)
    batch = learner.batch(every_model.columns(learner.recipe, NUMBERS))
    draw = Draw(1, NUMBERS)
    with learner.shown() as networks:
        rows = dict(learner.recipe.picture(networks, batch, draw))
        classes = learner.recipe.sample_classes()
        if any(name.startswith("new") for name in rows):
            wanted = NUMBERS % len(classes) if classes else torch.zeros_like(NUMBERS)
            rows["sampled"] = learner.recipe.sample(networks, draw, wanted)
        if learner.recipe.can("reconstruct"):
            rows["made again"] = learner.recipe.reconstruct(networks, batch)
            assert rows["made again"].shape == batch[learner.recipe.pictured()].shape
        measured = learner.recipe.measure(networks, batch)
    for name, row in rows.items():
        assert row.ndim == 4, name
        assert row.shape[0] == len(NUMBERS), name
        assert row.shape[1] in (1, 3), name
        assert 0 <= row.min() <= row.max() <= 1, name
    assert all(value.ndim == 0 and value.isfinite() for value in measured.values())


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_micro_batches_make_the_same_gradients(model, preset, processes):
    if every_model.batch_norms(every_model.recipe(model, preset)):
        pytest.skip("statistics over the batch are those of a micro-batch")
    found = []
    for micro_batch in (None, 4):
        learner = every_model.learner(model, preset, processes, precision="float64", micro_batch=micro_batch)
        batch = learner.batch(every_model.columns(learner.recipe, NUMBERS))
        gradients = []
        for phase in learner.phases:
            learner.backward(phase, batch, Draw(0, NUMBERS, torch.float64), len(NUMBERS))
            gradients += [p.grad.clone() for name in phase.trains for p in learner.networks[name].parameters()]
        found.append(gradients)
    for whole, parts in zip(*found, strict=True):
        assert torch.allclose(whole, parts, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_a_checkpoint_holds_all_that_matters(model, preset, processes, tmp_path):
    learner = every_model.learner(model, preset, processes)
    for number in range(2):
        step(learner, number * len(NUMBERS))
    Writer(tmp_path, Keeping()).save(learner.tensors(), learner.progress())
    again = every_model.learner(model, preset, processes)
    again.load(checkpoint.newest(tmp_path))
    assert every_model.fingerprint(again.networks) == every_model.fingerprint(learner.networks)
    assert every_model.fingerprint(again.averages.shown) == every_model.fingerprint(learner.averages.shown)
    for one in (learner, again):
        step(one, 100)
    assert every_model.fingerprint(again.networks) == every_model.fingerprint(learner.networks)
    assert every_model.fingerprint(again.averages.shown) == every_model.fingerprint(learner.averages.shown)


@pytest.mark.parametrize(
    ("precision", "apart"), [("float64", 1e-10), pytest.param("float32", 1e-5, marks=pytest.mark.long)]
)
def test_two_processes_agree_with_each_other_and_with_one(precision, apart, tmp_path):
    alone, both = tmp_path / "alone", tmp_path / "both"
    for out in (alone, both):
        out.mkdir()
    several = Ranks(2, [ROOT / "tests/every_model.py", both, precision], tmp_path / "log")
    every_model.main(alone, precision)
    several.wait()
    places = [alone / "0", both / "0", both / "1"]
    results = [json.loads(place.with_suffix(".json").read_text()) for place in places]
    for model in models.names():
        one, first, second = (found[model] for found in results)
        assert first["weights"] == second["weights"], f"{model}: the processes' weights differ"
        for name, loss in one["losses"][0].items():
            # What is descended agrees relatively; a part of it, such as a KL term near zero, may cancel.
            absolute = 1e-9 if name.endswith("loss") else 1e-6
            assert first["losses"][0][name] == pytest.approx(loss, rel=1e-6, abs=absolute), f"{model}: {name}"
    one, *others = (load_file(place.with_suffix(".safetensors")) for place in places)
    for phase, gradient in one.items():
        for other in others:
            difference = (other[phase] - gradient).norm() / gradient.norm()
            assert difference <= apart, f"{phase}: in micro-batches of two processes"


@pytest.mark.parametrize(("model", "preset"), EVERY)
def test_statistics_over_the_batch_are_those_of_all_processes(model, preset):
    for layer in every_model.batch_norms(every_model.recipe(model, preset)):
        assert isinstance(layer, GlobalBatchNorm1d | GlobalBatchNorm2d), f"{layer}: use nn/batchnorm.py"


@pytest.mark.parametrize("model", models.names())
def test_the_global_generator_changes_no_loss(model, processes):
    losses = []
    for seed in (1, 2):
        learner = every_model.learner(model, models.DEFAULT_PRESET, processes)
        torch.manual_seed(seed)
        losses.append([{name: value.item() for name, value in step(learner, first).items()} for first in (0, 6)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("model", models.names())
def test_starts_name_models(model):
    for recipe in models.presets(model).values():
        assert {*recipe.starts.values(), *recipe.may_start.values()} <= set(models.names())
        assert not set(recipe.starts) & set(recipe.may_start)


def test_one_model_trains_from_tars_that_nobody_indexed(tmp_path, capsys):
    """Tars of webdataset's own writer, their pictures under another name than the model's."""
    tiles, out = write_foreign(tmp_path / "tiles", samples=40, tars=4, only=("png", "cls")), tmp_path / "run"
    words = ["train", "water_vae", "--data", tiles, "--out", out, "--batch", 6, "--no-tensorboard", "--held-out", 8]
    words += ["--widths", *[4] * 8, "--evaluate-every", 0]
    with pytest.raises(UserError, match=r"no column occurrence64\.npy, .*; they have cls, png: say --columns"):
        run(*words, "--images", 60)
    run(*words, "--images", 60, "--columns", "occurrence64.npy=png")
    assert "NOT exactly resumable" in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text())["exactly_resumable"] is False
    ledger = read_ledger(out)
    assert sorted(ledger) == list(range(60))
    assert len({ledger[place] for place in range(30)}) == 30, "the first epoch has each sample once"
    assert not any("valid" in name for name in ledger.values())
    figures = [event["measured"] for event in read_events(out) if event["event"] == "picture"]
    assert all(0 < found["squared error per pixel"] < 1 for found in figures)

    run("shards", "index", tiles, "--synthetic")  # and from then on exactly
    words[words.index(out)] = tmp_path / "exact"
    run(*words, "--images", 30, "--columns", "occurrence64.npy=png")
    assert set(read_ledger(tmp_path / "exact").values()) == {ledger[place] for place in range(30)}
    assert json.loads((tmp_path / "exact" / "run.json").read_text())["exactly_resumable"] is True


def test_the_fixture_set_is_called_synthetic(tiles):
    assert Manifest.load(tiles).facts["synthetic"] is True
