"""The extended GAN's discriminator uses class, tile and vector: mismatched, its loss on true samples rises."""

import pytest
import torch
from packed_worlds import write_packed_world
from programs import run

from waterscape import models
from waterscape.data.batches import ShardSet
from waterscape.nn.losses import judged_true
from waterscape.randomness import Draw

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # it has to be trained before it can be asked


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A small synthetic world in shards."""
    return write_packed_world(tmp_path_factory.mktemp("world"), 500)


@pytest.fixture(scope="module")
def gan(shards, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gan")
    words = ["--data", shards, "--batch", 16, "--held-out", 0, "--no-tensorboard", "--picture-every", 10**6]
    words += ["--checkpoint-every", 10**6]
    run("train", "water_vae", "--out", directory / "vae", "--images", 16_000, *words)
    more = ["--start", f"vae={directory / 'vae'}", "--width", 16, "--images", 12_000]
    run("train", "water_gan", "--out", directory / "gan", *more, *words)
    return models.load(directory / "gan")


def test_shuffled_classes_or_vectors_raise_the_loss_on_true_samples(gan, shards):
    tiles = ShardSet(shards, "train")
    stored = [tiles.read(number) for number in range(len(tiles))]
    batch = {
        name: entry.numbers(torch.stack([torch.tensor(sample[entry.column]) for sample in stored]), torch.float32)
        for name, entry in gan.recipe.inputs().items()
    }
    draw = Draw(99, torch.arange(len(tiles)))
    order = draw.words("shuffle").argsort()
    with torch.no_grad():
        kind, image, vector = gan.recipe.true_sample(gan.networks, batch, draw)
        judge = gan.networks["discriminator"]
        as_they_are = judged_true(judge(kind, image, vector))
        other_classes = judged_true(judge(kind[order], image, vector))
        other_vectors = judged_true(judge(kind, image, vector[order]))
        other_tiles = judged_true(judge(kind, image[order], vector))
    others = f"classes {other_classes:.3f}, vectors {other_vectors:.3f}, tiles {other_tiles:.3f}"
    told = f"as they are {as_they_are:.3f}, with other {others}"
    print(told)
    assert other_classes > as_they_are + 0.1, told
    assert other_vectors > as_they_are + 0.1, told
    assert other_tiles > as_they_are + 0.1, told


def test_several_classes_and_vectors_are_judged_as_each_alone(gan):
    judge = gan.networks["discriminator"]
    draw = Draw(0, torch.arange(12))
    kind, image, vector = draw.integers("kind", 9), draw.uniform("image", 1, 64, 64), draw.normal("vector", 16)
    with torch.no_grad():
        together = judge(torch.cat([kind, kind.flip(0)]), image, torch.cat([vector, vector.flip(0)]))
        alone = torch.cat([judge(kind, image, vector), judge(kind.flip(0), image, vector.flip(0))])
    assert torch.allclose(together, alone, atol=1e-5)
