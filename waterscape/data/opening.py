"""What a training reads: a set of shards in a planned order, or tars without index as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from waterscape.cores import cores, processes_here
from waterscape.data.address import as_directory, is_remote
from waterscape.data.balance import planned_order
from waterscape.data.batches import Batches
from waterscape.data.manifest import FILE, Column, Manifest
from waterscape.data.renamed import Renamed, parse_sources
from waterscape.data.resident import Resident
from waterscape.data.samples import Samples
from waterscape.data.shards import ShardSet
from waterscape.data.tars import TarSet, open_tars
from waterscape.errors import UserError

if TYPE_CHECKING:
    import torch

    from waterscape.data.pictures import Size
    from waterscape.data.stream import Streamed

Cache = Literal["device", "host", "none"]
MOST_READERS = 8


def open_samples(
    place: Path | str, renamed: Sequence[str] = (), *, maimed: bool = False
) -> tuple[Manifest, Samples, Samples]:
    """The manifest, the samples to train on and those held out (split valid, else train).

    A directory of tars without manifest is streamed; its manifest is in memory only and has the fact `streamed`.
    `renamed`: `occurrence64.npy=png`, the model's name of a column and the stored one; the manifest returned has both.
    `maimed`: tars to train on may be missing or short, since what they lack will be skipped. Indexes at hand
    (`Indexes.at_hand`) are looked at now, so that a damaged one is not told when a run has lasted for hours.

    Raises:
        UserError: nothing to read, or `renamed` says what cannot be.
        ShardError: a file that is missing, a tar of another length, or a damaged one of the indexes looked at.
    """
    directory = None if is_remote(place) else as_directory(place, "training")
    train: Samples
    held_out: Samples
    if directory is not None and not (directory / FILE).exists() and any(directory.glob("*.tar")):
        manifest, train, held_out = open_tars(directory)
    else:
        manifest = Manifest.load(place)
        train = ShardSet(place, "train", manifest, maimed=maimed)
        held_out = ShardSet(place, "valid", manifest) if "valid" in manifest.splits else train.again()
        for indexes in (train.indexes, held_out.indexes):
            if indexes.at_hand:
                indexes.bring(range(len(indexes)))
    if not renamed:
        return manifest, train, held_out
    sources = parse_sources(renamed, manifest.columns)
    stored = [column for column in manifest.columns if column.name not in sources]
    manifest = dataclasses.replace(manifest, columns=(*stored, *(Column(name, None, None) for name in sources)))
    return manifest, Renamed(train, sources), Renamed(held_out, sources)


def batches_of(
    samples: Samples,
    columns: Sequence[str],
    *,
    batch: int,
    seed: int,
    rank: int,
    world: int,
    start: int,
    pictures: Mapping[str, Size] | None = None,
    skip_damaged: int = 0,
    balance: str | None = None,
    cache: Cache = "none",
    device: str | torch.device = "cpu",
    readers: int | None = None,
) -> Batches | Streamed | Resident:
    """Batches without end from place `start` of the stream: `Batches` in the planned order, or `Streamed`.

    `cache`: `Resident`, the whole split kept in memory of the host, or of `device`. `readers`: threads that read; None:
    as many as pay (`usual_readers`).
    """
    sources = samples.sources if isinstance(samples, Renamed) else {}
    samples = samples.samples if isinstance(samples, Renamed) else samples
    if cache != "none" and (skip_damaged or not isinstance(samples, ShardSet)):
        what = "with --skip-damaged" if skip_damaged else "without an index (`waterscape shards index` makes one)"
        raise UserError(f"--cache {cache} cannot be had {what}: leave one of them out")
    place: dict[str, Any] = {"batch": batch, "rank": rank, "world": world, "start": start}
    place |= {"pictures": pictures, "sources": sources}
    if isinstance(samples, ShardSet):
        place["threads"] = readers or usual_readers(str(device), bool(pictures), processes_here(world))
        order = planned_order(samples, seed, balance)
        if cache != "none":
            return Resident(samples, columns, order=order, device=device if cache == "device" else "cpu", **place)
        return Batches(samples, columns, order=order, skip_damaged=skip_damaged, look_ahead=True, **place)
    assert isinstance(samples, TarSet)
    if skip_damaged or balance or readers:
        word = "--skip-damaged" if skip_damaged else "--balance" if balance else "--readers"
        raise UserError(f"{word} needs an index: make one by `waterscape shards index`, or leave it out")
    from waterscape.data.stream import Streamed  # webdataset takes a second to import

    return Streamed(samples, columns, seed=seed, **place)


def usual_readers(device: str, pictures: bool, processes: int) -> int:
    """Threads that read for each of a machine's processes, which trains on `device`.

    One, since what every core trains leaves none to spare and a stored array costs little to read. Photos for a GPU are
    decoded by its process's share of the cores: a core decodes some thousand a second, and a GPU takes many thousands.
    """
    return max(1, min(MOST_READERS, cores() // processes)) if pictures and not device.startswith("cpu") else 1


def describe_stream(place: Path | str, manifest: Manifest) -> str:
    """What must be known of a run that reads tars without index."""
    apart = ", ".join(f"{shard.name}.tar" for shard in manifest.split("valid"))
    return (
        f"{place} has no manifest: {len(manifest.split('train'))} tars are streamed through webdataset; held out and "
        f"not trained on: {apart}. Such a run is NOT exactly resumable: stopped, it goes on in a new order. "
        f"`waterscape shards index {place}` makes it exact, if the format carries what is in the tars"
    )
