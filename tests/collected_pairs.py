"""A small synthetic collection: a ledger, photos of several people, and satellite tiles of their places."""

from __future__ import annotations

import hashlib
import io

import numpy as np
from PIL import Image

from waterscape.sources.ledger import Decision, Ledger, Photo, Tile

OWNERS = ("7100200300", "7100200301", "7100200302", "-7100200303")  # distinct, so that a file can be searched for them


def jpeg(seed, side=64):
    """A smooth picture unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def stored(ledger, path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"file": ledger.name_of(path), "sha256": hashlib.sha256(content).hexdigest()}


def collect(root, photos=24, sources=("yandex",)):
    """`root/photos.db` with so many fetched photos, shared out among `OWNERS`, all kept but those that are told below.

    Of the first eight: 0 is not fetched, 1 could not be, 2 was rejected by a filter, 3 by hand, 4 by a filter but kept
    by hand, 5 has no tile, 6 has one that failed.
    """
    root.mkdir(parents=True, exist_ok=True)
    with Ledger(root / "photos.db", create=True) as ledger, ledger.transaction():
        for number in range(photos):
            owner = OWNERS[number % len(OWNERS)]
            key = ledger.key_of("vk", owner, f"{45600 + number}")
            place = {"latitude": 55.0 + 0.2 * (number // 5), "longitude": 37.0 + 0.3 * (number % 5)}
            url = f"https://pictures.example/{number}.jpg"
            licence = "© its author, by VK's terms"
            photo = Photo(key, "vk", owner, f"{45600 + number}", **place, taken=1.6e9, url=url, licence=licence)
            state = {0: "found", 1: "failed"}.get(number, "fetched")
            file = stored(ledger, root / "photos" / f"{key}.jpg", jpeg(number)) if state == "fetched" else {}
            told = {"reason": "404"} if state == "failed" else {"width": 64, "height": 64}
            ledger.add([Photo(**{**vars(photo), **told, "state": state, **file})])
            ledger.decide([Decision(key, "blur", "reject" if number in (2, 4) else "keep", 0.5, "sharpness 0.5")])
            if number in (3, 4):
                ledger.decide([Decision(key, "hand", "reject" if number == 3 else "keep", reason="a car")])
            for source in sources if number != 5 else ():
                tile = Tile(key, source, metres_per_pixel=2.5, licence="Yandex's terms", width=48, height=48)
                if number == 6:
                    ledger.put_tile(Tile(key, source, state="failed", reason="HTTP 404"))
                else:
                    path = root / "satellite" / source / f"{key}.jpg"
                    ledger.put_tile(Tile(**{**vars(tile), **stored(ledger, path, jpeg(1000 + number, 48))}))
    return root / "photos.db"


def keys_of(path, owner):
    """The names of an owner's photos."""
    with Ledger(path) as ledger:
        return [photo.key for photo in ledger.photos_of("vk", owner)]
