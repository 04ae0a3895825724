"""Ship chips as they are published: files named `{label}__{scene}__{longitude}_{latitude}.png`, rows, whole scenes."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from waterscape.sources.occurrence import is_synthetic
from waterscape.sources.photo_facts import facts_of
from waterscape.sources.photo_file import NOT_BY_NAME, SUFFIXES, Limits, PhotoError, is_hidden, read
from waterscape.sources.photo_tally import Dropped, plain
from waterscape.sources.ship_rows import find_rows, read_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CLASSES = ("no_ship", "ship")
NAME = re.compile(
    r"(?P<label>[01])__(?P<scene>.+)__(?P<longitude>[-+]?\d+(\.\d+)?)_(?P<latitude>[-+]?\d+(\.\d+)?)", re.ASCII
)
NO_NAME, OTHER_SIZE, WITHOUT_DATA = "a name that does not parse", "a tile of another size", "mostly without data"
WRONG_LABEL, WRONG_PLACE = "a label that is neither 0 nor 1", "coordinates out of range"


@dataclass(frozen=True)
class Reading:
    """How chips are read."""

    side: int
    stride: int
    most_empty: float
    limits: Limits


@dataclass(frozen=True)
class Chip:
    """A chip that is a file, a row of one, or a cut through a scene; what is known of it but for its pixels."""

    name: str
    path: Path
    label: int = -1
    scene: str | None = None
    longitude: float | None = None
    latitude: float | None = None
    row: tuple[int, int] | None = None
    """Where it lies in a file of rows."""
    corner: tuple[int, int] | None = None
    """Left and top pixel in a scene."""

    def pixels(self, reading: Reading) -> tuple[NDArray[np.uint8], list[str]]:
        """H W 3, and what was done to them. Raises `PhotoError`."""
        if self.row is not None:
            return read_row(self.path, self.row, reading.side), ["rows of numbers"]
        if self.corner is not None:
            (left, top), (scene, ways) = self.corner, scene_of(self.path, reading.limits)
            return np.ascontiguousarray(scene[top : top + reading.side, left : left + reading.side]), ways
        pixels, ways = _decoded(self.path, reading.limits)
        if pixels.shape[:2] != (reading.side, reading.side):
            height, width = pixels.shape[:2]
            raise PhotoError(OTHER_SIZE, f"{width} × {height} pixels, {reading.side} × {reading.side} are wanted")
        return pixels, ways

    def told(self) -> dict[str, Any]:
        """What the sample's JSON says of where it comes from."""
        left, top = self.corner or (None, None)
        return {
            "scene": self.scene,
            "longitude": self.longitude,
            "latitude": self.latitude,
            "left": left,
            "top": top,
            "synthetic": is_synthetic(self.path.parent),
        }


@dataclass(frozen=True)
class Scene:
    """A whole scene, to be cut."""

    name: str
    path: Path


def chip_of(name: str, path: Path) -> Chip:
    """A chip whose file is named as published. Raises `PhotoError` where it is not."""
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise PhotoError(NO_NAME, "no {label}__{scene}__{longitude}_{latitude}")
    longitude, latitude = float(match["longitude"]), float(match["latitude"])
    check_place(longitude, latitude)
    return Chip(name, path, int(match["label"]), plain(match["scene"]), longitude, latitude)


