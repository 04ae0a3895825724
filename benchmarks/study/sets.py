"""The sets that the study trains and judges on: synthetic ones that it makes itself, and real ones where they are.

A set is made by the commands that a user would type, once: one that stands there is taken as it is.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from waterscape.data.manifest import FILE
from waterscape.errors import UserError

TOOLS = Path(__file__).parent.parent.parent / "tools"
SEED = 7


@dataclass(frozen=True)
class Source:
    """How a set comes about.

    `world` are the words of make_world.py, of a synthetic set; in the words of its packer (`pack`) WORLD is the world's
    folder and REAL the folder of the real inputs.
    """

    what: str
    pack: tuple[str, ...]
    world: tuple[str, ...] = ()
    real: str = ""
    """The folder among the real inputs that it is made of; empty: it is synthetic."""


HLS = ("--bands", "B2=2,B3=3,B4=4,B5=5,B6=6,elevation=10,qa=8,cover=11", "--scale", "0.0001", "--offset", "0")

SETS = {
    "water": Source(
        "1200 synthetic tiles of water occurrence, 256 × 256 pixels of 100 m",
        ("pack_occurrence.py", "WORLD"),
        ("--tiles", "1200"),
    ),
    "scenes": Source("700 painted photos of seven classes", ("pack_scenes.py", "WORLD"), ("--scenes", "700")),
    "pairs": Source(
        "300 synthetic places, each from above and from within",
        ("pack_pairs.py", "--photos", "WORLD/photos", "--satellite", "WORLD/satellite"),
        ("--views", "300"),
    ),
    "chips": Source(
        "7500 chips of 80 × 80 pixels, cut from the satellite tiles of 300 synthetic places; no ship is on them",
        ("pack_ships.py", "WORLD/satellite", "--cut"),
        ("--views", "300"),
    ),
    "landsat": Source(
        "24 synthetic Landsat scenes with masks, in windows of 128 × 128 pixels",
        ("pack_landsat.py", "WORLD/images", "--masks", "WORLD/masks"),
        ("--landsat", "24"),
    ),
    "photos": Source(
        "210 real photos of seven classes (174 of the Intel set, 36 of deserts)",
        ("pack_scenes.py", "REAL"),
        real="scenes",
    ),
    "hls": Source(
        "70 real windows of HLS, 128 × 128 pixels of 30 m, with masks by hand, split by place",
        (
            "pack_landsat.py",
            "REAL/images",
            *HLS,
            "--metres-per-pixel",
            "30",
            "--group",
            "band:10",
            "--masks",
            "REAL/labels",
        ),
        real="hls_water",
    ),
    "planet": Source(
        "chips of 80 × 80 pixels cut from four real PlanetScope scenes, each scene in one split; not labelled",
        ("pack_ships.py", "REAL", "--cut"),
        real="planet_scenes",
    ),
    "quick": Source(
        "6 synthetic Landsat scenes with masks",
        ("pack_landsat.py", "WORLD/images", "--masks", "WORLD/masks"),
        ("--landsat", "6"),
    ),
}


def missing_inputs(name: str, real: Path | None) -> str:
    """Why a set cannot be made here; empty: it can."""
    source = SETS[name]
    if not source.real:
        return ""
    if real is None:
        return "real inputs: name their folder by --real"
    return "" if (real / source.real).is_dir() else f"{real} has no folder {source.real}"


def provide(name: str, work: Path, real: Path | None) -> Path:
    """The directory of a set's shards, made if it is not there. Raises `UserError` where that fails."""
    source, out = SETS[name], work / "sets" / name
    if (out / FILE).exists():
        return out
    inputs = provide_world(source.world, work) if source.world else Path()
    place = {"WORLD": str(inputs), "REAL": str((real or Path()) / source.real)}
    words: list[object] = []
    for word in source.pack:
        head, slash, rest = word.partition("/")
        words.append(place[head] + slash + rest if head in place else word)
    _run([*words, "--out", out], work / f"set-{name}.log")
    return out


def provide_world(words: tuple[str, ...], work: Path) -> Path:
    """The directory of a synthetic world, made if it is not there. Raises `UserError` where that fails."""
    name = "-".join(word.strip("-") for word in words)
    inputs = work / "worlds" / name
    if not (inputs / "world.json").exists():
        _run(["make_world.py", inputs, *words, "--seed", SEED, "--processes", 1], work / f"world-{name}.log")
    return inputs


def _run(words: Sequence[object], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    tool, *rest = map(str, words)
    with log.open("w") as file:
        code = subprocess.run([sys.executable, TOOLS / tool, *rest], stdout=file, stderr=subprocess.STDOUT).returncode
    if code:
        raise UserError(f"{tool} ended with exit code {code}: {log} says why")
