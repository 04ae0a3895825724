"""What the page asks of the runs, the set and the ground, and what it is told: plain JSON, pictures as base64."""

from __future__ import annotations

import base64
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from waterscape.errors import UserError
from waterscape.metrics.enlargement import bicubic
from waterscape.pages.classify import judged, stored_photo
from waterscape.pages.enlarge import enlarged
from waterscape.pages.explore import uploads
from waterscape.pages.explore.sliders import STEPS, Sliders
from waterscape.pages.explore.tiles import PlacedTile, Tiles
from waterscape.pages.review.pictures import small_jpeg
from waterscape.pages.samples import marks
from waterscape.pages.tile_landscape import Tile, predicted, stored_tile
from waterscape.sheet import coloured, palette, png
from waterscape.sources.photo_file import decode
from waterscape.training.exhibit import as_array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from waterscape.models import Trained
    from waterscape.pages.explore.ground import Ground
    from waterscape.pages.explore.places import Pair, Places

WATER_SIDE = 64
"""Pixels a side of the water that people draw."""
WATER = f"occurrence{WATER_SIDE}.npy"
SHOWN_SIDE = 640  # pixels of a photo
SHARPNESS = 4  # decimals of a probability


class Studio:
    """Everything that the page can be asked to make. Safe to use from one thread at a time.

    `about` and `tile_at`, which compute nothing, may go on beside it, the latter in one thread.
    """

    def __init__(
        self,
        runs: Sequence[Trained],
        places: Places | None = None,
        ground: Ground | None = None,
        metres_per_pixel: float | None = None,
    ) -> None:
        self.runs, self.places, self.ground = list(runs), places, ground
        self.tiles = Tiles(places, ground, metres_per_pixel)
        numbered = list(enumerate(self.runs))
        can: Callable[..., list[int]] = lambda *what: [  # noqa: E731
            number for number, run in numbered if any(run.recipe.can(one) for one in what)
        ]
        self.sliders = {number: Sliders(self.runs[number]) for number in can("generate", "decode")}
        self.enlargers = [number for number in can("enlarge") if self._reads(number, "low") == WATER]
        self.classifiers = can("classify")
        self.encoders = can("decode")

    def about(self) -> dict[str, Any]:
        """What there is to play with."""
        return {
            "runs": [
                {
                    "name": run.run.resolve().name,
                    "model": f"{run.model}:{run.preset}",
                    "images": run.images,
                    "checkpoint": run.checkpoint,
                    "sha256": run.sha256[:12],
                }
                for run in self.runs
            ],
            "sliders": [
                {
                    "run": number,
                    "names": one.names,
                    "numbers": one.numbers,
                    "classes": one.classes,
                    "water": not self.runs[number].recipe.can("decode") and self._draws_water(number),
                }
                for number, one in self.sliders.items()
            ],
            "steps": STEPS,
            "palette": _text(palette().tobytes()),
            "enlargers": self.enlargers,
            "classifiers": [
                {"run": number, "takes": "photo" if self._takes_photos(number) else "water"}
                for number in self.classifiers
            ],
            "encoders": [{"run": number, **self.tiles.like(self.runs[number])} for number in self.encoders],
            "source": self.ground.word if self.ground and not self.ground.mosaic else None,
            "mosaic": {"name": self.ground.mosaic.name, "bounds": self.ground.bounds}
            if self.ground and self.ground.mosaic
            else None,
            "set": {
                "name": self.places.manifest.name,
                "synthetic": self.places.synthetic,
                "photos": bool(self.places.photo_column),
            }
            if self.places
            else None,
        }

    def connect(self) -> None:
        """See that an encoder's tiles are to be had, before anybody asks for one. Raises `UserError`."""
        for number in self.encoders:
            self.tiles.check(self.runs[number])

    def slide(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The picture at places on the sliders; without places: where a sample, or the middle, stands, and its own."""
        sliders, sample, kind = self._slid(asked)
        places = asked.get("places")
        if places is None:
            places = sliders.places(sample)
        picture = sliders.pictures(sample, [_numbers(places)], kind)[0]
        told = {"picture": self._picture(sliders.trained, picture), "places": places, "side": len(picture)}
        if picture.ndim == 2 and picture.shape == (WATER_SIDE, WATER_SIDE):
            told["water"] = _text(np.rint(100 * picture).astype(np.uint8).tobytes())
        return told

    def along(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Pictures along one slider, beside one another."""
        sliders, sample, kind = self._slid(asked)
        axis = asked.get("axis")
        if not isinstance(axis, int):
            raise UserError("which slider is meant?")
        pictures = sliders.along(sample, _numbers(asked.get("places")), axis, kind)
        return {"strip": self._picture(sliders.trained, np.concatenate(pictures, axis=1))}

    def read_water(self, content: bytes) -> dict[str, Any]:
        """An uploaded tile as the drawing that it is."""
        percent, done = uploads.water(content, WATER_SIDE)
        return {"water": _text(percent.tobytes()), "done": list(done)}

    def enlarge(self, number: int, content: bytes) -> dict[str, Any]:
        """Drawn water in finer pixels, by the network and by bicubic interpolation; what classifiers call it."""
        run = self._run(number, self.enlargers)
        low = uploads.drawn(content, WATER_SIDE)
        high = enlarged(run, low)
        factor = len(high) // len(low)
        smooth = bicubic(torch.from_numpy(low[None, None] / 100), factor)[0, 0].numpy()
        return {
            "enlarged": self._picture(run, high / 100),
            "bicubic": _png(smooth),
            "factor": factor,
            "mean": round(float(low.mean()), 2),
        }

    def classify(self, number: int, content: bytes, *, is_drawn: bool = False) -> dict[str, Any]:
        """What a classifier calls an uploaded photo or tile, or drawn water."""
        run = self._run(number, self.classifiers)
        entry = run.recipe.inputs()[run.recipe.pictured()]
        done: tuple[str, ...] = ()
        if is_drawn:
            stored: NDArray[np.uint8] = uploads.drawn(content, entry.shape[1])
        elif entry.picture:
            stored, done = stored_photo(uploads.photo(content), entry)
        else:
            stored, done = uploads.water(content, entry.shape[1])
        numbers, probabilities, described = judged(run, stored)
        low, high = entry.range
        seen = as_array((numbers - low) / (high - low))[0]
        known = run.recipe.known_classes()
        order = np.argsort(-probabilities, kind="stable")
        return {
            "classes": [[known[one], round(float(probabilities[one]), SHARPNESS)] for one in order.tolist()],
            "described": described,
            "seen": _png(seen),
            "done": list(done),
        }

    def landscape_of(self, number: int, content: bytes) -> dict[str, Any]:
        """What an observer would see in the middle of an uploaded tile."""
        run = self._run(number, self.encoders)
        return self._landscape(run, stored_tile(uploads.photo(content), self.tiles.like(run)), "an uploaded tile")

    def tile_at(self, number: int, latitude: float, longitude: float) -> PlacedTile:
        """A place's tile for an encoder; see `Tiles.at`. It may take its time."""
        return self.tiles.at(self._run(number, self.encoders), latitude, longitude)

    def landscape_at(self, number: int, there: PlacedTile) -> dict[str, Any]:
        """What an observer would see at a place, by its tile."""
        told = self._landscape(
            self._run(number, self.encoders), there.tile, f"{there.latitude:.5f},{there.longitude:.5f}"
        )
        return {
            **told,
            "whose": there.whose,
            "latitude": there.latitude,
            "longitude": there.longitude,
            "photo": _photo(there.pair) if there.pair and there.pair.photo else None,
        }

    def _landscape(self, run: Trained, tile: bytes, name: str) -> dict[str, Any]:
        found = predicted(run, Tile(name, tile))
        return {
            "landscape": self._picture(run, found.landscape, tile=name),
            "tile": _text(small_jpeg(decode(tile).image, SHOWN_SIDE)),
            "numbers": [round(number, 4) for number in found.numbers.tolist()],
        }

    def _slid(self, asked: Mapping[str, Any]) -> tuple[Sliders, int | None, int]:
        """Which sliders, sample and class are meant. Raises `UserError`."""
        match asked:
            case {"run": int(run), "sample": int() | None as sample, "kind": int(kind)} if run in self.sliders:
                if sample is None or 0 <= sample < 1 << 31:
                    return self.sliders[run], sample, kind
        raise UserError("a run with sliders, a sample's number or null, and a class's number are wanted")

    def _run(self, number: int, those: Sequence[int]) -> Trained:
        if number not in those:
            raise UserError(f"run {number} does not do that")
        return self.runs[number]

    def _reads(self, number: int, name: str) -> str:
        return self.runs[number].recipe.inputs()[name].column

    def _takes_photos(self, number: int) -> bool:
        recipe = self.runs[number].recipe
        return recipe.inputs()[recipe.pictured()].picture is not None

    def _draws_water(self, number: int) -> bool:
        return self._reads(number, self.runs[number].recipe.pictured()) == WATER

    def _picture(self, run: Trained, picture: NDArray[np.floating], **facts: str) -> str:
        """A made picture, which says of itself what it is."""
        return _png(picture, **{**marks(run), **facts})


def _photo(pair: Pair) -> dict[str, Any]:
    assert pair.photo is not None
    return {
        "picture": _text(small_jpeg(decode(pair.photo, small=SHOWN_SIDE).image, SHOWN_SIDE)),
        "metres": pair.metres,
        "split": pair.split,
        "synthetic": pair.synthetic,
        "licence": pair.licence,
    }


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        with suppress(OverflowError):  # JSON's integers have no end
            numbers = [float(one) for one in value]
            if all(map(math.isfinite, numbers)):
                return numbers
    raise UserError("a list of numbers is wanted")


def _png(picture: NDArray[np.floating], **facts: str) -> str:
    """H W in the water palette, H W 3 as it is: 0..1, as PNG."""
    return _text(png(Image.fromarray(coloured(picture[None])[0]), **facts))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
