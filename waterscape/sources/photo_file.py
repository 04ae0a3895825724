"""Reading a picture file of unknown origin safely, and what of it a set of shards stores.

What training reads is what stands in the shards, so the rule is told here once:

- A JPEG of 8-bit red, green and blue, or grey, that lies upright and has no colour profile but sRGB is stored byte for
  byte, its EXIF included.
- Every other picture is decoded, turned upright as its EXIF says, brought to 8-bit sRGB and stored as JPEG of quality
  95 without subsampling of colours. CMYK becomes RGB by its own colour profile where it has one, else by Pillow's
  formula; transparent parts are laid on white; of 16 bits the upper 8 count. Each thing done is named, to be counted.
- What is no whole picture of a known kind, or a larger one than wanted, is a `PhotoError` with one of `REASONS`. A size
  is known from the header, before memory is asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from waterscape.data.contents import MOST_PIXELS
from waterscape.sources.quiet import no_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp")
MOST_BYTES = 1 << 28
QUALITY = 95
ORIENTATION = 0x0112  # Exif 2.32, table 4

NOT_BY_NAME, NOT_A_PICTURE, EMPTY, UNREADABLE, DAMAGED, TOO_LARGE, TOO_SMALL, UNKNOWN_COLOURS = REASONS = (
    "no picture by its name",
    "no picture by its content",
    "empty file",
    "cannot be opened",
    "damaged or cut short",
    "too large",
    "too small",
    "colours of an unknown kind",
)
PLAIN, GREY = "stored as they are", "stored as they are, grey"


class PhotoError(ValueError):
    """A file that is not used: one of `REASONS`, and what is wrong in this file."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """Which sizes of pictures are read."""

    most_megapixels: float = 64.0
    """Larger pictures are dropped before they are decoded: memory stays below some 24 bytes a pixel in each thread.
    Where that is more than there is, the system may end the program, and with it the packing."""
    least_side: int = 16
    """Pictures with a shorter side in pixels are dropped."""

    @property
    def pixels(self) -> int:
        """The most pixels, never more than a reader of shards decodes."""
        return int(min(self.most_megapixels * 1e6, MOST_PIXELS))


USUAL_LIMITS = Limits()


@dataclass(frozen=True)
class Photo:
    """A picture as it was read."""

    content: bytes
    """Of the file."""
    image: Image.Image
    """Upright, 8-bit, RGB or L. One that is stored as it is may be decoded at 1/2, 1/4 or 1/8 of its size, or grey."""
    width: int
    """Of the upright picture, in full."""
    height: int
    exif: Image.Exif
    done: tuple[str, ...]
    """What is done to store it; empty: the file is stored as it is."""
    is_grey: bool = False
    """Whether the file is stored as it is, and has no colours."""

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def told(self) -> tuple[str, ...]:
        """How it is stored, to be counted: what is done, or that nothing is."""
        return self.done or ((GREY,) if self.is_grey else (PLAIN,))

    def stored(self) -> bytes:
        """The JPEG that stands in the shards."""
        return as_jpeg(self.image) if self.done else self.content

    def pixels(self) -> NDArray[np.uint8]:
        """H W 3."""
        return np.asarray(self.image.convert("RGB"))


def untouched(ways: Sequence[str]) -> bool:
    """Whether a picture of which `Photo.told` says so is stored as the file's own bytes."""
    return set(ways) <= {PLAIN, GREY}


def as_jpeg(image: Image.Image) -> bytes:
    """A picture (RGB or L) as JPEG, without EXIF."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()


def read(path: Path, limits: Limits = USUAL_LIMITS, *, small: int | None = None, grey: bool = False) -> Photo:
    """Read and judge a picture file: to its end, however much of it `image` is to show.

    Args:
        path: of the file.
        limits: sizes that are read.
        small: where the file is stored as it is, `image` need have only so many pixels a side, which is quicker.
        grey: and no colours, which is quicker still.

    Raises:
        PhotoError: it is not used.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise PhotoError(NOT_BY_NAME, path.suffix or "no ending")
    return decode(content_of(path), limits, small=small, grey=grey)


def content_of(path: Path) -> bytes:
    """A file's bytes. Raises `PhotoError` where there are none, or too many."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PhotoError(UNREADABLE, "no regular file")
        if status.st_size > MOST_BYTES:
            raise PhotoError(TOO_LARGE, f"{status.st_size} bytes, more than {MOST_BYTES}")
        content = path.read_bytes()
    except OSError as error:
        raise PhotoError(UNREADABLE, error.strerror or str(error)) from error
    if not content:
        raise PhotoError(EMPTY, "0 bytes")
    return content


def decode(content: bytes, limits: Limits = USUAL_LIMITS, *, small: int | None = None, grey: bool = False) -> Photo:
    """As `read`, of a file's bytes."""
    with no_warnings():  # Pillow's, of broken EXIF and of sizes, which are judged here
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return _decode(image, content, limits, small, grey)
        except PhotoError:
            raise
        except UnidentifiedImageError as error:
            raise PhotoError(NOT_A_PICTURE, f"begins with {content[:8]!r}") from error
        except Image.DecompressionBombError as error:
            raise PhotoError(TOO_LARGE, f"more than {limits.pixels / 1e6:g} million pixels") from error
        except Exception as error:  # whatever Pillow's parsers raise: OSError, SyntaxError, struct.error, …
            raise PhotoError(DAMAGED, " ".join(str(error).split())[:100] or type(error).__name__) from error


