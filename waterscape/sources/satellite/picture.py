"""Whether the bytes that a server sent are the tile that was asked for: judged before they are believed."""

from __future__ import annotations

import numpy as np

from waterscape.sources.photo_file import TOO_LARGE, TOO_SMALL, Limits, PhotoError, decode
from waterscape.sources.satellite.source import NO_IMAGERY, NO_PICTURE, OTHER_SIZE, NoTileError

SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG\r\n\x1a\n": ".png"}
MOST_ALIKE = 0.5
"""Share of pixels equal to their right neighbours. Of a blank tile, a drawn map or one that says that there is no
imagery nearly all are; of 63 tiles of real scenes of 3 m, open sea among them, as JPEG of quality 75, at most 0.27."""


PNG_LEVEL = 3  # of compression: three times as quick as the usual one


def suffix_of(content: bytes, width: int, height: int) -> str:
    """The ending for a JPEG or PNG of that size in colours that shows something.

    Its size is read from its header, before memory is asked for. Raises `NoTileError`.
    """
    suffix = next((ending for begins, ending in SUFFIXES.items() if content.startswith(begins)), None)
    if suffix is None:
        raise NoTileError(NO_PICTURE, f"it begins with {content[:12]!r}" if content else "it is empty")
    try:
        photo = decode(content, Limits(most_megapixels=width * height / 1e6, least_side=min(width, height)))
    except PhotoError as error:
        reason = OTHER_SIZE if error.reason in (TOO_LARGE, TOO_SMALL) else NO_PICTURE
        raise NoTileError(reason, f"{error.detail} ({width} × {height} wanted)") from error
    if (photo.width, photo.height) != (width, height):
        raise NoTileError(OTHER_SIZE, f"{photo.width} × {photo.height} pixels ({width} × {height} wanted)")
    if photo.image.mode != "RGB":
        raise NoTileError(NO_IMAGERY, "a picture without colours")
    pixels = photo.pixels()
    alike = float((pixels[:, 1:] == pixels[:, :-1]).all(2).mean())
    if alike > MOST_ALIKE:
        raise NoTileError(NO_IMAGERY, f"{100 * alike:.0f} % of it is plain: a blank tile, or a drawn map")
    return suffix


def check_not_blank(pixels: np.ndarray) -> None:
    """Raise `NoTileError` where a picture (H W 3) is one colour alone."""
    if (pixels == pixels[0, 0]).all():
        raise NoTileError(NO_IMAGERY, "all pixels are of one colour")
