"""Which files show somebody's photos: those that a ledger names, those that are named after one, and contact sheets."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from waterscape.sources.ledger.packing import tile_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from waterscape.sources.ledger import Ledger, Photo

KEY = re.compile(r"[a-z]+-[0-9a-f]{16}")  # a photo's name (`Ledger.key_of`) within a file's
SHEETS = ("*.sheet.png", "*.sheets", "*contact*.png")  # pictures of many photos, beside a ledger or its folders


def files_of(
    ledgers: Sequence[Ledger], photos: Mapping[str, Photo], also: Sequence[Path]
) -> tuple[list[Path], list[Path]]:
    """Files of their photos and tiles, by whatever tool; and pictures of many photos, among which theirs may be."""
    if not photos:
        return [], []
    files, folders = set(), {ledger.path.absolute().parent for ledger in ledgers}
    around = folders | {path.absolute() for path in also}
    for ledger in ledgers:
        tiles: defaultdict[bool, set[str]] = defaultdict(set)  # theirs, or others'
        for key, file in tile_files(ledger):
            tiles[key in photos].add(file)
        named = {photo.file for photo in photos.values()} | (tiles[True] - tiles[False])
        files |= {ledger.path_of(name) for name in named if name}
    below = {path.parent for path in files}
    around |= {folder.parent for folder in below}
    for folder in below | {path.absolute() for path in also}:
        for above, _, names in os.walk(folder):
            files |= {Path(above, name) for name in names if _is_of(name, photos)}
    for folder in folders:
        with suppress(OSError):
            files |= {path for path in folder.iterdir() if path.is_file() and _is_of(path.name, photos)}
    sheets = {path for folder in around for pattern in SHEETS for path in folder.glob(pattern)}
    sheets |= {path for folder in around for path in folder.glob("*/*.png") if _shows(path, photos)}
    return sorted(path for path in files if path.exists()), sorted(sheets)


def _shows(path: Path, photos: Mapping[str, Photo]) -> bool:
    """Whether a sheet says, in its text `photos`, that it shows one of these."""
    if KEY.search(path.name):  # a tile, not a sheet
        return False
    with suppress(OSError, ValueError, SyntaxError), Image.open(path, formats=("PNG",)) as sheet:
        return _is_of(str(sheet.info.get("photos", "")), photos)
    return False


def _is_of(name: str, photos: Mapping[str, Photo]) -> bool:
    return any(key in photos for key in KEY.findall(name))
