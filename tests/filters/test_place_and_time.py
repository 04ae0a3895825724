"""Coordinates, season and daytime: by cases that anyone can check."""

import json
import math
from datetime import UTC, datetime

import pytest

from waterscape.errors import UserError
from waterscape.filters import coordinates
from waterscape.filters.coordinates import Coordinates
from waterscape.filters.daytime import Daytime
from waterscape.filters.season import Season, months_of
from waterscape.filters.seen import Seen
from waterscape.sources.ledger import Photo


def seen(latitude=55.0, longitude=37.0, taken=0.0):
    return Seen(Photo("vk-1", "vk", "7", "1", latitude, longitude, taken), None)


def at(*moment):
    return datetime(*moment, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("latitude", "longitude", "reason"),
    [
        (55.0, 37.0, ""),
        (0.0, 37.0, ""),
        (-90.0, 180.0, ""),
        (None, 37.0, "no coordinates"),
        (55.0, None, "no coordinates"),
        (math.nan, 37.0, "impossible coordinates"),
        (55.0, math.inf, "impossible coordinates"),
        (91.0, 37.0, "impossible coordinates"),
        (37.0, 200.0, "impossible coordinates"),
        (0.0, -0.0, "coordinates 0, 0"),
    ],
)
def test_coordinates(latitude, longitude, reason):
    opinion = Coordinates().judge(seen(latitude, longitude))
    assert (opinion.keep, opinion.reason) == (not reason, reason)


def test_an_area_over_the_antimeridian(tmp_path):
    ring = [[178, 50], [182, 50], [182, 52], [178, 52], [178, 50]]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    one = Coordinates(path)
    one.check()
    places = {(51, 179): True, (51, -179): True, (50, 180): True, (51, -177): False, (53, 179): False}
    assert {place: one.judge(seen(*place)).keep for place in places} == places
    assert one.digest != Coordinates().digest
    ring[0] = ring[-1] = [177, 50]
    late = Coordinates(path)
    before = late.digest
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    assert Coordinates(path).digest != before, "the settings are what the file says, not its name"
    assert one.digest == late.digest == before
    assert not one.judge(seen(51, 177.9)).keep, "the area is the one that was hashed"
    coordinates._shape.cache_clear()  # as in another process
    with pytest.raises(UserError, match="was changed while photos were judged"):
        one.judge(seen(51, 177.9))


@pytest.mark.parametrize(
    ("text", "months"), [("5-9", (5, 6, 7, 8, 9)), ("11-2", (1, 2, 11, 12)), ("3", (3,)), ("1, 4,5-6", (1, 4, 5, 6))]
)
def test_months_as_people_write_them(text, months):
    assert months_of(text) == months


@pytest.mark.parametrize("text", ["", "0", "13", "May", "5-", "-5", "5-9-2", "1.5"])
def test_what_are_no_months(text):
    with pytest.raises(UserError, match="--months"):
        months_of(text)


@pytest.mark.parametrize(
    ("latitude", "longitude", "moment", "northern"),
    [
        (55, 37, (2021, 7, 15), 7),
        (-35, 149, (2021, 1, 15), 7),
        (-35, 149, (2021, 7, 15), 1),
        (-35, 149, (2021, 12, 15), 6),
        (55, 170, (2021, 4, 30, 20), 5),  # by the sun's time it is May there
        (55, -150, (2021, 5, 1, 5), 4),
        (0, 10, (2021, 2, 10), 2),
    ],
)
def test_seasons(latitude, longitude, moment, northern):
    opinion = Season((northern,)).judge(seen(latitude, longitude, at(*moment)))
    assert opinion.keep, opinion
    assert opinion.score == northern
    others = tuple(month for month in range(1, 13) if month != northern)
    assert Season(others).judge(seen(latitude, longitude, at(*moment))).reason == "another season"


@pytest.mark.parametrize("one", [Season((5, 6)), Daytime()])
def test_without_a_date_or_a_place_nothing_is_guessed(one):
    for taken in (None, math.nan, math.inf, 1e18, -1e18):
        assert one.judge(seen(taken=taken)).reason == "no date"
    assert "no place" in one.judge(seen(latitude=None)).reason
    assert "no place" in one.judge(seen(latitude=math.nan)).reason


def test_daytime():
    noon, midnight = at(2021, 6, 21, 9, 30), at(2021, 6, 21, 21, 30)
    assert Daytime().judge(seen(taken=noon)).score == 58  # of 90 - 55 + 23.44: decimals would tell the place
    assert Daytime().judge(seen(taken=midnight)).reason == "the sun too low"
    assert Daytime(-12).judge(seen(taken=midnight)).keep  # a white night
    assert Daytime(-12).digest != Daytime().digest
