"""What `waterscape shards info` tells and draws, against sets whose answers are known."""

import numpy as np
import pytest
from PIL import Image
from pyproj import Geod

from waterscape.data.leakage import nearest_km, split_at_random, unit_vectors
from waterscape.data.pack import SetWriter
from waterscape.data.survey import survey
from waterscape.pages.shards import describe, draw
from waterscape.pages.shards_verbs import dispatch


@pytest.fixture
def placed(tmp_path):
    """Training tiles around the antimeridian; test tiles one degree of longitude away, on the equator, at 2 places."""
    facts = {"synthetic": True, "classes": ["lake", "river"], "dropped": {"all water": 3, "seam": 2}}
    with SetWriter(tmp_path / "water", facts=facts, samples_per_shard=8) as writer:
        for number in range(40):
            split = "test" if number % 10 == 9 else "train"
            longitude = {"train": 179.5 if number % 2 else -150.0, "test": -179.5}[split]
            place = {"longitude": longitude, "latitude": 0.0, "region": f"r{number % 3}"}
            values = {
                "occurrence.npy": np.full((40, 40), number, np.uint8),
                "shape.npy": np.array(number % 2, np.uint8),
            }
            writer.add(split, {**values, "json": place if number else {"longitude": None, "latitude": "north"}})
    return tmp_path / "water"


def test_great_circles_agree_with_those_of_pyproj():
    random = np.random.default_rng(0)
    longitude, latitude = random.uniform(-180, 180, (2, 60)), random.uniform(-90, 90, (2, 60))
    found = nearest_km(unit_vectors(longitude[0], latitude[0]), unit_vectors(longitude[1], latitude[1]))
    sphere = Geod(a=6371008.8, b=6371008.8)
    for place in range(60):
        pairs = [np.full(60, values[0, place]) for values in (longitude, latitude)]
        expected = sphere.inv(*pairs, longitude[1], latitude[1])[2]
        assert found[place] == pytest.approx(min(expected) / 1000, rel=1e-9, abs=1e-6)
    assert np.isinf(nearest_km(unit_vectors(longitude[0], latitude[0]), np.empty((0, 3)))).all()


def test_a_random_split_keeps_the_counts():
    splits = np.repeat([0, 1, 2], [80, 15, 5])
    dealt = split_at_random(splits)
    assert np.bincount(dealt).tolist() == [80, 15, 5]
    assert (dealt != splits).any()


def test_the_text_tells_counts_classes_regions_leakage_and_drops(placed):
    text = describe(survey(placed), near_km=112)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0].startswith("water: SYNTHETIC, 40 samples in 6 shards")
    assert "test 4 10.0 % 1" in text.replace("  ", " ") or any(line.startswith("test 4 10.0 % 1 ") for line in lines)
    assert "occurrence.npy |u1 40 × 40, 1600 bytes" in lines
    assert "lake 0 0.0 % 20 55.6 %" in lines
    assert "river 4 100.0 % 16 44.4 %" in lines
    assert "r1, lake 6 46.2 %" in lines
    one_degree = 2 * np.pi * 6371.0088 / 360
    assert f"test, as split {one_degree:.1f} km {one_degree:.1f} km 100.0 %" in lines
    assert any(line.startswith("test, if split at random") for line in lines)
    assert "1 samples do not say where they lie" in lines
    assert "dropped when packing 5" in lines
    assert "test, as split 111.2 km 111.2 km 0.0 %" in [
        " ".join(line.split()) for line in describe(survey(placed), near_km=111).splitlines()
    ]


def test_the_share_that_a_random_split_would_leak_is_counted(tmp_path):
    """Pairs of tiles 11 km apart, each pair far from all others: a test tile is near where its partner is trained on.

    Split by pairs none is. Dealt out at random, the partner of one of 120 test tiles is one of the 480 to train on
    among the 599 others: 80.1 % are near, give or take what chance does (four standard deviations).
    """
    with SetWriter(tmp_path / "pairs", facts={"synthetic": True}) as writer:
        for number in range(600):
            pair, half = divmod(number, 2)
            place = {"longitude": -150.0 + 10 * (pair % 30) + 0.1 * half, "latitude": -45.0 + 9 * (pair // 30)}
            writer.add("test" if pair % 5 == 4 else "train", {"json": place})
    surveyed = survey(tmp_path / "pairs")
    lines = [" ".join(line.split()) for line in describe(surveyed, near_km=50).splitlines()]
    (as_split,) = [line for line in lines if line.startswith("test, as split")]
    (at_random,) = [line for line in lines if line.startswith("test, if split at random")]
    assert as_split.endswith(" 0.0 %")
    share = float(at_random.split()[-2]) / 100
    expected = 480 / 599
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 120)

    pairs = np.round(surveyed.longitude + 150, -1) * 100 + surveyed.latitude  # one number for both tiles of a pair
    test = surveyed.manifest.splits.index("test")
    dealt = split_at_random(surveyed.splits)
    near = [(dealt[pairs == pair] != test).any() for pair in pairs[dealt == test]]
    assert share == round(sum(near) / 120, 3), "counted pair by pair"


def test_sheet_and_map_are_drawn_and_called_synthetic(placed, tmp_path):
    written = draw(survey(placed), placed, tmp_path / "look")
    assert [path.name for path in written] == ["contact.png", "map.png"]
    for path in written:
        with Image.open(path) as image:
            assert image.text["synthetic"] == "true"
            pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert len(np.unique(pixels, axis=0)) > 20
    red, blue = pixels[:, 0].astype(int), pixels[:, 2].astype(int)
    assert (blue - red > 60).sum() > 20  # training tiles
    assert (red - blue > 60).sum() > 20  # test tiles


def test_photos_are_shown_and_damaged_ones_passed_over(tmp_path, real_data):
    photos = sorted((real_data / "scenes").rglob("*.jpg"))[:3]
    with SetWriter(tmp_path / "photos", facts={}) as writer:
        for content in (*(photo.read_bytes() for photo in photos), b"\xff\xd8 none"):
            writer.add("train", {"jpg": content})
    (contact,) = draw(survey(tmp_path / "photos"), tmp_path / "photos", tmp_path / "look")
    with Image.open(contact) as image:
        assert image.width > 3 * 128
        assert image.text["synthetic"] == "false"


def test_the_verb(placed, tmp_path, capsys):
    assert dispatch(["info", str(placed), "--out", str(tmp_path / "look")]) == 0
    assert "SYNTHETIC" in capsys.readouterr().out
    assert (tmp_path / "look" / "map.png").exists()
