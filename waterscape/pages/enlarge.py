"""`waterscape enlarge RUN FILE …`: tiles of water occurrence in finer pixels, whose detail is made up."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image

from waterscape.durable import replacing, write_text
from waterscape.errors import UserError
from waterscape.metrics.enlargement import bicubic
from waterscape.models import Trained
from waterscape.nn.conserving import whole_percent
from waterscape.nn.windows import in_windows
from waterscape.pages.samples import checked_finite, marks
from waterscape.sheet import save_png, sheet
from waterscape.sources import occurrence

SHEET, LIST = "enlarged.png", "enlarged.json"
SHOWN = 12  # files on the sheet
SHOWN_SIDE = 64  # pixels of a file's middle there
MASKED = 255  # in a GeoTIFF, where the file was masked


@dataclass(frozen=True)
class Enlarge:
    """Tiles of water occurrence in finer pixels: each file anew in its own format, and a sheet of before and after.

    The detail is made up, and so marked. Reduced again by area means, an enlarged file is exactly the one given.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run of an enlarger."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Tiles of occurrence, of any size: PNG in percent, or GeoTIFF, which stays in its place."""
    which: str = "newest"
    """The run's checkpoint: newest, best, or its name."""
    out: Path | None = None
    """Where to write; left out: RUN/enlarged."""


def enlarge(trained: Trained, options: Enlarge) -> int:
    """Run the verb; returns the exit code: 1 where a file could not be read. Raises `UserError`."""
    check(trained)
    if not options.files:
        raise UserError("name the tiles to enlarge: PNG in percent, or GeoTIFF")
    out = options.out or options.run / "enlarged"
    targets = _targets(options.files, out)
    out.mkdir(parents=True, exist_ok=True)
    facts, done = marks(trained), []
    bad: dict[str, str] = {}
    rows: dict[str, NDArray[np.float64]] = {}
    for path, target in targets.items():
        try:
            if not path.is_file():
                raise UserError("there is no such file")
            tile = occurrence.read(path)
        except (UserError, OSError) as error:
            bad[str(path)] = " ".join(str(error).removeprefix(f"{path} ").split())
            print(f"{path}: NOT enlarged: {bad[str(path)]}", file=sys.stderr)
            continue
        low = tile.occurrence
        assert low is not None
        high = enlarged(trained, low)
        if path.suffix.lower() == ".png":
            save_png(Image.fromarray(high), target, **facts)  # percent as 8-bit grey, as the packers read it
        else:
            _save_geotiff(target, high, tile, facts)
        done.append({"file": str(path), "enlarged": str(target), "pixels": [*low.shape], "now": [*high.shape]})
        print(f"{path}: {tile.width} × {tile.height} → {target}: {high.shape[1]} × {high.shape[0]}")
        if len(rows) < SHOWN:
            rows[f"{len(rows) + 1}: {path.stem[:24]}"] = _before_and_after(low, high)
    write_text(out / LIST, json.dumps({**facts, "enlarged": done, "not enlarged": bad}, indent=1) + "\n")
    if rows:
        title = f"given, bicubic, enlarged (detail is SYNTHETIC) by {trained.model}:{trained.preset}"
        save_png(sheet(rows, title=title), out / SHEET, **facts)
    print(f"{len(done)} enlarged, {len(bad)} not; {out / LIST}")
    return int(bool(bad))


def check(enlarger: Trained, maker: Trained | None = None) -> None:
    """Raise `UserError` where a run enlarges nothing, or not what another run makes."""
    if not enlarger.recipe.can("enlarge"):
        raise UserError(f"{enlarger.run} is a run of {enlarger.model}, which enlarges nothing: name an enlarger's")
    if maker is not None:
        wanted, made = enlarger.recipe.inputs()["low"], maker.recipe.inputs()[maker.recipe.pictured()]
        if (made.stored, made.shape[0]) != (wanted.stored, wanted.shape[0]) or made.column != wanted.column:
            told = f"{maker.run} makes pictures as in {made.column}, {enlarger.run} enlarges those of {wanted.column}"
            raise UserError(f"{told}: give --enlarge the run of an enlarger of such pictures")


