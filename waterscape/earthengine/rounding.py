"""Weights with as few decimals as the output allows: the size of a graph is that of its numbers, written out.

How far rounding moves the output is measured, not bounded by intervals: those add up the worst case of every weight and
would ask for about twelve decimals where eight do. So the bound holds for pictures like those that it is measured on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from waterscape.earthengine.operations import Affine, Convolution, Operation, Program
from waterscape.errors import UserError

MOST_DECIMALS = 17
SAFETY = 2.0
"""The measured error is held to the tolerance by this factor: pictures that were not measured have room."""
PATCHES = 192
LARGE = 4.0
"""The line band's largest value: the widest range of the bands of Landsat."""


@dataclass(frozen=True)
class Rounded:
    """A program with rounded numbers; the decimals of each operation that has any; the largest error measured."""

    program: Program
    decimals: tuple[int, ...]
    error: float


def rounded(program: Program, tolerance: float, samples: Tensor | None = None) -> Rounded:
    """The fewest decimals in each operation with which no output is off by more than `tolerance` / `SAFETY`.

    Args:
        program: whose numbers are rounded.
        tolerance: of the output's values, absolute.
        samples: pictures (N C H W) to measure on; None: random `patches`.

    Raises:
        UserError: a tolerance below what double precision gives.
    """
    samples = patches(program) if samples is None else samples
    exact = program(samples)
    weighted = [number for number, each in enumerate(program.operations) if isinstance(each, Convolution | Affine)]
    if not weighted:
        return Rounded(program, (), 0.0)

    def error(decimals: Mapping[int, int]) -> float:
        return float((_with(program, decimals)(samples) - exact).abs().max())

    allowed = tolerance / SAFETY
    share = allowed / len(weighted) ** 0.5  # errors of different operations add up like random numbers
    decimals = {number: _fewest(lambda number, tried: error({number: tried}) <= share, number) for number in weighted}
    while (measured := error(decimals)) > allowed:
        if min(decimals.values()) >= MOST_DECIMALS:
            raise UserError(f"tolerance {tolerance:g} is finer than double precision here: take a larger one")
        decimals = {number: count + 1 for number, count in decimals.items()}
    for number in sorted(weighted, key=lambda number: -_count(program.operations[number])):
        fewer = {**decimals, number: decimals[number] - 1}
        if (tried := error(fewer)) <= allowed:
            decimals, measured = fewer, tried
    return Rounded(_with(program, decimals), tuple(decimals.values()), measured)


def patches(program: Program, count: int = PATCHES) -> Tensor:
    """Random pictures (N C H W) that give one pixel of output each.

    Half hold numbers in −1 … 1, a quarter one number a channel, a quarter numbers in −`LARGE` … `LARGE`.
    """
    down, right = program.alignments()[-1].removed
    random = np.random.default_rng(0)
    drawn = random.uniform(-1, 1, (count, program.inputs, down + 1, right + 1))
    drawn[::4] = drawn[::4, :, :1, :1]
    drawn[1::4] *= LARGE
    return torch.from_numpy(drawn)


def _fewest(enough: Callable[[int, int], bool], number: int) -> int:
    decimals = 7
    while decimals > 1 and enough(number, decimals - 1):
        decimals -= 1
    while decimals < MOST_DECIMALS and not enough(number, decimals):
        decimals += 1
    return decimals


def _count(operation: Operation) -> int:
    return operation.weight.size if isinstance(operation, Convolution) else 0


def _with(program: Program, decimals: Mapping[int, int]) -> Program:
    operations = list(program.operations)
    for number, count in decimals.items():
        operations[number] = _round(operations[number], count)
    return Program(program.inputs, tuple(operations))


def _round(operation: Operation, decimals: int) -> Operation:
    if isinstance(operation, Convolution):
        weight, bias = operation.weight.round(decimals), operation.bias.round(decimals)
        return replace(operation, weight=weight + 0.0, bias=bias + 0.0)  # −0.0 would take a byte more
    assert isinstance(operation, Affine)
    return replace(operation, scale=operation.scale.round(decimals) + 0.0, shift=operation.shift.round(decimals) + 0.0)
