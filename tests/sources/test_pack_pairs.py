"""Packing photos with the satellite tiles of their places: joined by key or place, split by place, all counted."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import rasterio
from packed_photos import (
    by_source,
    checked,
    dropped,
    exif,
    hashes,
    packed,
    packed_by_program,
    picture,
    png_bomb,
    refused,
    samples,
    save,
)
from pyproj import Geod
from rasterio.transform import from_origin

from waterscape.data.batches import Batches
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.pairs import Joining, Pairs
from waterscape.sources.photo_set import Sharing

COUNT = 30


def place(number):
    """Degrees east and north, some 20 km apart."""
    return round(36 + 0.3 * (number % 6), 6), round(54 + 0.2 * (number // 6), 6)


def named(number, ending="jpg"):
    longitude, latitude = place(number)
    return f"{latitude},{longitude}.{ending}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Synthetic pairs, named by their places."""
    root = tmp_path_factory.mktemp("pairs")
    for number in range(COUNT):
        save(root / "photos" / named(number), picture(number))
        save(root / "satellite" / named(number, "png"), picture(100 + number, 64, 64))
    return root / "photos", root / "satellite"


def pack(folders, out, *, processes=1, **options):
    return making.pack(Pairs.find(*folders, out, Joining(**options)), out, processes=processes)


def test_pairs_are_joined_by_key_and_split_by_place(folders, tmp_path):
    out = tmp_path / "pairs"
    words = ("--photos", folders[0], "--satellite", folders[1], "--zoom", 15, "--out", out)
    foreseen = packed("pairs", *words, "--dry-run")
    told = packed_by_program("pairs", *words)
    facts = Manifest.load(out).facts
    for split, counts in facts["kept"].items():
        assert f"{f'would be packed, {split}':<56}{counts['']:9,}\n" in foreseen
    assert (facts["joined"], facts["read"], facts["dropped"]) == ("by key", COUNT, {})
    scale = facts["tiles"].pop("metres_per_pixel")
    assert facts["tiles"] == {"read": COUNT, "used": COUNT, "dropped": {}, "pixels": [64, 64]}
    assert facts["stored"] == {"photo stored as they are": COUNT, "tile PNG made JPEG": COUNT}
    found, scales = by_source(out), []
    for number in range(COUNT):
        values = found[named(number)]
        assert values["photo.jpg"] == (folders[0] / named(number)).read_bytes()
        where = values["json"]
        assert (where["longitude"], where["latitude"]) == place(number)
        assert where["metres_between"] == 0
        assert where["satellite"]["source"] == named(number, "png")
        metres = 2 * math.pi * 6_378_137 / 256 * math.cos(math.radians(place(number)[1])) / 2**15
        assert where["metres_per_pixel"] == pytest.approx([metres, metres], rel=1e-6)
        scales.append(metres)
    assert scale == pytest.approx(np.median(scales), abs=1e-4)
    assert "tiles read                                    30" in told
    assert "to the nearest training tile" in checked(out)


def test_training_reads_photo_and_tile_of_one_place(folders, tmp_path):
    pack(folders, tmp_path / "pairs")
    shards = ShardSet(tmp_path / "pairs", "train")
    sizes = {"photo.jpg": (60, 80), "satellite.jpg": (64, 64)}
    order = Order.sequential(shards.counts)
    with Batches(shards, [*sizes, "json"], pictures=sizes, batch=len(shards), order=order, stop=len(shards)) as batches:
        (loaded,) = list(batches)
    for row in range(len(shards)):
        source = shards.read(row)["json"]["source"]
        number = next(number for number in range(COUNT) if named(number) == source)
        for column, image in (("photo.jpg", picture(number)), ("satellite.jpg", picture(100 + number, 64, 64))):
            difference = np.abs(loaded.columns[column][row].numpy().astype(float) - np.asarray(image))
            assert difference.mean() < 6


def test_bytes_depend_on_neither_processes_nor_parts(folders, tmp_path):
    options = Joining(sharing=Sharing(samples_per_shard=8))
    expected = []
    for processes in (1, 2):
        out = tmp_path / str(processes) / "pairs"
        making.pack(Pairs.find(*folders, out, options), out, processes=processes)
        expected.append(hashes(out))
    out = tmp_path / "pairs"
    for part in (2, 1):
        making.pack_part(Pairs.find(*folders, out, options), out, part=part, parts=2)
    making.join(Pairs.find(*folders, out, options), out)
    assert hashes(out) == expected[0] == expected[1]


def moved(longitude, latitude, metres):
    east, north, _ = Geod(ellps="WGS84").fwd(longitude, latitude, 40, metres)
    return east, north


