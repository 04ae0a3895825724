"""A recipe that reads photos, by the words any recipe uses: a column `jpg` and a shape."""

# ruff: noqa: ARG001, ARG002 -- the contract names the arguments

import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from waterscape.data.batches import Batches, ShardSet
from waterscape.data.order import Order
from waterscape.data.pack import SetWriter
from waterscape.recipe import Input, Phase, Recipe
from waterscape.training.engine import train
from waterscape.training.events import read_events, read_ledger
from waterscape.training.exhibit import Exhibit
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run


@dataclass(frozen=True)
class Copier(Recipe):
    """Learns to give back the photo that it is shown, through a 1×1 convolution."""

    def inputs(self):
        return {"photo": Input("jpg", shape=(3, 16, 24), stored=(0, 255), range=(-1, 1))}

    def networks(self, starts):
        return {"mixer": nn.Conv2d(3, 3, 1)}

    def phases(self):
        def loss(networks, batch, draw):
            return {"loss": (networks["mixer"](batch["photo"]) - batch["photo"]).square().mean()}

        return (Phase("copy", ("mixer",), loss),)

    def optimizer(self, name, network):
        return torch.optim.Adam(network.parameters(), lr=0.05)

    def measure(self, networks, batch):
        return {"error": (networks["mixer"](batch["photo"]) - batch["photo"]).square().mean((1, 2, 3)).sum()}

    def picture(self, networks, batch, draw):
        return {"photo": batch["photo"] / 2 + 0.5}


@pytest.fixture
def photos(tmp_path):
    """Synthetic photos of one colour each, larger than the model's and of several sizes."""
    random = np.random.default_rng(0)
    with SetWriter(tmp_path / "photos", facts={"synthetic": True}, samples_per_shard=8) as writer:
        for number in range(40):
            colour = random.integers(0, 256, 3, np.uint8)
            stream = io.BytesIO()
            picture = np.broadcast_to(colour, (40 + number, 80, 3))
            Image.fromarray(np.ascontiguousarray(picture)).save(stream, "JPEG", quality=95)
            writer.add("valid" if number % 5 == 4 else "train", {"jpg": stream.getvalue()})
        writer.finish()
    return tmp_path / "photos"


def learner(run, shards):
    torch.manual_seed(0)
    recipe = Copier()
    return Learner(recipe, run, recipe.networks({}), Processes(None, "float32", run.out), len(shards))


def test_a_batch_of_photos_is_what_the_recipe_declares(photos, tmp_path):
    shards = ShardSet(photos, "train")
    taught = learner(Run(out=tmp_path / "run", batch=6), shards)
    order = Order.sequential(shards.counts)
    with Batches(shards, taught.columns, pictures=taught.pictures, batch=6, order=order) as stream:
        loaded = next(stream)
    batch = taught.batch(loaded.columns)["photo"]
    assert (batch.shape, batch.dtype) == ((6, 3, 16, 24), torch.float32)
    for row in range(6):
        with Image.open(io.BytesIO(shards.read(row)["jpg"])) as image:
            colour = np.asarray(image)[0, 0] / 127.5 - 1
        np.testing.assert_allclose(batch[row].mean((1, 2)), colour, atol=0.02)


def test_the_engine_trains_on_photos_and_resumes_exactly(photos, tmp_path):
    def weights(out, *images, **options):
        shards = ShardSet(photos, "train")
        for until in images:
            out.mkdir(exist_ok=True)
            intervals = {"report_every": 8, "picture_every": 160}
            run = Run(out=out, batch=8, images=until, tensorboard=False, **intervals, **options)
            taught = learner(run, shards)
            train(taught, shards, Exhibit(ShardSet(photos, "valid"), 8, out / "pictures", {}), "copier on photos")
        return taught.networks["mixer"].state_dict()

    once, twice = weights(tmp_path / "once", 320), weights(tmp_path / "twice", 152, 320)
    assert all(torch.equal(once[name], twice[name]) for name in once)
    assert read_ledger(tmp_path / "once") == read_ledger(tmp_path / "twice")
    several = weights(tmp_path / "several", 320, readers=3)
    assert all(torch.equal(once[name], several[name]) for name in once), "so many threads decode, and nothing changes"
    events = read_events(tmp_path / "once")
    losses = [event["losses"]["loss"] for event in events if event["event"] == "report"]
    assert losses[-1] < losses[0] / 20
    errors = [event["measured"]["error"] for event in events if event["event"] == "picture"]
    assert errors[-1] < errors[0] / 20, "held-out photos are decoded as those of training are"
