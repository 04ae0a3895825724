"""The tables of a ledger, and how its file is opened."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from waterscape.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 1
APPLICATION = 0x57534C31  # WSL1, in the file's header: tells a ledger from any other SQLite file
PATIENCE_SECONDS = 30.0  # for another tool that is writing

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (
  key TEXT PRIMARY KEY, cell TEXT NOT NULL, counted INTEGER NOT NULL, got INTEGER NOT NULL,
  facts TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE photos (
  key TEXT PRIMARY KEY, source TEXT NOT NULL, owner TEXT NOT NULL, number TEXT NOT NULL,
  latitude REAL, longitude REAL, taken REAL, url TEXT NOT NULL, width INTEGER, height INTEGER,
  licence TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('found', 'fetched', 'failed')), reason TEXT NOT NULL,
  file TEXT NOT NULL, sha256 TEXT NOT NULL, facts TEXT NOT NULL,
  UNIQUE (source, owner, number)
);
CREATE INDEX photos_by_state ON photos (state, key);
CREATE TABLE decisions (
  photo TEXT NOT NULL REFERENCES photos ON DELETE CASCADE, by TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('keep', 'reject')),
  score REAL, reason TEXT NOT NULL, facts TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (photo, by)
) WITHOUT ROWID;
CREATE TABLE history (
  number INTEGER PRIMARY KEY, photo TEXT NOT NULL REFERENCES photos ON DELETE CASCADE, by TEXT NOT NULL,
  verdict TEXT, score REAL, reason TEXT NOT NULL, facts TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX history_by_photo ON history (photo, by, number);
CREATE TABLE tiles (
  photo TEXT NOT NULL REFERENCES photos ON DELETE CASCADE, source TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('fetched', 'failed')), reason TEXT NOT NULL, file TEXT NOT NULL,
  sha256 TEXT NOT NULL, width INTEGER, height INTEGER, metres_per_pixel REAL, licence TEXT NOT NULL,
  facts TEXT NOT NULL,
  PRIMARY KEY (photo, source)
) WITHOUT ROWID;
CREATE TABLE tombstones (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE VIEW standing AS
  SELECT photos.key AS photo, COALESCE(
    (SELECT verdict FROM decisions WHERE decisions.photo = photos.key AND by = 'hand'),
    CASE WHEN EXISTS (SELECT 1 FROM decisions WHERE decisions.photo = photos.key AND verdict = 'reject')
      THEN 'reject' ELSE 'keep' END
  ) AS verdict FROM photos;
"""


def connect(path: Path, *, create: bool, salt: bytes | None = None) -> sqlite3.Connection:
    """The open file. A journal beside it, rather than a log: that is also right on a cluster's shared disk.

    Raises:
        UserError: it is not there and not to be made, is no ledger, or one of a newer waterscape.
    """
    if not create and not path.is_file():
        raise UserError(f"{path}: there is no ledger; tools/fetch_photos.py makes one")
    with explained(path):
        connection = sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # who is forgotten is in no free page either
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("BEGIN IMMEDIATE" if create else "BEGIN")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not application and not tables and create:
            _found(connection, salt)
        elif application != APPLICATION:
            raise UserError(f"{path} is no ledger of photos; name the one that tools/fetch_photos.py made")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("COMMIT")
    if version != FORMAT:
        raise UserError(f"{path} is a ledger of format {version}, this waterscape reads {FORMAT}: install a newer one")
    return connection


MENDED_BY = {
    sqlite3.SQLITE_BUSY: "another program holds it, and the same command goes on when that has ended",
    sqlite3.SQLITE_READONLY: "make it and its folder writable; the same command goes on",
    sqlite3.SQLITE_CANTOPEN: "make it and its folder readable and writable; the same command goes on",
    sqlite3.SQLITE_FULL: "make room on its disk; the same command goes on",
    sqlite3.SQLITE_IOERR: "see that its disk works and has room; the same command goes on",
    sqlite3.SQLITE_CORRUPT: "it is damaged, so take a copy that is whole",
    sqlite3.SQLITE_NOTADB: "name one that tools/fetch_photos.py made",
}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Make a `UserError` of what a ledger's file, or those who hold it, are at fault for; others are raised as are."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        todo = MENDED_BY.get(getattr(error, "sqlite_errorcode", -1) & 0xFF)  # without the extended code
        if todo is None:
            raise
        raise UserError(f"{path} cannot be used as a ledger ({error}): {todo}") from error


def _found(connection: sqlite3.Connection, salt: bytes | None) -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute("INSERT INTO meta VALUES ('salt', ?)", (salt or secrets.token_bytes(32),))
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
