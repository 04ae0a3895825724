"""Contact sheets of what filters decided: for each reason what was rejected by it, and what was only just kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from waterscape.filters.seen import Seen
from waterscape.sheet import FAINT, INK, PAPER, SPELLED, save_png, sheet
from waterscape.sources.ledger.filtering import nearest_kept, photos_named, rejected, tally
from waterscape.sources.photo_file import PhotoError, thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from waterscape.sources.ledger import Ledger, Photo

SIDE, CAPTION = 150, 18  # pixels
ACROSS, REJECTED, KEPT = 10, 40, 20  # pictures

Ranked = Sequence[tuple[str, float | None]]


def draw_sheets(ledger: Ledger, folder: Path) -> Iterator[Path]:
    """A PNG for each filter and reason in a folder, which is made; each is told when it is there.

    The names of the photos stand in the file, as its text `photos`, so that a sheet with somebody's photo can be found.
    In the end sheets of earlier runs, which tell what holds no longer, are removed.
    """
    drawn = set()
    folder.mkdir(parents=True, exist_ok=True)
    for row in tally(ledger):
        if row.verdict != "reject":
            continue
        found = rejected(ledger, row.by, row.reason)
        rows = {f"rejected\n{len(found)}": _spread(found, REJECTED), "kept,\nnearest": _nearest(ledger, row.by, found)}
        rows = {label: shown for label, shown in rows.items() if shown}
        photos = {photo.key: photo for shown in rows.values() for photo in photos_named(ledger, [k for k, _ in shown])}
        pictures = {
            label: np.stack([_picture(ledger, photos.get(key), score) for key, score in shown])
            for label, shown in rows.items()
        }
        path = folder / f"{_slug(row.by)}-{_slug(row.reason)}.png"
        title = f"{row.by}: {row.reason}"
        save_png(sheet(pictures, title=title, columns=ACROSS), path, photos=" ".join(photos))
        drawn.add(path)
        yield path
    for path in set(folder.glob("*.png")) - drawn:
        if _is_sheet(path):
            path.unlink(missing_ok=True)


def _is_sheet(path: Path) -> bool:
    """Whether a picture is one of ours, by its text."""
    try:
        with Image.open(path) as image:
            return "photos" in image.info
    except Exception:  # whatever a foreign file makes the reader raise
        return False


def _spread(rows: Ranked, most: int) -> Ranked:
    """So many of some rows, evenly over all of them."""
    if len(rows) <= most:
        return rows
    return [rows[round(place)] for place in np.linspace(0, len(rows) - 1, most)]


def _nearest(ledger: Ledger, by: str, found: Ranked) -> Ranked:
    """Kept photos whose scores are nearest to those of the rejected."""
    scores = [score for _, score in found if score is not None]
    return nearest_kept(ledger, by, float(np.median(scores)), KEPT) if scores else []


def _picture(ledger: Ledger, photo: Photo | None, score: float | None) -> NDArray[np.uint8]:
    """A square of the photo above its score; what cannot be shown is an empty frame."""
    tile = Image.new("RGB", (SIDE, SIDE + CAPTION), PAPER)
    brush = ImageDraw.Draw(tile)
    try:
        if photo is None:
            raise PhotoError("removed", "")
        tile.paste(Image.fromarray(thumbnail(Seen(photo, ledger.path_of(photo.file)).image, SIDE)), (0, 0))
    except PhotoError as error:
        brush.rectangle((0, 0, SIDE - 1, SIDE - 1), outline=FAINT)
        brush.multiline_text((8, 8), _folded(error.reason), fill=FAINT, font=ImageFont.load_default(13))
    told = "no score" if score is None else f"{score:.3g}" if abs(score) < 100 else f"{score:.0f}"
    brush.text((2, SIDE + 2), told, fill=INK, font=ImageFont.load_default(13))
    return np.asarray(tile)


def _folded(text: str, width: int = 18) -> str:
    words: Sequence[str] = text.translate(SPELLED).split()
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"
