"""The page's addresses."""

from __future__ import annotations

import json
import sqlite3
from importlib.resources import files as resources
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from waterscape.errors import UserError
from waterscape.pages.review.desk import MOST_ACTIONS, Action, Choice
from waterscape.pages.review.overview_map import map_of
from waterscape.pages.review.pictures import SIDES
from waterscape.pages.serving import files
from waterscape.sources.photo_file import PhotoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from waterscape.pages.review.desk import Desk
    from waterscape.pages.review.pictures import Pictures


def routes(desk: Desk, pictures: Pictures, *, exact_coordinates: bool = False) -> list[BaseRoute]:
    """What `waterscape.pages.serving.serve` serves. Blocking work runs in threads."""

    def listing(request: Request) -> Response:
        return JSONResponse(desk.listing(Choice.of(request.query_params)))

    def progress(_: Request) -> Response:
        return JSONResponse(desk.progress())

    def positions(_: Request) -> Response:
        return JSONResponse(map_of(desk.places(), exact=exact_coordinates))

    def photo(request: Request) -> Response:
        found = desk.photo(request.path_params["key"])
        if found is None:
            raise HTTPException(404, "there is no such photo")
        return JSONResponse(found)

    def picture(request: Request) -> Response:
        return _picture(lambda: pictures.photo(request.path_params["key"], _side(request)))

    def tile(request: Request) -> Response:
        source = request.query_params.get("source", "")
        return _picture(lambda: pictures.tile(request.path_params["key"], source, _side(request)))

    async def act(request: Request) -> Response:
        actions = _actions(await request.body())
        try:
            return JSONResponse(await run_in_threadpool(desk.act, actions))
        except sqlite3.Error as error:
            raise HTTPException(503, f"the ledger takes nothing just now ({error})") from error

    return [
        *files(resources("waterscape.pages.review") / "page"),
        Route("/api/photos", listing),
        Route("/api/photos/{key}", photo),
        Route("/api/progress", progress),
        Route("/api/map", positions),
        Route("/api/decisions", act, methods=["POST"]),
        Route("/pictures/{key}/{side:int}", picture),
        Route("/tiles/{key}/{side:int}", tile),
    ]


def _actions(body: bytes) -> list[Action]:
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError("this is no JSON") from error
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_ACTIONS:
        raise UserError(f"a list of 1 to {MOST_ACTIONS} actions is wanted")
    return [Action.of(value) for value in values]


def _side(request: Request) -> int:
    side = int(request.path_params["side"])
    if side not in SIDES:
        raise HTTPException(404, f"pictures have {SIDES} pixels a side")
    return side


def _picture(made: Callable[[], bytes]) -> Response:
    try:
        return Response(made(), media_type="image/jpeg")
    except LookupError as error:
        raise HTTPException(404, str(error.args[0])) from error
    except PhotoError as error:
        raise HTTPException(422, str(error)) from error
