"""The enlarger: what it sees belongs together, one part follows the other, and it becomes better than bicubic."""

import every_model
import numpy as np
import pytest
import torch
from packed_worlds import write_packed_world
from programs import run, run_program

from waterscape import models
from waterscape.metrics.enlargement import bicubic, sums
from waterscape.models.water_enlarger import Enlarger, WaterEnlarger
from waterscape.nn.augment import cut
from waterscape.nn.conserving import reduced
from waterscape.nn.windows import MARGIN, in_windows
from waterscape.randomness import Draw
from waterscape.recipe import Progress
from waterscape.sources import occurrence
from waterscape.training.events import read_events
from waterscape.training.processes import Processes


@pytest.mark.parametrize("turns", [False, True])
def test_the_parts_that_are_seen_belong_together(turns):
    high = Draw(0, torch.arange(9), torch.float64).uniform("tile", 1, 64, 64)
    recipe = WaterEnlarger(side=16, window=8, turns=turns)
    seen, low = recipe.seen({"high": high, "low": reduced(high, 4)}, Draw(1, torch.arange(9)))
    assert (seen.shape, low.shape) == ((9, 1, 32, 32), (9, 1, 8, 8))
    assert torch.allclose(reduced(seen, 4), low)
    assert len({float(one.mean()) for one in low}) == 9


def test_windows_lie_anywhere_in_the_tile():
    place = torch.arange(16.0).reshape(1, 1, 16, 1).expand(400, 1, 16, 16)
    recipe = WaterEnlarger(side=16, window=8)
    high = place.repeat_interleave(4, 2).repeat_interleave(4, 3)
    _, low = recipe.seen({"high": high, "low": place}, Draw(0, torch.arange(400)))
    assert set(low[:, 0, 0, 0].tolist()) == set(range(9))
    picture = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert torch.equal(cut(picture, torch.tensor([1]), torch.tensor([3]), 2), picture[..., 1:3, 3:5])


@pytest.mark.parametrize("harmonic", [0, 9, 6])
def test_whatever_the_weights_it_reduces_to_its_input(harmonic):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Enlarger(8, 2, harmonic)
    low = Draw(0, torch.arange(3)).uniform("tile", 1, 13, 20)
    low[0, 0, :4], low[0, 0, 4:8] = 0, 1
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
        made = network(low)
    assert made.shape == (3, 1, 52, 80)
    assert 0 <= made.min() <= made.max() <= 1
    assert (reduced(made, 4) - low).abs().max() < 1e-6
    assert (made - bicubic(low, 4)).abs().max() > 0.1, "the weights count"


def test_of_a_large_tile_windows_see_far_enough():
    """No seam with as many residual blocks as anyone takes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Enlarger(4, 12, 0).double()
    low = Draw(0, torch.arange(1), torch.float64).uniform("tile", 1, 8, 100)
    with torch.no_grad():
        assert torch.allclose(in_windows(network, low, inside=40, margin=MARGIN), network(low), atol=1e-12)


def test_fewer_frequencies_are_fewer_parameters():
    counted = [sum(p.numel() for p in Enlarger(8, 2, harmonic).parameters()) for harmonic in (0, 9, 6, 3)]
    assert counted[0] == counted[1] > counted[2] > counted[3]


def test_one_part_follows_the_other(tmp_path):
    learner = every_model.learner("water_enlarger", "recommended", Processes(None, "float32", tmp_path))
    assert learner.recipe.adversarial_images == every_model.BATCH
    told, judges = [], []
    for step in range(3):
        numbers = torch.arange(step * every_model.BATCH, (step + 1) * every_model.BATCH)
        losses = learner.step(every_model.columns(learner.recipe, numbers), numbers, len(numbers))
        told.append({name.split(": ")[0] for name in losses} - {"penalty"})
        judges.append(every_model.fingerprint({"discriminator": learner.networks["discriminator"]}))
    assert told == [{"reconstruction"}, {"discriminator", "adversarial"}, {"discriminator", "adversarial"}]
    assert judges[1] != judges[2]
    rate = WaterEnlarger(adversarial_images=8, warm_up_images=4, adversarial_rate=0.25).rate
    assert [rate("enlarger", Progress(images, 0, 0)) for images in (0, 3, 7, 8)] == [0.25, 1, 1, 0.25]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A packed synthetic world, whose shores are as ragged as real ones."""
    return write_packed_world(tmp_path_factory.mktemp("world"), 160)


@pytest.mark.long
@pytest.mark.parametrize("harmonic", [0, 6])
def test_it_becomes_better_than_bicubic(harmonic, world, tmp_path):
    """In PSNR, SSIM and shoreline error on held-out tiles, after half a minute, with either kind of convolution."""
    words = ["--images", 1600, "--adversarial-images", 1280, "--window", 16, "--width", 16, "--blocks", 2]
    words += ["--half-life-images", 200, "--evaluate-every", 0, "--no-tensorboard", "--harmonic", harmonic]
    run("train", "water_enlarger", "--data", world, "--out", tmp_path / "run", "--batch", 8, *words)
    told = [event["measured"] for event in read_events(tmp_path / "run") if event["event"] == "picture"][-1]
    assert told["PSNR: enlarged"] > told["PSNR: bicubic"] + 0.5
    assert told["SSIM: enlarged"] > told["SSIM: bicubic"]
    assert told["shoreline error in pixels: enlarged"] < told["shoreline error in pixels: bicubic"]
    assert told["water error in percent: enlarged"] < 1
    assert told["reduction error in percent: enlarged"] < 1e-4


APART = (9, 10, 23, 26, 36, 39, 59, 65, 74, 78, 84, 87, 93, 94, 99, 104, 113, 118, 138, 142, 146, 159, 172, 177, 192)
APART += (198, 201, 215, 226, 235, 240, 243, 265, 275, 285, 288, 291, 300, 301)
"""Numbers of real tiles that show no ground of the other forty, compared at every shift; within either half some do."""


@pytest.mark.long
def test_real_water_keeps_its_area(real_data, tmp_path):
    """Trained on some places and asked for others: all their water to 1 %, and tile by tile nearer than bicubic."""
    held_out = {real_data / "water_occurrence" / f"occ_{number}.png" for number in APART}
    (tmp_path / "tiles").mkdir()
    for file in {*(real_data / "water_occurrence").glob("*.png")} - held_out:
        (tmp_path / "tiles" / file.name).symlink_to(file)
    words = ["--tile-size", 128, "--sizes", "128,32", "--group", "file"]
    done = run_program("tools/pack_occurrence.py", tmp_path / "tiles", "--out", tmp_path / "set", *words)
    assert done.returncode == 0, done.stderr
    words = ["--side", 32, "--width", 16, "--blocks", 2, "--images", 2400, "--batch", 8, "--half-life-images", 300]
    words += ["--adversarial-images", 10**6, "--evaluate-every", 0, "--no-tensorboard", "--picture-every", 10**6]
    run("train", "water_enlarger", "--data", tmp_path / "set", "--out", tmp_path / "run", *words)
    trained = models.load(tmp_path / "run")
    high = torch.from_numpy(np.stack([occurrence.read(file).occurrence for file in sorted(held_out)]))[:, None] / 100
    low = (100 * reduced(high, 4)).round() / 100
    with torch.no_grad():
        made = trained.recipe.enlarge(trained.networks, low)
    assert abs((made >= 0.5).sum() / (high >= 0.5).sum() - 1) < 0.01
    wrong = [sums(way, high, low)["wet pixels error"] for way in (made, bicubic(low, 4))]
    assert wrong[0] < 0.75 * wrong[1]
