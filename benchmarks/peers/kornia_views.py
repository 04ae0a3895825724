"""kornia's warp of a batch: `kornia_views.py DIRECTORY TIMES`; it holds `given.npz`, and gets what is made of it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from turns_of_a_peer import take_turns

sys.path = [*sys.path[1:], sys.path[0]]  # a file beside this one is called like the library

began = time.perf_counter()
from kornia.geometry.transform import warp_affine  # noqa: E402

IMPORT_SECONDS = time.perf_counter() - began


def main(directory: Path, times: int) -> None:
    """Keep the pictures and how long the import took, then take turns."""
    with np.load(directory / "given.npz") as held:
        images, maps = (torch.from_numpy(held[name]) for name in ("images", "maps"))
        side, beyond = int(held["side"]), "zeros" if held["black"] else "reflection"
    torch.set_num_threads(1)

    def turn() -> torch.Tensor:
        return warp_affine(images, maps, (side, side), padding_mode=beyond, align_corners=False)

    np.save(directory / "made.npy", turn().numpy())
    (directory / "import.json").write_text(json.dumps({"seconds": IMPORT_SECONDS}))
    take_turns(lambda: (len(turn()) for _ in range(times + 1)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