def _decode(image: Image.Image, content: bytes, limits: Limits, small: int | None, grey: bool) -> Photo:
    width, height = image.size
    if width * height > limits.pixels:
        raise PhotoError(TOO_LARGE, f"{width} × {height} pixels, more than {limits.pixels / 1e6:g} million")
    if min(width, height) < limits.least_side:
        raise PhotoError(TOO_SMALL, f"{width} × {height} pixels, {limits.least_side} a side are wanted")
    exif = _exif(image)
    orientation = exif.get(ORIENTATION, 1)
    turned = orientation in range(2, 9)
    foreign_colours = _profile(image) is not None
    is_jpeg = image.format in ("JPEG", "MPO")  # MPO: a JPEG with more pictures behind it
    plain = is_jpeg and not turned and image.mode in ("RGB", "L") and not foreign_colours
    if plain:
        is_grey = image.mode == "L"
        if small:
            image.draft("L" if grey else image.mode, (small, small))
        image.decodermaxblock = len(content)  # type: ignore[attr-defined]  # a decoder that runs dry begins its row anew
        image.load()
        return Photo(content, image, width, height, exif, (), is_grey)
    image.load()
    picture, done = _eight_bits(image, content)
    if not is_jpeg:
        done = [f"{image.format} made JPEG", *done]
    if turned:
        picture.getexif()[ORIENTATION] = orientation
        ImageOps.exif_transpose(picture, in_place=True)
        done.append("turned upright")
    return Photo(content, picture, picture.width, picture.height, exif, tuple(done))


def _exif(image: Image.Image) -> Image.Exif:
    """What EXIF there is; one that nobody can read is taken as none, as viewers do."""
    with contextlib.suppress(Exception):
        if image.format not in ("JPEG", "MPO") or "exif" in image.info:
            return image.getexif()
    return Image.Exif()


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """The colour profile of an RGB or CMYK picture, where it has one that can be read and is not sRGB."""
    content = image.info.get("icc_profile")
    if not content or image.mode not in ("RGB", "RGBA", "CMYK"):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        name = ImageCms.getProfileDescription(profile)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    colours = {"RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}[image.mode]
    return None if "srgb" in name.lower() or profile.profile.xcolor_space.strip() != colours else profile


def _eight_bits(image: Image.Image, content: bytes) -> tuple[Image.Image, list[str]]:
    """A loaded picture in 8-bit sRGB or grey, and what was done for it."""
    done = []
    mode, profile = image.mode, _profile(image)
    if _sixteen_bits(image, content):
        done.append("16 bits made 8")
        if mode.startswith("I"):
            image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    elif mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
        raise PhotoError(UNKNOWN_COLOURS, f"{image.format} of mode {mode}: give 8 bits a colour, or PNG of 16")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            done.append("transparency laid on white")
    if profile is not None:
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        with contextlib.suppress(ImageCms.PyCMSError):
            colours = image if image.mode in ("RGB", "CMYK") else image.convert("RGB")
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(colours, profile, srgb, outputMode="RGB") or image
            done.append("colour profile made sRGB")
        if alpha is not None and image.mode == "RGB":
            image.putalpha(alpha)
    if mode == "CMYK":
        done.append("CMYK made RGB")
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    return image.convert("L" if image.mode in ("1", "L") else "RGB"), done


def _sixteen_bits(image: Image.Image, content: bytes) -> bool:
    """Whether a PNG has 16 bits a channel: Pillow keeps the upper 8 of colours, and all of grey."""
    return image.format == "PNG" and len(content) > 24 and struct.unpack_from(">B", content, 24)[0] == 16


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in order; linked folders are followed, each once."""
    seen: set[str] = set()
    for above, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in sorted(folders) if os.path.realpath(f"{above}/{name}") not in seen]
        seen.update(os.path.realpath(f"{above}/{name}") for name in folders)
        yield from (Path(above, name) for name in sorted(files))


def is_hidden(parts: Sequence[str]) -> bool:
    """Whether a path, given by its parts, leads through what no program means to show."""
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def thumbnail(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """The largest square from a picture's middle, brought to `side` × `side` × 3."""
    step = min(image.size)
    left, top = (image.width - step) / 2, (image.height - step) / 2
    box: Any = (left, top, left + step, top + step)
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BOX, box))
