"""Tiles of water occurrence → shards: judged, split by place, reduced, their water bodies measured and named.

Every tile is read twice: once to judge it and to learn where it lies, since a split needs all places; once to write it.
The shards' bytes depend on the tiles and the options alone, never on the number of processes.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, fields
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from tyro.constructors import PrimitiveConstructorSpec

from waterscape.data.pack import SetWriter
from waterscape.errors import UserError
from waterscape.randomness import hash64
from waterscape.sources.occurrence import Place, find, is_synthetic, read, region_and_offsets
from waterscape.sources.occurrence_report import Contact, Summary, notes
from waterscape.sources.occurrence_rules import REASONS, USUAL_RULES, Rules
from waterscape.sources.occurrence_survey import SPLITS, Surveyed, checksum, split_up, survey
from waterscape.sources.parallel import Workers, progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.shard import Value

Number = TypeVar("Number", int, float)

REDUCED = 64  # the side that small models see


def comma_separated(kind: type[Number], metavar: str) -> PrimitiveConstructorSpec[tuple[Number, ...]]:
    """How a command line writes a tuple of numbers: 256,64."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: tuple(kind(word) for word in words[0].split(",")),
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(part, kind) for part in value),
        str_from_instance=lambda value: [",".join(str(part) for part in value)],
    )


@dataclass(frozen=True)
class Packing:
    """How tiles become shards."""

    tile_size: int = 256
    """Side of a tile in pixels; tiles of any other size are dropped."""
    sizes: Annotated[tuple[int, ...], comma_separated(int, "INT,INT")] = ()
    """Sides to store: the full tile always, as occurrence.npy; smaller ones are area means, occurrence64.npy and so
    on. Left out: the full tile and 64."""
    split: Literal["place", "random"] = "place"
    """place: whole blocks of ground or whole groups. random: tile by tile, so that neighbours leak into the test."""
    group: str | None = None
    """What must not be torn between splits, where tiles have no coordinates: file (each tile by itself), folder, or a
    regular expression that is searched in the file's name; its first group counts, or else the whole match."""
    shares: Annotated[tuple[float, ...], comma_separated(float, "TRAIN,VALID,TEST")] = (0.8, 0.1, 0.1)
    """Shares of train, valid and test."""
    block_km: float = 100.0
    """Side of a block of ground in kilometres."""
    seed: int = 0
    """Of the split, and of the order in which samples are written."""
    samples_per_shard: int = 1024
    """Samples in one shard file."""
    licence: str = "not stated"
    """The source's licence, for the manifest."""
    rules: Rules = USUAL_RULES

    def stored_sizes(self) -> tuple[int, ...]:
        """The sides stored, the full one first. Raises `UserError` for options that cannot be."""
        if self.tile_size < 1 or self.samples_per_shard < 1:
            raise UserError("--tile-size and --samples-per-shard must be 1 or more")
        if self.split == "random" and self.group is not None:
            raise UserError("--split random and --group exclude each other: leave one out")
        if len(self.shares) != len(SPLITS) or min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise UserError(f"--shares {self.shares}: give three of 0 or more that add up to 1, as in 0.8,0.1,0.1")
        sizes = set(self.sizes) or {min(REDUCED, self.tile_size)}
        if min(sizes) < 1 or max(sizes) > self.tile_size:
            raise UserError(f"--sizes {sorted(sizes)}: give sides of 1 to {self.tile_size}, which is the --tile-size")
        return tuple(sorted(sizes | {self.tile_size}, reverse=True))


USUAL_PACKING = Packing()


@dataclass(frozen=True)
class Labelling:
    """How water bodies are measured and named: the functions and words of `waterscape.metrics.morphology`."""

    bodies: Callable[[NDArray[np.uint8], float | None], NDArray[Any]]
    dominant: Callable[[NDArray[Any]], int]
    classes: tuple[str, ...]
    columns: tuple[str, ...]


def pack(
    sources: Sequence[Path],
    out: Path,
    labelling: Labelling,
    packing: Packing,
    *,
    replace: bool = False,
    processes: int = 1,
) -> Summary:
    """Pack all tiles of folders and files into the set of shards `out`, with a contact sheet `contact.png` in it.

    Raises:
        UserError: bad tiles or options, or no tile left; nothing new stands under `out` then.
    """
    sizes = packing.stored_sizes()
    paths = find(list(sources))
    if any(out.resolve().is_relative_to(source.resolve()) for source in sources):
        raise UserError(f"{out} lies within the source: choose an --out outside of it")
    shapes = {split: dict.fromkeys(labelling.classes, 0) for split in SPLITS}
    contact = Contact()
    with (
        SetWriter(out, facts={}, samples_per_shard=packing.samples_per_shard, replace=replace) as writer,
        Workers(processes) as workers,
    ):
        tiles = sorted(survey(paths, packing.tile_size, packing.rules, workers), key=partial(_shuffled, packing.seed))
        kept, dropped = _sort_out(tiles, packing)
        sample = partial(_sample, sizes=sizes, with_mask=any(tile.mask_tells for tile in kept), labelling=labelling)
        samples = progress(workers.in_order(sample, kept), len(kept), "packing")
        for tile, (shape, values) in zip(kept, samples, strict=True):
            writer.add(tile.split, values)
            shapes[tile.split][labelling.classes[shape]] += 1
            contact.keep(labelling.classes[shape], _array(values["occurrence.npy"]))
        for tile in tiles:
            if tile.reason:
                contact.drop(tile, packing.tile_size)
        manifest = writer.finish(**_facts(sources, tiles, packing, labelling), dropped=dropped, shapes=shapes)
    summary = Summary(len(paths), dropped, shapes, manifest, notes(kept, packing.shares))
    summary.check()
    contact.save(out / "contact.png", summary, labelling.classes, synthetic=manifest.facts["synthetic"])
    return summary


