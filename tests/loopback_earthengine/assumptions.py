"""What the documentation of the service leaves open, each as a switch: a test can run the other world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Assumptions:
    """A world. The first value of each field is what is assumed; any other is a world that a probe must notice."""

    convolve_kernel: Literal["as written", "flipped"] = "as written"
    """Whether `convolve` lays the kernel on the pixels as it is written (correlation) or turned by 180 degrees."""

    neighbour_order: Literal["rows", "columns", "rows northward", "rows flipped"] = "rows"
    """The order of the neighbours of a band in `neighborhoodToBands`: row by row from the north-west, column by
    column from there, or row by row from the south-west or the south-east."""

    neighbour_bands: Literal["band first", "neighbour first"] = "band first"
    """Whether all neighbours of the first band come before those of the second, or the other way round."""

    masked_neighbours: Literal["masked", "skipped"] = "masked"
    """What `convolve` makes of a neighbourhood with a masked pixel: a masked pixel, or the sum of the others."""

    division_by_zero: Literal["zero", "masked"] = "zero"
    """What `divide` by zero gives (documented: 0)."""

    precision: Literal["double", "single", "14 bits"] = "double"
    """In what the service computes between operations on numbers that are not integers; of 14 significant bits, the
    probes' small numbers are whole and those of a network are not."""

    array_with_number: Literal["broadcast", "refused"] = "broadcast"
    """Whether an operator takes an array in one operand and a single number in the other."""

    matrix_rows: Literal["first axis", "second axis"] = "first axis"
    """Which axis of an array `matrixMultiply` takes as rows."""

    median_of_even: Literal["mean", "lower"] = "mean"
    """The median of an even number of pixels: the mean of the middle two, or the lower one."""

    masked_pixels: Literal["zero", "nan"] = "zero"
    """What stands in the numbers of `computePixels` where a pixel is masked (integers: zero always)."""

    shared_edge: Literal["next", "previous"] = "next"
    """Which pixel a point on the edge of two belongs to when an input is read by nearest neighbour: the one to the
    east and south, or to the west and north."""

    repeated_request: Literal["same operation", "refused"] = "same operation"
    """What an export with a request id that was used before gives: the operation of then, or an error."""

    reprojected_scale: Literal["pinned", "request"] = "pinned"
    """Whether `reproject` holds an input to its pixels whatever scale is asked for (documented: it does)."""
