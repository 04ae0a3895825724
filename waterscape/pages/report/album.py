"""The report's pictures: gathered first, then written into the page as well as its limit allows."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from waterscape.errors import UserError
from waterscape.pages.report.markup import Html, tag
from waterscape.sheet import coloured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

GAP = 2  # pixels between pictures, which the page shines through
QUALITIES = ((None, 1.0), (92, 1.0), (80, 1.0), (60, 1.0), (60, 0.5), (40, 0.25), (30, 0.125))
"""WebP, from the best that may fit: quality (None: without loss) and scale."""
LARGEST_SIDE = 1600  # pixels of one picture or of a row of them


class Album:
    """Pictures of a page. Equal ones are held once."""

    def __init__(self, bytes_at_most: int) -> None:
        self.bytes_at_most = bytes_at_most
        self._pictures: list[Image.Image] = []
        self._known: dict[bytes, int] = {}
        self._mark = f"picture:{secrets.token_hex(8)}:"  # that no text can hold: none is written after it is drawn

    def row(self, pictures: NDArray[Any], told: str, columns: int | None = None) -> Html:
        """An `img` of K H W in the water palette or K H W 3 (uint8, full range), side by side, `columns` in a line."""
        return self.picture(atlas(pictures, columns or len(pictures)), told, pixels=True)

    def picture(self, picture: Image.Image, told: str, *, pixels: bool = False) -> Html:
        """An `img`. `pixels`: enlarged, they stay squares."""
        number = self._number(picture)
        width, height = self._pictures[number].size
        class_ = "pixels" if pixels else None
        return tag("img", src=f"{self._mark}{number}", width=width, height=height, alt=told, class_=class_, tabindex=0)

    def inside(self, picture: NDArray[Any], **place: Any) -> Html:
        """An `image` of SVG: one of H W or H W 3 at x, y, width, height."""
        return tag("image", href=f"{self._mark}{self._number(atlas(picture[None], 1))}", **place, class_="pixels")

    def _number(self, picture: Image.Image) -> int:
        key = hashlib.sha256(picture.tobytes()).digest() + str(picture.size).encode()
        number = self._known.setdefault(key, len(self._pictures))
        if number == len(self._pictures):
            self._pictures.append(_bounded(picture))
        return number

    def fill(self, page: str) -> str:
        """The page with its pictures in it. Raises `UserError` where it cannot be kept below its limit."""
        room = self.bytes_at_most - len(page.encode())
        place = re.compile(rf'\b(src|href)="{self._mark}(\d+)"')
        places = list(place.finditer(page))
        for quality, scale in QUALITIES:
            written = [_data(picture, quality, scale) for picture in self._pictures]
            if sum(len(written[int(found[2])]) for found in places) <= room:
                return place.sub(partial(_in_place, written), page)
        megabytes = self.bytes_at_most / 1e6
        raise UserError(f"so many runs make a report of more than {megabytes:g} MB: name fewer at once")


def _in_place(written: Sequence[str], found: re.Match[str]) -> str:
    return f'{found[1]}="{written[int(found[2])]}"'


def atlas(pictures: NDArray[Any], columns: int) -> Image.Image:
    """K H W or K H W 3 (uint8) as one picture with gaps that are seen through."""
    shown = coloured(pictures.astype(np.float32) / 255 if pictures.ndim == 3 else pictures)
    count, height, width = shown.shape[:3]
    across = max(1, min(count, columns))
    down = -(-count // across)
    made = np.zeros((down * (height + GAP) - GAP, across * (width + GAP) - GAP, 4), np.uint8)
    for place, picture in enumerate(shown):
        top, left = place // across * (height + GAP), place % across * (width + GAP)
        made[top : top + height, left : left + width, :3] = picture
        made[top : top + height, left : left + width, 3] = 255
    return Image.fromarray(made)


def _bounded(picture: Image.Image) -> Image.Image:
    share = LARGEST_SIDE / max(picture.size)
    return picture if share >= 1 else _scaled(picture, share)


def _scaled(picture: Image.Image, share: float) -> Image.Image:
    width, height = (max(1, round(side * share)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _data(picture: Image.Image, quality: int | None, scale: float) -> str:
    small, file = picture if scale == 1 else _scaled(picture, scale), io.BytesIO()
    small.save(file, "WEBP", lossless=quality is None, quality=quality or 60, method=2)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
