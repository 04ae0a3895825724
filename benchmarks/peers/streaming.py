"""MosaicML Streaming reading tiles: `streaming.py TILES.npy DIRECTORY BATCH arrays-WORKERS`.

It writes its own format into the directory where that is not there yet.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path = [*sys.path[1:], sys.path[0]]  # this file is called like the library

import numpy as np  # noqa: E402
import torch  # noqa: E402

# Streaming imports torchvision, whose registry build is for CUDA: on a CPU it cannot be imported without these.
library = torch.library.Library("torchvision", "DEF")
library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from streaming import MDSWriter, StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from turns_of_a_peer import take_turns  # noqa: E402


def main(tiles: str, directory: str, batch: int, setting: str) -> None:
    """Take turns, each a shuffled epoch."""
    workers = int(setting.split("-")[1])
    if not Path(directory).exists():
        shutil.rmtree(f"{directory}.begun", ignore_errors=True)  # of a start that stood still
        with MDSWriter(out=f"{directory}.begun", columns={"occurrence": "ndarray:uint8:256,256"}) as writer:
            for tile in np.load(tiles, mmap_mode="r"):
                writer.write({"occurrence": np.array(tile)})
        Path(f"{directory}.begun").rename(directory)
    clean_stale_shared_memory()
    dataset = StreamingDataset(local=directory, shuffle=True, batch_size=batch, num_canonical_nodes=1)
    loader = DataLoader(dataset, batch_size=batch, num_workers=workers, persistent_workers=workers > 0)
    take_turns(lambda: (len(loaded["occurrence"]) for loaded in loader))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
