"""Photos to tensors: JPEG files decoded, turned upright, cut and made smaller, by the thread that read them.

Pillow does it, with its lock on Python let go: at 480 × 640 made 128 × 128 it was as fast as simplejpeg and
opencv (libjpeg-turbo does the work in all three), and it knows orientations and CMYK.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from waterscape.data.contents import MOST_PIXELS
from waterscape.data.samples import Samples

Size = tuple[int, int]  # height, width

ORIENTATION = 0x0112  # Exif 2.32, table 4
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = (5, 6, 7, 8)  # orientations that swap height and width


def decode_picture(photo: bytes, size: Size) -> NDArray[np.uint8]:
    """A JPEG as H × W × 3 of red, green, blue, uint8.

    The photo is turned upright as its EXIF says, the largest part of the shape H : W is cut from its middle, and that
    is brought to H × W by a bilinear filter as wide as the step between pixels. Where the photo is at least twice as
    large, the decoder itself leaves out the finest frequencies: it decodes at 1/2, 1/4 or 1/8, never below H × W. Grey
    photos get three equal channels, CMYK becomes RGB by Pillow's formula. Colour profiles are not applied.

    Raises:
        ValueError: the file is no JPEG, is cut short, or has more than 2²⁷ pixels (found before memory is asked for).
    """
    try:
        with JpegImageFile(io.BytesIO(photo)) as image:
            width, height = image.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"a photo of {width} × {height} pixels: more than {MOST_PIXELS} are not decoded")
            return _decode(image, size, len(photo))
    except ValueError:
        raise
    except Exception as error:  # whatever Pillow's parser of markers raises: SyntaxError, OSError, struct.error, …
        raise ValueError(f"the photo cannot be decoded ({' '.join(str(error).split())[:80]})") from error


def _decode(image: JpegImageFile, size: Size, photo_bytes: int) -> NDArray[np.uint8]:
    orientation = _orientation(image)
    high, wide = size[::-1] if orientation in LYING else size
    shrunk = image.draft("RGB", (wide, high))
    _, _, width, height = shrunk[1] if shrunk else (0, 0, *image.size)
    image.decodermaxblock = photo_bytes  # all at once: a decoder that runs dry begins its row anew
    picture: Image.Image = image
    if image.mode not in ("RGB", "L"):
        picture = image.convert("RGB")
    step = min(width / wide, height / high)
    left, top = (width - step * wide) / 2, (height - step * high) / 2
    picture = picture.resize((wide, high), Image.Resampling.BILINEAR, (left, top, width - left, height - top))
    if orientation in UPRIGHT:
        picture = picture.transpose(UPRIGHT[orientation])
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _orientation(image: JpegImageFile) -> int:
    if "exif" in image.info:
        with contextlib.suppress(Exception):  # EXIF that nobody can read: taken as it lies, as viewers do
            return int(image.getexif().get(ORIENTATION, 1))
    return 1


def decode_samples(shards: Samples, places: Sequence[tuple[int, int]], column: str, size: Size) -> torch.Tensor:
    """The photos of samples, given by shard and row, verified and decoded: N × H × W × 3, uint8.

    Raises:
        ShardError: naming shard and sample, a record that is not what the index says or a photo that is not whole.
    """
    pictures = np.empty((len(places), *size, 3), np.uint8)
    for picture, (shard, row) in zip(pictures, places, strict=True):
        photo = bytes(shards.payload(shard, row, column))
        try:
            picture[:] = decode_picture(photo, size)
        except ValueError as error:
            raise shards.fault(shard, row, column, str(error)) from error
    return torch.from_numpy(pictures)


def read_stacked(
    shards: Samples, numbers: Sequence[int], columns: Sequence[str], pictures: Mapping[str, Size]
) -> dict[str, torch.Tensor]:
    """Samples, by their numbers in the order of storing, as `Batches` gives them: one tensor for each column.

    Raises:
        ShardError: as `decode_samples`.
    """
    places = [shards.locate(number) for number in numbers]
    return {
        column: decode_samples(shards, places, column, pictures[column])
        if column in pictures
        else torch.from_numpy(np.stack([np.asarray(shards.value(*place, column)) for place in places]))
        for column in columns
    }
