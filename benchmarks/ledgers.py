"""A large synthetic ledger: what the tools that collect photos open when a collection has grown."""

from __future__ import annotations

from pathlib import Path

from waterscape.sources.ledger import Decision, Ledger, Photo, Request, Tile

FILTERS = ("blur", "coordinates", "daytime", "exposure", "season")


def write_ledger(path: Path, photos: int) -> Path:
    """A ledger of fetched photos, each with a tile and a filter's decisions; the files themselves are not there."""
    with Ledger(path, create=True) as ledger, ledger.transaction():
        for number in range(photos):
            owner = f"{9_000_000 + number // 7}"
            key = ledger.key_of("vk", owner, f"{number}")
            place = (50 + 10 * (number % 997) / 997, 30 + 20 * (number % 1009) / 1009)
            url = f"https://sun9.example/{number}.jpg"
            state = "found" if number % 20 == 0 else "fetched"
            file = {} if state == "found" else {"file": f"photos/{key}.jpg", "sha256": f"{number:064x}"}
            licence = "© its author, by VK's terms"
            ledger.add(
                [Photo(key, "vk", owner, f"{number}", *place, 1.6e9 + number, url, 1280, 960, licence, state, **file)]
            )
            verdict = "reject" if number % 3 == 0 else "keep"
            ledger.decide(Decision(key, by, verdict if by == "blur" else "keep", 0.5, "blurred") for by in FILTERS)
            if number % 50:
                tile = f"satellite/{key}.jpg"
                ledger.put_tile(Tile(key, "yandex", file=tile, sha256=f"{number:064x}", metres_per_pixel=2.7))
            if number % 1000 == 0:
                ledger.answered(Request(f"{number}", f"cell {number}", 1000, 1000))
    return path
