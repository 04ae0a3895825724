"""The landscape GAN trains as its source does, and reads the photos that the packers store."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from programs import run, run_program
from torch import nn

from waterscape import models
from waterscape.data.pack import SetWriter
from waterscape.errors import UserError
from waterscape.models.landscape_gan import LandscapeGAN
from waterscape.randomness import Draw
from waterscape.recipe import Progress
from waterscape.training.events import read_events


@pytest.mark.parametrize(
    ("options", "schedule"),
    [
        ({}, lambda adam: torch.optim.lr_scheduler.MultiStepLR(adam, [100, 200, 300, 400], 0.8)),
        ({"decay_every": 100}, lambda adam: torch.optim.lr_scheduler.StepLR(adam, 100, 0.8)),
        ({"decay_epochs": (), "decay_every": 0}, lambda adam: torch.optim.lr_scheduler.StepLR(adam, 10**6)),
    ],
)
def test_the_generators_rate_decays_as_torchs_schedulers_say(options, schedule):
    recipe, layer = LandscapeGAN(**options), nn.Linear(1, 1)
    adam = torch.optim.Adam(layer.parameters(), lr=1e-4)
    told = schedule(adam)
    for epoch in range(801):
        for within in (0.0, 0.5, 0.999):
            rate = recipe.rate("generator", Progress(0, 0, epoch + within))
            assert 1e-4 * rate == pytest.approx(adam.param_groups[0]["lr"], rel=1e-9), epoch
        assert recipe.rate("discriminator", Progress(0, 0, epoch)) == 1
        adam.step()
        told.step()


def plain_networks(width=2):
    """The source's networks of torch's own layers, written out: 128×128, sigmoid and all."""
    up = [nn.ConvTranspose2d(4, 16 * width, 4, 1, 0, bias=False), nn.BatchNorm2d(16 * width), nn.ReLU()]
    down = [nn.Conv2d(3, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for times in (8, 4, 2, 1):
        convolution = nn.ConvTranspose2d(2 * times * width, times * width, 4, 2, 1, bias=False)
        up += [convolution, nn.BatchNorm2d(times * width), nn.ReLU()]
    for times in (2, 4, 8, 16):
        convolution = nn.Conv2d(times * width // 2, times * width, 4, 2, 1, bias=False)
        down += [convolution, nn.BatchNorm2d(times * width), nn.LeakyReLU(0.2)]
    generator = nn.Sequential(*up, nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh())
    return generator, nn.Sequential(*down, nn.Conv2d(16 * width, 1, 4, 1, 0, bias=False), nn.Sigmoid())


def test_losses_are_those_of_the_source_written_out_in_plain_torch():
    recipe = LandscapeGAN(width=2)
    networks = {name: network.double() for name, network in recipe.networks({}).items()}
    generator, discriminator = (network.double() for network in plain_networks())
    for plain, name in ((generator, "generator"), (discriminator, "discriminator")):
        own = networks[name].state_dict()
        plain.load_state_dict(dict(zip(plain.state_dict(), own.values(), strict=True)))
    draw = Draw(0, torch.arange(6), torch.float64)
    photos = 2 * draw.uniform("photos", 3, 128, 128) - 1
    entropy, ones, zeros = nn.BCELoss(), torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    made = generator(draw.normal("noise for the discriminator", 4)[:, :, None, None])
    judged = entropy(discriminator(photos).flatten(), ones) + entropy(discriminator(made).flatten(), zeros)
    assert recipe.judge(networks, {"image": photos}, draw)["loss"].item() == pytest.approx(judged.item(), rel=1e-9)
    made = generator(draw.normal("noise for the generator", 4)[:, :, None, None])
    deceived = entropy(discriminator(made).flatten(), ones)
    found = recipe.deceive(networks, {"image": photos}, draw)["loss"]
    assert found.item() == pytest.approx(deceived.item(), rel=1e-9)


def test_the_cure_leaves_no_sample_to_another():
    """Nothing of `recommended` sees the batch: one photo's logit is the same alone."""
    for preset in ("recommended", "small"):
        networks = models.presets("landscape_gan")[preset].networks({})
        layers = [layer for network in networks.values() for layer in network.modules()]
        assert not [layer for layer in layers if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Synthetic photos as tools/pack_pairs.py stores them: sky over ground, larger than the model, some grey."""
    out, random = tmp_path_factory.mktemp("pairs") / "set", np.random.default_rng(0)
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=32) as writer:
        for number in range(40):
            photo = np.empty((60, 90, 3), np.uint8)
            horizon = int(random.integers(20, 40))
            photo[:horizon], photo[horizon:] = (120, 160, 220), random.integers(30, 120, 3)
            picture, file = Image.fromarray(photo), io.BytesIO()
            (picture.convert("L") if number % 8 == 0 else picture).save(file, "JPEG")
            writer.add("train" if number < 32 else "valid", {"photo.jpg": file.getvalue()})
        writer.finish()
    return out


@pytest.mark.parametrize("preset", ["reference", "recommended"])  # at one size, small is recommended
@pytest.mark.long
def test_each_preset_trains_on_the_photos_of_pairs(pairs, tmp_path, preset):
    words = ["train", f"landscape_gan:{preset}", "--data", pairs, "--out", tmp_path / "run", "--side", 32]
    words += ["--width", 4, "--batch", 8, "--images", 24, "--held-out", 8, "--no-tensorboard", "--picture-every", 8]
    with pytest.raises(UserError, match=r"no column jpg, .*; they have photo\.jpg: say --columns jpg="):
        run(*words)
    run(*words, "--columns", "jpg=photo.jpg", "--evaluate-every", 24, "--evaluate-samples", 16)
    assert (tmp_path / "run" / "strip.png").stat().st_size > 5000
    made = models.load(tmp_path / "run").sample(3)
    assert made.shape == (3, 3, 32, 32)
    assert made.std(0).max() > 0, "other noise, other photos"
    evaluated = [event for event in read_events(tmp_path / "run") if event["event"] == "evaluation"]
    assert evaluated, "photos are compared by their features"
    assert "kernel distance" in str(evaluated[-1])


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_cured_discriminator_does_not_win_outright(real_data, tmp_path):
    """On 490 real photos: after 2512 images the published training's tells nearly all, the cured one about half."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "landscape").symlink_to(real_data / "landscapes")
    done = run_program("tools/pack_scenes.py", tmp_path / "photos", "--split", "random", "--out", tmp_path / "set")
    assert done.returncode == 0, done.stderr
    told, distance = {}, {}
    for preset in ("reference", "small"):
        out = tmp_path / preset
        words = ["--data", tmp_path / "set", "--out", out, "--side", 64, "--width", 16, "--batch", 16]
        words += ["--images", 2512, "--evaluate-every", 2512, "--evaluate-samples", 208, "--report-every", 500]
        run("train", f"landscape_gan:{preset}", *words, "--no-tensorboard", "--picture-every", 10**6, "--held-out", 8)
        events = read_events(out)
        reports = [event["losses"] for event in events if event["event"] == "report"]
        told[preset] = reports[-1]["discriminator: accuracy"]
        figures = [event["figures"] for event in events if event["event"] == "evaluation"]
        distance[preset] = figures[-1]["kernel distance"]
    print(told, distance)
    assert told["reference"] > 0.9
    assert told["small"] < 0.75
    assert distance["small"] < 0.2 * distance["reference"]
