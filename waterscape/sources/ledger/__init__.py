"""What was asked for, found, fetched and decided while a data set of photos is collected: one SQLite file.

Whatever is done is in the file at once, forced to disk, so that every tool may be killed and goes on where it was.
"""

from waterscape.sources.ledger.ledger import Ledger
from waterscape.sources.ledger.rows import Decision, Photo, Request, Tile

__all__ = ["Decision", "Ledger", "Photo", "Request", "Tile"]
