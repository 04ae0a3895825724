"""Pictures that look the same: a fingerprint of each, and all pairs whose fingerprints hardly differ.

The fingerprint is a difference hash (N. Krawetz 2013, https://www.hackerfactor.com/blog/?/archives/529-Kind-of-Like-That.html)
of 256 bits: the grey picture's area means on 16 rows of 17, and whether each is lighter than its left neighbour. On 910
landscape photos no two distinct ones came nearer than 32 bits; nine in ten of the same photos saved anew at quality 70
came within 14, and made smaller by a third within 22. A picture that was cut is mostly not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 16
BITS = ROWS * ROWS
NEAR = 24  # bits
ENOUGH = 8 * ROWS  # pixels a side: at fewer, the decoder's own rounding tells a copy made smaller apart
FLAT = 2.0  # levels: a picture whose means differ by less is told apart by noise alone
BLOCK = 1024  # pictures compared at once


def fingerprint(image: Image.Image) -> str:
    """64 hexadecimal digits; none ("") for a picture so flat that it looks like any other flat one."""
    small = (image if image.mode == "L" else image.convert("L")).resize((ROWS + 1, ROWS), Image.Resampling.BOX)
    grey = np.frombuffer(small.tobytes(), np.uint8).reshape(ROWS, ROWS + 1)
    levels = grey.reshape(-1).astype(np.int64)
    if levels.size * int(levels @ levels) - int(levels.sum()) ** 2 < (levels.size * FLAT) ** 2:  # their deviation
        return ""
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()


def near_pairs(fingerprints: Sequence[str], near: int = NEAR) -> list[tuple[int, int, int]]:
    """All pairs of pictures at most `near` bits apart: their numbers, the smaller first, and the bits; in order."""
    known = np.array([number for number, text in enumerate(fingerprints) if text], np.int64)
    if near < 0 or len(known) < 2:
        return []
    content = b"".join(bytes.fromhex(fingerprints[at]) for at in known.tolist())
    bits = np.unpackbits(np.frombuffer(content, np.uint8).reshape(len(known), -1), axis=1)
    signs = bits.astype(np.float32) * 2 - 1  # a product of two rows is BITS − 2 · distance, exactly
    found = []
    for start in range(0, len(signs), BLOCK):
        block = signs[start : start + BLOCK]
        for other in range(start, len(signs), BLOCK):
            product = block @ signs[other : other + BLOCK].T
            one, two = np.nonzero(product >= BITS - 2 * near)
            distance = (BITS - product[one, two].astype(np.int64)) // 2
            once = start + one < other + two
            found.append(np.stack([known[start + one], known[other + two], distance], axis=1)[once])
    pairs = np.concatenate(found)
    return [(one, two, apart) for one, two, apart in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist()]


def joined(count: int, pairs: Sequence[tuple[int, int, int]]) -> list[int]:
    """For each of `count` pictures, the smallest number among all that pairs connect with it."""
    first, before = np.arange(count), None
    one, two = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2).T
    while before is None or (first != before).any():
        before = first.copy()
        smaller = np.minimum(first[one], first[two])
        np.minimum.at(first, one, smaller)
        np.minimum.at(first, two, smaller)
        first = first[first]
    known: list[int] = first.tolist()
    return known
