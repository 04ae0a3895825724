"""The global batch as a loss or a layer sees it: the other processes' samples too, with their gradients.

The engine says how many samples each process holds while it asks a phase for its loss. At any other time (evaluation,
pictures, sampling) this process is alone, and nothing here waits for another one. Whatever gathers inside must do so on
every process alike: no branch around it may depend on the rank or on the rank's own samples.

With `--micro-batch` the global batch comes in pieces, so statistics over it are those of a piece: such a model is the
same run only with the same micro-batch on the same number of processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from waterscape.training.pulse import pulse


@dataclass(frozen=True)
class Shares:
    """How many samples each process holds, and which process this is."""

    sizes: tuple[int, ...]
    rank: int


_now: Shares | None = None  # no ContextVar: backward runs in threads of its own, and torch.compile cannot trace one


@contextlib.contextmanager
def shares(sizes: Sequence[int], rank: int) -> Iterator[None]:
    """Within this block each process holds so many samples of the batch; the engine's to say.

    A process that holds none computes with one that stands in for them: so it makes the calls that the others wait for.
    Nothing here counts it, and the engine gives its loss no weight.
    """
    global _now
    before, _now = _now, Shares(tuple(sizes), rank)
    try:
        yield
    finally:
        _now = before


def current() -> Shares | None:
    """The processes' shares; None where this process is alone."""
    return _now if _now is not None and len(_now.sizes) > 1 else None


def gather_batch(tensor: Tensor) -> Tensor:
    """All processes' rows in the order of the global batch: N × shape → global N × shape; gradients flow back to each.

    A loss that is computed from gathered rows is the same number on every process and counts once. Several rows for
    each sample (k·N) come process by process.

    Raises:
        ValueError: rows that are not N, 2·N, …, so that the other processes' number cannot be known.
    """
    now = current()
    if now is None:
        return tensor
    own = now.sizes[now.rank]
    times, rest = divmod(len(tensor), own or 1)
    if rest or not times:
        raise ValueError(f"{len(tensor)} rows cannot be gathered for {own} samples: give each as many")
    return gather_rows(tensor[: times * own], Shares(tuple(times * size for size in now.sizes), now.rank))


def gather_rows(tensor: Tensor, held: Shares) -> Tensor:
    """All processes' rows, of which this one holds `held.sizes[held.rank]`; gradients flow back to each."""
    gathered: Tensor = _Gather.apply(tensor, held)  # type: ignore[no-untyped-call]
    return gathered


def _place(held: Shares) -> slice:
    start = sum(held.sizes[: held.rank])
    return slice(start, start + held.sizes[held.rank])


class _Gather(torch.autograd.Function):
    """Own rows → everybody's. Zeros elsewhere and one sum: exact, and the same call for every backend and dtype."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, held: Shares) -> Tensor:
        ctx.held = held
        whole = rows.new_zeros(sum(held.sizes), *rows.shape[1:])
        whole[_place(held)] = rows
        with pulse.waiting("all_reduce of the batch's rows"):
            torch.distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Scatter.apply(gradient, ctx.held), None  # type: ignore[no-untyped-call]


class _Scatter(torch.autograd.Function):
    """The sum over processes → own rows of it: the adjoint of `_Gather`, as that is of this."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, held: Shares) -> Tensor:
        ctx.held = held
        total = whole.clone(memory_format=torch.contiguous_format)
        with pulse.waiting("all_reduce of the rows' gradients"):
            torch.distributed.all_reduce(total)
        return total[_place(held)].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Gather.apply(gradient, ctx.held), None  # type: ignore[no-untyped-call]
