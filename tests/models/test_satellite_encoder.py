"""The satellite encoder: a frozen generator, three losses, a prior of the whole batch; what is told without one."""

import json

import numpy as np
import pytest
import torch
from programs import run
from safetensors.torch import save_file
from small_pairs import jpeg, train_encoder, train_landscapes, write_pairs

from waterscape import models
from waterscape.data.pack import SetWriter
from waterscape.errors import UserError
from waterscape.models.satellite_encoder import PRESETS, SatelliteEncoder, middle
from waterscape.nn.global_batch import shares
from waterscape.nn.unlikeness import places_network
from waterscape.randomness import Draw
from waterscape.training import checkpoint
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

NARROW = {"side": 16, "resized": 128}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("pairs") / "set")


@pytest.fixture(scope="module")
def landscapes(pairs, tmp_path_factory):
    return train_landscapes(pairs, tmp_path_factory.mktemp("landscapes") / "run")


def learner(tmp_path, **options):
    recipe = SatelliteEncoder(**{**NARROW, "loss": "mse", **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gan = models.presets("landscape_gan")["small"]
        narrow = type(gan)(side=16, width=4)
        networks = recipe.networks({"generator": narrow.networks({})})
    return Learner(recipe, Run(out=tmp_path, batch=6), networks, Processes(None, "float32", tmp_path), 100)


def batch(count=6):
    generator = torch.Generator().manual_seed(0)
    pictures = {"satellite": (3, 128, 128), "photo": (3, 16, 16)}
    return {name: torch.rand(count, *shape, generator=generator) * 2 - 1 for name, shape in pictures.items()}


def test_the_encoder_sees_the_middle_of_the_tile_as_the_source_did():
    entry = PRESETS["reference"].inputs()["satellite"]
    assert (entry.shape, entry.range) == ((3, 360, 360), (-1, 1))
    tile = torch.arange(360 * 360.0).view(1, 1, 360, 360).expand(-1, 3, -1, -1)
    assert torch.equal(middle(tile), tile[:, :, 116:244, 116:244])


def test_the_generator_is_frozen_in_evaluation_mode(tmp_path):
    taught = learner(tmp_path)
    before = {name: value.clone() for name, value in taught.networks["generator"].state_dict().items()}
    draw = Draw(0, torch.arange(6))
    for _ in range(2):
        taught.backward(taught.phases[0], batch(), draw, 6)
        taught.optimizers["encoder"].step()
    assert not taught.networks["generator"].training
    assert taught.networks["encoder"].training
    assert all(torch.equal(value, before[name]) for name, value in taught.networks["generator"].state_dict().items())


def test_the_loss_is_its_parts_and_the_prior_is_of_all_numbers(tmp_path):
    taught = learner(tmp_path, prior=0.5)
    given = batch()
    losses = taught.recipe.unlike(taught.networks, given, Draw(0, torch.arange(6)))
    taught = learner(tmp_path)  # the batch's statistics moved a running mean
    numbers = taught.networks["encoder"](middle(given["satellite"]))
    prior = numbers.mean() ** 2 + (1 - ((numbers - numbers.mean()) ** 2).mean()) ** 2
    error = ((taught.networks["generator"](numbers) - given["photo"]) ** 2).mean()
    assert losses["prior"].item() == pytest.approx(prior.item(), rel=1e-5)
    assert losses["loss"].item() == pytest.approx((error + 0.5 * prior).item(), rel=1e-5)


def test_one_process_alone_gathers_nothing(tmp_path):
    taught = learner(tmp_path)
    with shares((6,), 0):
        alone = taught.recipe.unlike(taught.networks, batch(), Draw(0, torch.arange(6)))
    assert alone["prior"].isfinite()


def test_tile_and_photo_are_mirrored_together(tmp_path):
    taught = learner(tmp_path, mirrors=True)
    seen = []
    networks = {
        "encoder": lambda tile: seen.append(tile) or torch.zeros(len(tile), 4),
        "generator": lambda numbers: torch.zeros(len(numbers), 3, 16, 16),
    }
    apart = []
    object.__setattr__(taught.recipe, "apart", lambda _, made, true, *__: apart.append(true) or made.mean((1, 2, 3)))
    given = batch(40)
    taught.recipe.unlike(networks, given, Draw(3, torch.arange(40)))
    tile, photo = ((part.flip(3) == whole).all(3).all(2).all(1) for part, whole in (
        (seen[0], given["satellite"]), (apart[0], given["photo"])))  # fmt: skip
    assert torch.equal(tile, photo)
    assert 8 < tile.sum() < 32


@pytest.mark.parametrize(("loss", "most"), [("mse", 0.5), ("ssim", 0.6)])
def test_an_encoder_learns_which_landscape_belongs_to_a_tile(loss, most, tmp_path):
    """With a generator whose first number is the brightness, tiles must find the brightness of their photos."""
    taught = learner(tmp_path, loss=loss, learning_rate=3e-3, prior=0.0)

    class Bright(torch.nn.Module):
        def forward(self, numbers):
            picture = torch.linspace(-0.3, 0.3, 16).expand(len(numbers), 3, 16, 16)
            return picture + 0.5 * torch.tanh(numbers[:, :1, None, None])

    taught.networks["generator"] = taught.called["generator"] = Bright()
    level = torch.linspace(-0.4, 0.4, 12).view(12, 1, 1, 1)
    given = {
        "satellite": level.expand(12, 3, 128, 128),
        "photo": (level + torch.linspace(-0.3, 0.3, 16)).expand(12, 3, 16, 16),
    }
    found = []
    for _ in range(40):
        names, losses = taught.backward(taught.phases[0], given, Draw(0, torch.arange(12)), 12)
        taught.optimizers["encoder"].step()
        found.append(losses[names.index("loss")].item())
    assert found[-1] < most * found[0]


def test_a_run_trains_resumes_and_says_what_it_started_from(pairs, landscapes, tmp_path):
    out = train_encoder(pairs, landscapes, tmp_path / "run")
    facts = json.loads((out / "run.json").read_text())
    assert facts["starts"]["generator"]["model"] == "landscape_gan"
    assert len(facts["starts"]["generator"]["sha256"]) == 64
    assert facts["tiles"] == {"pixels": [160, 160], "metres_per_pixel": 2.5}
    trained = models.load(out)
    assert not trained.networks["generator"].training
    held = models.load(landscapes).networks["generator"].state_dict()
    assert all(torch.equal(held[name], value) for name, value in trained.networks["generator"].state_dict().items())
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    measured = [event["measured"] for event in events if event["event"] == "picture"][-1]
    assert {"squared error", "1 - SSIM", "nearer to its own photo than to another"} <= set(measured)


@pytest.mark.long
def test_a_scene_classifier_says_what_is_alike(pairs, landscapes, tmp_path):
    """The optional start: its networks are kept frozen in the run, which is loaded and resumed without it."""
    scenes = tmp_path / "scenes"
    classed = tmp_path / "classed"
    with SetWriter(classed, facts={"classes": ["a", "b"], "synthetic": True}, samples_per_shard=16) as writer:
        for number in range(24):
            photo = jpeg(np.full((40, 40, 3), 60 + 120 * (number % 2), np.uint8))
            values = {"jpg": photo, "class.npy": np.array(number % 2, np.uint8)}
            writer.add("valid" if number > 19 else "train", values)
        writer.finish()
    words = ["--side", 32, "--widths", 8, 16, "--classes", "a", "b", "--batch", 8, "--images", 16, "--no-tensorboard"]
    run("train", "scene_classifier:small", "--data", classed, "--out", scenes, *words)
    started = ["--start", f"generator={landscapes}", "--start", f"scenes={scenes}"]
    perceptual = ["--loss", "perceptual", "--scene-side", 32]
    usual = ["--side", 16, "--resized", 128, "--batch", 8, "--no-tensorboard", "--data", pairs]
    out = tmp_path / "run"
    for images in (16, 24):
        run("train", "satellite_encoder", "--out", out, *usual, *started, *perceptual, "--images", images)
    trained = models.load(out)
    assert set(trained.networks) == {"encoder", "generator", "scenes"}
    held = models.load(scenes).networks["features"].state_dict()
    kept = trained.networks["scenes"].state_dict()
    assert all(torch.equal(value, kept[f"1.{name}"]) for name, value in held.items())
    with pytest.raises(ValueError, match="--loss mse asks no network of scenes"):
        run("train", "satellite_encoder", "--out", tmp_path / "no", *usual, *started)
    with pytest.raises(UserError, match=r"and may from: --start scenes=RUN"):
        run("train", "satellite_encoder", "--out", tmp_path / "no", *usual, "--start", f"scenes={scenes}")
    wrong = ["--start", f"generator={landscapes}", "--start", f"scenes={landscapes}"]
    with pytest.raises(UserError, match="a run of scene_classifier is wanted"):
        run("train", "satellite_encoder", "--out", tmp_path / "no", *usual, *wrong, *perceptual)


@pytest.mark.long
def test_weights_of_places365_come_from_a_file(pairs, landscapes, tmp_path):
    torch.manual_seed(0)
    network = places_network()[2]
    save_file(network.state_dict(), tmp_path / "places.safetensors")
    words = ["--places365", tmp_path / "places.safetensors"]
    out = train_encoder(pairs, landscapes, tmp_path / "run", *words, images=8, preset="reference")
    found = checkpoint.newest(out / "checkpoints")
    assert found is not None
    kept = models.load(out).networks["scenes"][2].state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


def test_what_cannot_be_trained_is_told(pairs, landscapes, tmp_path):
    for words, told in (
        ((), "say --places365 FILE"),
        (("--places365", tmp_path / "none.pth"), "there is no such file"),
        (("--resized", 100), "the encoder sees 128 pixels"),
        (("--side", 8), "the generator makes pictures of 16 × 16: say --side 16"),
    ):
        with pytest.raises(ValueError, match=told):
            train_encoder(pairs, landscapes, tmp_path / "none", *words, preset="reference")
        assert not (tmp_path / "none" / "checkpoints").exists()
