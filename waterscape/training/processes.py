"""The processes of a run, through accelerate: who we are, on which device, and what we tell one another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor, nn

from waterscape.errors import UserError
from waterscape.training.heap import keep_freed_memory
from waterscape.training.pulse import pulse


class Processes:
    """This process among those of the run; `world` of them, this one of number `rank`.

    `patience`: seconds that it waits for the others in a collective, the first one included.
    """

    def __init__(
        self,
        wanted: int | None,
        precision: str,
        out: Path,
        *,
        tensorboard: bool = False,
        patience: float = 1800.0,
    ) -> None:
        self.accelerator = Accelerator(
            mixed_precision="bf16" if precision == "bfloat16" else "no",
            log_with="tensorboard" if tensorboard else None,
            project_dir=str(out),
            # Else it is ten minutes with NCCL: fewer than the first process may take to evaluate while others wait.
            kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(seconds=patience))],
        )
        self.rank: int = self.accelerator.process_index
        self.world: int = self.accelerator.num_processes
        self.first = self.rank == 0
        self.first_of_node: bool = self.accelerator.is_local_main_process
        self.device: torch.device = self.accelerator.device
        self.tensorboard = tensorboard
        if self.device.type == "cpu":
            keep_freed_memory()
        if wanted is not None and wanted != self.world:
            raise UserError(
                f"--processes {wanted}, but {self.world} started: launch as many with `accelerate launch "
                f"--num_processes {wanted}` (without a GPU: ACCELERATE_USE_CPU=true accelerate launch --multi_gpu "
                f"--num_processes {wanted}), or leave --processes out"
            )

    def place(self, network: nn.Module, dtype: torch.dtype) -> nn.Module:
        """The network on this process's device, with the first process's weights and buffers."""
        network = network.to(device=self.device, dtype=dtype)
        for tensor in (*network.parameters(), *network.buffers()) if self.world > 1 else ():
            with pulse.waiting("broadcast of the first weights"):
                torch.distributed.broadcast(tensor.detach(), 0)
        return network

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network as phases call it, in the run's precision.

        Not wrapped in DistributedDataParallel: gradients are added up by `Gradients`.
        """
        prepared: nn.Module = self.accelerator.prepare_model(network, evaluation_mode=True)
        return prepared

    def add_up(self, tensor: Tensor, what: str = "all_reduce") -> None:
        """Put the sum over all processes in its place; `what` names the call, for whoever looks where a run waits."""
        if self.world > 1:
            with pulse.waiting(what):
                torch.distributed.all_reduce(tensor)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        with pulse.waiting("all_reduce of a sum"):
            total: Tensor = self.accelerator.reduce(values, "sum")
        return total

    def tally(self, values: Sequence[float]) -> list[float]:
        """Each number's sum over all processes, in float32."""
        if self.world == 1:
            return list(values)
        found: list[float] = self.sum(torch.tensor(values, dtype=torch.float32, device=self.device)).tolist()
        return found

    def broadcast(self, value: Any) -> Any:
        """The first process's value, on every process."""
        if self.world == 1:
            return value
        held = [value]
        with pulse.waiting("broadcast from the first process"):
            broadcast_object_list(held)
        return held[0]

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, on every process."""
        with pulse.waiting("gather of all processes' facts"):
            found: list[Any] = gather_object([value])
        return found

    def agree(self, problem: str, what: str) -> None:
        """Raise `UserError` on every process where one of them has a problem, so that none waits for the others."""
        count = self.sum(torch.tensor(float(bool(problem)), device=self.device))
        if count > 0:
            raise UserError(f"{what}: {problem or 'another process could not'}")

    @contextlib.contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Raise `UserError` on every process where one of them fails in the block, in which none waits for others."""
        problem = ""
        try:
            yield
        except (OSError, ValueError) as error:
            problem = str(error)
        self.agree(problem, what)

    def wait(self) -> None:
        """Until all processes are here."""
        with pulse.waiting("barrier"):
            self.accelerator.wait_for_everyone()

    def track(self, images: int) -> None:
        """Open TensorBoard's files; what an interrupted start wrote there beyond `images` is not shown."""
        if self.tensorboard:
            self.accelerator.init_trackers(
                "tensorboard", init_kwargs={"tensorboard": {"purge_step": images + 1 if images else 0}}
            )

    def log(self, values: Mapping[str, float], images: int) -> None:
        """Curves for TensorBoard."""
        if self.tensorboard:
            self.accelerator.log(dict(values), step=images)

    def close(self) -> None:
        """Leave, all together."""
        self.accelerator.end_training()
