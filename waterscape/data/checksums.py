"""The crc32 of records that lie one after another in memory, from the crc32 of each: one check for many records.

Computing a crc is fast, calling the computation is not: a call lets go of Python's lock and must get it back. A crc32
is linear over GF(2): that of A and B together is crc(A), moved on over as many zero bytes as B is long, xor crc(B). So
a stretch of records can be verified by one call against the crcs that the index holds of each. Damage in any of them is
found as surely as by a crc of its own: every burst of up to 32 bits, and of any other damage all but 2⁻³².
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from waterscape.data.shard import crc32

BYTE = np.arange(4)


def joint_crcs(crcs: NDArray[np.uint32], record_bytes: int, together: int) -> list[int]:
    """The crc32 of each run of `together` records (a power of two), the last run holding what is left.

    `crcs` are those of the single records, each `record_bytes` long.
    """
    assert together & (together - 1) == 0, "runs are halved until one record is left"
    runs = -(-len(crcs) // together)
    whole = (runs - 1) * together
    joined = np.zeros(runs * together, np.uint32)
    joined[:whole] = crcs[:whole]
    joined[len(joined) - len(crcs) + whole :] = crcs[whole:]  # zeros before a run change nothing: 0 moved on is 0
    for table in _tables(record_bytes, together):
        earlier, later = np.ascontiguousarray(joined[::2]), joined[1::2]
        joined = np.bitwise_xor.reduce(table[BYTE, earlier.view(np.uint8).reshape(-1, 4)], axis=1) ^ later
    found: list[int] = joined.tolist()
    return found


@functools.lru_cache(maxsize=64)
def _tables(record_bytes: int, together: int) -> list[NDArray[np.uint32]]:
    """For runs of 1, 2, 4 … records: how each byte of a crc moves on over as many bytes as they have."""
    return [_moved_on(record_bytes << doubling) for doubling in range(together.bit_length() - 1)]


def _moved_on(length: int) -> NDArray[np.uint32]:
    """4 × 256: what a byte at each of a crc's four places becomes; the xor of the four is the whole."""
    zeros = bytes(length)
    start = crc32(zeros)
    bits = np.array([crc32(zeros, 1 << bit) ^ start for bit in range(32)], np.uint32).reshape(4, 8)
    chosen = (np.arange(256)[:, None] >> np.arange(8)) & 1
    moved: NDArray[np.uint32] = np.bitwise_xor.reduce(bits[:, None, :] * chosen.astype(np.uint32), axis=2)
    return moved
