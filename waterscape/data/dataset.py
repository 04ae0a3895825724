"""A split of a set of shards as PyTorch's map-style dataset, for notebooks and stock loaders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from waterscape.data.shard import ShardError
from waterscape.data.shards import ShardSet, column_names
from waterscape.errors import UserError

Item = dict[str, torch.Tensor | bytes | dict[str, Any]]


class ShardDataset(Dataset[Item]):
    """The samples of one split in the order of storing; each record is verified by its crc32 when it is read.

    An item maps each column that the sample has to a tensor (`.npy`: dtype and shape as stored), bytes (`.jpg`: the
    file) or a dict (`.json`). It can be sent to a loader's workers: these open the files anew, and refuse a set that
    was replaced meanwhile.

    Args:
        directory: of the set, or its URL.
        split: which one.
        columns: only these; None: all that a sample has. A stock collate function wants tensors of one shape.

    Raises:
        UserError: no such set, split or column.
        ShardError: a file that is missing, or a tar of another length; from indexing, an index that is not the
            manifest's, or a record that is not what the index says.
    """

    def __init__(self, directory: Path | str, split: str = "train", columns: Sequence[str] | None = None) -> None:
        self.columns = None if columns is None else tuple(columns)
        self.shards = ShardSet(directory, split)
        for column in self.columns or ():
            self.shards.column(column)
        self._ends = np.cumsum(self.shards.counts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, where the set has some."""
        return self.shards.classes

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, number: int) -> Item:
        shard, row = self._place(number)
        index = self.shards.indexes[shard]
        there = [name for name in column_names(index) if index[name]["size"][row] >= 0]
        wanted = there if self.columns is None else self.columns
        item: Item = {}
        for name in wanted:
            if name not in there:
                raise UserError(f"sample {self.key(number)} has no column {name!r}: leave it out")
            value = self.shards.value(shard, row, name)
            item[name] = torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value
        return item

    def key(self, number: int) -> str:
        """A sample's name in the whole set: "shard/key"."""
        shard, row = self._place(number)
        return f"{self.shards.shards[shard].name}/{self.shards.indexes[shard]['key'][row].decode()}"

    def __getstate__(self) -> dict[str, Any]:
        known = self.shards.manifest.sha256
        return {
            "directory": self.shards.place,
            "split": self.shards.split,
            "columns": self.columns,
            "sha256": known,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, state["directory"], state["split"], state["columns"])
        if self.shards.manifest.sha256 != state["sha256"]:
            raise ShardError(f"{self.shards.directory} was replaced while it was in use: start again")

    def _place(self, number: int) -> tuple[int, int]:
        """Shard and row of a sample; negative numbers count from the end."""
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number}: split {self.shards.split!r} has {len(self)} samples")
        number = int(number) % len(self)
        shard = int(np.searchsorted(self._ends, number, side="right"))
        return shard, number - int(self._ends[shard] - self.shards.counts[shard])
