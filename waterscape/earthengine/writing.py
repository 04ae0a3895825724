"""A program while it is written: what a tensor of the network is, and how a step that has no exact form is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor

from waterscape.earthengine.operations import Affine, Numbers, Operation, Program
from waterscape.errors import UserError

AXES: dict[str, tuple[int, ...]] = {"": (1, -1, -3), "N C H W": (1, -3), "N H W C": (3, -1), "N C": (1, -1)}
"""Which axis holds the channels, by the layout; where no step has told it yet, it may be any of these."""


@dataclass(frozen=True)
class Value:
    """A tensor of the program (its position), in the layout that torch sees."""

    position: int
    layout: str = ""
    flattened: bool = False


Argument: TypeAlias = Any  # a Value, a number, a tensor, or a tuple, list or slice of those


class Writing:
    """The operations so far, and the channels of each tensor; `place` says which step of the network is read."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.operations: list[Operation] = []
        self.channels = [inputs]
        self.place = ""

    def program(self, output: Argument) -> Program:
        """What leads to an output, all else left out."""
        if not isinstance(output, Value):
            self.refuse("it gives more than one tensor: return one")
        needed = {output.position}
        for position in range(len(self.operations), 0, -1):
            if position in needed:
                needed.update(self.operations[position - 1].sources)
        moved = {old: new for new, old in enumerate(sorted(needed | {0}))}
        kept = [self.operations[position - 1] for position in sorted(needed - {0})]
        renumbered = [replace(each, sources=tuple(moved[source] for source in each.sources)) for each in kept]
        return Program(self.inputs, tuple(renumbered))

    def add(self, operation: Operation, like: Value, layout: str | None = None) -> Value:
        """One more operation; its tensor, in the layout of another unless told."""
        self.operations.append(replace(operation, place=self.place))
        self.channels.append(operation.channels(*(self.channels[source] for source in operation.sources)))
        return Value(len(self.operations), like.layout if layout is None else layout)

    def refuse(self, why: str) -> NoReturn:
        """Raise `UserError` with the place."""
        raise UserError(f"{self.place} cannot be compiled to Earth Engine: {why}")

    def tensor(self, value: Argument) -> Value:
        """A value that must be a tensor of the program."""
        if not isinstance(value, Value):
            self.refuse("it works on something else than what comes of the input")
        return value

    def expect(self, x: Value, channels: int) -> None:
        """Refuse a step on another number of channels."""
        if self.channels[x.position] != channels:
            there = self.channels[x.position]
            self.refuse(f"{there} channels come in and {channels} are expected: name the bands that it was trained on")

    def affine(self, x: Argument, scale: Argument, shift: Argument) -> Value:
        """A tensor times a constant plus another: numbers, or one for each channel."""
        x = self.tensor(x)
        scales, shifts = (self._constants(given, x) for given in (scale, shift))
        return self.add(Affine(sources=(x.position,), scale=scales, shift=shifts), x)

    def _constants(self, given: Argument, x: Value) -> Numbers:
        if not isinstance(given, Tensor | int | float):
            self.refuse(f"it combines a tensor with {type(given).__name__}, which is no constant")
        tensor = torch.as_tensor(given, dtype=torch.float64).detach()
        channels, axes = self.channels[x.position], [axis for axis in AXES[x.layout] if axis < 0]
        along = any(tensor.ndim >= -axis and tensor.shape[axis] == channels == tensor.numel() for axis in axes)
        if tensor.numel() != 1 and not along:
            self.refuse(f"a constant of shape {tuple(tensor.shape)}: one number, or one for each channel")
        return np.array(np.broadcast_to(tensor.reshape(-1).numpy(), (channels,)))  # a copy that torch may write to
