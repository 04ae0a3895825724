"""A scene in parts: equal to one whole pass, whatever the parts, tiles and threads; nodata where not all is seen."""

import numpy as np
import pytest
import small_scenes
import torch
from scipy import ndimage

from waterscape.nn.pixel_network import MARGIN, PixelNetwork
from waterscape.rasters import windows
from waterscape.rasters.segment import SPARSE, STEPS, probability, rounded, segment_scene
from waterscape.rasters.unfinished import Unfinished
from waterscape.sources.landsat.bands import MARGIN as LINE
from waterscape.sources.landsat.bands import band_stack
from waterscape.sources.landsat.scene import open_scene

HEIGHT, WIDTH = 203, 151
HOLE = (slice(60, 67), slice(100, 130))


def network_segment(seed=0, dtype=torch.float32):
    """A segment function of random weights, sharp enough that probabilities are of all sizes."""
    torch.manual_seed(seed)
    network = PixelNetwork().to(dtype)
    with torch.no_grad():
        network.last.weight *= 20

    def segment(bands):
        found = np.full(bands.shape[:2], np.nan, np.float32)
        with torch.inference_mode():
            scores = network(torch.from_numpy(bands).permute(2, 0, 1)[None].to(dtype))
        found[MARGIN:-MARGIN, MARGIN:-MARGIN] = scores.softmax(1)[0, 0].float().numpy()  # NaN spreads by itself
        return found

    return segment


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return open_scene(small_scenes.write_scene(path, HEIGHT, WIDTH, hole=HOLE))


@pytest.fixture(scope="module")
def whole(scene):
    """One pass over all of it, in float64."""
    return network_segment(dtype=torch.float64)(band_stack(*scene.read(scene.whole)))


def computed(scene, out, parts, threads=1):
    with Unfinished(out, {}, scene.shape, parts, anew=False) as work:
        segment_scene(scene, network_segment(), MARGIN, work, threads)
        return work.rows(0, scene.shape[0]), work.raw.read_bytes()


@pytest.mark.parametrize(("tall", "wide", "threads"), [(203, 151, 1), (64, 64, 2), (1, 151, 3), (50, 7, 2)])
def test_parts_make_up_the_whole(scene, whole, tmp_path, tall, wide, threads):
    parts = windows.split(*scene.shape, tall, wide)
    found, _ = computed(scene, tmp_path / "water.tif", parts, threads)
    assert np.array_equal(np.isnan(found), np.isnan(whole))
    np.testing.assert_allclose(found, whole, atol=1e-6, rtol=0)
    differ = (found > 0.5) != (whole > 0.5)
    assert (np.abs(whole[differ] - 0.5) <= 1e-6).all()


@pytest.mark.parametrize("tile", [1, 33, 192])
def test_tiles_make_up_a_part(scene, whole, tile):
    part = (41, 3, 40, 120) if tile > 1 else (55, 95, 9, 11)
    row, column, height, width = part
    found = probability(scene, part, network_segment(), MARGIN, tile=tile)
    np.testing.assert_allclose(found, whole[row : row + height, column : column + width], atol=1e-6, rtol=0)


def test_known_is_what_has_all_around_it(scene, whole):
    given = np.ones(scene.shape, bool)
    given[HOLE] = False
    # the network sees 7 × 7 pixels, each of which sees the ends of its four lines
    line = np.zeros((2 * LINE + 1,) * 2, bool)
    line[::LINE, ::LINE] = True
    seen = ndimage.binary_erosion(given, line, border_value=0)
    seen = ndimage.binary_erosion(seen, np.ones((2 * MARGIN + 1,) * 2), border_value=0)
    assert np.array_equal(~np.isnan(whole), seen)
    assert np.isnan(whole[: LINE + MARGIN]).all()
    assert not np.isnan(whole[LINE + MARGIN, LINE + MARGIN : -LINE - MARGIN]).any()


def test_the_same_bytes_with_any_number_of_threads(scene, tmp_path):
    parts = windows.split(*scene.shape, 64, 64)
    made = [computed(scene, tmp_path / f"{threads}.tif", parts, threads)[1] for threads in (1, 2, 5)]
    assert made[0] == made[1] == made[2]


