"""Files that stay open while many threads read windows of them: the same numbers, decoded once, and closed after."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import small_scenes

from waterscape.rasters.segment import by_pairs
from waterscape.rasters.windows import split
from waterscape.sources.landsat.kept_open import THREADS_A_HANDLE, KeptOpen
from waterscape.sources.landsat.layers import SceneError
from waterscape.sources.landsat.scene import open_scene

SIDE = 600
BLOCKS = {"tiled": True, "blockxsize": 128, "blockysize": 128}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return small_scenes.write_scene(tmp_path_factory.mktemp("scene") / "scene.tif", SIDE, SIDE, **BLOCKS)


def handles(path):
    return sum(link.resolve() == path.resolve() for link in Path("/proc/self/fd").iterdir() if link.exists())


def bytes_read():
    """By this process, from wherever."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("threads", [1, 3 * THREADS_A_HANDLE])
def test_many_threads_read_what_one_reads_by_few_handles(path, threads):
    scene = open_scene(path)
    parts = [(row - 4, column - 4, 108, 108) for row, column, _, _ in split(SIDE, SIDE, 100, 100)]
    before = handles(path)
    with KeptOpen(threads) as files, ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda part: scene.read(part, files.opened), parts))
        assert before < handles(path) <= before + -(-threads // THREADS_A_HANDLE)
    assert handles(path) == before
    for part, (reflectances, elevation) in zip(parts, found, strict=True):
        alone = scene.read(part)
        np.testing.assert_array_equal(reflectances, alone[0])
        np.testing.assert_array_equal(elevation, alone[1])


def test_blocks_that_two_windows_share_are_read_once(path):
    scene = open_scene(path)
    with KeptOpen(1) as files:
        taken = []
        for window in [(0, 0, 300, 300), (0, 0, 300, 300), (300, 300, 300, 300)]:
            before = bytes_read()
            scene.read(window, files.opened)
            taken.append(bytes_read() - before)
    assert taken[1] < taken[0] / 20
    assert taken[2] > taken[0] / 2


def test_damage_is_told_and_the_rest_is_still_read(path, tmp_path):
    spoilt = tmp_path / "spoilt.tif"
    spoilt.write_bytes(path.read_bytes())
    scene = open_scene(spoilt)
    with rasterio.open(spoilt) as dataset:
        last = int(dataset.get_tag_item("BLOCK_OFFSET_4_4", "TIFF", bidx=1))
    with spoilt.open("r+b") as file:
        file.seek(last)
        file.write(b"\xff" * 64)
    with KeptOpen(1) as files:
        with pytest.raises(SceneError, match=r"spoilt\.tif.*damaged or cut off"):
            scene.read((500, 500, 100, 100), files.opened)
        np.testing.assert_array_equal(
            scene.read((0, 0, 100, 100), files.opened)[0], open_scene(path).read((0, 0, 100, 100))[0]
        )


def test_a_file_that_is_gone_is_told(path, tmp_path):
    copy = tmp_path / "copy.tif"
    copy.write_bytes(path.read_bytes())
    scene = open_scene(copy)
    copy.unlink()
    with KeptOpen(1) as files:
        for _ in range(2):  # the turn was given back
            with pytest.raises(SceneError, match=r"copy\.tif"):
                scene.read((0, 0, 10, 10), files.opened)


def test_parts_are_taken_down_two_columns_at_a_time():
    parts = split(3, 5, 1, 1)
    order = [parts[number][:2] for number in sorted(range(len(parts)), key=by_pairs(parts))]
    assert order == [
        *[(row, column) for row in range(3) for column in (0, 1)],
        *[(row, column) for row in range(3) for column in (2, 3)],
        *[(row, 4) for row in range(3)],
    ]
