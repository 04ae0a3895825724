"""Draws that do not depend on the number of processes.

Every draw is a pure function of (seed, stream, sample number, place within the draw), computed by a counter-based hash
(splitmix64; Steele, Lea & Flood 2014, doi:10.1145/2714064.2660195). A rank therefore computes only the draws of its own
samples, and any number of ranks computes the same ones. No `torch.Generator` is involved: on a CPU it keeps only 32
bits of its seed, and its n-th number depends on how many were asked for at once.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15
FIRST = 0xBF58476D1CE4E5B9
SECOND = 0x94D049BB133111EB
MASK = (1 << 64) - 1
_GOLDEN, _LAST = np.uint64(GOLDEN), np.uint64(31)
_ROUNDS = tuple((np.uint64(bits), np.uint64(factor)) for bits, factor in ((30, FIRST), (27, SECOND)))
AT_ONCE = 1 << 14
"""Words that are scrambled at once: with what that takes besides, they stay in a core's own cache."""


def mix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words: splitmix64's finaliser, a bijection in which each input bit moves half the output bits."""
    words = np.array(values, dtype=np.uint64)
    _scramble(words, np.empty_like(words))
    return words


def _scramble(words: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """`mix64` in place; `spare` is memory of the same shape."""
    for bits, factor in _ROUNDS:
        np.right_shift(words, bits, out=spare)
        np.bitwise_xor(words, spare, out=words)
        np.multiply(words, factor, out=words)
    np.right_shift(words, _LAST, out=spare)
    np.bitwise_xor(words, spare, out=words)


def hash64(seed: int, *parts: int | str) -> int:
    """One 64-bit word from a seed and named or numbered parts, the same on every machine and in every version."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in (seed, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def permutation(length: int, seed: int, *what: int | str) -> NDArray[np.int64]:
    """The numbers 0 … length − 1 shuffled, for a purpose that `what` names."""
    words = np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN
    return np.argsort(mix64(words + np.uint64(hash64(seed, *what))), kind="stable")


def _signed(word: int) -> int:
    """The same 64 bits as the signed integer that torch can hold."""
    word &= MASK
    return word - (1 << 64) if word >> 63 else word


def _shift(words: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift of int64 words (torch's `>>` copies the sign)."""
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mix(words: torch.Tensor) -> torch.Tensor:
    """`mix64` on int64 tensors; torch's integer products wrap as unsigned ones do."""
    # In place, but for what is given: fresh memory would cost more than the arithmetic.
    words = _shift(words, 30).bitwise_xor_(words).mul_(_signed(FIRST))
    words = words.bitwise_xor_(_shift(words, 27)).mul_(_signed(SECOND))
    return words.bitwise_xor_(_shift(words, 31))


def _words(numbers: NDArray[np.int64], start: int, count: int) -> NDArray[np.int64]:
    """`count` words for each sample: N × count. Several times as fast as torch's integer arithmetic on a CPU."""
    sample = numbers.view(np.uint64) * _GOLDEN + np.uint64(start)
    spare = np.empty_like(sample)
    for _ in range(2):
        _scramble(sample, spare)
    place = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    words = np.empty((len(sample), count), np.uint64)
    rows = max(1, AT_ONCE // max(count, 1))
    spare = np.empty((min(rows, len(sample)), count), np.uint64)
    for first in range(0, len(sample), rows):
        block = words[first : first + rows]
        np.add(sample[first : first + rows, None], place, out=block)
        _scramble(block, spare[: len(block)])
    return words.view(np.int64)


def _words_on_a_device(numbers: torch.Tensor, start: int, count: int) -> torch.Tensor:
    """The same words by torch."""
    import torch

    sample = _mix(_mix(numbers * _signed(GOLDEN) + _signed(start)))
    place = torch.arange(1, count + 1, device=numbers.device) * _signed(GOLDEN)
    return _mix(sample[:, None] + place[None, :])


class Draw:
    """The random numbers of a batch, one row for each sample.

    `numbers` (N, int64) are the samples' places in the run's global stream. Each method's `stream` names what the draw
    is for; two draws of one name and shape are equal, so give each purpose a name of its own. Whatever is drawn is
    hashed into `record` (N, int64) where it is given.
    """

    def __init__(
        self,
        seed: int,
        numbers: torch.Tensor,
        dtype: torch.dtype | None = None,
        record: torch.Tensor | None = None,
    ) -> None:
        import torch

        self.seed = seed
        self.numbers = numbers.to(torch.int64)
        self.dtype = dtype or torch.float32
        self.record = record

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, selection: slice) -> Draw:
        """The same draws for some of the samples."""
        record = None if self.record is None else self.record[selection]  # a view: what is drawn here counts there
        return Draw(self.seed, self.numbers[selection], self.dtype, record)

    def words(self, stream: str, *shape: int) -> torch.Tensor:
        """64 random bits each, as int64: N × shape."""
        import torch

        start, count = hash64(self.seed, stream), math.prod(shape)
        if self.numbers.is_cpu:
            drawn = torch.from_numpy(_words(self.numbers.numpy(), start, count))
        else:
            drawn = _words_on_a_device(self.numbers, start, count)
        if self.record is not None:
            self.record += _mix(drawn.sum(1))
        return drawn.reshape(len(self), *shape)

    def uniform(self, stream: str, *shape: int) -> torch.Tensor:
        """Uniform in [0, 1): N × shape."""
        import torch

        bits = 53 if self.dtype == torch.float64 else 24
        return _shift(self.words(stream, *shape), 64 - bits).to(self.dtype) * 2.0**-bits

    def normal(self, stream: str, *shape: int) -> torch.Tensor:
        """Standard normal (Box & Muller 1958): N × shape. Computed in float64, then rounded."""
        import torch

        pairs = _shift(self.words(stream, 2, *shape), 11).to(torch.float64)
        radius = (pairs[:, 0] + 1).mul_(2.0**-53).log_().mul_(-2).sqrt_()
        return (pairs[:, 1] * (2 * math.pi * 2.0**-53)).cos_().mul_(radius).to(self.dtype)

    def integers(self, stream: str, high: int, *shape: int) -> torch.Tensor:
        """Uniform in {0, …, high - 1}, int64: N × shape. `high` is far below 2³²: the bias is under high / 2⁵³."""
        return _shift(self.words(stream, *shape), 11) % high
