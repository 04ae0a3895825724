"""Ways to map water beside each other: a table of figures, over seeds where there are several, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

import numpy as np
import torch

from waterscape.metrics.segmentation import Confusion
from waterscape.metrics.water_maps import JACCARD, LATITUDES, Way, Window, Worth
from waterscape.nn.map_colours import error_colours, false_colour, label_colours
from waterscape.sheet import sheet
from waterscape.sources.world.landsat import COVERS

if TYPE_CHECKING:
    from PIL.Image import Image

Ways = Mapping[str, Sequence[Worth]]
"""What a way was found to be worth, once for each seed; one that is the same each time has one."""
PICTURED = 8


def table(found: Ways) -> str:
    """Markdown: the figures of each way, then IoU and accuracy by land cover and by latitude, where those are known."""
    names = [name for name in next(iter(found.values()))[0].figures() if name != JACCARD]
    rows = [[way, *(_told([worth.figures()[name] for worth in its]) for name in names)] for way, its in found.items()]
    parts = [_markdown(["over all pixels", *names], rows)]
    kinds = sorted({kind for its in found.values() for worth in its for kind in worth.by_cover})
    if kinds:
        parts.append(_apart("land cover", {COVERS.get(k, f"class {k}"): [k, "by_cover"] for k in kinds}, found))
    south = sorted({south for its in found.values() for worth in its for south in worth.by_latitude})
    if south:
        parts.append(_apart("latitude", {f"{s}° to {s + LATITUDES}°": [s, "by_latitude"] for s in south}, found))
    else:
        parts.append("Latitude: not known of any window.")
    return "\n\n".join(parts) + "\n"


def _apart(what: str, keys: Mapping[str, Sequence[int | str]], found: Ways) -> str:
    """A row for each part of the pixels: how many, the share of water, and IoU / accuracy of each way."""
    rows = []
    for name, (key, attribute) in keys.items():
        counts = {way: [getattr(worth, str(attribute))[key] for worth in its] for way, its in found.items()}
        one = next(iter(counts.values()))[0]
        pixels = one.tp + one.fp + one.fn + one.tn
        if pixels:
            shares = [f"{pixels}", f"{(one.tp + one.fn) / pixels:.1%}"]
            rows.append([name, *shares, *(_both(its) for its in counts.values())])
    return _markdown([what, "pixels", "water", *(f"{way}: IoU / accuracy" for way in found)], rows)


def _both(counts: Sequence[Confusion]) -> str:
    return f"{_told([each.iou for each in counts])} / {_told([each.accuracy for each in counts])}"


def _told(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several; nothing where there was nothing to judge."""
    if any(value != value for value in values):
        return "–"
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def picture(ways: Mapping[str, Way], windows: Sequence[Window], title: str) -> Image:
    """A few windows: false colour, their masks, and where each way is wrong."""
    bands = torch.from_numpy(np.stack([window.bands.transpose(2, 0, 1) for window in windows]))
    water, known = (
        torch.from_numpy(np.stack([getattr(window, name) for window in windows]))[:, None]
        for name in ("water", "known")
    )
    rows = {"SWIR1, NIR, red": false_colour(bands), "mask": label_colours(water, known)}
    for name, way in ways.items():
        called = torch.from_numpy(np.stack([way(window.bands) for window in windows]))[:, None]
        rows[f"{name}:\norange was missed,\nred is no water"] = error_colours(called, water, known)
    return sheet({name: row.permute(0, 2, 3, 1).numpy() for name, row in rows.items()}, title=title, columns=PICTURED)
