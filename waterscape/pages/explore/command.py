"""`waterscape explore RUN …`: a local page to play with what was trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from waterscape import models
from waterscape.errors import UserError
from waterscape.pages.explore.ground import Ground
from waterscape.pages.explore.places import Places
from waterscape.pages.explore.routes import routes
from waterscape.pages.explore.studio import Studio
from waterscape.pages.explore.uploads import MOST_BYTES
from waterscape.pages.serving import serve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from waterscape.models import Trained

PLAYED = ("generate", "decode", "enlarge", "classify")
"""What the page has something for."""


@dataclass(frozen=True)
class Explore:
    """A local page: sliders of generators, water to draw and enlarge, a map to be seen from within, photos to classify.

    It asks for nothing on the internet but the tiles of --source yandex or earthengine.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of runs, of any models; what they can do is on the page."""
    data: str | None = None
    """A set of pairs: its places are on the map, and the photo of the place that is clicked, where it has one near."""
    source: str | None = None
    """Where the map's tiles come from: a GeoTIFF of any size and coordinate system, earthengine (its project in
    GOOGLE_CLOUD_PROJECT), or yandex (its key in YANDEX_APIKEY). Left out: the nearest tile of --data."""
    metres_per_pixel: float | None = None
    """Of the tiles that an encoder was trained on, where its data did not tell."""
    which: str = "newest"
    """The runs' checkpoints: newest or best."""
    port: int = 8800
    """Of 127.0.0.1; 0: any that is free."""
    open: bool = False
    """Open the browser too."""


def explore(options: Explore) -> int:
    """Run the verb until Ctrl-C. Raises `UserError`."""
    if not options.runs:
        raise UserError("name the runs to explore: waterscape explore runs/gan runs/encoder …")
    runs = _played([models.load(run, options.which) for run in dict.fromkeys(options.runs)])
    if options.source and not any(run.recipe.can("decode") for run in runs):
        raise UserError("--source is for a map, which wants a satellite_encoder's run: name one, or leave it out")
    places = Places(options.data) if options.data else None
    if not options.source:
        studio = Studio(runs, places, None, options.metres_per_pixel)
        studio.connect()
        _serve(studio, options)
        return 0
    with Ground(options.source) as ground:
        studio = Studio(runs, places, ground, options.metres_per_pixel)
        studio.connect()
        _serve(studio, options)
    return 0


def _played(runs: Sequence[Trained]) -> list[Trained]:
    """Those that the page has something for; the others are told. Raises `UserError` where none is left."""
    found = []
    for run in runs:
        if any(run.recipe.can(what) for what in PLAYED):
            found.append(run)
            print(f"{run.run}: {run.model}:{run.preset}, {run.images} images", flush=True)
        else:
            print(f"{run.run}: {run.model} has nothing to play with here", file=sys.stderr, flush=True)
    if not found:
        raise UserError("none of these runs generates, enlarges, predicts or classifies: name one that does")
    return found


def _serve(studio: Studio, options: Explore) -> None:
    serve(
        routes(studio),
        options.port,
        open_browser=options.open,
        tell=lambda line: print(line, flush=True),
        most_body_bytes=MOST_BYTES,
    )
