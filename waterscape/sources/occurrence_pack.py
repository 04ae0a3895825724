"""Tiles of water occurrence → shards: judged, split by place, reduced, their water bodies measured and named.

Every tile is read twice: once to judge it and to learn where it lies, since a split needs all places; once to write it.
The shards' bytes depend on the tiles and the options alone, never on the number of processes or parts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from waterscape.errors import UserError
from waterscape.options import comma_separated
from waterscape.randomness import hash64
from waterscape.sources import making
from waterscape.sources.making import digest_of
from waterscape.sources.occurrence import find
from waterscape.sources.occurrence_report import Contact, Summary, notes
from waterscape.sources.occurrence_rules import REASONS, REASONS_OF_CUTS, USUAL_RULES, Rules
from waterscape.sources.occurrence_sample import Labelling, sample
from waterscape.sources.occurrence_survey import SPLITS, File, Source, Surveyed, split_up, survey
from waterscape.sources.true_scale import Cut, cut_anew

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.data.manifest import Manifest
    from waterscape.data.shard import Value
    from waterscape.sources.parallel import Each

LIBRARIES = ("waterscape", "numpy", "scipy", "scikit-image", "rasterio", "pyproj")  # which a tile's bytes come from
REDUCED = 64  # the side that small models see


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
    true_scale: bool = False
    """Cut exports in degrees (EPSG:4326), which are stretched in the north, anew into tiles of the local UTM zone,
    whose pixels are as many metres wide as high. Tiles that the files of a region do not cover wholly are dropped."""
    metres_per_pixel: float | None = None
    """With --true-scale: of the new tiles. Left out: as the files are from north to south."""
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
        if self.true_scale and self.group is not None:
            raise UserError("--group is for tiles without coordinates, which --true-scale cannot take: leave one out")
        if self.metres_per_pixel is not None and not (self.true_scale and self.metres_per_pixel > 0):
            raise UserError("--metres-per-pixel goes with --true-scale, and is a positive number of metres")
        sizes = set(self.sizes) or {min(REDUCED, self.tile_size)}
        if min(sizes) < 1 or max(sizes) > self.tile_size:
            raise UserError(f"--sizes {sorted(sizes)}: give sides of 1 to {self.tile_size}, which is the --tile-size")
        # What small models read stands under its own name even where it is the full tile.
        reduced = {size for size in sizes if size < self.tile_size or size == REDUCED}
        return self.tile_size, *sorted(reduced, reverse=True)


USUAL_PACKING = Packing()


@dataclass(frozen=True)
class Tiles:
    """Tiles as an origin of samples (see `making`)."""

    sources: Sequence[Path]
    paths: Mapping[str, Path]
    """Name → tile."""
    labelling: Labelling
    packing: Packing
    shown = "occurrence.npy"
    unit = "tile"

    @classmethod
    def find(cls, sources: Sequence[Path], out: Path, labelling: Labelling, packing: Packing) -> Tiles:
        """All tiles of folders and files, once the options are known to be sound. Raises `UserError`."""
        packing.stored_sizes()
        paths = find(list(sources))
        if any(out.resolve().is_relative_to(source.resolve()) for source in sources):
            raise UserError(f"{out} lies within the source: choose an --out outside of it")
        return cls(sources, paths, labelling, packing)

    @property
    def samples_per_shard(self) -> int:
        """Samples in one shard file."""
        return self.packing.samples_per_shard

    def plan(self) -> dict[str, Any]:
        """On what all parts must agree."""
        return {
            "sources": [source.resolve().name for source in self.sources],
            "files": len(self.paths),
            "files_sha256": digest_of(self.paths),
            "options": {**asdict(self.packing), "sizes": self.packing.stored_sizes()},
            "classes": self.labelling.classes,
            "body_columns": self.labelling.columns,
            "libraries": {name: metadata.version(name) for name in LIBRARIES},
        }

    def judge(self, each: Each) -> Judged:
        """Read and sort out all tiles. Raises `UserError`."""
        return judge(self, each)


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
    return making.pack(Tiles.find(sources, out, labelling, packing), out, replace=replace, processes=processes)


@dataclass(frozen=True)
class Judged:
    """What the first reading of all tiles came to."""

    origin: Tiles
    tiles: list[Surveyed]
    """In the order of writing."""
    kept: list[Surveyed]
    """With their splits, in the order of writing."""
    dropped: dict[str, int]
    """Reason → tiles."""
    regions: dict[str, int]
    """Region → files."""
    cut: bool
    """Whether tiles were cut anew out of the files; else each is a file."""
    threads = 0

    def sampler(self) -> Callable[[Surveyed], tuple[int, dict[str, Value]]]:
        """Makes a kept tile's class and columns."""
        with_mask = any(tile.mask_tells for tile in self.kept)
        sizes = self.origin.packing.stored_sizes()
        return partial(sample, sizes=sizes, with_mask=with_mask, labelling=self.origin.labelling)

    def facts(self, classes: Sequence[int]) -> dict[str, Any]:
        """All that the manifest says of the set, given the shape of each kept tile; free of paths of this machine."""
        counted = Counter((tile.split, shape) for tile, shape in zip(self.kept, classes, strict=True))
        names = self.origin.labelling.classes
        by_split = {split: {name: counted[split, at] for at, name in enumerate(names)} for split in SPLITS}
        return {**_facts(self), "dropped": self.dropped, "shapes": by_split}

    def illustrate(self, directory: Path, facts: Mapping[str, Any], pictures: Mapping[int, Sequence[Value]]) -> None:
        """Draw the contact sheet, on which some tiles of each shape stand, and some that were dropped."""
        contact = Contact()
        for shape, tiles in pictures.items():
            for tile in tiles:
                contact.keep(self.origin.labelling.classes[shape], _array(tile))
        for dropped in self.tiles:
            if dropped.reason:
                contact.drop(dropped, self.origin.packing.tile_size)
        contact.save(directory / "contact.png", facts["shapes"], facts["dropped"], synthetic=facts["synthetic"])

    def summarise(self, manifest: Manifest) -> Summary:
        """What came in and where it went. Raises `RuntimeError` where the sums do not agree."""
        summary = Summary(
            came_in=len(self.tiles),
            dropped=self.dropped,
            shapes=manifest.facts["shapes"],
            manifest=manifest,
            notes=notes(self.kept, self.origin.packing.shares),
            exports=sum(self.regions.values()) if self.cut else None,
            exports_used=manifest.facts.get("exports_used"),
        )
        summary.check()
        return summary


