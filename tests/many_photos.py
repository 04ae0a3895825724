"""A ledger of synthetic photos for tests of the page: painted landscapes, places, what filters said, tiles."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from waterscape.filters.sun import altitude
from waterscape.sources.ledger import Decision, Ledger, Photo, Tile

OWNER = 736251899  # a number that is nowhere on a page
EXIF_WORDS = "synthetic camera of somebody"


def paint(path, seed, size=(720, 480)):
    """A synthetic landscape: sky, hills, water, and its number in large digits. It carries EXIF, with a place."""
    random = np.random.default_rng(seed)
    width, height = size if seed % 5 else size[::-1]
    picture = Image.new("RGB", (width, height))
    brush = ImageDraw.Draw(picture)
    sky, land, water = (
        np.array(colour) + random.integers(-40, 40, 3) for colour in ((150, 185, 220), (90, 130, 70), (50, 105, 160))
    )
    for row in range(height):
        brush.line((0, row, width, row), fill=tuple(int(c) for c in np.clip(sky + 70 * row / height, 0, 255)))
    ridge = 0.5 * height + np.cumsum(random.normal(0, 0.012 * height, 41))
    points = [(width * i / 40, y) for i, y in enumerate(ridge)]
    brush.polygon([*points, (width, height), (0, height)], fill=tuple(int(c) for c in np.clip(land, 0, 255)))
    shore = 0.72 * height + np.cumsum(random.normal(0, 0.008 * height, 41))
    points = [(width * i / 40, y) for i, y in enumerate(shore)]
    brush.polygon([*points, (width, height), (0, height)], fill=tuple(int(c) for c in np.clip(water, 0, 255)))
    brush.text((20, 10), f"synthetic {seed}", fill="white", font_size=height // 16)
    exif = Image.Exif()
    exif[0x010F] = EXIF_WORDS
    picture.save(path, quality=88, exif=exif)


def write_ledger(folder, photos=60, pictures=12, seed=0):
    """`folder`/photos.db with so many photos around two lakes, of so many different pictures; returns its path."""
    random = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True)
    (folder / "satellite").mkdir()
    for number in range(pictures):
        paint(folder / f"photos/painted-{number}.jpg", number)
    for number in range(4):
        noise = random.integers(60, 200, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((450, 450), Image.Resampling.BICUBIC).save(folder / f"satellite/{number}.png")
    with Ledger(folder / "photos.db", create=True) as ledger, ledger.transaction():
        for number in range(photos):
            key = ledger.key_of("vk", str(OWNER), str(number))
            centre, spread = ((54.8, 38.2), 0.7) if number % 3 else ((57.5, 40.1), 0.35)
            latitude, longitude = np.array(centre) + random.normal(0, spread, 2)
            facts = {"owner": OWNER, "text": f"photo{OWNER}_{number}"}
            url = f"https://sun9-1.example.org/{OWNER}/{number}.jpg"
            row = Photo(
                *(
                    key,
                    "vk",
                    str(OWNER),
                    str(number),
                    float(latitude),
                    float(longitude),
                    1.6e9 + 9e4 * number + 17,
                    url,
                ),
                *(720, 480, "© its author, by VK's terms", "fetched", "", f"photos/painted-{number % pictures}.jpg"),
                facts=facts,
            )
            ledger.add([row])
            ledger.decide([*filters_say(key, random), daytime_of(row)])
            if number % 2:
                tile = f"satellite/{number % 4}.png"
                ledger.put_tile(Tile(key, "yandex", file=tile, width=450, height=450, metres_per_pixel=2.7))
    return folder / "photos.db"


def daytime_of(photo):
    """What the daytime filter thought before it rounded: a score that, with the time, tells the place."""
    return Decision(photo.key, "daytime", "keep", round(altitude(photo.latitude, photo.longitude, photo.taken), 4), "")


def filters_say(key, random):
    """What the filters think of a photo, drawn by chance."""
    blur, persons, scene = random.random(3)
    return [
        Decision(key, "blur", "reject" if blur < 0.15 else "keep", float(blur), "blurred" if blur < 0.15 else "sharp"),
        Decision(
            key,
            "persons",
            "reject" if persons > 0.85 else "keep",
            float(persons),
            "2 persons" if persons > 0.85 else "",
        ),
        Decision(key, "scenes", "reject" if scene < 0.1 else "keep", float(scene), "street" if scene < 0.1 else "lake"),
    ]
