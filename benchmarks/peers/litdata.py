"""LitData reading tiles: `litdata.py TILES.npy DIRECTORY BATCH tensors|bytes-WORKERS`; writes its format if need be.

`bytes`: samples are bytes, put together by a collation of our own, which spares two copies.
"""

from __future__ import annotations

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path = [*sys.path[1:], sys.path[0]]  # this file is called like the library
os.environ["LITDATA_BATCH_DECODE"] = "0"  # decoding neighbours ahead is in vain where samples are shuffled

import numpy as np  # noqa: E402
import torch  # noqa: E402
from litdata import StreamingDataLoader, StreamingDataset, optimize  # noqa: E402
from turns_of_a_peer import take_turns  # noqa: E402


def tile(path: str, form: str, number: int) -> Any:
    """One sample."""
    array = np.array(np.load(path, mmap_mode="r")[number])
    return torch.from_numpy(array) if form == "tensors" else array.tobytes()


def collate(samples: list[bytes]) -> torch.Tensor:
    """A batch of `bytes`."""
    return torch.from_numpy(np.frombuffer(bytearray().join(samples), np.uint8).reshape(-1, 256, 256))


def main(tiles: str, directory: str, batch: int, setting: str) -> None:
    """Take turns, each a shuffled epoch."""
    form, workers = setting.split("-")[0], int(setting.split("-")[1])
    directory = f"{directory}-{form}"
    if not Path(directory).exists():
        numbers = list(range(len(np.load(tiles, mmap_mode="r"))))
        shutil.rmtree(f"{directory}.begun", ignore_errors=True)  # of a start that stood still
        optimize(partial(tile, tiles, form), numbers, f"{directory}.begun", chunk_bytes="64MB", num_workers=1)
        Path(f"{directory}.begun").rename(directory)
    loader = StreamingDataLoader(
        StreamingDataset(directory, shuffle=True, drop_last=False),
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        **({} if form == "tensors" else {"collate_fn": collate}),
    )
    take_turns(lambda: map(len, loader))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
