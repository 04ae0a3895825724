"""A contact sheet of a set that stands already: its first pictures, drawn again once some have left it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from waterscape.data.manifest import Manifest
from waterscape.data.npy import load_npy
from waterscape.data.shards import column_names
from waterscape.data.without import value_of
from waterscape.sheet import save_png, sheet
from waterscape.sources.making import SHOWN
from waterscape.sources.photo_set import small

if TYPE_CHECKING:
    from pathlib import Path

CONTACT = "contact.png"
PHOTOS = ("photo.jpg", "jpg")  # columns, the first that there is
TILES = "satellite.jpg"


def draw_contact(directory: Path, manifest: Manifest) -> None:
    """Write `contact.png` of a set of photos: of each class, those that were written first, and their tiles."""
    placed: defaultdict[int, list[tuple[str, Any, int]]] = defaultdict(list)  # class → key, shard, row
    indexes, counts = {}, defaultdict[int, int](int)
    for shard in manifest.shards:
        index = indexes[shard.name] = load_npy(directory / f"{shard.name}.index.npy")
        for row, label in enumerate(_labels(directory, shard, index)):
            counts[label] += 1
            placed[label].append((index["key"][row].decode(), shard, row))
    names, rows = manifest.facts.get("classes", []), {}
    for label in sorted(placed, key=lambda label: (label < 0, label)):
        first = sorted(placed[label], key=lambda place: place[0])[:SHOWN]
        name = names[label] if 0 <= label < len(names) else "photos"
        photos = [_value(directory, shard, indexes[shard.name], row, PHOTOS) for _, shard, row in first]
        tiles = [_value(directory, shard, indexes[shard.name], row, (TILES,)) for _, shard, row in first]
        if all(isinstance(photo, bytes) for photo in photos):
            rows[f"{name}\n{counts[label]} kept"] = np.stack([small(photo) for photo in photos if photo is not None])
        if all(isinstance(tile, bytes) for tile in tiles):
            rows["their tiles"] = np.stack([small(tile) for tile in tiles if tile is not None])
    synthetic = bool(manifest.facts.get("synthetic"))
    title = f"{'Synthetic photos' if synthetic else 'Photos'}: {sum(counts.values())} kept"
    image = sheet(rows, title=title, columns=SHOWN)
    save_png(image, directory / CONTACT, synthetic="yes" if synthetic else "no")


def _value(directory: Path, shard: Any, index: Any, row: int, columns: tuple[str, ...]) -> Any:
    column = next((name for name in columns if name in column_names(index)), columns[0])
    with (directory / f"{shard.name}.tar").open("rb") as tar:
        return value_of(tar.fileno(), index, row, column, shard)


def _labels(directory: Path, shard: Any, index: Any) -> list[int]:
    with (directory / f"{shard.name}.tar").open("rb") as tar:
        values = [value_of(tar.fileno(), index, row, "class.npy", shard) for row in range(len(index))]
    return [-1 if value is None else int(np.asarray(value)) for value in values]