def _shuffled(seed: int, tile: Surveyed) -> int:
    """Key of the order in which tiles are written: any stretch of a shard is a fair mixture of the regions."""
    return hash64(seed, "order of writing", tile.name)


def _sort_out(tiles: Sequence[Surveyed], packing: Packing) -> tuple[list[Surveyed], dict[str, int]]:
    """The tiles to keep, with their splits, and the counts of the others by reason."""
    dropped = {reason: sum(tile.reason == reason for tile in tiles) for reason in REASONS}
    kept = [tile for tile in tiles if tile.reason is None]
    if not kept:
        told = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
        (width, height), _ = Counter((tile.width, tile.height) for tile in tiles).most_common(1)[0]
        raise UserError(
            f"of {len(tiles)} tiles none is left ({told}): most are {width}×{height} pixels, --tile-size is "
            f"{packing.tile_size}; adjust it, or the thresholds"
        )
    split = split_up(
        kept,
        group=packing.group,
        split=packing.split,
        shares=packing.shares,
        block_km=packing.block_km,
        seed=packing.seed,
    )
    return split, dropped


def _sample(
    tile: Surveyed, sizes: Sequence[int], with_mask: bool, labelling: Labelling
) -> tuple[int, dict[str, Value]]:
    """One tile's class and columns."""
    again = read(tile.path, sizes[0])
    occurrence = again.occurrence
    if occurrence is None or checksum(again) != tile.crc:
        raise UserError(f"{tile.path} was changed while it was being packed: pack again when nobody writes there")
    values: dict[str, Value] = {"occurrence.npy": occurrence}
    for size in sizes[1:]:
        values[f"occurrence{size}.npy"] = reduce(occurrence, size)
    if with_mask:
        observed = again.observed
        values["mask.npy"] = np.ones_like(occurrence) if observed is None else observed.astype(np.uint8)
    # bodies are measured on the ground: a mean length, where the projection stretches
    metres = None if tile.place is None else math.sqrt(math.prod(tile.place.metres_per_pixel))
    bodies = labelling.bodies(occurrence, metres)
    shape = int(labelling.dominant(bodies))
    values |= {"bodies.npy": bodies, "shape.npy": np.array(shape, np.uint8), "json": _origin(tile)}
    return shape, values


def _origin(tile: Surveyed) -> dict[str, Any]:
    """A sample's JSON: where it comes from and where it lies; None for what is not known."""
    region, offsets = region_and_offsets(tile.path)
    row, column = offsets or (None, None)
    place = asdict(tile.place) if tile.place else dict.fromkeys(known.name for known in fields(Place))
    return {
        "source": tile.name,
        "region": region,
        "row": row,
        "column": column,
        **place,
        "masked_share": tile.masked_share,
        "group": tile.group,
        "split": tile.split,
        "synthetic": is_synthetic(tile.path.parent),
    }


def reduce(occurrence: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The area means of a square tile, `size` × `size`, rounded half up.

    Where the size does not divide the tile's, a pixel counts by its area in each part (area interpolation). Lengths are
    counted in whole parts of a pixel, so that every sum is exact and no rounding depends on the machine.
    """
    sums = _part_sums(_part_sums(occurrence, size).T, size).T
    whole = len(occurrence) ** 2
    return ((2 * sums + whole) // (2 * whole)).astype(np.uint8)


def _part_sums(values: NDArray[Any], parts: int) -> NDArray[np.int64]:
    """Sums over `parts` equal stretches of rows, times `parts`; a row that two stretches share counts by its share."""
    row, share = np.divmod(np.arange(parts + 1) * len(values), parts)
    shared = values[row % len(values)].astype(np.int64) * share[:, None]  # nothing is shared at either end
    sums: NDArray[np.int64] = np.add.reduceat(values, row[:-1], axis=0, dtype=np.int64) * parts
    sums += np.diff(shared, axis=0)
    return sums


def _facts(
    sources: Sequence[Path], tiles: Sequence[Surveyed], packing: Packing, labelling: Labelling
) -> dict[str, Any]:
    """What the manifest says of the set, free of paths of this machine."""
    regions: dict[str, dict[str, int]] = {}
    for tile in sorted(tiles, key=lambda tile: tile.name):
        counts = regions.setdefault(region_and_offsets(tile.path)[0], {"read": 0, "kept": 0})
        counts["read"] += 1
        counts["kept"] += tile.reason is None
    return {
        "content": "water occurrence in percent (0-100, masked 0), its area means, and its water bodies",
        "source": [source.resolve().name for source in sources],
        "licence": packing.licence,
        "synthetic": any(is_synthetic(tile.path.parent) for tile in tiles),
        "classes": list(labelling.classes),
        "body_columns": list(labelling.columns),
        "made": {
            "command": "tools/pack_occurrence.py",
            "version": metadata.version("waterscape"),
            "options": {**asdict(packing), "sizes": list(packing.stored_sizes())},
        },
        "read": len(tiles),
        "regions": regions,
    }


def _array(value: Value) -> NDArray[Any]:
    assert isinstance(value, np.ndarray)
    return value
