"""The ledger itself: what tools ask of it and tell it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from waterscape.sources.ledger.rows import Decision, Photo, Request, Tile
from waterscape.sources.ledger.schema import connect, explained

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

Row = TypeVar("Row", Photo, Decision, Request, Tile)


class Ledger:
    """A ledger's file, open. Safe to use from many threads and processes; each call is one transaction.

    What a call was told is on the disk when it returns, unless it stands in a `transaction`.
    """

    def __init__(self, path: Path, *, create: bool = False, salt: bytes | None = None) -> None:
        """Open it; with `create`, make it where there is none. Raises `UserError`."""
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = connect(path, create=create, salt=salt)
        self._salt: bytes = self._one("SELECT value FROM meta WHERE name = 'salt'")

    # names

    def key_of(self, source: str, owner: str, number: str) -> str:
        """The name of a photo, the same in all parts of a ledger, from which nobody can tell the owner."""
        return f"{source}-{self._digest('photo', source, owner, number)[:16]}"

    def path_of(self, file: str) -> Path:
        """Where a file of a row lies."""
        return self.path.absolute().parent / file

    def name_of(self, path: Path) -> str:
        """What a row says of a file: relative to the ledger's folder, so that both may be moved together."""
        return Path(os.path.relpath(path.absolute(), self.path.absolute().parent)).as_posix()

    @property
    def identity(self) -> str:
        """By which a ledger and its parts are known again, wherever they lie."""
        return self._digest("ledger")[:16]

    # requests

    def request(self, key: str) -> Request | None:
        """One that was answered, or None."""
        return next(self._rows(Request, "SELECT * FROM requests WHERE key = ?", (key,)), None)

    def requests(self) -> Iterator[Request]:
        """All that were answered."""
        return self._rows(Request, "SELECT * FROM requests ORDER BY key")

    def answered(self, request: Request, photos: Iterable[Photo] = ()) -> int:
        """Note a request and the photos in its answer, both or neither. Returns how many are new.

        Photos of owners who are forgotten are passed over; those that are known stay as they are.
        """
        with self.transaction():
            self._put("requests", request, at=time.time())
            return self.add(photos)

    # photos

    def add(self, photos: Iterable[Photo]) -> int:
        """Note photos that are not known yet, but for those of owners who are forgotten. Returns how many."""
        with self.transaction():
            before = self._changes
            for photo in photos:
                if not self.is_forgotten(photo.source, photo.owner):
                    self._put("photos", photo, how="INSERT OR IGNORE")
            return self._changes - before

    def update(self, photo: Photo) -> bool:
        """Replace what is known of a photo: its state, its file. Returns whether it is there.

        One that is not (any more) stays away: whoever has just fetched its file removes that again.
        """
        names, values = _columns(Photo)
        to = ", ".join(f"{name} = ?" for name in names)
        with self._lock:
            cells = [*map(_cell, values(photo)), photo.key]
            return self._execute(f"UPDATE photos SET {to} WHERE key = ?", cells).rowcount > 0  # noqa: S608

    def photo(self, key: str) -> Photo | None:
        """The photo of a name, or None."""
        return next(self._rows(Photo, "SELECT * FROM photos WHERE key = ?", (key,)), None)

    def photos(
        self,
        state: Literal["found", "fetched", "failed"] | None = None,
        verdict: Literal["keep", "reject"] | None = None,
    ) -> Iterator[Photo]:
        """Photos in the order of their keys: all, those of a state, those kept or rejected in the end.

        A person's decision stands above the filters'; without one, a photo is kept that no filter rejects.
        """
        wanted = {"state = ?": state, "(SELECT verdict FROM standing WHERE photo = key) = ?": verdict}
        wanted = {condition: value for condition, value in wanted.items() if value}
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        return self._rows(Photo, f"SELECT * FROM photos {where} ORDER BY key", [*wanted.values()])  # noqa: S608

    def kept_places(self) -> list[tuple[str, float | None, float | None]]:
        """Key, latitude and longitude of the photos that are fetched and kept, in the order of their keys."""
        return self._all(  # as `standing` has it, by two sets instead of look-ups for each photo
            "SELECT key, latitude, longitude FROM photos NOT INDEXED WHERE state = 'fetched' AND ("
            "key NOT IN (SELECT photo FROM decisions WHERE verdict = 'reject') "
            "OR key IN (SELECT photo FROM decisions WHERE by = 'hand' AND verdict = 'keep')) ORDER BY key"
        )

    def photo_folders(self) -> set[str]:
        """The folders that files of photos lie in, as rows say it."""
        patterns = self._all(
            "SELECT DISTINCT replace(file, key, '') FROM photos WHERE file != ''"
        )  # few, where many rows
        return {pattern.rpartition("/")[0] for (pattern,) in patterns}

    def count(self) -> Counter[str]:
        """How many photos are in each state."""
        return Counter(dict(self._all("SELECT state, count(*) FROM photos GROUP BY state")))

    # decisions

    def decide(self, decisions: Iterable[Decision]) -> None:
        """Note decisions, all or none; each replaces the one before it of the same photo and filter."""
        with self.transaction():
            for decision in decisions:
                self._put("decisions", decision, at=time.time())
                self._put("history", decision, at=time.time())

    def undo(self, photo: str, by: str) -> Decision | None:
        """Take a decision back: the one before it stands again, if there was any. Returns it, or None."""
        with self.transaction():
            numbers = "SELECT number FROM history WHERE photo = ? AND by = ? ORDER BY number DESC LIMIT 1"
            self._do(f"DELETE FROM history WHERE number = ({numbers})", (photo, by))  # noqa: S608
            self._do("DELETE FROM decisions WHERE photo = ? AND by = ?", (photo, by))
            names, _ = _columns(Decision)
            before = f"SELECT {', '.join(names)} FROM history WHERE number = ({numbers})"  # noqa: S608
            decision = next(self._rows(Decision, before, (photo, by)), None)
            if decision:
                self._put("decisions", decision)
            return decision

    def decisions(self, photo: str | None = None, by: str | None = None) -> Iterator[Decision]:
        """The decisions that stand: all, those of a photo, those of a filter."""
        return self._rows(
            Decision,
            "SELECT * FROM decisions WHERE (? IS NULL OR photo = ?) AND (? IS NULL OR by = ?) ORDER BY photo, by"
            if photo is None
            else "SELECT * FROM decisions WHERE photo = ? AND photo = ? AND (? IS NULL OR by = ?) ORDER BY by",
            (photo, photo, by, by),
        )

    # tiles

    def put_tile(self, tile: Tile) -> None:
        """Note a tile, in place of the one before it of the same photo and source. Its photo must be there."""
        self._put("tiles", tile)

    def tiles(self, source: str | None = None) -> Iterator[Tile]:
        """Tiles in the order of their photos: all, or those of a source."""
        return self._rows(
            Tile, "SELECT * FROM tiles WHERE (? IS NULL OR source = ?) ORDER BY photo, source", (source, source)
        )

    def tile_states(self) -> list[tuple[str, str, str, str, str, str | None]]:
        """Photo, source, state, reason and file of all tiles, and what their facts say of a `plan`, as JSON."""
        return self._all("SELECT photo, source, state, reason, file, json_extract(facts, '$.plan') FROM tiles")

    # people

    def is_forgotten(self, source: str, owner: str) -> bool:
        """Whether an owner asked to be forgotten: nothing of theirs is noted again."""
        return bool(self._one("SELECT count(*) FROM tombstones WHERE digest = ?", (self.tombstone(source, owner),)))

    def photos_of(self, source: str, owner: str) -> list[Photo]:
        """All photos of an owner."""
        return list(self._rows(Photo, "SELECT * FROM photos WHERE source = ? AND owner = ?", (source, owner)))

    def tombstone(self, source: str, owner: str) -> str:
        """What stands for an owner who is forgotten."""
        return self._digest("owner", source, owner)

    def bury(self, source: str, owner: str) -> None:
        """Leave a tombstone, from which nobody can tell the owner without this ledger's salt."""
        self._do("INSERT OR IGNORE INTO tombstones VALUES (?)", (self.tombstone(source, owner),))

    def remove_photos_of(self, source: str, owner: str) -> None:
        """Remove an owner's photos with all decisions and tiles, from the file's free pages too."""
        self._do("DELETE FROM photos WHERE source = ? AND owner = ?", (source, owner))
        self._do("VACUUM")

    # parts

    def part(self, path: Path) -> Ledger:
        """A ledger for a part of the work, of the same keys and the same forgotten owners; made where it is not."""
        part = Ledger(path, create=True, salt=self._salt)
        for (digest,) in self._all("SELECT digest FROM tombstones"):
            part._do("INSERT OR IGNORE INTO tombstones VALUES (?)", (digest,))
        return part

    def merge(self, part: Ledger) -> None:
        """Take over what a part has noted, all or nothing; what both know as the part has it, if it fetched.

        Of photos that the whole has only found it takes over failures too.
        """
        with self.transaction():
            self._many("INSERT OR IGNORE INTO tombstones VALUES (?)", part._all("SELECT digest FROM tombstones"))
            for request in part.requests():
                self._put("requests", request)
            for photo in part.photos():
                if not self.add([photo]) and photo.state != "found":
                    known = self.photo(photo.key)
                    if photo.state == "fetched" or (known and known.state == "found"):
                        self.update(photo)
            self.decide(decision for decision in part.decisions() if self.photo(decision.photo))
            for tile in part.tiles():
                if self.photo(tile.photo):
                    self.put_tile(tile)

    # below

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All calls within happen together, or none does."""
        with self._lock:
            self._depth += 1
            try:
                if self._depth == 1:
                    self._execute("BEGIN IMMEDIATE")
                yield
                if self._depth == 1:
                    self._execute("COMMIT")
            except BaseException:
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _changes(self) -> int:
        return self._connection.total_changes

    def _digest(self, *words: str) -> str:
        return hmac.new(self._salt, "\0".join(words).encode(), hashlib.sha256).hexdigest()

    def _put(self, table: str, row: Any, how: str = "INSERT OR REPLACE", **more: object) -> None:
        """Store a row's fields in the columns of their names."""
        row = replace(row, **more) if more else row
        names, values = _columns(row.__class__)
        places = ", ".join("?" * len(names))
        self._do(f"{how} INTO {table} ({', '.join(names)}) VALUES ({places})", [_cell(cell) for cell in values(row)])

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """A word to SQLite. Raises `UserError` where the file or those who hold it are at fault."""
        with explained(self.path):
            return self._connection.execute(statement, values)

    def _do(self, statement: str, values: Sequence[object] = ()) -> None:
        with self._lock:
            self._execute(statement, values)

    def _many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        with self._lock, explained(self.path):
            self._connection.executemany(statement, rows)

    def _all(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock, explained(self.path):
            return self._connection.execute(statement, values).fetchall()

    def _one(self, statement: str, values: Sequence[object] = ()) -> Any:
        return self._all(statement, values)[0][0]

    def _rows(self, kind: type[Row], statement: str, values: Sequence[object] = ()) -> Iterator[Row]:
        """Rows as objects. All are read at once: an open reader would keep other tools from writing."""
        with self._lock, explained(self.path):
            cursor = self._connection.execute(statement, values)
            names, rows = [column[0] for column in cursor.description], cursor.fetchall()
        facts = names.index("facts")
        for row in rows:
            one = kind.__new__(kind)  # not by __init__, which sets the fields of frozen rows one by one: twice as slow
            told = {} if row[facts] == "{}" else json.loads(row[facts])
            one.__dict__.update(zip(names, row, strict=True), facts=told)
            yield one


@cache
def _columns(kind: type) -> tuple[tuple[str, ...], attrgetter[Any]]:
    """The names of a row's columns, and what gets their values."""
    names = tuple(field.name for field in fields(kind))
    return names, attrgetter(*names)


def _cell(value: object) -> object:
    """A field's value as SQLite stores it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if isinstance(value, dict) else value
