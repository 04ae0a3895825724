"""An optimizer's step that is taken or not by what stands on the device, without the host's waiting to know."""

from __future__ import annotations

import torch
from torch import Tensor


def descend(optimizer: torch.optim.Optimizer, good: Tensor) -> None:
    """Move, if `good` (a scalar on the device). A fused optimizer decides there, as it does for a gradient scaler."""
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.grad_scale, optimizer.found_inf = None, (~good).to(torch.float32)  # type: ignore[attr-defined]
        optimizer.step()
    elif good.device.type != "cpu":
        step_and_take_back(optimizer, good)
    elif good:
        optimizer.step()


def step_and_take_back(optimizer: torch.optim.Optimizer, good: Tensor) -> None:
    """Step, and be as before unless `good`: for optimizers that know no fused form.

    What the optimizer keeps on the host (how many steps it took) counts on.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    before = [(tensor, tensor.detach().clone()) for tensor in (*parameters, *_state(optimizer, parameters, good))]
    known = {id(tensor) for tensor, _ in before}
    optimizer.step()
    before += [(t, torch.zeros_like(t)) for t in _state(optimizer, parameters, good) if id(t) not in known]
    with torch.no_grad():
        for tensor, old in before:
            tensor.copy_(torch.where(good, tensor, old))


def _state(optimizer: torch.optim.Optimizer, parameters: list[Tensor], good: Tensor) -> list[Tensor]:
    held = [value for parameter in parameters for value in optimizer.state.get(parameter, {}).values()]
    return [value for value in held if isinstance(value, Tensor) and value.device == good.device]