def enlarge_samples(enlarger: Trained, out: Path) -> list[Path]:
    """Beside `samples.npy` of `waterscape sample`: `enlarged.png`, `.npy` (N fH fW, percent) and `.json`."""
    low = np.load(out / "samples.npy")
    about = json.loads((out / "samples.json").read_text())
    high = np.stack([enlarged(enlarger, one) for one in low])
    facts = {f"enlarger_{name}": fact for name, fact in marks(enlarger).items() if name != "synthetic"}
    title = f"SYNTHETIC: {about['model']}, enlarged by {enlarger.model}:{enlarger.preset}"
    labels = about["classes"]
    rows = {name: high[[label == name for label in labels]] / 100 for name in dict.fromkeys(labels)}
    kept = {name: about[name] for name in marks(enlarger)}
    save_png(sheet(rows, title=title, columns=min(len(high), 8)), out / SHEET, **kept, **facts)
    with replacing(out / "enlarged.npy") as path:
        np.save(path, high)
    about |= {**facts, "column": enlarger.recipe.inputs()["high"].column}
    write_text(out / LIST, json.dumps(about, indent=1) + "\n")
    return [out / SHEET, out / "enlarged.npy", out / LIST]


def enlarged(trained: Trained, low: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A tile of any size (H W, percent) in finer pixels (fH fW, percent); their means over blocks are the tile.

    Raises `UserError` where the network's output is not finite.
    """
    entry = dataclasses.replace(trained.recipe.inputs()["low"], shape=(1, *low.shape), range=(0.0, 1.0))
    with torch.no_grad():
        numbers = entry.numbers(torch.from_numpy(low.copy())[None], torch.float32)
        high = in_windows(lambda window: trained.recipe.enlarge(trained.networks, window), numbers)
    return whole_percent(checked_finite(trained, high)[0, 0].numpy(), low)


def _save_geotiff(path: Path, high: NDArray[np.uint8], tile: occurrence.Tile, facts: dict[str, Any]) -> None:
    """Percent in the place of the tile, whose masked pixels stay masked."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning
    from rasterio.transform import Affine

    profile: dict[str, Any] = {"width": high.shape[1], "height": high.shape[0], "count": 1, "dtype": "uint8"}
    if tile.place is not None:
        finer = Affine.scale(tile.width / high.shape[1], tile.height / high.shape[0])
        profile |= {"crs": tile.place.crs, "transform": Affine(*tile.place.transform) @ finer}
    if tile.observed is not None:
        factor = high.shape[0] // tile.height
        seen = tile.observed.repeat(factor, 0).repeat(factor, 1)
        high, profile["nodata"] = np.where(seen, high, np.uint8(MASKED)), MASKED
    with warnings.catch_warnings(), replacing(path) as partial:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(partial, "w", driver="GTiff", compress="deflate", **profile) as dataset:
            dataset.write(high, 1)
            dataset.update_tags(**facts)


def _targets(files: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Where each file's enlarged one goes. Raises `UserError` where two would have one name, or one its source's."""
    targets: dict[Path, Path] = {}
    taken: dict[Path, str] = {out / SHEET: "the sheet of before and after"}
    for path in dict.fromkeys(files):
        target = out / path.name
        if target.resolve() == path.resolve():
            raise UserError(f"{path} would be replaced by its enlarged one: give another --out")
        if target in taken:
            raise UserError(f"{path} and {taken[target]} would both be written as {target}: rename one of them")
        targets[path], taken[target] = target, str(path)
    return targets


def _before_and_after(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The middle of a tile as it is given, enlarged by bicubic interpolation, and by the network: 3 H W, in 0..1."""
    factor = high.shape[0] // low.shape[0]
    smooth = bicubic(torch.from_numpy(low[None, None] / 100), factor)[0, 0].numpy()
    given = low.repeat(factor, 0).repeat(factor, 1) / 100
    height, width = (min(side, SHOWN_SIDE) for side in low.shape)
    top, left = (factor * ((side - shown) // 2) for side, shown in zip(low.shape, (height, width), strict=True))
    shown = np.s_[top : top + factor * height, left : left + factor * width]
    return np.stack([picture[shown] for picture in (given, smooth, high / 100)])
