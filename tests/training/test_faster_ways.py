"""The named ways to a faster step, as runs: bitwise the same where they must be, resumed where they are not."""

import dataclasses

import every_model
import pytest
import torch
from cxx import need_cxx
from programs import run, write_tiles

from waterscape import models
from waterscape.errors import UserError
from waterscape.training.compiling import compiled
from waterscape.training.events import read_ledger
from waterscape.training.learner import Learner
from waterscape.training.processes import Processes
from waterscape.training.run import Run

WORDS = ["--images", 64, "--batch", 16, "--held-out", 8, "--evaluate-every", 0, "--no-tensorboard"]
WEIGHTS = "network-decoder.safetensors"


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return write_tiles(tmp_path_factory.mktemp("set") / "tiles", 100)


def train(tiles, out, *words, images=64):
    run(
        "train",
        "water_vae",
        "--data",
        tiles,
        "--out",
        out,
        *WORDS,
        "--images",
        images,
        "--checkpoint-every",
        32,
        *words,
    )
    newest = max((out / "checkpoints").iterdir())
    return {path.name: path.read_bytes() for path in newest.glob("*.safetensors")}


def test_cached_and_copied_ahead_is_the_same_run(tiles, tmp_path):
    plain = train(tiles, tmp_path / "plain")
    assert plain == train(tiles, tmp_path / "other", "--cache", "device", "--ahead", "yes", images=32) | train(
        tiles, tmp_path / "other", "--cache", "host"
    )
    assert read_ledger(tmp_path / "plain") == read_ledger(tmp_path / "other")


@pytest.mark.long
@pytest.mark.parametrize("words", [["--channels-last"], ["--compile", "decoder"]], ids=["channels last", "compiled"])
def test_what_rounds_otherwise_resumes_bitwise_by_itself(tiles, tmp_path, words):
    if "--compile" in words:
        need_cxx()
    whole = train(tiles, tmp_path / "whole", *words)
    train(tiles, tmp_path / "half", *words, images=32)
    assert whole == train(tiles, tmp_path / "half", *words)
    with pytest.raises(UserError, match="holds a run with other options"):
        train(tiles, tmp_path / "half")


def gradients(processes, **options):
    """Of the first phase of `ship_gan`'s discriminator and generator, in the order of the parameters' numbers."""
    recipe = every_model.recipe("ship_gan", "recommended")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = every_model.build(recipe)
    taught = Learner(recipe, Run(out=processes.accelerator.project_dir, batch=5, **options), networks, processes, 100)
    numbers = torch.arange(5)
    taught.step(every_model.columns(recipe, numbers), numbers, 5)
    return torch.cat([p.grad.flatten() for network in taught.networks.values() for p in network.parameters()]), taught


def test_channels_last_is_the_same_up_to_rounding(tmp_path):
    processes = Processes(None, "float32", tmp_path)
    plain, _ = gradients(processes)
    innermost, taught = gradients(processes, channels_last=True)
    assert (plain - innermost).norm() < 1e-3 * plain.norm()
    kernels = [
        p for network in taught.networks.values() for p in network.parameters() if p.ndim == 4 and p.shape[2] > 1
    ]
    assert kernels
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    exact, _ = gradients(Processes(None, "float64", tmp_path), precision="float64")
    other, _ = gradients(Processes(None, "float64", tmp_path), precision="float64", channels_last=True)
    assert torch.allclose(exact, other, rtol=1e-8, atol=1e-11)


@pytest.mark.long
def test_compiled_is_the_same_up_to_rounding_and_a_penalty_of_gradients_is_refused(tmp_path):
    need_cxx()
    processes = Processes(None, "float64", tmp_path)
    plain, _ = gradients(processes, precision="float64")
    made, _ = gradients(processes, precision="float64", compile=("generator",))
    assert torch.allclose(plain, made, rtol=1e-7, atol=1e-10)
    with pytest.raises(UserError, match="differentiates a network's gradient"):
        gradients(processes, compile=("discriminator",))


def test_an_unknown_network_is_named():
    networks = models.presets("water_vae")["reference"].networks({})
    with pytest.raises(UserError, match="--compile painter: there is no such network; there are encoder, decoder"):
        compiled(networks, ("painter",))
    assert compiled(networks, ()) == networks


def test_older_runs_have_none_of_these_ways():
    defaults = {option.name: option.default for option in dataclasses.fields(Run)}
    assert {n: defaults[n] for n in ("channels_last", "compile", "cache", "ahead")} == {
        "channels_last": False,
        "compile": (),
        "cache": "none",
        "ahead": "auto",
    }