def test_pairs_are_joined_by_place_however_it_is_told(tmp_path):
    photos, tiles = tmp_path / "photos", tmp_path / "tiles"
    for number in range(8):  # places by EXIF, by a .json, by the name
        east, north = moved(*place(number), 40)
        if number % 3 == 0:
            save(photos / f"exif{number}.jpg", picture(number), exif=exif(place=(east, north)))
        elif number % 3 == 1:
            save(photos / f"told{number}.jpg", picture(number))
            told = {"longitude": east, "latitude": north, "owner": 17, "date": "2020-07-01"}
            (photos / f"told{number}.json").write_text(json.dumps(told))
        else:
            save(photos / f"{north:.7f},{east:.7f}.jpg", picture(number))
        longitude, latitude = place(number)
        if number % 2:
            save(tiles / named(number), picture(100 + number, 64, 64))
        else:
            side = 0.005
            tiles.mkdir(exist_ok=True)
            profile = {"width": 64, "height": 64, "count": 3, "dtype": "uint8", "crs": "EPSG:4326"}
            corner = from_origin(longitude - side / 2, latitude + side / 2, side / 64, side / 64)
            with rasterio.open(
                tiles / f"chip{number}.tif", "w", driver="GTiff", transform=corner, **profile
            ) as dataset:
                dataset.write(np.asarray(picture(100 + number, 64, 64)).transpose(2, 0, 1))
    save(photos / "second.jpg", picture(50), exif=exif(place=moved(*place(0), 90)))
    save(photos / "far.jpg", picture(51), exif=exif(place=moved(*place(0), 300)))
    save(photos / "nowhere.jpg", picture(52))
    save(tiles / "10.5,20.5.jpg", picture(53))
    save(tiles / "anywhere.jpg", picture(54))
    summary = pack((photos, tiles), tmp_path / "out")
    assert summary.manifest.facts["joined"] == "by coordinates"
    assert dropped(tmp_path / "out") == {
        "far.jpg": "without a partner",
        "nowhere.jpg": "no coordinates",
        "10.5,20.5.jpg": "without a partner",
        "anywhere.jpg": "no coordinates",
    }
    assert (summary.came_in, summary.kept) == (11, 9)
    assert summary.manifest.facts["tiles"]["used"] == 8
    found = by_source(tmp_path / "out")
    for source, values in found.items():
        where = values["json"]
        assert where["metres_between"] == pytest.approx(90 if source == "second.jpg" else 40, rel=0.01)
    assert found["second.jpg"]["json"]["satellite"]["source"] == "chip0.tif"
    east_west, north_south = found["exif0.jpg"]["json"]["metres_per_pixel"]
    assert north_south == pytest.approx(0.005 / 64 * 111_300, rel=0.01)
    assert east_west == pytest.approx(north_south * math.cos(math.radians(54)), rel=0.01)
    assert (found["told1.jpg"]["json"]["author"], found["told1.jpg"]["json"]["date"]) == ("17", "2020-07-01")
    farther = pack((photos, tiles), tmp_path / "farther", within_metres=400)
    assert farther.kept == 10


def test_bad_pictures_and_keys_are_named(folders, tmp_path):
    photos, tiles = (shutil.copytree(folder, tmp_path / folder.name) for folder in folders)
    save(photos / "more" / named(0), picture(60))
    save(tiles / named(1, "jpg"), picture(61))
    (photos / named(2)).unlink()
    (tiles / named(3, "png")).unlink()
    (photos / named(4)).write_bytes((photos / named(4)).read_bytes()[:500])
    (tiles / named(5, "png")).write_bytes(png_bomb(40_000, 40_000))
    (photos / "list.csv").write_text("a,b")
    (tiles / ".cache").mkdir()
    (tiles / ".cache" / "x.png").write_bytes(b"x")
    summary = pack((photos, tiles), tmp_path / "out")
    lines = (tmp_path / "out" / "dropped.tsv").read_text().splitlines()[1:]
    assert sorted(tuple(line.split("\t")[:2]) for line in lines) == sorted(
        [
            ("a key that stands twice", named(0)),
            ("a key that stands twice", f"more/{named(0)}"),
            ("without a partner", named(0, "png")),
            ("a key that stands twice", named(1, "jpg")),
            ("a key that stands twice", named(1, "png")),
            ("without a partner", named(1)),
            ("without a partner", named(2, "png")),
            ("without a partner", named(3)),
            ("damaged or cut short", named(4)),
            ("without a partner", named(4, "png")),
            ("too large", named(5, "png")),
            ("without a partner", named(5)),
            ("no picture by its name", "list.csv"),
            ("no picture by its name", ".cache/x.png"),
        ]
    )
    assert (summary.came_in, summary.kept) == (COUNT + 1, COUNT - 6)
    assert summary.manifest.facts["tiles"]["read"] == COUNT + 1
    assert sum(summary.dropped.values()) == 7
    assert sum(summary.manifest.facts["tiles"]["dropped"].values()) == 7


