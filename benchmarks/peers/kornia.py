"""kornia's SSIM loss, forward and backward: `kornia.py PAIRS.npz TIMES`; PAIRS: made, true and their 1 − SSIM."""

from __future__ import annotations

import sys

sys.path = [*sys.path[1:], sys.path[0]]  # this file is called like the library

import numpy as np  # noqa: E402
import torch  # noqa: E402
from kornia.losses import ssim_loss  # noqa: E402
from turns_of_a_peer import take_turns  # noqa: E402


def main(path: str, times: int) -> None:
    """Take turns, after one look whether the loss is the same: kornia's is half of 1 − SSIM."""
    with np.load(path) as held:
        made, true = (torch.from_numpy(held[name]) for name in ("made", "true"))
        expected = float(held["loss"])
    made.requires_grad_()
    torch.set_num_threads(1)

    def turn() -> float:
        made.grad = None
        loss = ssim_loss(made, true, window_size=11, padding="valid")
        loss.backward()
        return 2 * loss.item()

    if abs(turn() - expected) > 1e-4:
        raise AssertionError("kornia's and our losses differ")
    take_turns(lambda: (len(made) for _ in range(times + 1) if turn()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
