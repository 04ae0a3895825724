"""The processes of a run, through accelerate: who we are, on which device, and what we tell one another."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from torch import Tensor, nn

from waterscape.errors import UserError


class Processes:
    """This process among those of the run; `world` of them, this one of number `rank`."""

    def __init__(self, wanted: int | None, precision: str, out: Path, *, tensorboard: bool = False) -> None:
        # Buffers change only from sums over all processes, so none is copied over the others'.
        parallel = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
        self.accelerator = Accelerator(
            mixed_precision="bf16" if precision == "bfloat16" else "no",
            kwargs_handlers=[parallel],
            log_with="tensorboard" if tensorboard else None,
            project_dir=str(out),
        )
        self.rank: int = self.accelerator.process_index
        self.world: int = self.accelerator.num_processes
        self.first = self.rank == 0
        self.device: torch.device = self.accelerator.device
        self.tensorboard = tensorboard
        if wanted is not None and wanted != self.world:
            raise UserError(
                f"--processes {wanted}, but {self.world} started: launch as many with `accelerate launch "
                f"--num_processes {wanted}` (without a GPU: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu "
                f"--num_processes {wanted}), or leave --processes out"
            )

    def place(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        """The network on this process's device."""
        return network.to(device=self.device, dtype=dtype)

    def wrap(self, networks: Mapping[str, nn.Module], trained: Sequence[str]) -> dict[str, nn.Module]:
        """Those networks that are trained, such that calling one averages its gradients over all processes.

        The networks themselves stay usable: a phase calls the frozen ones bare. A network that no phase trains is never
        wrapped, since there would be no gradients to wait for.
        """
        for name, network in networks.items():
            if name not in trained:
                self.accelerator.prepare_model(network.requires_grad_(False).eval(), evaluation_mode=True)
        with warnings.catch_warnings():  # torch 2.13 renames the option above, with a successor that does less
            warnings.filterwarnings("ignore", message=".*broadcast_buffers", category=FutureWarning)
            return {name: self.accelerator.prepare_model(networks[name].requires_grad_(True)) for name in trained}

    @contextlib.contextmanager
    def unsynchronised(self, networks: Sequence[nn.Module]) -> Iterator[None]:
        """Gradients add up here without being averaged: for all micro-batches of a step but the last."""
        with contextlib.ExitStack() as stack:
            for network in networks:
                stack.enter_context(self.accelerator.no_sync(network))
            yield

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        total: Tensor = self.accelerator.reduce(values, "sum")
        return total

    def broadcast(self, value: Any) -> Any:
        """The first process's value, on every process."""
        if self.world == 1:
            return value
        held = [value]
        broadcast_object_list(held)
        return held[0]

    def agree(self, problem: str, what: str) -> None:
        """Raise `UserError` on every process where one of them has a problem, so that none waits for the others."""
        count = self.sum(torch.tensor(float(bool(problem)), device=self.device))
        if count > 0:
            raise UserError(f"{what}: {problem or 'another process could not'}")

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()

    def track(self, images: int) -> None:
        """Open TensorBoard's files; what an interrupted start wrote there beyond `images` is not shown."""
        if self.tensorboard:
            self.accelerator.init_trackers(
                "tensorboard", init_kwargs={"tensorboard": {"purge_step": images + 1 if images else None}}
            )

    def log(self, values: Mapping[str, float], images: int) -> None:
        """Curves for TensorBoard."""
        if self.tensorboard:
            self.accelerator.log(dict(values), step=images)

    def close(self) -> None:
        """Leave, all together."""
        self.accelerator.end_training()
