"""No step waits for the device: each model's, on torch's `meta` device, whose tensors have no numbers to wait for.

What would make the host wait on a GPU fails there: asking for a number, rows by a mask, a tensor left on the host. What
brings Python's numbers to the device waits too, and is caught as it is called.
"""

import contextlib
import sys

import every_model
import pytest
import torch
from torch.overrides import TorchFunctionMode

from waterscape import models
from waterscape.nn import augment
from waterscape.training.descending import step_and_take_back
from waterscape.training.processes import Processes

BRINGING = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor}


class NothingBrought(TorchFunctionMode):
    """Refuses what copies numbers of Python's to the device."""

    def __torch_function__(self, function, types, arguments=(), named=None):
        assert function not in BRINGING, f"{function} copies to the device within a step, and the host waits"
        found, named = function(*arguments, **(named or {})), named or {}
        moved = function is torch.Tensor.to and found.is_meta and not arguments[0].is_meta
        assert not moved or named.get("non_blocking"), "a tensor of the host's is copied, and the host waits"
        return found


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A process whose device is `meta`; fused optimizers take it for one of theirs."""
    from torch.utils import _foreach_utils as kinds

    known = [*kinds._get_fused_kernels_supported_devices(), "meta"]
    for name, module in list(sys.modules.items()):
        if name.startswith("torch.optim.") and hasattr(module, "_get_fused_kernels_supported_devices"):
            monkeypatch.setattr(module, "_get_fused_kernels_supported_devices", lambda: known)
    processes = Processes(None, "float32", tmp_path)
    processes.device = torch.device("meta")
    monkeypatch.setattr(processes, "prepare", lambda network: network)
    return processes


def take_steps(model, preset, processes):
    with torch.device("meta"):
        taught = every_model.learner(model, preset, processes)
    numbers = torch.arange(every_model.BATCH)
    columns = every_model.columns(taught.recipe, numbers)
    taught.step(columns, numbers, every_model.BATCH)  # constants are made at the first step
    with NothingBrought():
        taught.step(columns, numbers, every_model.BATCH)
    return taught


@pytest.mark.parametrize("preset", [pytest.param("reference", marks=pytest.mark.long), "recommended"])
@pytest.mark.parametrize("model", models.names())
def test_no_step_waits(model, preset, nowhere, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # there is none for `meta`
    assert take_steps(model, preset, nowhere).steps == 2


@pytest.mark.parametrize(
    ("waiting", "error", "told"),
    [
        (lambda x: x.sum().item(), RuntimeError, "item"),
        (lambda x: x[x > 0], NotImplementedError, "nonzero"),
        (lambda x: x + torch.tensor([len(x)]).to(x.device), AssertionError, "the host waits"),
    ],
    ids=["a number", "how many", "brought"],
)
def test_waiting_would_be_seen(waiting, error, told, nowhere, monkeypatch):
    kind = type(models.presets("water_vae")["reference"])
    bound = kind.bound

    def asks(self, networks, batch, draw):
        waiting(batch["image"])
        return bound(self, networks, batch, draw)

    monkeypatch.setattr(kind, "bound", asks)
    with pytest.raises(error, match=told):
        take_steps("water_vae", "reference", nowhere)


def test_pictures_are_oriented_alike_without_waiting():
    images, which = torch.rand(40, 3, 12, 12), torch.arange(40) % 8
    wanted = augment.orient_by_rows(images, which)
    assert torch.equal(augment.orient_by_place(images, which), wanted)
    assert (
        len(
            {
                tuple(one.flatten().tolist())
                for one in augment.orient_by_rows(images[:1].expand(8, -1, -1, -1), which[:8])
            }
        )
        == 8
    )


@pytest.mark.parametrize("kind", [torch.optim.RMSprop, torch.optim.SGD, torch.optim.Adam])
def test_a_step_taken_back_is_no_step(kind):
    """With the host's knowing, steps 0 and 2 of these are not taken."""
    found = []
    for knows in (True, False):
        torch.manual_seed(0)
        parameter = torch.nn.Parameter(torch.randn(7))
        optimizer = kind([parameter], lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
        for number, good in enumerate([False, True, False, True, True]):
            parameter.grad = (
                torch.full((7,), torch.nan) if not good else torch.randn(7, generator=torch.manual_seed(number))
            )
            if not knows:
                step_and_take_back(optimizer, torch.tensor(good))
            elif good:
                optimizer.step()
        found.append(parameter.detach().clone())
    assert torch.equal(*found)
