"""A photo as filters see it: what the ledger knows, and its picture, read once, when the first filter asks for it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

from waterscape.sources.photo_file import PhotoError, content_of, decode

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from waterscape.sources.ledger import Photo

SIDE = 1344  # pixels a side that do for every filter: larger JPEGs are decoded at 1/2, 1/4 or 1/8, never below
MISSING, CHANGED = "the file is missing", "not the file that was fetched, by its sha256"


class Seen:
    """A photo that is judged."""

    def __init__(self, photo: Photo, path: Path) -> None:
        self.photo, self.path = photo, path

    @cached_property
    def content(self) -> bytes:
        """The file's bytes. Raises `PhotoError` where it is not the file that the ledger means."""
        if not self.photo.file or not self.path.exists():
            raise PhotoError(MISSING, self.path.name)
        content = content_of(self.path)
        if self.photo.sha256 and hashlib.sha256(content).hexdigest() != self.photo.sha256:
            raise PhotoError(CHANGED, self.path.name)
        return content

    @cached_property
    def image(self) -> Image.Image:
        """The picture upright, RGB. Raises `PhotoError`; of a pixel bomb before memory is asked for."""
        return decode(self.content, small=SIDE).image.convert("RGB")
