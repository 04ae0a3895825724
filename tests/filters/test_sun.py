"""The sun's altitude against published values, an almanac and what must hold by symmetry."""

from datetime import UTC, datetime

import pytest
from PIL import Image

from waterscape.filters.sun import altitude
from waterscape.sources.photo_facts import facts_of

GPS, TIME, DATE = 0x8825, 7, 29  # Exif 2.32, table 15: UTC, by the satellites


def at(*moment):
    return datetime(*moment, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("latitude", "longitude", "moment", "degrees", "within"),
    [
        # Reda and Andreas 2004 (NREL/TP-560-34302), table A5.1: elevation without refraction
        (39.742476, -105.1786, (2003, 10, 17, 19, 30, 30), 39.872046, 0.01),
        # the solstice at the tropic, as the sun passes the meridian: overhead
        (23.4368, 0.0, (2021, 6, 21, 12, 1, 55), 90.0, 0.1),
        # sunrise and sunset are at -0.833 degrees (upper limb, refraction): Moscow, 22 June 2021, 3:44 and 21:18
        (55.7558, 37.6173, (2021, 6, 22, 0, 44, 0), -0.833, 0.2),
        (55.7558, 37.6173, (2021, 6, 22, 18, 18, 0), -0.833, 0.2),
        # at the poles it is the declination, whatever the hour; midnight sun and polar night
        (90.0, 0.0, (2021, 6, 21, 3, 32, 0), 23.436, 0.01),
        (-90.0, 77.0, (2021, 6, 21, 15, 0, 0), -23.436, 0.01),
    ],
)
def test_published_values(latitude, longitude, moment, degrees, within):
    assert altitude(latitude, longitude, at(*moment)) == pytest.approx(degrees, abs=within)


def test_a_day_goes_around_the_earth():
    moment = at(2022, 3, 5, 7)
    for hours in range(24):  # 15 degrees west, an hour later: the same, but for the little that the year goes on
        assert altitude(48, 20 - 15 * hours, moment + 3600 * hours) == pytest.approx(altitude(48, 20, moment), abs=0.5)
    assert altitude(10, 180, moment) == pytest.approx(altitude(10, -180, moment), abs=1e-9)
    assert altitude(30, 5, moment) == pytest.approx(-altitude(-30, -175, moment), abs=1e-9)  # the antipodes


def test_real_photos_of_an_afternoon_were_taken_in_the_light_of_a_sinking_sun(real_data):
    found = []
    for path in sorted((real_data / "exif_gps").glob("*.jpg")):
        exif = Image.open(path).getexif()
        gps, place = exif.get_ifd(GPS), facts_of(path, exif)
        day = [int(part) for part in gps[DATE].split(":")]
        moment = at(*day, *(int(part) for part in gps[TIME]))
        found.append((moment, altitude(place["latitude"], place["longitude"], moment)))
    degrees = [height for _, height in sorted(found)]
    assert len(degrees) == 9
    assert degrees == sorted(degrees, reverse=True)
    assert 10 < degrees[-1] < degrees[0] < 25  # Arezzo, 22 October, 14:27 to 15:00 UTC
