"""Constant factors and shifts (BatchNorm in evaluation mode) put into the weights of the convolution before them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from waterscape.earthengine.operations import Affine, Convolution, Operation, Program


def folded(program: Program) -> Program:
    """The same function with fewer operations: an affine step is folded where nothing else uses the convolution."""
    uses = Counter(source for operation in program.operations for source in operation.sources)
    moved = {0: 0}  # old position of a tensor → new
    kept: list[Operation] = []
    for position, operation in enumerate(program.operations, 1):
        sources = tuple(moved[source] for source in operation.sources)
        before = kept[sources[0] - 1] if sources[0] else None
        if (
            isinstance(operation, Affine)
            and isinstance(before, Convolution | Affine)
            and uses[operation.sources[0]] == 1
        ):
            kept[sources[0] - 1] = _after(before, operation)
            moved[position] = sources[0]
        else:
            kept.append(replace(operation, sources=sources))
            moved[position] = len(kept)
    return Program(program.inputs, tuple(kept))


def _after(before: Convolution | Affine, operation: Affine) -> Operation:
    if isinstance(before, Affine):
        return replace(
            before, scale=before.scale * operation.scale, shift=before.shift * operation.scale + operation.shift
        )
    weight = before.weight * operation.scale[:, None, None, None]
    return replace(before, weight=weight, bias=before.bias * operation.scale + operation.shift)
