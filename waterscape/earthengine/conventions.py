"""What the documentation of Earth Engine leaves open, as assumed; `probe` measures it on the live service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Conventions:
    """How the service lays kernels on pixels and orders neighbours."""

    turned_kernels: bool = False
    """Whether `convolve` turns its kernel by 180° (convolution) or lays it on as written (correlation)."""
    bands_first: bool = True
    """Whether `neighborhoodToBands` gives all neighbours of a band before those of the next band."""
    by_rows: bool = True
    """Whether the neighbours go row by row, or column by column."""
    down: int = 1
    """1: the rows go from north to south; −1: from south to north."""
    right: int = 1
    """1: the columns go from west to east; −1: from east to west."""

    def neighbours(self, channels: int, offsets: Iterable[tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
        """The order in which channels and their neighbours (pixels down, pixels right) come."""

        def place(neighbour: tuple[int, int]) -> tuple[int, int]:
            row, column = self.down * neighbour[0], self.right * neighbour[1]
            return (row, column) if self.by_rows else (column, row)

        sorted_offsets = sorted(offsets, key=place)
        if self.bands_first:
            return [(channel, offset) for channel in range(channels) for offset in sorted_offsets]
        return [(channel, offset) for offset in sorted_offsets for channel in range(channels)]


ASSUMED = Conventions()
"""What holds where nobody has asked the service."""
