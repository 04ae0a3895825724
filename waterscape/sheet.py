"""Labelled rows of pictures on one image: what people see of a data set or a model."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from waterscape.durable import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAPER, INK, FAINT, FRAME, MISSING = (252, 251, 248), (38, 44, 52), (110, 116, 124), (200, 196, 188), (150, 148, 146)
STOPS = ("#f8f0dc", "#d9e4d0", "#9ccbd3", "#519fc9", "#2668ab", "#123a7c", "#0a1848")  # sand, shallows, deep water
MARGIN, GAP, ROW_GAP = 20, 3, 16
LABEL_SIZE, TITLE_SIZE, LEGEND_SIZE = 15, 22, 13
LEGEND_TEXT, LEGEND_BAR, LEGEND_WIDTH = ("dry", "always water"), (128, 12), 288
SPELLED = str.maketrans({"×": "x", "—": "-", "–": "-", "−": "-", "≥": ">=", "≤": "<=", "²": "2", "…": "...", "→": "->"})
USUAL_WIDTH = 1500  # pixels of pictures beside one another where `columns` does not say

# Björn Ottosson's Oklab (2020, https://bottosson.github.io/posts/oklab/): linear sRGB → cone response → L a b
RGB_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
CONES_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """The perceptual coordinates (… 3) of sRGB colours (… 3, 0–1): equal distances look equally different."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float64] = np.cbrt(linear @ RGB_TO_CONES.T) @ CONES_TO_LAB.T
    return lab


@cache
def palette() -> NDArray[np.uint8]:
    """256 × 3 colours from dry sand to deep blue, darkening throughout, in steps that look equally large."""
    stops = np.array([[int(stop[place : place + 2], 16) for place in (1, 3, 5)] for stop in STOPS]) / 255
    fine = np.linspace(0, len(stops) - 1, 4096)
    path = np.stack([np.interp(fine, np.arange(len(stops)), channel) for channel in stops.T], axis=1)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(oklab(path), axis=0), axis=1))])
    even = np.linspace(0, length[-1], 256)
    colours = np.stack([np.interp(even, length, channel) for channel in path.T], axis=1)
    return np.round(colours * 255).astype(np.uint8)


def coloured(pictures: NDArray[Any]) -> NDArray[np.uint8]:
    """K H W in the water palette (NaN in grey), K H W 3 as they are: both 0–1, clipped → K H W 3, uint8.

    Raises:
        ValueError: for any other shape, or for whole numbers where 0–1 is wanted (colour may be uint8).
    """
    if pictures.ndim == 4 and pictures.shape[3] == 3 and pictures.dtype == np.uint8:
        return pictures
    if pictures.ndim not in (3, 4) or (pictures.ndim == 4 and pictures.shape[3] != 3):
        raise ValueError(f"a row of pictures is K H W or K H W 3, not {pictures.shape}")
    if pictures.dtype.kind not in "fb":
        raise ValueError(f"a row of pictures is 0–1 in floating point, not {pictures.dtype}: divide by its full scale")
    missing = np.isnan(pictures)
    steps = np.round(np.clip(np.where(missing, 0, pictures), 0, 1) * 255).astype(np.uint8)
    if pictures.ndim == 4:
        return steps
    colours = palette()[steps]
    colours[missing] = MISSING
    return colours


