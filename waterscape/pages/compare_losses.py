"""`waterscape compare-losses`: how unlike each generated picture is to each real one, three ways, as a table.

Source: the table of "What would an observer see here?", of three generated and three real landscapes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from waterscape import models
from waterscape.data.pictures import decode_picture
from waterscape.durable import write_text
from waterscape.errors import UserError
from waterscape.nn.unlikeness import TOLD, Loss, fill_places, places_network, scene_network, unlikeness
from waterscape.sheet import FAINT, INK, MARGIN, PAPER, save_png
from waterscape.sources.photo_file import SUFFIXES, PhotoError, files_below, read

LEAST_SIDE = 11  # pixels: SSIM's window
SHOWN = 12  # pictures of either folder in the picture of the table
CELL, LINE = 112, 18  # pixels


@dataclass(frozen=True)
class CompareLosses:
    """How unlike each generated picture is to each real one: squared error, 1 − SSIM, and by a network of scenes."""

    generated: Path
    """The folder of generated pictures."""
    real: Path
    """The folder of real ones."""
    scenes: Path | None = None
    """A run of scene_classifier: also the squared error between what it says of both."""
    places365: Path | None = None
    """In its place, a file with the weights of ResNet-18 trained on Places365."""
    original_normalisation: bool = False
    """With --places365: give it pictures in −1..1, as the source did, not as it was trained."""
    side: int = 128
    """Pixels a side that all pictures are brought to, cut square from their middle."""
    out: Path = Path("losses")
    """The directory to write into."""


@dataclass(frozen=True)
class Folder:
    """Pictures of a folder: their names, and N 3 S S in −1..1."""

    names: tuple[str, ...]
    pictures: Tensor


def compare(options: CompareLosses) -> int:
    """Run the verb; returns the exit code. Raises `UserError`."""
    if options.side < LEAST_SIDE:
        raise UserError(f"--side {options.side}: SSIM's window is {LEAST_SIDE} pixels wide, so give as many or more")
    scenes, told = _scenes(options)
    generated, real = (read_folder(folder, options.side) for folder in (options.generated, options.real))
    tables = matrices(generated.pictures, real.pictures, scenes)
    options.out.mkdir(parents=True, exist_ok=True)
    print(_text(tables, generated.names, real.names))
    facts = {
        "generated": list(generated.names),
        "real": list(real.names),
        "side": options.side,
        "range": "-1..1",
        "scenes": told,
        "losses": {TOLD[loss]: table.round(6).tolist() for loss, table in tables.items()},
    }
    write_text(options.out / "losses.json", json.dumps(facts, indent=1) + "\n")
    save_png(picture(tables, generated, real), options.out / "losses.png", **{"scenes": told} if told else {})
    print(f"{options.out / 'losses.json'}, {options.out / 'losses.png'}")
    return 0


def matrices(
    generated: Tensor, real: Tensor, scenes: Callable[[Tensor], Tensor] | None = None
) -> dict[Loss, NDArray[np.float64]]:
    """Each loss of all pairs: generated (G 3 S S) and real (R 3 S S), both in −1..1 → G R."""
    known: list[Loss] = [loss for loss in TOLD if loss != "perceptual" or scenes]
    with torch.no_grad():
        return {
            loss: np.stack(
                [unlikeness(one.expand_as(real), real, loss, scenes).double().numpy() for one in generated[:, None]]
            )
            for loss in known
        }


def read_folder(folder: Path, side: int) -> Folder:
    """All pictures below a folder in the order of their names. Raises `UserError`."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give a folder of pictures")
    files = [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    if not files:
        raise UserError(f"{folder} holds no pictures: give a folder of pictures")
    read_ones = []
    for path in files:
        try:
            read_ones.append(decode_picture(read(path).stored(), (side, side)))
        except PhotoError as error:
            raise UserError(f"{path}: {error}; take it out") from error
    stacked = torch.from_numpy(np.stack(read_ones)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return Folder(tuple(path.relative_to(folder).as_posix() for path in files), stacked)


def _scenes(options: CompareLosses) -> tuple[Callable[[Tensor], Tensor] | None, str]:
    """The network of scenes that is asked, if any, and what it is. Raises `UserError`."""
    if options.original_normalisation and not options.places365:
        raise UserError("--original-normalisation goes with --places365")
    if options.scenes and options.places365:
        raise UserError("--scenes and --places365 take each other's place: give one")
    if options.places365:
        network = places_network(original_normalisation=options.original_normalisation).eval()
        fill_places(network, options.places365)
        return network, f"Places365 ResNet-18, {options.places365.name}"
    if not options.scenes:
        return None, ""
    trained = models.load(options.scenes)
    if trained.model != "scene_classifier":
        raise UserError(f"--scenes {options.scenes} is a run of {trained.model}: name a scene_classifier's")
    side = trained.recipe.inputs()[trained.recipe.pictured()].shape[1]
    network = scene_network(trained.networks["features"], trained.networks["head"], side)
    return network, f"{trained.model}:{trained.preset} of {options.scenes}, checkpoint {trained.sha256}"


def _text(
    tables: Mapping[Loss, NDArray[np.float64]], generated: Sequence[str], real: Sequence[str], width: int = 14
) -> str:
    """A block of lines for each loss: a row for each generated picture, its nearest real one marked."""
    lines = []
    for loss, table in tables.items():
        lines.append(f"{TOLD[loss]}: generated (down) x real (across), * the nearest")
        lines.append(" " * width + "".join(f"{_short(name, width - 2):>{width}}" for name in real))
        for name, row in zip(generated, table, strict=True):
            cells = (f"{value:.4f}{'*' if column == row.argmin() else ' '}" for column, value in enumerate(row))
            lines.append(f"{_short(name, width - 1):{width}}" + "".join(f"{cell:>{width}}" for cell in cells))
        lines.append("")
    return "\n".join(lines)


def _short(name: str, length: int) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"


def picture(tables: Mapping[Loss, NDArray[np.float64]], generated: Folder, real: Folder) -> Image.Image:
    """The first pictures of both folders on two axes, and their losses between; the nearest real one is bold."""
    rows, columns = (min(SHOWN, len(folder.names)) for folder in (generated, real))
    names, font = list(tables), ImageFont.load_default(14)
    head = MARGIN + 3 * LINE + LINE * len(names)
    image = Image.new("RGB", (2 * MARGIN + (columns + 1) * CELL, head + (rows + 1) * CELL + MARGIN), PAPER)
    brush = ImageDraw.Draw(image)
    brush.text((MARGIN, MARGIN), "generated (down) and real (across)", fill=INK, font=ImageFont.load_default(18))
    legend = [f"{number}. {TOLD[loss]}" for number, loss in enumerate(names, 1)]
    for line, text in enumerate([*legend, "framed: the real picture that is nearest"]):
        brush.text((MARGIN, MARGIN + LINE * (line + 1) + 6), text, fill=FAINT, font=font)
    for column in range(columns):
        image.paste(_face(real.pictures[column]), (MARGIN + (column + 1) * CELL, head))
    for row in range(rows):
        top = head + (row + 1) * CELL
        image.paste(_face(generated.pictures[row]), (MARGIN, top))
        for line, loss in enumerate(names):
            values = tables[loss][row]
            for column in range(columns):
                left, height = MARGIN + (column + 1) * CELL + 14, top + 18 + 26 * line
                brush.text((left, height), f"{line + 1}.  {values[column]:.3f}", fill=INK, font=font)
                if column == values.argmin():
                    brush.rectangle((left - 6, height - 4, left + 78, height + 19), outline=INK)
    return image


def _face(one: Tensor) -> Image.Image:
    """A picture (3 S S, −1..1) as it stands on an axis."""
    pixels: Any = ((one + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((CELL - 6, CELL - 6), Image.Resampling.BICUBIC)