def check_place(longitude: Any, latitude: Any) -> None:
    """Raise `PhotoError` for what is no place on the Earth."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (longitude, latitude))
    if not numbers or not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise PhotoError(WRONG_PLACE, f"longitude {longitude}, latitude {latitude}")


def chips_in(name: str, path: Path, cut: bool, astray: list[Dropped]) -> Iterator[Chip | Scene]:
    """The chips or the scene that a file holds; rows without a sound label or place are put to those `astray`.

    Raises:
        PhotoError: it holds none.
        UserError: a file of rows is damaged.
    """
    if is_hidden((path.name,)):
        raise PhotoError(NOT_BY_NAME, "hidden")
    if path.suffix.lower() == ".json":
        yield from _row_chips(name, path, astray)
        return
    if path.suffix.lower() not in SUFFIXES:
        raise PhotoError(NOT_BY_NAME, path.suffix or "no ending")
    try:
        yield chip_of(name, path)
    except PhotoError as error:
        if not cut or error.reason == WRONG_PLACE:
            raise
        yield Scene(name, path)


def _row_chips(name: str, path: Path, astray: list[Dropped]) -> Iterator[Chip]:
    rows = find_rows(path)
    for number, place in enumerate(rows.places):
        told = {key: values[number] for key, values in rows.beside.items()}
        label, where, scene = told.get("labels"), told.get("locations"), told.get("scene_ids")
        row = f"{name}#{number}"
        if label not in (None, 0, 1) or isinstance(label, bool | float):
            astray.append(Dropped(row, WRONG_LABEL, repr(label)))
            continue
        longitude, latitude = where if isinstance(where, list) and len(where) == 2 else (None, None)
        try:
            if where is not None:
                check_place(longitude, latitude)
        except PhotoError as error:
            astray.append(Dropped(row, error.reason, repr(where)))
            continue
        text = None if scene is None else plain(str(scene))
        yield Chip(row, path, -1 if label is None else label, text, longitude, latitude, row=place)


def look(source: Chip | Scene, reading: Reading) -> dict[str, Any]:
    """What the first reading of a chip or scene finds, as JSON: its chips, facts, and of a scene the pixels left over.

    Each chip is a list: left, top, sha256 of the pixels, what was done to them, reason to drop it, detail.
    """
    if isinstance(source, Chip):
        try:
            pixels, ways = source.pixels(reading)
            facts = {} if source.row else _beside(source.path)
        except PhotoError as error:
            return {"chips": [[0, 0, "", [], error.reason, error.detail]]}
        return {"chips": [[0, 0, digest(pixels), ways, "", ""]], "facts": facts}
    try:
        scene, ways = scene_of(source.path, reading.limits)
        facts, (height, width) = _beside(source.path), scene.shape[:2]
        if min(height, width) < reading.side:
            raise PhotoError(
                OTHER_SIZE, f"a scene of {width} × {height} pixels holds no {reading.side} × {reading.side}"
            )
    except PhotoError as error:
        return {"chips": [], "reason": error.reason, "detail": error.detail}
    chips = []
    tops, lefts = (range(0, length - reading.side + 1, reading.stride) for length in (height, width))
    for top in tops:
        for left in lefts:
            pixels = scene[top : top + reading.side, left : left + reading.side]
            empty = float((pixels == 0).all(axis=2).mean())
            sparse = empty > reading.most_empty
            detail = f"{100 * empty:.0f} % black" if sparse else ""
            chips.append([left, top, digest(pixels), ways, WITHOUT_DATA if sparse else "", detail])
    covered = (
        (tops[-1] + reading.side) * (lefts[-1] + reading.side) if reading.stride <= reading.side else height * width
    )
    return {"chips": chips, "facts": facts, "left_over": height * width - covered}


def _beside(path: Path) -> dict[str, Any]:
    """What a `.json` beside a file tells, but for coordinates: a name has the chip's own. Raises `PhotoError`."""
    told = facts_of(path, Image.Exif())
    return {name: value for name, value in told.items() if name not in ("longitude", "latitude")}


@functools.lru_cache(maxsize=2)
def scene_of(path: Path, limits: Limits) -> tuple[NDArray[np.uint8], list[str]]:
    """A whole scene, H W 3; the last ones are held, since chips of a scene follow one another. Raises `PhotoError`."""
    return _decoded(path, limits)


def _decoded(path: Path, limits: Limits) -> tuple[NDArray[np.uint8], list[str]]:
    photo = read(path, limits)
    done = [way for way in photo.done if not way.endswith("made JPEG")]
    if photo.image.mode == "L":
        done.append("grey, three equal colours")
    return photo.pixels(), done or ["pixels as they are"]


def digest(pixels: NDArray[np.uint8]) -> str:
    """By which pixels are known again."""
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
