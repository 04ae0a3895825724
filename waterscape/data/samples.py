"""What can be trained on and measured: samples that are read by their numbers."""

from __future__ import annotations

from typing import Protocol

from waterscape.data.shard import ShardError, Value


class Samples(Protocol):
    """Samples that can be read at random, verified as far as their set allows: `ShardSet` and `TarSet`."""

    def __len__(self) -> int:
        """How many."""

    def close(self) -> None:
        """Let go of open files; reading again opens them again."""

    def locate(self, number: int) -> tuple[int, int]:
        """Shard and row of a sample, by its number in the order of storing."""

    def read(self, number: int) -> dict[str, Value]:
        """Every column that a sample has."""

    def value(self, shard: int, row: int, column: str) -> Value:
        """One value. Raises `ShardError`."""

    def payload(self, shard: int, row: int, column: str) -> bytes | memoryview:
        """The bytes of one value. Raises `ShardError`."""

    def fault(self, shard: int, row: int, column: str, what: str) -> ShardError:
        """An error that names the sample."""
