"""A set of shards to look at: its counts as text, a contact sheet and a map."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from waterscape.data.contents import payload_faults
from waterscape.data.epoch import Epoch
from waterscape.data.leakage import nearest_km, split_at_random, unit_vectors
from waterscape.data.manifest import Column, Manifest
from waterscape.data.shards import ShardSet, column_names
from waterscape.data.survey import UNKNOWN, Survey
from waterscape.durable import replacing
from waterscape.sheet import save_png, sheet

PHOTOS = ("jpg", "jpeg", "png", "webp")
SHOWN = 12  # pictures in a row
SHOWN_SIDE = 128  # pixels
LOOKED_AT = 4000  # samples of a split that are tried to fill the rows
COLOURS = ("#2668ab", "#d98a1f", "#b5341c", "#4c8c4a", "#7a4a9c", "#38808a")


def describe(survey: Survey, near_km: float) -> str:
    """Everything that `info` tells, as text."""
    manifest = survey.manifest
    total = len(survey.splits)
    size = sum(shard.bytes for shard in manifest.shards)
    kind = "SYNTHETIC, " if manifest.facts.get("synthetic") else ""
    lines = [f"{manifest.name}: {kind}{total} samples in {len(manifest.shards)} shards, {size / 1e6:.1f} MB", ""]
    told = [fact for fact in ("content", "source", "licence") if fact in manifest.facts]
    lines += [f"{fact:<10}{_short(manifest.facts[fact])}" for fact in told]
    lines += [f"{'sha256':<10}{manifest.sha256}", "", *_columns(manifest), "", *_splits(survey)]
    for title, values in (("class", survey.classes), ("region", survey.regions)):
        if set(values) != {UNKNOWN}:
            lines += ["", *_shares(title, survey.count(values))]
    if set(survey.classes) != {UNKNOWN} and len(set(survey.regions)) > 1:
        lines += ["", *_classes_of_regions(survey)]
    lines += ["", *_leakage(survey, near_km), *_drops(manifest.facts)]
    return "\n".join(lines)


def draw(survey: Survey, directory: Path | str, out: Path) -> list[Path]:
    """Write `contact.png` and, where samples say where they lie, `map.png`; returns what was written."""
    out.mkdir(parents=True, exist_ok=True)
    facts = survey.manifest.facts
    kind = "SYNTHETIC: " if facts.get("synthetic") else ""
    title = f"{kind}{survey.manifest.name}, {len(survey.splits)} samples"
    marks = {"synthetic": "true" if facts.get("synthetic") else "false", "set_sha256": survey.manifest.sha256}
    written = []
    rows = picture_rows(survey, directory)
    if rows:
        save_png(sheet(rows, title=title, columns=SHOWN), out / "contact.png", **marks)
        written.append(out / "contact.png")
    if survey.placed.any():
        written.append(_map(survey, out / "map.png", title, marks))
    return written


def describe_epoch(epoch: Epoch, nodes: int) -> str:
    """What each process reads in an epoch, as text; the processes of a node follow one another."""
    lines = [
        f"{epoch.samples} samples, batches of {epoch.batch}: an epoch is {epoch.steps:.2f} steps",
        "",
        f"{'process':>8}{'images a step':>15}{'images':>12}{'MB an epoch':>14}{'shards':>8}",
    ]
    for rank, images in enumerate(epoch.images.tolist()):
        size = epoch.bytes[rank] / 1e6
        lines.append(f"{rank:>8}{epoch.per_step[rank]:>15}{images:>12}{size:>14.2f}{epoch.shards[rank]:>8}")
    lines.append("")
    what = "fetched in whole tars, each once" if epoch.remote else "read"
    for node, size in enumerate(epoch.node_bytes(nodes).tolist()):
        lines.append(f"node {node}: {size / 1e6:.2f} MB an epoch {what}")
    if epoch.remote:
        lines.append(f"the cache of each node must hold {epoch.least_cache / 1e6:.2f} MB or more")
        lines.append(f"one that holds {epoch.tars.sum() / 1e6:.2f} MB fetches every tar in the first epoch only")
    if idle := int((epoch.per_step == 0).sum()):
        lines.append(f"processes without an image: {idle}; each reads the first of every batch, to compute along")
    else:
        lines.append(f"every process reads at least {epoch.per_step.min()} images in every step: none starves")
    if epoch.samples < epoch.batch:
        lines.append("a batch is larger than the epoch: one step reads samples more than once")
    told = "exactly once" if epoch.read_once else "NOT exactly once: the order is broken"
    lines.append(f"every sample of the epoch is read {told}")
    return "\n".join(lines)


def _columns(manifest: Manifest) -> Iterator[str]:
    yield f"{'column':<24}{'dtype':>8}  shape"
    for column in manifest.columns:
        shape = "varies" if column.shape is None else " × ".join(map(str, column.shape)) or "one number"
        shape = shape if column.name.endswith("npy") else "no array"
        size = ""
        if column.dtype is not None and column.shape is not None:
            size = f", {int(np.prod(column.shape, dtype=np.int64)) * np.dtype(column.dtype).itemsize} bytes"
        yield f"{column.name:<24}{column.dtype or '-':>8}  {shape}{size}"


def _splits(survey: Survey) -> Iterator[str]:
    yield f"{'split':<24}{'samples':>10}{'share':>9}{'shards':>8}{'MB':>10}"
    for name in survey.manifest.splits:
        shards = survey.manifest.split(name)
        samples, size = sum(shard.samples for shard in shards), sum(shard.bytes for shard in shards)
        share = 100 * samples / max(len(survey.splits), 1)
        yield f"{name:<24}{samples:>10}{share:>7.1f} %{len(shards):>8}{size / 1e6:>10.1f}"


def _shares(title: str, counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """A table: value × split, in samples and in percent of the split."""
    yield f"{title:<40}" + "".join(f"{split:>18}" for split in counts)
    for value in sorted({value for column in counts.values() for value in column}):
        cells = ((column.get(value, 0), max(sum(column.values()), 1)) for column in counts.values())
        yield f"  {value:<38}" + "".join(f"{count:>9}{100 * count / total:>7.1f} %" for count, total in cells)


def _classes_of_regions(survey: Survey) -> Iterator[str]:
    pairs, regions = Counter(zip(survey.regions, survey.classes, strict=True)), Counter(survey.regions)
    yield f"{'class in each region':<40}{'samples':>9}{'of region':>11}"
    for (region, name), count in sorted(pairs.items()):
        yield f"  {region + ', ' + name:<38}{count:>9}{100 * count / regions[region]:>9.1f} %"


def _leakage(survey: Survey, near_km: float) -> Iterator[str]:
    """How near the other splits lie to the training tiles, as split and if they had been split at random."""
    names, placed = survey.manifest.splits, survey.placed
    if "train" not in names or len(names) < 2 or not placed.any():
        yield "distance to the nearest training tile: not known, the samples do not say where they lie"
        return
    points, splits = unit_vectors(survey.longitude[placed], survey.latitude[placed]), survey.splits[placed]
    train = names.index("train")
    yield f"{'to the nearest training tile':<40}{'nearest':>12}{'median':>12}  nearer than {near_km:g} km"
    for way, dealt in (("as split", splits), ("if split at random", split_at_random(splits))):
        for number, name in enumerate(names):
            if number != train and (dealt == number).any() and (dealt == train).any():
                distance = nearest_km(points[dealt == number], points[dealt == train])
                share = 100 * float((distance < near_km).mean())
                yield f"  {name + ', ' + way:<38}{distance.min():>9.1f} km{np.median(distance):>9.1f} km{share:>7.1f} %"
    if not placed.all():
        yield f"  {int((~placed).sum())} samples do not say where they lie"


def _drops(facts: Mapping[str, Any]) -> Iterator[str]:
    dropped = facts.get("dropped")
    if isinstance(dropped, dict):
        yield ""
        yield f"{'dropped when packing':<40}{sum(value for value in dropped.values() if isinstance(value, int)):>10}"
        for reason, count in dropped.items():
            yield f"  {reason:<38}{count!s:>10}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 100 else text[:99] + "…"


def picture_rows(survey: Survey, directory: Path | str, most: int = SHOWN) -> dict[str, NDArray[Any]]:
    """Pictures for a contact sheet: a row of at most so many for each class of each split, from all over the split."""
    column = picture_column(survey.manifest.columns)
    if column is None:
        return {}
    rows: dict[str, NDArray[Any]] = {}
    for number, split in enumerate(survey.manifest.splits):
        shards = ShardSet(directory, split, survey.manifest)
        mine = np.flatnonzero(survey.splits == number)
        pictures: dict[str, list[NDArray[Any]]] = {}
        step = max(1, len(mine) // LOOKED_AT)
        ends = np.cumsum(shards.counts)
        for place in range(0, len(mine), step):
            name = survey.classes[mine[place]]
            row = pictures.setdefault(name, [])
            if len(row) < most:
                shard = int(np.searchsorted(ends, place, side="right"))
                row += _picture(shards, shard, place - int(ends[shard] - shards.counts[shard]), column)
        counts = survey.count(survey.classes)[split]
        for name in sorted(pictures):
            if pictures[name]:
                label = f"{split}\n" if name == UNKNOWN else f"{split}, {name}\n"
                rows[f"{label}{counts[name]} samples"] = np.stack(pictures[name])
    return rows


def picture_column(columns: tuple[Column, ...]) -> str | None:
    """The column to show: the smallest picture of at least 32 pixels a side, else photos."""
    sides = {
        column.name: column.shape[0]
        for column in columns
        if column.dtype == "|u1" and column.shape and _is_picture(column.shape) and "mask" not in column.name
    }
    if sides:
        return min(sides, key=lambda name: (sides[name] < 32, sides[name], name))
    return next((column.name for column in columns if column.name.endswith(PHOTOS)), None)


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)


def _picture(shards: ShardSet, shard: int, row: int, column: str) -> list[NDArray[Any]]:
    """One picture as `sheet` takes it; none where the sample has none or it cannot be shown."""
    index = shards.indexes[shard]
    if column not in column_names(index) or index[column]["size"][row] < 0:
        return []
    value = shards.value(shard, row, column)
    if isinstance(value, bytes):
        if payload_faults(column, len(value), value, None):
            return []
        try:
            with Image.open(io.BytesIO(value), formats=("JPEG", "PNG", "WEBP")) as photo:
                photo.draft("RGB", (SHOWN_SIDE, SHOWN_SIDE))
                return [np.asarray(photo.convert("RGB").resize((SHOWN_SIDE, SHOWN_SIDE)))]
        except (OSError, ValueError, Image.DecompressionBombError):
            return []
    picture = np.asarray(value)
    step = max(1, -(-max(picture.shape[:2]) // SHOWN_SIDE))
    picture = picture[::step, ::step]
    if picture.ndim == 3:
        return [picture]
    full = 100 if column.startswith("occurrence") else 255
    return [(picture / full).astype(np.float32)]


def _map(survey: Survey, path: Path, title: str, marks: Mapping[str, str]) -> Path:
    """The places of all samples, coloured by split."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(10, 6))
    largest_first = np.argsort(-np.bincount(survey.splits), kind="stable").tolist()
    for place, number in enumerate(largest_first):
        name, mine = survey.manifest.splits[number], survey.placed & (survey.splits == number)
        colour = COLOURS[place % len(COLOURS)]
        label = f"{name}: {int(mine.sum())}"
        axis.scatter(survey.longitude[mine], survey.latitude[mine], s=9, color=colour, label=label, alpha=0.7, lw=0)
    middle = float(np.nanmean(survey.latitude[survey.placed]))
    axis.set_aspect(1 / max(np.cos(np.deg2rad(middle)), 0.2), adjustable="datalim")  # as long in km both ways
    axis.set(xlabel="degrees east", ylabel="degrees north", title=title)
    axis.grid(alpha=0.25)
    axis.legend(loc="best", markerscale=2)
    figure.tight_layout()
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110, format="png", metadata=dict(marks))
    plt.close(figure)
    return path
