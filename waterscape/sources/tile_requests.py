"""Tiles straight from Earth Engine, some requests at once: asked again where an answer is none; failures are listed."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from waterscape.durable import Lines, write_text
from waterscape.sources.earthengine import EarthEngineError, RefusedError, UnreachableError, explained
from waterscape.sources.place import in_service_words, is_code
from waterscape.sources.requests_at_once import in_any_order

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    import ee

Wanted = TypeVar("Wanted")
Read = TypeVar("Read")

ATTEMPTS = 3  # at a request whose answer is none
FAILURES_IN_A_ROW = 5  # to reach the service, after which it is not asked again
FAILED = "failed.jsonl"
"""Beside the tiles: what was asked for in vain and is absent still, `tile` and `reason`; no file where nothing is."""


class TileError(Exception):
    """The servers' answer is not what was asked for; the message says in what."""


@dataclass(frozen=True)
class Done:
    """What came of one request: how many tiles were written, and the names of those that hold nothing."""

    written: int
    empty: Sequence[str] = ()


@dataclass
class Outcome:
    """What became of the tiles that were asked for."""

    written: int = 0
    empty: int = 0
    """Of nothing that was ever seen, or seen clearly."""
    failed: dict[str, str] = field(default_factory=dict)
    """Request → reason. Its tiles are absent; the same command asks for them again."""


def each(
    wanted: Sequence[Wanted],
    fetch: Callable[[Wanted], Done],
    name: Callable[[Wanted], str],
    empty_list: Path,
    at_once: int,
) -> Iterator[Outcome]:
    """`fetch` what is wanted, so many at once; names of empty tiles are added to a list, to be asked for no more.

    What failed is on the list `FAILED` beside it, until it is fetched by a later call. Yields the same `Outcome` after
    each request.

    Raises:
        EarthEngineError: access is refused, or the service is out of reach. What was written stays.
    """
    outcome, in_a_row = Outcome(), 0
    results = in_any_order(wanted, fetch, at_once, EarthEngineError)
    failures = _Failures(empty_list.with_name(FAILED), {name(one) for one in wanted})
    with closing(failures), closing(results), closing(Lines(empty_list)) as empty:
        for one, result in results:
            in_a_row = in_a_row + 1 if isinstance(result, UnreachableError) else 0  # others are the request's own
            if isinstance(result, EarthEngineError):
                outcome.failed[name(one)] = str(result)
                failures.add(name(one), str(result))
                if isinstance(result, RefusedError):
                    raise result
                if in_a_row >= FAILURES_IN_A_ROW:
                    raise UnreachableError(
                        f"{in_a_row} requests in a row failed, the last: {result}. Tiles written: "
                        f"{outcome.written}; the same command goes on, {failures.path} lists what failed"
                    )
            else:
                failures.remove(name(one))
                outcome.written += result.written
                outcome.empty += len(result.empty)
                if result.empty:
                    empty.write("".join(f"{tile}\n" for tile in result.empty))
                    empty.sync()
            yield outcome


class _Failures:
    """What was asked for in vain, in a file: a line is added at once, and those that no longer hold go in the end."""

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        """Of an earlier list, which a killed program may have left as it was, only what is wanted still holds."""
        self.path, self._reasons = path, dict[str, str]()
        with suppress(FileNotFoundError):
            lines = path.read_text(errors="replace").split("\n")
            self._reasons = {tile: reason for tile, reason in map(_failure, lines) if tile in wanted}
            self._rewrite()
        self._lines: Lines | None = None

    def add(self, tile: str, reason: str) -> None:
        """On the disk when this returns."""
        self._lines = self._lines or Lines(self.path)
        self._reasons[tile] = reason
        self._lines.write(_line(tile, reason))
        self._lines.sync()

    def remove(self, tile: str) -> None:
        """It is there now."""
        self._reasons.pop(tile, None)

    def close(self) -> None:
        """Leave the list as it stands, a line each; none where nothing is on it."""
        if self._lines:
            self._lines.close()
        self._rewrite()

    def _rewrite(self) -> None:
        if self._reasons:
            write_text(self.path, "".join(_line(*failure) for failure in self._reasons.items()))
        else:
            self.path.unlink(missing_ok=True)


def _line(tile: str, reason: str) -> str:
    return json.dumps({"tile": tile, "reason": reason}, ensure_ascii=False) + "\n"


def _failure(line: str) -> tuple[str, str]:
    """What a line tells; an empty name where it was torn."""
    try:
        facts = json.loads(line)
        return str(facts["tile"]), str(facts["reason"])
    except (ValueError, TypeError, KeyError):
        return "", ""


def answered(what: str, ask: Callable[[], bytes], read: Callable[[bytes], Read]) -> Read:
    """An answer as `read` reads it, who raises `TileError` where it is none; then it is asked for again.

    Raises `EarthEngineError`, which says what was asked for.
    """
    attempt = 1
    while True:
        with explained(what):
            content = ask()
        try:
            return read(content)
        except TileError as error:
            if attempt == ATTEMPTS:
                raise EarthEngineError(f"{what}: {error}, {ATTEMPTS} times") from error
        attempt += 1


def computed(
    image: ee.Image, bands: Sequence[str], crs: str, transform: Sequence[float], width: int, height: int
) -> bytes:
    """A GeoTIFF of an image's bands as the servers compute it, on a grid of pixels.

    Args:
        image: what is computed.
        bands: names, in the order of the file.
        crs: of the grid, in any words of PROJ.
        transform: the affine from column and row to the CRS's units: a, b, c, d, e, f.
        width: pixels.
        height: pixels.
    """
    import ee

    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    content: bytes = ee.data.computePixels(
        {
            "expression": image,
            "fileFormat": "GEO_TIFF",
            "bandIds": [*bands],
            "grid": {
                "dimensions": {"width": width, "height": height},
                "affineTransform": dict(zip(names, transform, strict=True)),
                "crsCode" if is_code(crs) else "crsWkt": in_service_words(crs),
            },
        }
    )
    return content
