"""What a picture's file says of itself besides its pixels: where and when it was taken, by whom, under which licence.

Sources, the first that tells counts: the `.json` of the same name beside it (`photo.json` or `photo.jpg.json`), then
the file's EXIF. Only the fields of `FIELDS` are taken.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import TYPE_CHECKING, Any

from waterscape.sources.near_duplicates import ENOUGH, fingerprint
from waterscape.sources.occurrence import is_synthetic
from waterscape.sources.photo_file import SUFFIXES, Limits, PhotoError, read
from waterscape.sources.photo_tally import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from PIL import Image

SIDECAR = "its .json cannot be used"
WORDS = {
    "licence": ("licence", "license"),
    "attribution": ("attribution", "credit"),
    "author": ("author", "owner", "artist"),
    "title": ("title",),
    "date": ("date", "datetime"),
    "source_url": ("source_url", "url"),
}
DEGREES = {"longitude": ("longitude", "lon", "long", "lng"), "latitude": ("latitude", "lat")}
FIELDS = (*WORDS, *DEGREES, "metres_per_pixel")
MOST = {"longitude": 180.0, "latitude": 90.0}
LONGEST = 1000  # characters of a field
MOST_BYTES = 1 << 20
GPS, COPYRIGHT, ARTIST, DATE, EXIF = 0x8825, 0x8298, 0x013B, 0x9003, 0x8769  # Exif 2.32, tables 4 to 15
SURVEY_THREADS = 4  # that `look` keeps busy: nearly a fifth of its time it has Python's lock
DATE_FORM = re.compile(r"(\d{4}):(\d\d):(\d\d)( \d\d:\d\d:\d\d)?")


def sidecars(path: Path) -> tuple[Path, Path]:
    """Where the `.json` of a picture would stand."""
    return path.with_name(f"{path.name}.json"), path.with_suffix(".json")


def sidecars_among(files: Collection[Path]) -> set[Path]:
    """Those of some files that are sidecars of others: they are no pictures, and not to be dropped as such."""
    told = {path for path in files if path.suffix == ".json"}
    pictures = (path for path in files if path.suffix.lower() in SUFFIXES) if told else ()
    return {beside for path in pictures for beside in sidecars(path) if beside in told}


def look(path: Path, limits: Limits, *, more: Callable[[Path], Mapping[str, Any]] = lambda _: {}) -> dict[str, Any]:
    """What a picture's first reading finds, as JSON; where it is dropped, `reason` and `detail`.

    Args:
        path: of the file.
        limits: of what is read.
        more: facts that stand elsewhere, such as in the file's name; those of the file itself win. May raise
            `PhotoError`.
    """
    try:
        photo = read(path, limits, small=ENOUGH, grey=True)
        facts = {**more(path), **facts_of(path, photo.exif)}
    except PhotoError as error:
        return {"reason": error.reason, "detail": error.detail}
    return {
        "sha256": photo.sha256,
        "width": photo.width,
        "height": photo.height,
        "ways": list(photo.told),
        "facts": facts,
        "synthetic": is_synthetic(path.parent),
        "fingerprint": fingerprint(photo.image),
    }


def facts_of(path: Path, exif: Image.Exif) -> dict[str, Any]:
    """Those of `FIELDS` that are known; longitude and latitude both or neither, metres per pixel as a pair.

    Raises:
        PhotoError: there is a `.json` that is no object of such fields.
    """
    told = _of_exif(exif) | _of_sidecar(path)
    if not {"longitude", "latitude"} <= set(told):
        told.pop("longitude", None)
        told.pop("latitude", None)
    return dict(sorted(told.items()))


def _of_sidecar(path: Path) -> dict[str, Any]:
    beside = next((found for found in sidecars(path) if found.is_file()), None)
    if beside is None:
        return {}
    try:
        if beside.stat().st_size > MOST_BYTES:
            raise PhotoError(SIDECAR, f"{beside.name} has more than {MOST_BYTES} bytes")
        found = json.loads(beside.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, PhotoError):
            raise
        raise PhotoError(SIDECAR, f"{beside.name}: {error}") from error
    if not isinstance(found, dict):
        raise PhotoError(SIDECAR, f"{beside.name} is no object")
    fields = {str(name).lower(): value for name, value in found.items() if value is not None}
    told: dict[str, Any] = {}
    for name, spellings in WORDS.items():
        value = next((fields[spelling] for spelling in spellings if spelling in fields), None)
        if isinstance(value, str | int | float):
            told[name] = plain(str(value)[:LONGEST])
    for name, spellings in DEGREES.items():
        value = next((fields[spelling] for spelling in spellings if spelling in fields), None)
        if value is not None:
            told[name] = degrees(value, name, beside.name)
    if "metres_per_pixel" in fields:
        told["metres_per_pixel"] = _metres(fields["metres_per_pixel"], beside.name)
    return told


def degrees(value: Any, name: str, where: str) -> float:
    """A longitude or latitude, given as a number or its text. Raises `PhotoError` where it is none."""
    with contextlib.suppress(TypeError, ValueError):
        number = float(value)
        if abs(number) <= MOST[name] and not isinstance(value, bool):
            return number
    raise PhotoError(SIDECAR, f"{where}: {name} {value!r} is not within ±{MOST[name]:g} degrees")


def _metres(value: Any, where: str) -> list[float]:
    both = value if isinstance(value, list) else [value, value]
    with contextlib.suppress(TypeError, ValueError):
        metres = [float(one) for one in both]
        if len(metres) == 2 and all(0 < one < math.inf for one in metres):
            return metres
    raise PhotoError(SIDECAR, f"{where}: metres_per_pixel {value!r} is neither a positive number nor two")


def _of_exif(exif: Image.Exif) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if not len(exif):
        return told
    with contextlib.suppress(Exception):  # whatever cameras and Pillow's parser come up with: taken as not known
        for name, tag in (("licence", COPYRIGHT), ("author", ARTIST)):
            text = str(exif.get(tag, "")).replace("\0", " ").strip()
            if text and text.isprintable():
                told[name] = text[:LONGEST]
        date = DATE_FORM.fullmatch(str(exif.get_ifd(EXIF).get(DATE, "")).strip("\0 "))
        if date and date[1] != "0000":
            told["date"] = f"{date[1]}-{date[2]}-{date[3]}{(date[4] or '').replace(' ', 'T')}"
        told |= _gps(exif.get_ifd(GPS))
    return told


def _gps(found: dict[int, Any]) -> dict[str, float]:
    """Degrees of EXIF's reference letters and three numbers each; nothing where both are 0, as many cameras write."""
    signs = {"N": 1, "S": -1, "E": 1, "W": -1}
    latitude, longitude = (
        signs[str(found[letter]).strip("\0 ").upper()]
        * sum(float(part) / 60**power for power, part in enumerate(found[letter + 1]))
        for letter in (1, 3)
    )
    if (latitude, longitude) == (0, 0) or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return {}
    return {"longitude": round(longitude, 8), "latitude": round(latitude, 8)}
