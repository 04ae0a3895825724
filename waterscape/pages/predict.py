"""`waterscape predict RUN FILE …`: satellite tiles → what an observer would see there; a film from one to the next."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.models import Trained
from waterscape.pages.film import SUFFIXES, check_film, save_film
from waterscape.pages.samples import marks
from waterscape.pages.tile_landscape import Prediction, Tile, predicted, stored_tile, tile_from
from waterscape.sheet import save_png, sheet
from waterscape.sources.photo_file import PhotoError, read
from waterscape.sources.tile_at import parse_place
from waterscape.training.exhibit import as_array

FRAMES = 24
"""Of a film, from one tile to the next."""
SHOWN = 256  # pixels a side of each half of a frame


@dataclass(frozen=True)
class Predict:
    """What an observer would see at the middle of satellite tiles, by a trained satellite_encoder."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Satellite tiles as the run was trained on: red, green and blue of 8 bits, the same size and scale."""
    at: tuple[str, ...] = ()
    """LATITUDE,LONGITUDE … in degrees, whose tiles are cut from --source (with a minus first: --at=-3.5,12.1)."""
    source: str | None = None
    """Where the tiles of --at come from: a GeoTIFF of any size and coordinate system, earthengine (its project in
    GOOGLE_CLOUD_PROJECT), or yandex (its key in YANDEX_APIKEY; its terms are told)."""
    metres_per_pixel: float | None = None
    """Of the tiles that the run was trained on, where its data did not tell."""
    animate: bool = False
    """Also a film from each tile to the next, along the generator's numbers."""
    which: str = "newest"
    """The run's checkpoint: newest, best, or its name."""
    out: Path | None = None
    """The directory to write into; or, with --animate, the film alone (.gif or .mp4). Left out: RUN/predicted."""


def predict(trained: Trained, options: Predict) -> int:
    """Run the verb; returns the exit code: 1 where a tile could not be used. Raises `UserError`."""
    film = _check(trained, options)
    usual = trained.facts.get("tiles") or {}
    found, bad = [], {}
    for one in _tiles(options, usual):
        if isinstance(one, Tile):
            found.append(predicted(trained, one))
            done = f" ({', '.join(one.done)})" if one.done else ""
            print(f"{one.name}: {' '.join(f'{number:+.2f}' for number in found[-1].numbers.tolist())}{done}")
        else:
            name, reason = one
            bad[name] = reason
            print(f"{name}: NOT predicted: {reason}", file=sys.stderr)
    if film and len(found) < 2:
        raise UserError(
            f"--animate goes from tile to tile, and there are {len(found)} that can be used: give two or more"
        )
    out = options.out or options.run / "predicted"
    if not film or film != options.out:
        out.mkdir(parents=True, exist_ok=True)
        if found:
            _write(trained, found, bad, out)
    if film:
        film.parent.mkdir(parents=True, exist_ok=True)
        comment = f"SYNTHETIC: {json.dumps(marks(trained))}"
        print(save_film(frames(trained, found), film, comment))
    return int(bool(bad))


def _check(trained: Trained, options: Predict) -> Path | None:
    """The film's path, where one is wanted. Raises `UserError` for options that do not go together."""
    if not trained.recipe.can("decode"):
        raise UserError(
            f"{options.run} is a run of {trained.model}, which predicts nothing: name a satellite_encoder's"
        )
    if bool(options.at) != (options.source is not None):
        raise UserError("--at LATITUDE,LONGITUDE and --source MOSAIC go together: the one is cut from the other")
    if not options.files and not options.at:
        raise UserError("name the tiles, or --at LATITUDE,LONGITUDE --source MOSAIC")
    is_film = options.out is not None and options.out.suffix.lower() in SUFFIXES
    if is_film and not options.animate:
        raise UserError(f"--out {options.out} names a film: say --animate too, or name a directory")
    if not options.animate:
        return None
    film = options.out if is_film and options.out else (options.out or options.run / "predicted") / "predicted.gif"
    check_film(film)
    return film