def judge(origin: Tiles, each: Each) -> Judged:
    """Read all tiles, put them in the order of writing, and sort out which to keep, and for which split.

    Raises:
        UserError: bad tiles, or none left.
    """
    paths, packing = origin.paths, origin.packing
    sources: Sequence[Source] = [File(name, path) for name, path in paths.items()]
    regions = Counter(source.origin()["region"] for source in sources)
    if packing.true_scale:
        sources = cut_anew(paths, packing.tile_size, packing.metres_per_pixel, each)
        if not sources:
            raise UserError(f"the {len(paths)} files are too small for a tile: give all of a region, or smaller tiles")
    tiles = survey(sources, packing.tile_size, packing.rules, each)
    tiles.sort(key=lambda tile: hash64(packing.seed, "order of writing", tile.source.name))  # a fair mixture of regions
    reasons = REASONS_OF_CUTS if packing.true_scale else REASONS
    dropped = {reason: sum(tile.reason == reason for tile in tiles) for reason in reasons}
    kept = [tile for tile in tiles if tile.reason is None]
    if not kept:
        told = ", ".join(f"{count} {reason}" for reason, count in dropped.items() if count)
        (width, height), _ = Counter((tile.width, tile.height) for tile in tiles).most_common(1)[0]
        raise UserError(
            f"of {len(tiles)} tiles none is left ({told}): most are {width}×{height} pixels, --tile-size is "
            f"{packing.tile_size}; adjust it, or the thresholds"
        )
    kept = split_up(
        kept,
        group=packing.group,
        split=packing.split,
        shares=packing.shares,
        block_km=packing.block_km,
        seed=packing.seed,
    )
    return Judged(origin, tiles, kept, dropped, dict(regions), packing.true_scale)


def _facts(judged: Judged) -> dict[str, Any]:
    packing, labelling = judged.origin.packing, judged.origin.labelling
    origins = [(tile, tile.source.origin()) for tile in judged.tiles]
    tiles = Counter(origin["region"] for _, origin in origins)
    kept = Counter(origin["region"] for tile, origin in origins if tile.reason is None)
    facts: dict[str, Any] = {}
    regions = {region: {"read": files, "kept": kept[region]} for region, files in judged.regions.items()}
    if judged.cut:
        cuts = [tile.source for tile in judged.kept if isinstance(tile.source, Cut)]
        regions = {region: {**counts, "cut": tiles[region]} for region, counts in regions.items()}
        used = {export.name for cut in cuts for export in cut.exports}
        facts = {"cut": len(judged.tiles), "exports_used": len(used), "metres_per_pixel": cuts[0].metres_per_pixel}
    return {
        "content": "water occurrence in percent (0-100, masked 0), its area means, and its water bodies",
        "source": [source.resolve().name for source in judged.origin.sources],
        "licence": packing.licence,
        "synthetic": any(origin["synthetic"] for _, origin in origins),
        "classes": list(labelling.classes),
        "body_columns": list(labelling.columns),
        "made": {
            "command": "tools/pack_occurrence.py",
            "version": metadata.version("waterscape"),
            "options": {**asdict(packing), "sizes": list(packing.stored_sizes())},
        },
        "read": sum(judged.regions.values()),
        "regions": regions,
        **facts,
    }


def _array(value: Value) -> NDArray[Any]:
    assert isinstance(value, np.ndarray)
    return value
