"""The page's addresses."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from importlib.resources import files as resources
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from waterscape.errors import UserError
from waterscape.pages.review.desk import MOST_ACTIONS, Action, Choice
from waterscape.pages.review.overview_map import map_of
from waterscape.pages.review.pictures import SIDES
from waterscape.pages.serving import GONE, files
from waterscape.sources.photo_file import PhotoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from waterscape.pages.review.desk import Desk
    from waterscape.pages.review.pictures import Pictures


def routes(desk: Desk, pictures: Pictures, *, exact_coordinates: bool = False) -> list[BaseRoute]:
    """What `waterscape.pages.serving.serve` serves. Blocking work runs in threads."""
    turns = CapacityLimiter(os.cpu_count() or 1)  # pictures decoded at a time: bounds memory, leaves room to decide

    def listing(request: Request) -> Response:
        choice = Choice.of(request.query_params)
        with _ledger_asked():
            return JSONResponse(desk.listing(choice))

    def progress(_: Request) -> Response:
        with _ledger_asked():
            return JSONResponse(desk.progress())

    def positions(_: Request) -> Response:
        with _ledger_asked():
            return JSONResponse(map_of(desk.places(), exact=exact_coordinates))

    def photo(request: Request) -> Response:
        with _ledger_asked():
            found = desk.photo(request.path_params["key"])
        if found is None:
            raise HTTPException(404, "there is no such photo")
        return JSONResponse(found)

    async def made(request: Request, make: Callable[[], bytes]) -> Response:
        """A picture, unless whoever wanted it has scrolled on when its turn comes."""
        async with turns:
            if await request.is_disconnected():
                return Response(status_code=GONE)
            return await run_in_threadpool(_picture, make)

    async def picture(request: Request) -> Response:
        key, side = request.path_params["key"], _side(request)
        return await made(request, lambda: pictures.photo(key, side))

    async def tile(request: Request) -> Response:
        key, side, source = request.path_params["key"], _side(request), request.query_params.get("source", "")
        return await made(request, lambda: pictures.tile(key, source, side))

    async def act(request: Request) -> Response:
        actions = _actions(await request.body())
        with _ledger_asked():
            return JSONResponse(await run_in_threadpool(desk.act, actions))

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


@contextmanager
def _ledger_asked() -> Iterator[None]:
    """A ledger that is busy, full or read-only is to be asked again; its reason is told, its path is not."""
    try:
        yield
    except (sqlite3.Error, UserError) as error:
        cause = error if isinstance(error, sqlite3.Error) else error.__cause__
        why = f" ({cause})" if isinstance(cause, sqlite3.Error) else ""
        raise HTTPException(503, f"the ledger cannot be used just now{why}") from error


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


def _picture(make: Callable[[], bytes]) -> Response:
    try:
        with _ledger_asked():
            return Response(make(), media_type="image/jpeg")
    except LookupError as error:
        raise HTTPException(404, str(error.args[0])) from error
    except PhotoError as error:
        raise HTTPException(422, str(error)) from error
