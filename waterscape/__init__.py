"""waterscape: distributed training of small vision models on water and landscapes, from WebDataset shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from waterscape.data.dataset import ShardDataset
    from waterscape.models import Trained

__version__ = "0.1.0"


def open_shards(directory: Path | str, split: str = "train", columns: Sequence[str] | None = None) -> ShardDataset:
    """One split of a set of shards as PyTorch's map-style dataset; each record is verified when it is read.

    An item maps columns to tensors (`.npy`), bytes (`.jpg`) or dicts (`.json`)::

        import torch, waterscape

        tiles = waterscape.open_shards("shards/water", split="train", columns=["occurrence64.npy", "shape.npy"])
        tiles[0]["occurrence64.npy"]                     # uint8, 64 × 64, percent
        loader = torch.utils.data.DataLoader(tiles, batch_size=64, shuffle=True, num_workers=2)
        for batch in loader:
            batch["occurrence64.npy"]                    # uint8, 64 × 64 × 64

    A run that must resume exactly reads by `waterscape.data.batches.Batches` instead.

    Args:
        directory: of the set, or its URL (https://…, s3://…): then each tar is fetched when it is first read.
        split: which one.
        columns: only these; None: all that a sample has.

    Raises:
        UserError: no such set, split or column.
        ShardError: a file that is missing or damaged.
    """
    from waterscape.data.dataset import ShardDataset

    return ShardDataset(directory, split, columns)


def load(run: Path | str, which: str = "newest") -> Trained:
    """What a run trained, ready to use: the networks of a checkpoint, averaged where that is kept.

    ::

        import waterscape

        gan = waterscape.load("runs/gan")
        gan.classes                                      # what `sample` can be asked for
        gan.sample(64, classes=["river", "lake"])        # 64 × 1 × 64 × 64, in 0..1
        gan.networks["encoder"]                          # a torch module in evaluation mode, on the CPU
        gan.images, gan.sha256                           # how far it was trained; the checkpoint's hash

    Args:
        run: its directory.
        which: "newest" whole checkpoint, "best" by the run's `--best`, or a checkpoint's name, its number of images.

    Raises:
        UserError: no run there, no such checkpoint, or one of another version of the model.
    """
    from waterscape import models

    return models.load(run, which)
