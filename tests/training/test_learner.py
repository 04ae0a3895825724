"""A step: the same on any number of processes, and no step at all where something is not finite."""

import pytest
import torch
import toy
from programs import ROOT
from safetensors.torch import load_file

from waterscape.proof.launch import Ranks
from waterscape.training.learner import micro_batches
from waterscape.training.processes import Processes


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return Processes(None, "float64", tmp_path_factory.mktemp("alone"))


def changed(before, after):
    """Names of what a step changed, without the networks' prefixes."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_step_with_a_nan_moves_nothing_but_the_place_in_the_stream(processes):
    taught = toy.learner(processes)
    for number in range(2):
        toy.step(taught, number)
    before = toy.state(taught)
    losses = toy.step(taught, 2)  # NaN in the first phase: both statistics and gradients
    assert not taught.good
    assert not changed(before, toy.state(taught))
    assert all(value == 0 for value in losses.values())
    assert (taught.images, taught.steps) == (15, 3)
    assert (int(taught.skipped), int(taught.skipped_in_a_row)) == (1, 1)
    toy.step(taught, 3)
    assert taught.good
    assert (int(taught.skipped), int(taught.skipped_in_a_row)) == (1, 0)


def test_an_infinite_loss_in_a_later_phase_stops_the_step_there(processes):
    whole, broken = toy.learner(processes), toy.learner(processes)
    for number in range(2):
        toy.step(whole, number, broken=False)
        toy.step(broken, number, broken=False)
    before = toy.state(broken)
    whole.steps = broken.steps = 4
    toy.step(broken, 4)
    assert not broken.good
    touched = changed(before, toy.state(broken))
    assert not any(name.startswith("average") for name in touched)
    # The first phase stands: it is what a learner without the second one makes of that step.
    whole.phases = whole.phases[:1]
    toy.step(whole, 4)
    after, wanted = toy.state(broken), toy.state(whole)
    assert {name for name in wanted if not torch.equal(after[name], wanted[name])} == {
        name for name in wanted if name.startswith("average")
    }


def test_skipped_in_a_row_counts_on(processes):
    taught = toy.learner(processes)
    for _ in range(3):
        toy.step(taught, 2)
    assert (int(taught.skipped), int(taught.skipped_in_a_row)) == (3, 3)


SMALL = [pytest.param(2, [6, 12], marks=pytest.mark.long), pytest.param(1, [12, 24], marks=pytest.mark.long)]


@pytest.mark.parametrize(("batch", "bad"), [(5, [2, 4]), *SMALL])
def test_three_processes_take_the_steps_of_one(batch, bad, tmp_path):
    """Batch statistics, gathered losses, several phases, micro-batches, bad steps: equal up to rounding in float64.

    Of a batch smaller than the world too.
    """
    toy.main(tmp_path, None, batch)
    one = load_file(tmp_path / "0.safetensors")
    Ranks(3, [ROOT / "tests/training/toy.py", tmp_path, 1, batch], tmp_path / "log").wait()
    found = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(3)]
    assert [number for number in range(toy.IMAGES // batch) if not one[f"True good {number}"]] == bad
    for several in found:
        for name, value in one.items():
            assert torch.allclose(value, several[name], rtol=1e-11, atol=1e-13, equal_nan=False), name
            if "loss" not in name:
                assert torch.equal(several[name], found[0][name]), f"{name} differs between the processes"


def test_draws_are_recorded_sample_by_sample_whatever_the_micro_batch(processes):
    found = []
    for micro_batch in (None, 2):
        taught = toy.learner(processes, micro_batch=micro_batch, statistics=False)
        toy.step(taught, 0)
        found.append(taught.drawn)
    assert torch.equal(*found)
    assert len(set(found[0].tolist())) == toy.BATCH


@pytest.mark.parametrize(
    ("count", "world", "at_most", "pieces"),
    [
        (5, 1, None, [(5,)]),
        (5, 2, None, [(3, 2)]),
        (5, 2, 2, [(2, 1), (1, 1)]),
        (5, 2, 1, [(2, 1), (1, 1)]),  # the smaller share is two pieces, so the larger one is too
        (7, 3, 2, [(2, 1, 1), (1, 1, 1)]),
        (8, 2, 2, [(2, 2), (2, 2)]),
        (2, 3, 1, [(1, 1, 0)]),
    ],
)
def test_pieces_are_as_many_on_every_process(count, world, at_most, pieces):
    assert micro_batches(count, world, at_most) == pieces


def test_gradients_lie_in_one_tensor_as_their_parameters_do(processes):
    taught = toy.learner(processes)
    taught.step(toy.columns(torch.arange(5)), torch.arange(5), 5)
    for name, gradients in taught.gradients.items():
        places = sorted(p.grad.data_ptr() for p in taught.networks[name].parameters())
        assert places[0] == gradients.flat.data_ptr()
        assert sum(p.numel() for p in taught.networks[name].parameters()) == len(gradients.flat) - 1
        assert all(p.grad.stride() == p.stride() for p in taught.networks[name].parameters())
