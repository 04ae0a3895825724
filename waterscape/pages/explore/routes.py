"""The page's addresses."""

from __future__ import annotations

import json
from importlib.resources import files as resources
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from waterscape.data.shard import ShardError
from waterscape.errors import UserError
from waterscape.pages.serving import GONE, files
from waterscape.sources.photo_file import PhotoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterscape.pages.explore.studio import Studio

Answer = dict[str, Any]
Made = TypeVar("Made")


def routes(studio: Studio) -> list[BaseRoute]:
    """What `waterscape.pages.serving.serve` serves.

    One thing is computed at a time, one tile fetched and one view drawn: a slow map service holds up nothing else, and
    no crowd of requests takes all threads.
    """
    computed, fetched, viewed = (CapacityLimiter(1) for _ in range(3))

    def made(path: str, make: Callable[[Request, bytes], Answer]) -> Route:
        """Something that is computed of what is sent, in its turn."""

        async def answer(request: Request) -> Response:
            body = await request.body()
            return JSONResponse(await _in_turn(request, computed, lambda: make(request, body)))

        return Route(path, answer, methods=["POST"])

    def about(_: Request) -> Response:
        return JSONResponse(studio.about())

    def places(_: Request) -> Response:
        return JSONResponse(studio.places.map() if studio.places else {"ready": True, "count": 0})

    async def ground(request: Request) -> Response:
        mosaic = studio.ground
        if mosaic is None:
            raise HTTPException(404, "there is no mosaic")
        box, width, height = _view(request)
        view = await _in_turn(request, viewed, lambda: mosaic.view(box, width, height))
        return Response(view, media_type="image/png")

    async def landscape_at(request: Request) -> Response:
        number = _run(request)
        latitude, longitude = _place(await request.body())
        there = await _in_turn(request, fetched, lambda: studio.tile_at(number, latitude, longitude))
        return JSONResponse(await _in_turn(request, computed, lambda: studio.landscape_at(number, there)))

    def classify(request: Request, body: bytes) -> Answer:
        return studio.classify(_run(request), body, is_drawn=request.query_params.get("drawn") == "1")

    return [
        *files(resources("waterscape.pages.explore") / "page"),
        Route("/api/about", about),
        Route("/api/places", places),
        Route("/api/ground", ground),
        made("/api/slide", lambda _, body: studio.slide(_object(body))),
        made("/api/along", lambda _, body: studio.along(_object(body))),
        made("/api/water", lambda _, body: studio.read_water(body)),
        made("/api/enlarge/{run:int}", lambda request, body: studio.enlarge(_run(request), body)),
        made("/api/classify/{run:int}", classify),
        made("/api/landscape/{run:int}/tile", lambda request, body: studio.landscape_of(_run(request), body)),
        Route("/api/landscape/{run:int}/place", landscape_at, methods=["POST"]),
    ]


async def _in_turn(request: Request, turns: CapacityLimiter, make: Callable[[], Made]) -> Made:
    """What `make` returns, unless whoever wanted it has moved on when its turn comes."""
    async with turns:
        if await request.is_disconnected():
            raise HTTPException(GONE, "nobody waits for it any more")
        return await run_in_threadpool(_made, make)


def _made(make: Callable[[], Made]) -> Made:
    try:
        return make()
    except (ShardError, PhotoError) as error:
        raise HTTPException(422, f"the set is damaged: {error}") from error


def _object(body: bytes) -> Answer:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError("this is no JSON") from error
    if not isinstance(value, dict):
        raise UserError("an object is wanted")
    return value


def _run(request: Request) -> int:
    number: int = request.path_params["run"]
    return number


def _place(body: bytes) -> tuple[float, float]:
    match _object(body):
        case {"latitude": int() | float() as latitude, "longitude": int() | float() as longitude}:
            return latitude, longitude
    raise UserError("a latitude and a longitude in degrees are wanted")


def _view(request: Request) -> tuple[tuple[float, float, float, float], int, int]:
    """The box (west, south, east, north in degrees) and the pixels across and down that are asked for."""
    asked = request.query_params
    try:
        west, south, east, north = (float(asked.get(word, "")) for word in ("west", "south", "east", "north"))
        width, height = (int(asked.get(word, "")) for word in ("width", "height"))
    except ValueError as error:
        raise UserError("west, south, east, north, width and height are numbers") from error
    return (west, south, east, north), width, height
