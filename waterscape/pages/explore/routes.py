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

    async def made(request: Request, make: Callable[[], Answer]) -> Response:
        return JSONResponse(await _in_turn(request, computed, make))

    def about(_: Request) -> Response:
        return JSONResponse(studio.about())

    def places(_: Request) -> Response:
        return JSONResponse(studio.places.map() if studio.places else {"ready": True, "count": 0})

    async def ground(request: Request) -> Response:
        mosaic = studio.ground
        if mosaic is None:
            raise HTTPException(404, "there is no mosaic")
        asked = request.query_params
        try:
            west, south, east, north = (float(asked.get(word, "")) for word in ("west", "south", "east", "north"))
            width, height = (int(asked.get(word, "")) for word in ("width", "height"))
        except ValueError as error:
            raise UserError("west, south, east, north, width and height are numbers") from error
        view = await _in_turn(request, viewed, lambda: mosaic.view((west, south, east, north), width, height))
        return Response(view, media_type="image/png")

    async def slide(request: Request) -> Response:
        asked = _object(await request.body())
        return await made(request, lambda: studio.slide(asked))

    async def along(request: Request) -> Response:
        asked = _object(await request.body())
        return await made(request, lambda: studio.along(asked))

    async def water(request: Request) -> Response:
        content = await request.body()
        return await made(request, lambda: studio.read_water(content))

    async def enlarge(request: Request) -> Response:
        number, content = request.path_params["run"], await request.body()
        return await made(request, lambda: studio.enlarge(number, content))

    async def classify(request: Request) -> Response:
        number, content = request.path_params["run"], await request.body()
        is_drawn = request.query_params.get("drawn") == "1"
        return await made(request, lambda: studio.classify(number, content, is_drawn=is_drawn))

    async def landscape_of(request: Request) -> Response:
        number, content = request.path_params["run"], await request.body()
        return await made(request, lambda: studio.landscape_of(number, content))

    async def landscape_at(request: Request) -> Response:
        number = request.path_params["run"]
        match _object(await request.body()):
            case {"latitude": int() | float() as latitude, "longitude": int() | float() as longitude}:
                there = await _in_turn(request, fetched, lambda: studio.tile_at(number, latitude, longitude))
                return await made(request, lambda: studio.landscape_at(number, there))
        raise UserError("a latitude and a longitude in degrees are wanted")

    asked = ["POST"]
    return [
        *files(resources("waterscape.pages.explore") / "page"),
        Route("/api/about", about),
        Route("/api/places", places),
        Route("/api/ground", ground),
        Route("/api/slide", slide, methods=asked),
        Route("/api/along", along, methods=asked),
        Route("/api/water", water, methods=asked),
        Route("/api/enlarge/{run:int}", enlarge, methods=asked),
        Route("/api/classify/{run:int}", classify, methods=asked),
        Route("/api/landscape/{run:int}/tile", landscape_of, methods=asked),
        Route("/api/landscape/{run:int}/place", landscape_at, methods=asked),
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