def test_pairs_without_places_need_another_split(tmp_path):
    for number in range(10):
        save(tmp_path / "photos" / f"{number}.jpg", picture(number))
        save(tmp_path / "tiles" / f"{number}.jpg", picture(100 + number))
    folders = tmp_path / "photos", tmp_path / "tiles"
    with pytest.raises(UserError, match=r"10 of 10 pairs have no coordinates, such as 0.jpg: say --split tile"):
        pack(folders, tmp_path / "out")
    summary = pack(folders, tmp_path / "out", split="tile")
    assert summary.kept == 10
    assert all(values["json"]["metres_between"] is None for values in samples(tmp_path / "out").values())


def test_no_block_of_ground_is_torn_and_equal_tiles_are_told(folders, tmp_path):
    photos, tiles = (shutil.copytree(folder, tmp_path / folder.name) for folder in folders)
    for number in range(3):
        shutil.copy(tiles / named(9, "png"), tiles / named(number, "png"))
    told = pack((photos, tiles), tmp_path / "out", block_km=50)
    splits = {}
    for (split, _), values in samples(tmp_path / "out").items():
        assert splits.setdefault(values["json"]["group"], split) == split
    assert 3 < len(splits) < COUNT
    assert any(note.startswith("4 tiles are the same file as") for note in told.notes)


def test_tiles_of_another_size_are_told_or_dropped(folders, tmp_path):
    photos, tiles = folders[0], shutil.copytree(folders[1], tmp_path / "tiles")
    save(tiles / named(3, "png"), picture(3, 64, 70))
    loose = pack((photos, tiles), tmp_path / "loose")
    assert loose.kept == COUNT
    assert any(note.startswith(f"1 tiles are not 64 × 64 pixels, such as {named(3, 'png')}") for note in loose.notes)
    strict = pack((photos, tiles), tmp_path / "strict", tile_size=64)
    assert strict.manifest.facts["tiles"]["dropped"] == {"a tile of another size": 1}
    assert strict.dropped == {"without a partner": 1}
    assert not any("pixels" in note for note in strict.notes)


def test_mistakes_are_told_in_a_line(folders, tmp_path):
    photos, tiles = folders
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    line = refused("pairs", "--photos", photos, "--satellite", tmp_path / "empty", "--out", out)
    assert line.endswith("empty is empty: give a folder of pictures")
    for words, options, told in (
        ((photos, photos), {}, "lie in one another"),
        ((photos, tmp_path / "nowhere"), {}, "does not exist"),
        ((photos, tiles / named(0, "png")), {}, "is no folder"),
        ((photos, tiles), {"within_metres": -1.0}, "0 or more"),
        ((photos, tiles), {"zoom": 99}, "0 to 25"),
    ):
        with pytest.raises(UserError, match=told):
            pack(words, out, **options)
    save(tmp_path / "other" / "1,1.png", picture(1))
    with pytest.raises(UserError, match=r"no pair is left, joined by coordinates: of 30 photos 30 without a partner"):
        pack((photos, tmp_path / "other"), out)
    with pytest.raises(UserError, match=r"no pair is left, joined by key: .* such as 1,1.png"):
        pack((photos, tmp_path / "other"), out, by="key")
    assert not out.exists()


def test_real_photos_find_their_places(real_data, tmp_path):
    """Nine photos with GPS, joined with synthetic tiles some 30 m beside them."""
    photos = real_data / "exif_gps"
    places = {}
    pack((photos, shutil.copytree(photos, tmp_path / "same")), tmp_path / "known", by="key", block_km=0.2)
    for source, values in by_source(tmp_path / "known").items():
        places[source] = (values["json"]["longitude"], values["json"]["latitude"])
        assert values["photo.jpg"] == (photos / source).read_bytes()
    assert len(places) == 9
    for number, (longitude, latitude) in enumerate(places.values()):
        assert 11.87 < longitude < 11.9
        assert 43.45 < latitude < 43.48
        east, north = moved(longitude, latitude, 30)
        save(tmp_path / "tiles" / f"{north:.7f},{east:.7f}.png", picture(number))
    summary = pack((photos, tmp_path / "tiles"), tmp_path / "out", within_metres=31, block_km=0.2)
    assert summary.kept == 9
    assert "exif_gps" in checked(tmp_path / "out")
