"""How long a step's operations must take on this machine: its arithmetic and its memory traffic by measured rates.

The roofline (Williams 2009, doi:10.1145/1498765.1498785), operation by operation: each takes at least its products and
sums by the rate of a large matrix product, and at least its bytes, read and written, by the rate of a copy of as many.
Operations that were fused into one would need fewer bytes, so a compiled network may do better than its share of one.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from waterscape.profiling.anatomy import part_of

SIDES = (512, 1024, 2048)  # of the matrices
COPIES = tuple(1 << power for power in range(12, 27, 2))  # bytes
TRY_SECONDS = 0.15
LEAST_TRIES, LEAST_SECONDS = 3, 1e-3  # of a try: short work is done again and again in it


@dataclass(frozen=True)
class Rates:
    """What the machine can do: `flops` a second, and bytes a second when so many are copied (`bytes_each`).

    `convolved`: flops a second of convolutions, where they may round as matrix products may not; none: the same.
    """

    flops: float
    bytes_each: tuple[int, ...]
    bytes_a_second: tuple[float, ...]
    convolved: float | None = None

    def seconds(self, flops: float, moved: float, *, convolution: bool = False) -> float:
        """The least that so much work can take."""
        least = flops / (self.convolved or self.flops if convolution else self.flops)
        if not moved:
            return least
        rate = np.interp(np.log(moved), np.log(self.bytes_each), self.bytes_a_second)
        return max(least, moved / float(rate))


def measure_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """On this device, with torch's present number of threads, rounding as torch is set to."""
    flops, convolved = _products(device, dtype), None
    if dtype == torch.float32 and device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        with _matrices_in_tf32():  # as cuDNN's convolutions are computed, unless that is switched off
            convolved = max(flops, _products(device, dtype))
    sizes = COPIES if device.type == "cpu" else (*COPIES, 1 << 28, 1 << 30)
    rates = []
    for size in sizes:
        source, target = (torch.zeros(size // 2, dtype=torch.uint8, device=device) for _ in range(2))
        rates.append(size / _fastest(lambda s=source, t=target: t.copy_(s), device))
    return Rates(flops, sizes, tuple(rates), convolved)


def _products(device: torch.device, dtype: torch.dtype) -> float:
    """Flops a second of large matrix products, at best."""
    most = 0.0
    for side in SIDES if device.type == "cpu" else (2048, 4096, 8192):
        one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        most = max(most, 2 * side**3 / _fastest(lambda one=one, other=other: one @ other, device))
    return most


@contextlib.contextmanager
def _matrices_in_tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _fastest(work: Any, device: torch.device) -> float:
    """Seconds, of the best of several tries; of the processor where one thread computes, as a step's are then."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter

    def once(repeats: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = clock()
        for _ in range(repeats):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (clock() - began) / repeats

    once(1)
    repeats = max(1, int(LEAST_SECONDS / max(once(1), 1e-7)))
    best, tries, until = float("inf"), 0, time.perf_counter() + TRY_SECONDS
    while time.perf_counter() < until or tries < LEAST_TRIES:
        best, tries = min(best, once(repeats)), tries + 1
    return best


@dataclass
class Work:
    """What the operations of a part of a step come to; `least` is the sum of the seconds that each must take."""

    operations: int = 0
    flops: float = 0.0
    bytes: float = 0.0
    least: float = 0.0

    def share(self, steps: int) -> Work:
        """Of one step, where this is the work of so many."""
        return Work(round(self.operations / steps), self.flops / steps, self.bytes / steps, self.least / steps)


class Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts each operation within the block, forward and backward, for the part of the step that was last told."""

    def __init__(self, rates: Rates) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rates = rates
        self.parts: defaultdict[str, Work] = defaultdict(Work)
        self._part = "other"

    def tell(self, mark: str) -> None:
        """What comes now belongs to that mark's part."""
        self._part = part_of(mark)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view:
            return out
        count = flop_registry.get(func.overloadpacket)
        flops = float(count(*args, **(kwargs or {}), out_val=out)) if count else 0.0
        moved = sum(_stored(tensor) for tensor in _distinct((args, kwargs, out)))
        work = self.parts[self._part]
        work.operations += 1
        work.flops += flops
        work.bytes += moved
        work.least += self.rates.seconds(flops, moved, convolution="convolution" in func.__name__)
        return out


def _distinct(values: Any) -> Iterator[Tensor]:
    """Each tensor once: what is changed in place is read and written, and counts once all the same."""
    return iter({id(value): value for value in tree_leaves(values) if isinstance(value, Tensor)}.values())


def _stored(tensor: Tensor) -> int:
    """Bytes that it has in memory: fewer than its numbers take, where it was expanded."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())
