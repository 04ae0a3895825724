"""Where the bands of a scene lie: in one GeoTIFF, by description or as stated, or in one file for each band."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.landsat.bands import REFLECTANCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MEASURED = (*REFLECTANCES, "elevation")
"""What every scene must have."""
LAYERS = (*MEASURED, "qa", "water", "cover")
"""What a scene may have: bits of quality, a label of water, classes of land cover besides."""
SUFFIXES = (".tif", ".tiff")

ALSO = {
    "sr_b2": "B2", "blue": "B2", "sr_b3": "B3", "green": "B3", "sr_b4": "B4", "red": "B4",
    "sr_b5": "B5", "nir": "B5", "nir08": "B5", "sr_b6": "B6", "swir1": "B6", "swir16": "B6",
    "dem": "elevation", "qa_pixel": "qa", "fmask": "qa", "worldcover": "cover", "landcover": "cover",
}  # fmt: skip
NAMES = ALSO | {name.lower(): name for name in LAYERS}
ONE_BAND = re.compile(r"(?P<scene>.+?)_(?P<layer>(?:SR|ST|QA)_\w+|B\d{1,2}|[A-Za-z]+)", re.ASCII)
OLDER = re.compile(r"L[TEM]0[1-7]_")
NUMBERED = re.compile(r"(?:SR_)?B\d", re.IGNORECASE)


class SceneError(UserError):
    """A file that cannot be used as a scene: the reason, in words that files have in common, and what is wrong here."""

    def __init__(self, path: Path | str, reason: str, detail: str) -> None:
        super().__init__(f"{path}: {reason}: {detail}")
        self.path, self.reason, self.detail = path, reason, detail

    def __reduce__(self) -> tuple[type[SceneError], tuple[Path | str, str, str]]:
        return SceneError, (self.path, self.reason, self.detail)


NO_BANDS, TWICE = "bands missing", "a band twice"
NUMBERED_OTHERWISE = "bands of another Landsat"
COUNTS_FROM_1 = "Landsat 4 to 7 count from blue = B1"


@dataclass(frozen=True)
class Layer:
    """One band of a file, counted from 1."""

    path: Path
    band: int


def stated_bands(words: Sequence[str]) -> dict[str, int]:
    """`B2=2`, `elevation=10` … as name → band. Raises `UserError` for what names no band."""
    bands: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in LAYERS or not number.isdecimal() or int(number) < 1:
            raise UserError(
                f"--bands {word}: give NAME=BAND, bands counted from 1, as in B2=2,elevation=10; "
                f"names are {', '.join(LAYERS)}"
            )
        if name in bands:
            raise UserError(f"--bands names {name} twice")
        bands[name] = int(number)
    return bands


def layers_in(
    path: Path, descriptions: Sequence[str | None], stated: Mapping[str, int] | None = None
) -> dict[str, Layer]:
    """The layers of one file: those that are stated, or else those that its bands' descriptions name, in any order.

    Raises:
        SceneError: a band that is needed is missing, or is there twice; numbers of a Landsat that counts otherwise.
    """
    count = len(descriptions)
    if stated:
        beyond = [name for name, band in stated.items() if band > count]
        if beyond:
            raise SceneError(path, NO_BANDS, f"{beyond[0]} is stated as band {stated[beyond[0]]}, it has {count}")
        found = {name: Layer(path, band) for name, band in stated.items()}
    else:
        found = {}
        for band, described in enumerate(descriptions, 1):
            name = NAMES.get((described or "").strip().lower())
            if name is not None and name in found:
                raise SceneError(path, TWICE, f"bands {found[name].band} and {band} are both described as {name}")
            if name is not None and NUMBERED.fullmatch((described or "").strip()) and OLDER.match(path.name):
                raise SceneError(
                    path, NUMBERED_OTHERWISE, f"{COUNTS_FROM_1}: say which is which, as in --bands B2=1,B3=2"
                )
            if name is not None:
                found[name] = Layer(path, band)
    _check_complete(path, found, "bands are not described: say which is which, as in --bands B2=2,B3=3")
    return found


def scene_files(paths: Iterable[Path]) -> tuple[dict[Path, dict[str, Path]], list[Path]]:
    """Files of one band each, put together: folder and name in common → layer → file; and those that belong to others.

    A name is that of a scene and of a layer, `lake_B2.tif`, `LC08_…_T1_SR_B2.TIF`, `lake_elevation.tif`, and there is
    such a file of B2. Bands that are not needed are among the layers under their own names.
    """
    named: dict[Path, dict[str, Path]] = {}
    others = []
    for path in paths:
        match = ONE_BAND.fullmatch(path.stem) if path.suffix.lower() in SUFFIXES else None
        if match is None:
            others.append(path)
            continue
        layer = match["layer"]
        named.setdefault(path.with_name(match["scene"]), {})[NAMES.get(layer.lower(), layer)] = path
    scenes = {}
    for scene, files in named.items():
        if "B2" in files:
            scenes[scene] = files
        else:
            others += files.values()
    return scenes, sorted(others)


def beside(path: Path) -> tuple[Path, dict[str, Path]]:
    """The scene to which a file of one band belongs, and its files; the file alone where it is not one of several."""
    match = ONE_BAND.fullmatch(path.stem)
    if match is None:
        return path, {}
    scene = path.with_name(match["scene"])
    scenes, _ = scene_files(sorted(path.parent.glob(f"{_literal(scene.name)}_*")))
    return (scene, scenes[scene]) if scene in scenes else (path, {})


def layers_of(scene: Path, files: Mapping[str, Path]) -> dict[str, Layer]:
    """The layers of a scene in files of one band each.

    Raises:
        SceneError: a band is missing, or the scene is of a Landsat whose bands have other numbers.
    """
    if OLDER.match(scene.name):
        raise SceneError(scene, NUMBERED_OTHERWISE, f"{COUNTS_FROM_1}: rename each file to B + 1")
    found = {name: Layer(path, 1) for name, path in files.items() if name in LAYERS}
    _check_complete(scene, found, f"put a file for each beside it, as in {scene.name}_elevation.tif")
    return found


def _check_complete(path: Path, found: Mapping[str, Layer], otherwise: str) -> None:
    missing = [name for name in MEASURED if name not in found]
    if missing:
        raise SceneError(path, NO_BANDS, f"{', '.join(missing)}; {otherwise}")


def _literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