def _tiles(options: Predict, usual: dict[str, Any]) -> Iterator[Tile | tuple[str, str]]:
    """All tiles in turn; one that cannot be used with the reason. Raises `UserError` where no point can be cut."""
    for path in options.files:
        try:
            photo = read(path)
            yield Tile(str(path), stored_tile(photo, usual, options.metres_per_pixel), photo.done)
        except (PhotoError, UserError, OSError) as error:
            yield str(path), " ".join(str(error).removeprefix(f"{path} ").split())
    for text in options.at:
        assert options.source is not None
        metres = options.metres_per_pixel or usual.get("metres_per_pixel")
        if metres is None or "pixels" not in usual:
            if metres is None:
                raise UserError("the run's data did not tell the metres per pixel of its tiles: say --metres-per-pixel")
            raise UserError("the run's data did not tell the size of its tiles: pack it again with this version")
        latitude, longitude = parse_place(text)
        width, height = usual["pixels"]
        yield Tile(f"{latitude},{longitude}", tile_from(options.source, latitude, longitude, (width, height), metres))


def _write(trained: Trained, found: Sequence[Prediction], bad: dict[str, str], out: Path) -> None:
    """The landscapes, the contact sheet, and what they are."""
    facts = marks(trained)
    told = []
    for number, one in enumerate(found):
        file = f"{number:04d}.png"
        picture = Image.fromarray(np.rint(one.landscape * 255).astype(np.uint8))
        save_png(picture, out / file, **facts, tile=one.name)
        numbers = [round(number, 6) for number in one.numbers.tolist()]
        told.append({"tile": one.name, "landscape": file, "numbers": numbers, "read": list(one.done)})
    size = max(found[0].landscape.shape[0], SHOWN // 2)
    pairs = [np.concatenate([_enlarged(part, size) for part in (one.tile, one.landscape)]) for one in found]
    title = f"SYNTHETIC landscapes of {len(found)} tiles: {trained.model}:{trained.preset}, {trained.images} images"
    rows = {"the tile\nfrom above,\nand what an\nobserver in\nits middle\nwould see": np.stack(pairs)}
    save_png(sheet(rows, title=title), out / "predicted.png", **facts)
    write_text(out / "predicted.json", json.dumps({**facts, "predicted": told, "not predicted": bad}, indent=1) + "\n")
    print(f"{len(found)} predicted, {len(bad)} not; {out / 'predicted.png'}")


@torch.no_grad()
def frames(trained: Trained, found: Sequence[Prediction], between: int = FRAMES) -> list[NDArray[np.uint8]]:
    """Frames (H W 3): on the left tile fades into tile, on the right the landscape of the numbers on the way."""
    made = []
    for one, other in pairwise(found):
        for step in range(between + (other is found[-1])):
            share = 0.5 - 0.5 * np.cos(np.pi * step / between)  # slow at the ends
            numbers = one.numbers + float(share) * (other.numbers - one.numbers)
            landscape = as_array(trained.recipe.decode(trained.networks, numbers[None]))[0]
            halves = ((1 - share) * one.tile + share * other.tile, landscape)
            frame = np.concatenate([_enlarged(half, SHOWN) for half in halves], axis=1)
            made.append(_captioned(frame))
    return made


def _enlarged(picture: NDArray[Any], side: int) -> NDArray[np.uint8]:
    image = Image.fromarray(np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def _captioned(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame that says what it is."""
    image = Image.fromarray(frame)
    image.paste(_caption(), (SHOWN + 8, SHOWN - 24))
    return np.asarray(image)


@cache
def _caption() -> Image.Image:
    text, font = "synthetic landscape", ImageFont.load_default(13)
    image = Image.new("RGB", (round(font.getlength(text)) + 8, 18))
    ImageDraw.Draw(image).text((4, 1), text, fill=(255, 255, 255), font=font)
    return image
