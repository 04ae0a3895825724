"""`waterscape.load`: what a run trained, in a few lines."""

import hashlib

import numpy as np
import pytest
import torch
from programs import run
from safetensors.torch import load_file

import waterscape
from waterscape.errors import UserError
from waterscape.metrics.morphology import CLASSES
from waterscape.training.events import read_events


def test_networks_are_those_of_the_checkpoint_averaged_where_kept(runs):
    gan = waterscape.load(runs / "gan")
    (place,) = (runs / "gan" / "checkpoints").glob("*64")
    assert gan.images == 64
    assert gan.sha256 == hashlib.sha256((place / "state.json").read_bytes()).hexdigest()
    for name, network in gan.networks.items():
        kept = "average" if name in ("decoder", "generator") else "network"
        stored = load_file(place / f"{kept}.{name}.safetensors")
        assert all(torch.equal(value, stored[key]) for key, value in network.state_dict().items())
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_the_best_checkpoint_and_one_by_name(runs):
    figures = [event for event in read_events(runs / "vae") if event["event"] == "evaluation" and event["images"]]
    best = min(figures, key=lambda event: event["figures"]["kernel distance"])
    assert waterscape.load(runs / "vae", "best").images == best["images"]
    assert waterscape.load(runs / "vae", "64").images == 64
    with pytest.raises(UserError, match="no checkpoint 'best'; it has 000000000064"):
        waterscape.load(runs / "gan", "best")


def test_new_pictures(runs):
    gan = waterscape.load(runs / "gan")
    made = gan.sample(21, classes=["river", "lake"], seed=3)
    assert made.shape == (21, 1, 64, 64)
    assert 0 <= made.min() < made.max() <= 1
    assert gan.classes == CLASSES
    assert gan.kinds(3, ["river", "lake"]).tolist() == [CLASSES.index(name) for name in ("river", "lake", "river")]
    assert torch.equal(gan.sample(5, classes=["river", "lake"], seed=3), made[:5])
    assert not torch.equal(gan.sample(21, seed=3), made)
    assert not torch.equal(gan.sample(21, classes=["river", "lake"]), made)


def test_they_are_those_of_the_command(runs, tmp_path):
    run("sample", runs / "vae", "-n", 7, "--seed", 2, "--out", tmp_path)
    written = np.load(tmp_path / "samples.npy")
    made = waterscape.load(runs / "vae").sample(7, seed=2)
    assert np.array_equal(written, np.rint(100 * made[:, 0].numpy()).astype(np.uint8))


def test_bad_input_is_told(runs, tmp_path):
    vae = waterscape.load(str(runs / "vae"))
    assert vae.classes == ()
    with pytest.raises(UserError, match="no class 'lake' in this model; it has no classes"):
        vae.sample(3, classes=["lake"])
    with pytest.raises(UserError, match="ask for 1 or more"):
        vae.sample(0)
    with pytest.raises(UserError, match="is not a run"):
        waterscape.load(tmp_path)
