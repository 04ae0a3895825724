"""What packing tells: the counts of what came in and where it went, and a contact sheet of kept and dropped tiles."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from waterscape.errors import UserError
from waterscape.sheet import save_png, sheet
from waterscape.sources.making import SHOWN
from waterscape.sources.occurrence_survey import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.manifest import Manifest
    from waterscape.sources.occurrence_survey import Surveyed

SHOWN_SIDE = 128  # pixels
LARGEST_SHOWN = 4096  # side; a larger picture is not decoded only to be shown
STRETCHED = 1.2


@dataclass(frozen=True)
class Summary:
    """What came in and where it went."""

    came_in: int
    dropped: Mapping[str, int]
    """Reason → tiles."""
    shapes: Mapping[str, Mapping[str, int]]
    """Split → class → tiles written."""
    manifest: Manifest
    notes: Sequence[str] = ()
    exports: int | None = None
    """Files, where the tiles that came in were cut out of them; None: each tile is a file."""
    exports_used: int | None = None
    """Files that went into kept tiles."""

    @property
    def kept(self) -> int:
        """Tiles that stand in the shards."""
        return sum(shard.samples for shard in self.manifest.shards)

    def check(self) -> None:
        """Raise `RuntimeError` unless every tile that came in was dropped or written, and all sums agree."""
        counted = {split: sum(counts.values()) for split, counts in self.shapes.items()}
        written = dict.fromkeys(SPLITS, 0)
        for shard in self.manifest.shards:
            written[shard.split] += shard.samples
        if counted != written or self.came_in != self.kept + sum(self.dropped.values()):
            raise RuntimeError(f"sums differ: {self.came_in} in, dropped {self.dropped}, kept {counted} or {written}")

    def table(self) -> str:
        """The counts as text."""

        def line(name: str, count: int) -> str:
            return f"{name:<24}{count:8d}  {100 * count / self.came_in:5.1f} %"

        lines = [line("tiles read", self.came_in)]
        if self.exports is not None:
            lines = [f"{'files read':<24}{self.exports:8d}", f"{'  used in kept tiles':<24}{self.exports_used:8d}"]
            lines += [line("tiles cut", self.came_in)]
        lines += [line(f"  {reason}", count) for reason, count in self.dropped.items()]
        lines += [line("kept", self.kept), ""]
        lines += [f"{'shape':<24}" + "".join(f"{split:>8}" for split in (*SPLITS, "all"))]
        classes = dict.fromkeys(name for counts in self.shapes.values() for name in counts)
        rows = {name: [self.shapes[split].get(name, 0) for split in SPLITS] for name in classes}
        rows = {f"  {name}": row for name, row in rows.items() if sum(row)}
        rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
        lines += [f"{name:<24}" + "".join(f"{count:8d}" for count in (*row, sum(row))) for name, row in rows.items()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def notes(kept: Sequence[Surveyed], shares: Sequence[float]) -> list[str]:
    """What a person should know of the set, though it is no mistake."""
    told = []
    ratios = [max(x / y, y / x) for x, y in (tile.place.metres_per_pixel for tile in kept if tile.place)]
    stretched = sum(ratio > STRETCHED for ratio in ratios)
    if stretched:
        told.append(
            f"{stretched} tiles are stretched: their pixels are up to {max(ratios):.1f} times as long one way as the "
            "other; export in a local projection, or pack with --true-scale"
        )
    groups = {tile.group for tile in kept}
    filled = {tile.split for tile in kept}
    for split, share in zip(SPLITS, shares, strict=True):
        if share > 0 and split not in filled:
            told.append(f"{split} got none of the {len(groups)} groups: a smaller --block-km makes more of them")
    return told


class Contact:
    """The contact sheet: some kept tiles of each shape, some dropped ones of each reason, masked or missing in grey."""

    def __init__(self) -> None:
        self._kept: defaultdict[str, list[NDArray[np.float32]]] = defaultdict(list)
        self._dropped: defaultdict[str, list[NDArray[np.float32]]] = defaultdict(list)

    def keep(self, shape: str, occurrence: NDArray[np.uint8]) -> None:
        """Show a kept tile, where its shape's row is not yet full."""
        if len(self._kept[shape]) < SHOWN:
            self._kept[shape].append(_small((occurrence / 100).astype(np.float32)))

    def drop(self, tile: Surveyed, tile_size: int) -> None:
        """Show a dropped tile, where its reason's row is not yet full; one of another size in the frame it misses."""
        row = self._dropped[str(tile.reason)]
        if len(row) == SHOWN or max(tile.width, tile.height) > LARGEST_SHOWN:
            return
        try:
            found = tile.source.read(None)
        except UserError:  # a tile of the wrong size may hold anything
            return
        if found.occurrence is not None:
            frame = np.full((tile_size, tile_size), np.nan, np.float32)
            part = np.where(True if found.covered is None else found.covered, found.occurrence / 100, np.nan)
            part = part[:tile_size, :tile_size]
            frame[: part.shape[0], : part.shape[1]] = part
            row.append(_small(frame))

    def save(
        self, path: Path, shapes: Mapping[str, Mapping[str, int]], dropped: Mapping[str, int], *, synthetic: bool
    ) -> None:
        """Draw all rows, kept first, and write them as PNG, given the counts that `Summary` tells."""
        rows: dict[str, NDArray[np.float32]] = {}
        counts = {name: sum(by_class[name] for by_class in shapes.values()) for name in next(iter(shapes.values()))}
        for name, count in counts.items():
            if self._kept[name]:
                rows[f"{name}\n{count} kept"] = np.stack(self._kept[name])
        for reason, count in dropped.items():
            if self._dropped[reason]:
                rows[f"{reason}\n{count} dropped"] = np.stack(self._dropped[reason])
        kind = "Synthetic water occurrence" if synthetic else "Water occurrence"
        kept = sum(counts.values())
        title = f"{kind}: {kept} tiles kept of {kept + sum(dropped.values())}"
        save_png(sheet(rows, title=title, columns=SHOWN), path, synthetic="yes" if synthetic else "no")


def _small(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of whole blocks of pixels, at most `SHOWN_SIDE` pixels a side."""
    side = len(picture)
    block = -(-side // SHOWN_SIDE)
    whole = side // block * block
    blocks = picture[:whole, :whole].reshape(whole // block, block, whole // block, block)
    small: NDArray[np.float32] = blocks.mean(axis=(1, 3))
    return small
