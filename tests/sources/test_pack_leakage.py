"""Tiles split by place and tile by tile, packed by the tool: the share of near test tiles that `info` then tells."""

import contextlib
import io
import math

import pytest
from exports_in_degrees import write_region
from packed_photos import packed, samples

from waterscape.pages.shards_verbs import dispatch

NEAR_KM = 20
SIDE = 64  # pixels, 6.4 km from south to north


@pytest.fixture(scope="module")
def country(tmp_path_factory):
    """Four tiles at each of 24 places, a place at least 200 km from any other."""
    folder = tmp_path_factory.mktemp("country")
    for number in range(24):
        longitude, latitude = 10 + 5 * (number % 6), 48 + 3 * (number // 6)
        write_region(folder, f"place{number}", longitude, latitude, 2, 2, SIDE)
    return folder


def great_circle_km(one, other):
    """The haversine formula."""
    (east, north), (east2, north2) = ([math.radians(degrees) for degrees in place] for place in (one, other))
    half = math.sin((north2 - north) / 2) ** 2
    half += math.cos(north) * math.cos(north2) * math.sin((east2 - east) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(half))


def told_by_info(out):
    """Split and way → nearest and median distance in km, percent nearer than `NEAR_KM`; as text."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert dispatch(["info", str(out), "--near-km", str(NEAR_KM)]) == 0
    rows = [line.split() for line in text.getvalue().splitlines() if ", as split" in line or ", if split" in line]
    return {" ".join(row[:-6]): (row[-6], row[-4], row[-2]) for row in rows}


def counted(out, split):
    """The same for a split as it lies in the tars, each test tile held against each training tile."""
    places = {name: [] for name in ("train", "valid", "test")}
    for (name, _), values in samples(out).items():
        places[name].append((values["json"]["longitude"], values["json"]["latitude"]))
    nearest = sorted(min(great_circle_km(place, other) for other in places["train"]) for place in places[split])
    middle = (nearest[(len(nearest) - 1) // 2] + nearest[len(nearest) // 2]) / 2
    share = 100 * sum(distance < NEAR_KM for distance in nearest) / len(nearest)
    return f"{nearest[0]:.1f}", f"{middle:.1f}", f"{share:.1f}"


def test_info_tells_the_share_of_near_test_tiles_for_both_ways_of_packing(country, tmp_path):
    words = [country, "--tile-size", SIDE, "--shares", "0.5,0.2,0.3"]
    packed("occurrence", *words, "--out", tmp_path / "place", "--block-km", 100)
    packed("occurrence", *words, "--out", tmp_path / "random", "--split", "random")
    by_place, at_random = told_by_info(tmp_path / "place"), told_by_info(tmp_path / "random")
    for split in ("valid", "test"):
        assert by_place[f"{split}, as split"] == counted(tmp_path / "place", split)
        assert at_random[f"{split}, as split"] == counted(tmp_path / "random", split)
    # By place the next training tile is at another place; else one of three neighbours is mostly trained on (7 of 8).
    assert float(by_place["test, as split"][2]) < 20
    assert float(at_random["test, as split"][2]) > 60
    assert float(by_place["test, if split at random"][2]) > 60