def sheet(
    rows: Mapping[str, NDArray[Any]], *, title: str = "", scale: int = 1, columns: int | None = None
) -> Image.Image:
    """One image of labelled rows of pictures.

    `rows`: label → K H W (0–1 in the water palette: sand is dry, deep blue is always water, NaN is grey) or K H W 3 in
    colour (0–1, or uint8). Rows may differ in size; a row longer than `columns` wraps. `scale` repeats pixels.
    """
    title, rows = title.translate(SPELLED), {label.translate(SPELLED): np.asarray(row) for label, row in rows.items()}
    pictures = {label: coloured(row) for label, row in rows.items()}
    font = ImageFont.load_default(LABEL_SIZE)
    brush = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    label_sizes = {label: brush.multiline_textbbox((0, 0), label, font=font)[2:] for label in rows}
    label_width = max((int(width) + MARGIN for width, _ in label_sizes.values()), default=0)

    blocks = {label: _block(row, scale, columns) for label, row in pictures.items()}
    heights = {label: max(block.height, int(label_sizes[label][1])) for label, block in blocks.items()}
    water = any(row.ndim == 3 for row in rows.values())
    head = TITLE_SIZE + ROW_GAP + 4 if title or water else 0
    head_width = brush.textlength(title, font=ImageFont.load_default(TITLE_SIZE)) + (LEGEND_WIDTH if water else 0)
    width = max(label_width + max((block.width for block in blocks.values()), default=0), int(head_width))
    height = head + sum(heights.values()) + ROW_GAP * max(len(heights) - 1, 0)

    image = Image.new("RGB", (width + 2 * MARGIN, height + 2 * MARGIN), PAPER)
    brush = ImageDraw.Draw(image)
    brush.text((MARGIN, MARGIN - 4), title, fill=INK, font=ImageFont.load_default(TITLE_SIZE))
    if water:
        _legend(image, right=width + MARGIN, top=MARGIN)
    top = MARGIN + head
    for label, block in blocks.items():
        brush.multiline_text((MARGIN, top), label, fill=INK, font=font)
        image.paste(block, (MARGIN + label_width, top))
        top += heights[label] + ROW_GAP
    return image


def save_png(image: Image.Image, path: Path, **facts: str) -> None:
    """Write `image` so that `path` holds either the whole of it or what stood there; `facts` become PNG text."""
    with replacing(path) as partial:
        partial.write_bytes(png(image, **facts))


def png(image: Image.Image, **facts: str) -> bytes:
    """`image` as the bytes of a PNG; `facts` become its text."""
    information = PngInfo()
    for name, text in facts.items():
        information.add_text(name, text)
    stream = io.BytesIO()
    image.save(stream, format="PNG", pnginfo=information)
    return stream.getvalue()


def _block(pictures: NDArray[np.uint8], scale: int, columns: int | None) -> Image.Image:
    """One row's pictures (K H W 3), wrapped."""
    count, height, width = (int(size) for size in pictures.shape[:3])
    if count == 0:
        return Image.new("RGB", (1, 1), PAPER)
    height, width = height * scale, width * scale
    across = min(count, columns or max(1, (USUAL_WIDTH + GAP) // (width + GAP)))
    down = -(-count // across)
    block = Image.new("RGB", (across * (width + GAP) - GAP, down * (height + GAP) - GAP), PAPER)
    for place, picture in enumerate(pictures):
        enlarged = Image.fromarray(np.ascontiguousarray(picture)).resize((width, height), Image.Resampling.NEAREST)
        block.paste(enlarged, (place % across * (width + GAP), place // across * (height + GAP)))
    return block


def _legend(image: Image.Image, right: int, top: int) -> None:
    """The palette as a bar between its two meanings, flush right."""
    brush, font = ImageDraw.Draw(image), ImageFont.load_default(LEGEND_SIZE)
    left_text, right_text = LEGEND_TEXT
    right -= int(brush.textlength(right_text, font=font))
    brush.text((right, top), right_text, fill=FAINT, font=font)
    width, height = LEGEND_BAR
    right -= 8 + width
    bar = Image.fromarray(palette()[None, :, :].copy()).resize(LEGEND_BAR, Image.Resampling.BILINEAR)
    image.paste(bar, (right, top + 3))
    brush.rectangle((right - 1, top + 2, right + width, top + 3 + height), outline=FRAME)
    right -= 8 + int(brush.textlength(left_text, font=font))
    brush.text((right, top), left_text, fill=FAINT, font=font)
