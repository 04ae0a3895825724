"""Shapes of known measure, laws of symmetry and scale, and agreement with what the synthetic world drew."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure

from waterscape.metrics.morphology import CLASSES, COLUMNS, LENGTHS, Thresholds, bodies, dominant, survey
from waterscape.sources.world import regions

SIDE = 256
HELD_OUT = 1009  # no threshold was set on this seed
Y, X = np.mgrid[:SIDE, :SIDE]


def only(water, **options):
    """The one row of a picture of one body, by column."""
    table = bodies(np.where(water, 100, 0).astype(np.uint8), **options)
    assert len(table) == 1
    return dict(zip(COLUMNS, table[0].tolist(), strict=True))


def name_of(row):
    return CLASSES[int(row["class"])]


def disc(radius, row=128.0, column=128.0):
    return np.hypot(Y - row, X - column) <= radius


def stroke(rows, columns, width):
    """Everything within half a width of a line."""
    line = np.ones((SIDE, SIDE), bool)
    inside = (rows >= 0) & (rows < SIDE) & (columns >= 0) & (columns < SIDE)
    line[rows[inside].astype(int), columns[inside].astype(int)] = False
    return ndimage.distance_transform_edt(line) <= width / 2


@pytest.mark.parametrize("radius", [8, 20, 60, 100])
def test_a_disc_is_a_lake_of_shoreline_development_one(radius):
    row = only(disc(radius))
    assert name_of(row) == "lake"
    assert row["area"] == pytest.approx(np.pi * radius**2, rel=0.03)
    assert row["perimeter"] == pytest.approx(2 * np.pi * radius, rel=0.04)
    assert row["shoreline_development"] == pytest.approx(1, abs=0.06 if radius < 10 else 0.03)
    assert row["elongation"] == pytest.approx(1, abs=0.02)
    assert row["solidity"] == pytest.approx(1, abs=0.6 / radius + 0.02)
    assert row["widest"] == pytest.approx(2 * radius, abs=2)
    assert (row["holes"], row["cut"], row["edge_contact"]) == (0, 0, 0)


def test_an_ellipse_is_as_elongated_as_it_was_drawn():
    assert only(np.hypot((Y - 128) / 30, (X - 128) / 90) <= 1)["elongation"] == pytest.approx(3, rel=0.02)


def test_a_ring_has_one_hole_and_both_its_shores():
    row = only(disc(60) & ~disc(30))
    assert row["holes"] == 1
    assert row["perimeter"] == pytest.approx(2 * np.pi * 90, rel=0.04)


def test_holes_are_counted_as_skimage_counts_them():
    for number in range(6):
        water = regions.tile(5, number).occurrence >= 20
        labels = survey(np.where(water, 100, 0).astype(np.uint8), thresholds=Thresholds(smallest_hole=1)).labels
        table = bodies(np.where(water, 100, 0).astype(np.uint8), thresholds=Thresholds(smallest_hole=1))
        expected = [1 - measure.euler_number(labels == body, connectivity=2) for body in range(1, len(table) + 1)]
        assert table[:, COLUMNS.index("holes")].tolist() == expected


def test_solidity_is_near_that_of_the_true_hull():
    compared = 0
    for number in range(8):
        seen = survey(regions.tile(6, number).occurrence)
        for region in measure.regionprops(seen.labels):
            if region.area >= 200:
                solidity = seen.table[region.label - 1, COLUMNS.index("solidity")]
                assert solidity == pytest.approx(region.solidity, abs=0.05)
                compared += 1
    assert compared >= 8


@pytest.mark.parametrize(("swing", "width"), [(0.6, 5), (1.1, 5), (1.5, 6)])
def test_sinuosity_of_a_meander_is_the_one_drawn(swing, width):
    """The sine-generated curve: sinuosity is 1 / J0(swing), the mean of the cosine of its heading."""
    along = np.arange(0, 4000) * 0.25
    heading = swing * np.sin(2 * np.pi * along / 110)
    columns, rows = np.cumsum(np.cos(heading)) * 0.25, 128 + np.cumsum(np.sin(heading)) * 0.25
    expected = 1 / np.cos(swing * np.sin(np.linspace(0, 2 * np.pi, 999))).mean()
    row = only(stroke(rows - rows.mean() + 128, columns, width))
    assert name_of(row) == "river"
    assert row["sinuosity"] == pytest.approx(expected, rel=0.1)
    assert row["mean_width"] == pytest.approx(width, rel=0.25)
    assert (row["cut"], row["edge_stretches"]) == (1, 2)


def test_a_straight_canal_is_a_river_of_sinuosity_one_whatever_its_bearing():
    for degrees in (0, 20, 45, 70, 90):
        angle = np.radians(degrees)
        water = np.abs((Y - 127.5) * np.cos(angle) - (X - 127.5) * np.sin(angle)) <= 4
        row = only(water)
        assert name_of(row) == "river"
        assert row["sinuosity"] == pytest.approx(1, abs=0.06)


def test_a_wide_river_that_crosses_the_tile_is_no_lake():
    assert name_of(only(np.abs(Y - 128) <= 25)) == "river"


def test_half_the_tile_is_a_coast_and_all_of_it_shows_nothing():
    row = only(X < 128)
    assert name_of(row) == "coast"
    assert row["perimeter"] == pytest.approx(256, rel=0.06)  # the tile's edge is no shore
    assert row["border_share"] == pytest.approx(0.5, abs=0.01)
    whole = only(np.ones((SIDE, SIDE), bool))
    assert name_of(whole) == "unclassifiable"
    assert whole["perimeter"] == 0


def test_many_lakes_are_a_lake_district_and_a_few_are_lakes():
    def lakes(count):
        water = np.zeros((SIDE, SIDE), bool)
        for number in range(count):
            water |= disc(8, 30 + 50 * (number // 5), 25 + 50 * (number % 5))
        return bodies(np.where(water, 100, 0).astype(np.uint8))

    assert CLASSES[dominant(lakes(20))] == "lake district"
    assert CLASSES[dominant(lakes(4))] == "lake"
    crowd_of_three = bodies(np.where(disc(8, 30) | disc(8, 100) | disc(8, 200), 100, 0).astype(np.uint8))
    assert CLASSES[dominant(crowd_of_three)] == "lake"


def test_what_is_seldom_wet_is_a_wetland():
    shallow = np.where(disc(50), 35, 0).astype(np.uint8)
    assert CLASSES[dominant(bodies(shallow))] == "wetland"
    assert CLASSES[dominant(bodies(shallow, thresholds=Thresholds(wet_seldom=30)))] == "lake"


def test_occurrence_falls_from_the_core_to_the_edge():
    cone = np.clip(100 - 1.3 * np.hypot(Y - 128, X - 128), 0, 100).astype(np.uint8)
    row = dict(zip(COLUMNS, bodies(cone)[0].tolist(), strict=True))
    shore = cone[(cone >= 20) & (ndimage.minimum_filter(cone, 3) < 20)]
    assert row["edge_occurrence"] == pytest.approx(shore.mean(), abs=1)
    assert row["mean_occurrence"] == pytest.approx(cone[cone >= 20].mean(), abs=0.01)
    assert row["occurrence_gradient"] == pytest.approx(row["core_occurrence"] - row["edge_occurrence"], abs=1e-3)
    assert row["core_occurrence"] > 60


def test_small_bodies_are_ignored_but_counted():
    water = disc(20, 60, 60)
    water[200, 200] = water[200:203, 20:23] = True
    seen = survey(np.where(water, 100, 0).astype(np.uint8))
    assert (len(seen.table), seen.ignored) == (1, 2)
    assert seen.labels[60, 60] == 1
    assert seen.labels[200, 200] == 0


def test_turning_and_mirroring_change_nothing():
    for number in range(12):
        occurrence = regions.tile(4, number).occurrence
        place = [COLUMNS.index(name) for name in ("row", "column")]
        expected = np.delete(bodies(occurrence), place, axis=1)
        for turns in range(4):
            for picture in (np.rot90(occurrence, turns), np.rot90(occurrence, turns).T):
                np.testing.assert_array_equal(np.delete(bodies(picture), place, axis=1), expected)


def test_metres_scale_areas_by_the_square_and_change_no_class():
    occurrence = regions.tile(4, 3).occurrence
    pixels, fine, coarse = bodies(occurrence), bodies(occurrence, 50.0), bodies(occurrence, 100.0)
    area, lengths = COLUMNS.index("area"), [COLUMNS.index(name) for name in LENGTHS]
    np.testing.assert_allclose(coarse[:, area], 4 * fine[:, area])
    np.testing.assert_allclose(fine[:, area], 2500 * pixels[:, area])
    np.testing.assert_allclose(coarse[:, lengths], 2 * fine[:, lengths], rtol=1e-6)
    rest = [place for place in range(len(COLUMNS)) if place not in (area, *lengths)]
    np.testing.assert_array_equal(coarse[:, rest], pixels[:, rest])


def test_a_row_says_where_its_body_is():
    seen = survey(regions.tile(4, 0).occurrence)
    rows, columns = seen.table[:, COLUMNS.index("row")].astype(int), seen.table[:, COLUMNS.index("column")].astype(int)
    assert len(seen.table) > 0
    np.testing.assert_array_equal(seen.labels[rows, columns], np.arange(1, len(seen.table) + 1))


@pytest.mark.parametrize("shape", [(128, 128), (180, 256), (1, 7), (0, 0), (2, 2)])
def test_tiles_of_any_size_give_a_table(shape):
    random = np.linspace(0, 100, shape[0] * shape[1]).astype(np.uint8).reshape(shape)
    for occurrence in (random, np.zeros(shape, np.uint8), np.full(shape, 100, np.uint8)):
        table = bodies(occurrence, thresholds=Thresholds(smallest=1))
        assert table.shape[1] == len(COLUMNS)
        assert table.dtype == np.float32
        assert np.isfinite(table).all()
        assert 0 <= dominant(table) < len(CLASSES)
    assert dominant(bodies(np.zeros(shape, np.uint8))) == CLASSES.index("unclassifiable")


@pytest.mark.parametrize(
    ("occurrence", "metres", "message"),
    [
        (np.zeros((4, 4), np.float32), None, "uint8"),
        (np.zeros((1, 4, 4), np.uint8), None, "H×W"),
        (np.full((4, 4), 255, np.uint8), None, "percent"),
        (np.zeros((4, 4), np.uint8), 0.0, "metres_per_pixel"),
    ],
)
def test_what_is_no_occurrence_tile_is_refused(occurrence, metres, message):
    with pytest.raises(ValueError, match=message):
        bodies(occurrence, metres)


@pytest.fixture(scope="module")
def agreement():
    """Counts of (drawn, named) over a held-out world: whole bodies, cut ones, and tiles by their largest kind."""
    whole, cut, tiles = Counter(), Counter(), Counter()
    for number in range(300):
        tile = regions.tile(HELD_OUT, number)
        seen = survey(tile.occurrence)
        drawn = Counter({"unclassifiable": 0})
        for body in tile.bodies():
            kind = "unclassifiable" if body.kind == "open water" else body.kind
            drawn[kind] += body.pixels
            row = seen.labels[body.row, body.column]
            assert row > 0
            (whole if body.whole else cut)[kind, CLASSES[int(seen.table[row - 1, 0])]] += 1
        tiles[drawn.most_common(1)[0][0], CLASSES[dominant(seen.table)]] += 1
    return {"whole bodies": whole, "cut bodies": cut, "tiles": tiles}


def confusion(counts):
    """A table for people: what was drawn, and what it was named."""
    lines = [f"{'drawn':>20}  " + " ".join(f"{name[:8]:>8}" for name in CLASSES)]
    for kind in CLASSES:
        row = [counts[kind, name] for name in CLASSES]
        if sum(row):
            lines.append(f"{kind:>20}  " + " ".join(f"{count:>8}" for count in row))
    return "\n".join(lines)


def shares(counts):
    """The share rightly named: of all, and of each kind."""
    right = {kind: counts[kind, kind] for kind in CLASSES}
    drawn = {kind: sum(counts[kind, name] for name in CLASSES) for kind in CLASSES}
    of_each = {kind: right[kind] / drawn[kind] for kind in CLASSES if drawn[kind]}
    return sum(right.values()) / sum(drawn.values()), of_each


@pytest.mark.parametrize(("what", "least_each"), [("whole bodies", 0.75), ("cut bodies", None), ("tiles", 0.85)])
@pytest.mark.long
def test_classes_agree_with_what_the_world_drew(agreement, what, least_each):
    counts = agreement[what]
    total, of_each = shares(counts)
    table = f"\n{what}: {total:.3f} of {counts.total()}\n{confusion(counts)}"
    assert total >= 0.9, table
    if least_each is not None:
        assert np.mean(list(of_each.values())) >= 0.9, table
        assert min(of_each.values()) >= least_each, table


@pytest.mark.long
def test_every_class_rules_some_tiles_of_the_world(agreement):
    named = Counter()
    for (_, name), count in agreement["tiles"].items():
        named[name] += count
    assert all(named[name] >= 0.03 * named.total() for name in CLASSES if name != "unclassifiable"), named


def test_real_tiles_are_named_as_the_eye_names_them(water_occurrence):
    expected = {
        "river": (104, 118, 12, 145, 16, 172, 183, 20, 235, 240, 243, 288, 30, 87),
        "lake": (138, 159, 285),
        "lake district": (198, 301, 59),
        "coast": (11, 239, 245),
        "unclassifiable": (215, 226, 74),
    }
    named = {number: CLASSES[dominant(bodies(water_occurrence(number)))] for row in expected.values() for number in row}
    assert named == {number: name for name, row in expected.items() for number in row}


@pytest.fixture
def water_occurrence(pytestconfig):
    """Real tiles by number, uint8 percent; skipped where the shared data are not there."""
    from PIL import Image

    folder = pytestconfig.rootpath.parent / "shared" / "data" / "water_occurrence"
    if not folder.is_dir():
        pytest.skip("../shared/data/water_occurrence is not here")
    return lambda number: np.asarray(Image.open(folder / f"occ_{number}.png"))