def test_threads_are_given_back(scene, tmp_path):
    before = torch.get_num_threads()
    computed(scene, tmp_path / "water.tif", windows.split(*scene.shape, 64, 64), 3)
    assert torch.get_num_threads() == before


def test_where_nothing_is_known_the_network_is_not_asked(tmp_path):
    path = small_scenes.write_scene(tmp_path / "scene.tif", 100, 500, hole=(slice(None), slice(150, None)))
    asked = []

    def segment(bands):
        asked.append(bands.shape)
        return network_segment()(bands)

    probability(open_scene(path), (0, 0, 100, 500), segment, MARGIN, tile=100)
    assert len(asked) == 2


def test_a_small_known_patch_is_found(tmp_path):
    """Between the pixels that are looked at first, there is just enough of it for a pixel to be known."""
    side = 2 * (LINE + MARGIN) + 1
    assert side < SPARSE
    nodata = np.ones((100, 100), bool)
    nodata[SPARSE + 1 : SPARSE + 1 + side, SPARSE + 1 : SPARSE + 1 + side] = False
    scene = open_scene(small_scenes.write_scene(tmp_path / "scene.tif", 100, 100, hole=(nodata,)))
    found = probability(scene, (0, 0, 100, 100), network_segment(), MARGIN, tile=100)
    middle = SPARSE + 1 + side // 2
    assert np.argwhere(~np.isnan(found)).tolist() == [[middle, middle]]


def test_what_fails_ends_all_and_keeps_what_was_done(scene, tmp_path):
    parts = windows.split(*scene.shape, 50, 50)
    calls = iter(range(1000))

    def failing(bands):
        if next(calls) == 7:
            raise OSError("gone")
        return network_segment()(bands)

    with (
        Unfinished(tmp_path / "water.tif", {}, scene.shape, parts, anew=False) as work,
        pytest.raises(OSError, match="gone"),
    ):
        segment_scene(scene, failing, MARGIN, work, 1)
    with Unfinished(tmp_path / "water.tif", {}, scene.shape, parts, anew=False) as work:
        assert 0 < len(work.done) < len(parts)


def test_rounding_is_exact_and_small():
    values = np.append(np.random.default_rng(0).random(10_000, np.float32), [0, 0.5, 1, 1e-9, np.nan]).astype(
        np.float32
    )
    made = rounded(values)
    assert np.nanmax(np.abs(made - values)) <= 0.5 / STEPS
    assert np.array_equal(rounded(made), made, equal_nan=True)
    assert np.array_equal(made[-5:], [0, 0.5, 1, 0, np.nan], equal_nan=True)


def test_parts_are_whole_rows_where_a_file_is_in_strips(tmp_path):
    strips = small_scenes.write_scene(tmp_path / "strips.tif", 300, 1500)
    tiled = small_scenes.write_scene(tmp_path / "tiled.tif", 300, 1500, tiled=True, blockxsize=256, blockysize=256)
    assert windows.parts_of(open_scene(tiled), 5) == [(0, 0, 300, 1019), (0, 1019, 300, 481)]
    parts = windows.parts_of(open_scene(strips), 5)
    assert {(column, width) for _, column, _, width in parts} == {(0, 1500)}
    assert sum(height for *_, height, _ in parts) == 300


@pytest.mark.parametrize("length", [1, 1019, 1020, 1024, 1025, 2048, 2049, 20_000])
def test_what_a_part_reads_ends_where_a_block_does(length):
    parts = windows.spans(length, 5)
    assert [begin for begin, _ in parts] == [0, *(begin + size for begin, size in parts[:-1])]
    assert sum(size for _, size in parts) == length
    assert all((begin + size + 5) % windows.SIDE == 0 for begin, size in parts[:-1])
    assert all(0 < size <= windows.SIDE + 5 for _, size in parts)


@pytest.mark.parametrize(("length", "pieces"), [(1, 1), (204, 1), (300, 1), (310, 2), (1019, 5), (1029, 5)])
def test_tiles_leave_no_narrow_rest(length, pieces):
    made = windows.split(1, length, 1, windows.evenly(length, windows.TILE))
    assert len(made) == pieces
    assert made[0][3] - made[-1][3] < pieces
