"""Decide by hand which photos of a ledger are kept, on a page in the browser.

    python tools/review_photos.py photos.db
    python tools/review_photos.py photos.db --open --port 9000

Open the link that is printed; `?` on the page lists the keys. Every decision is in the ledger at once, so the page, the
browser and this program may be closed or killed at any moment. A decision by hand stands above those of the filters.
The page is for this machine only, and asks for nothing on the internet.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from waterscape.errors import UserError, run_command
from waterscape.options import parse
from waterscape.pages.review.desk import Desk
from waterscape.pages.review.pictures import Pictures
from waterscape.pages.review.routes import routes
from waterscape.pages.serving import serve
from waterscape.sources.ledger import Ledger


@dataclass(frozen=True)
class Command:
    """Show a ledger's photos on a local page, to keep or reject them by hand."""

    ledger: tyro.conf.Positional[Path]
    """The ledger that fetch_photos.py made, such as photos.db."""
    port: int = 8765
    """Of 127.0.0.1; 0: any that is free."""
    open: bool = False
    """Open the browser too."""
    photos: tuple[Path, ...] = ()
    """Folders outside the ledger's own in which its photos and tiles lie; files elsewhere are not shown."""
    exact_coordinates: bool = False
    """Show places in full; else they are rounded to 0.1°."""


def main() -> int:
    """Run the command line."""
    command = parse(Command, sys.argv[1:], "review_photos.py")
    for folder in command.photos:
        if not folder.is_dir():
            raise UserError(f"--photos {folder}: there is no such folder")
    with Ledger(command.ledger) as ledger, Ledger(command.ledger) as writer:
        fetched = ledger.count()["fetched"]
        if not fetched:
            raise UserError(f"{command.ledger} has no photos that were fetched; tools/fetch_photos.py fetches them")
        print(f"{command.ledger}: {fetched} photos", flush=True)
        exact = command.exact_coordinates
        desk, pictures = Desk(ledger, writer, exact_coordinates=exact), Pictures(ledger, command.photos)
        page = routes(desk, pictures, exact_coordinates=exact)
        serve(page, command.port, open_browser=command.open, tell=lambda line: print(line, flush=True))
    return 0


if __name__ == "__main__":
    run_command(main)
