"""The satellite tiles that encoders are given: of the source, else of the set; of the size and scale they know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waterscape.errors import UserError
from waterscape.pages.explore import uploads
from waterscape.pages.tile_landscape import SCALES_AGREE, stored_tile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from waterscape.data.manifest import Manifest
    from waterscape.models import Trained
    from waterscape.pages.explore.ground import Ground
    from waterscape.pages.explore.places import Pair, Places

PATIENCE_SECONDS = 1  # that a landscape waits for the set's places, where it can do without


@dataclass(frozen=True)
class PlacedTile:
    """The tile of a place as JPEG, whose it is, where, and the set's sample near it."""

    tile: bytes
    whose: str
    latitude: float
    longitude: float
    pair: Pair | None


@dataclass(frozen=True)
class Tiles:
    """Where encoders' tiles come from. `metres_per_pixel`: where neither run nor set tells."""

    places: Places | None
    ground: Ground | None
    metres_per_pixel: float | None

    def check(self, run: Trained) -> None:
        """See that an encoder's tiles are to be had, before anybody asks for one. Raises `UserError`."""
        if self.ground:
            self.ground.connect(*self._scale(run))
        elif self.places:
            self._check_set(run, self.places.manifest)

    def at(self, run: Trained, latitude: float, longitude: float) -> PlacedTile:
        """A place's tile for an encoder, of the source, or of the set's nearest sample. Raises `UserError`: none."""
        if not (abs(latitude) <= 90 and abs(longitude) <= 180):
            raise UserError("latitude from -90 to 90 and longitude from -180 to 180 degrees are wanted")
        if self.ground:
            pixels, metres = self._scale(run)
            tile, whose = self.ground.tile(latitude, longitude, pixels, metres)
            known = self.places if self.places and self.places.wait(PATIENCE_SECONDS) else None
            pair = known.nearest(latitude, longitude, min(pixels) * metres / 2) if known else None
            return PlacedTile(tile, whose, latitude, longitude, pair)
        pair = self.places.nearest(latitude, longitude, math.inf, tile=True) if self.places else None
        if pair is None or pair.tile is None:
            raise UserError("no tile is at hand: start with --source, or --data of a set with satellite.jpg")
        tile = stored_tile(uploads.photo(pair.tile), self.like(run))
        whose = f"the set's nearest tile · licence {pair.licence or 'not stated'}"
        return PlacedTile(tile, whose, pair.latitude, pair.longitude, pair)

    def like(self, run: Trained) -> dict[str, Any]:
        """Size and scale of the tiles that a run was trained on: as it knows, else as the given set has them."""
        known: dict[str, Any] = dict(self.places.manifest.facts.get("tiles") or {}) if self.places else {}
        known |= run.facts.get("tiles") or {}
        metres = self.metres_per_pixel or known.get("metres_per_pixel")
        return {"pixels": known.get("pixels"), "metres_per_pixel": metres}

    def _scale(self, run: Trained) -> tuple[tuple[int, int], float]:
        """Width and height of an encoder's tiles in pixels, and metres per pixel. Raises `UserError`: not known."""
        tiles = self.like(run)
        pixels, metres = tiles["pixels"], tiles["metres_per_pixel"]
        if not metres:
            raise UserError(f"the data of {run.run} did not tell the scale: say --metres-per-pixel")
        if not pixels:
            raise UserError(f"the data of {run.run} did not tell the tiles' size: give --data that does")
        return (int(pixels[0]), int(pixels[1])), float(metres)

    def _check_set(self, run: Trained, manifest: Manifest) -> None:
        """Raises `UserError` where the set's tiles, which a click gives the encoder, are not like those it knows."""
        there, wanted = manifest.facts.get("tiles") or {}, self.like(run)
        sizes = there.get("pixels"), wanted["pixels"]
        metres = there.get("metres_per_pixel"), wanted["metres_per_pixel"]
        if (all(sizes) and sizes[0] != sizes[1]) or (all(metres) and abs(metres[0] / metres[1] - 1) > SCALES_AGREE):
            raise UserError(
                f"the tiles of {manifest.name} have {_told(there)}, and {run.run} was trained on {_told(wanted)}: "
                "give --source, or --data of such tiles, or leave --data out"
            )


def _told(tiles: Mapping[str, Any]) -> str:
    """Size and scale of tiles, as far as they are known."""
    pixels, metres = tiles.get("pixels"), tiles.get("metres_per_pixel")
    size = f"{pixels[0]} × {pixels[1]} pixels" if pixels else ""
    return " of ".join(filter(None, (size, f"{metres:g} m" if metres else ""))) if size else f"{metres:g} m per pixel"
