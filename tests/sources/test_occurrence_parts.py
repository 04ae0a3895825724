"""Occurrence packed in parts is the set packed at once, whatever interrupts it: kill -9 at any moment, a full disk."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from exports_in_degrees import write_region
from parts_of_tiles import join, pack_part
from PIL import Image
from programs import run_program

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.sources.occurrence_pack import Packing, pack
from waterscape.sources.occurrence_sample import Labelling

SIDE = 64
LABELLING = Labelling(
    lambda occurrence, _: np.array([[occurrence.mean()]], np.float32),
    lambda table: int(table[0, 0] > 50),
    ("dry", "wet"),
    ("mean",),
)
PLAIN = Packing(tile_size=SIDE, group="file", samples_per_shard=16)
TRUE = Packing(tile_size=48, true_scale=True, samples_per_shard=4, block_km=20)


def write_tiles(folder, count, side=SIDE):
    """Noisy tiles, which no compression or rule makes smaller; some are empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 80, (side, side)) + number % 40 // 2
        Image.fromarray((noise * (number % 9 > 0)).astype(np.uint8)).save(folder / f"tile{number:04d}.png")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    write_tiles(folder, 150)
    return folder


@pytest.fixture(scope="module")
def degrees(tmp_path_factory):
    """Two regions in degrees, one of them masked."""
    folder = tmp_path_factory.mktemp("degrees")
    write_region(folder, "west", 101.2, 64, 4, 9)
    write_region(folder, "east", 180.1, 64, 4, 9, nodata=0)
    return folder


def hashes(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


@pytest.fixture(scope="module", params=[PLAIN, TRUE], ids=["tiles", "true scale"])
def packed_at_once(request, tiles, degrees, tmp_path_factory):
    """Source, options, the set, its summary."""
    source = degrees if request.param.true_scale else tiles
    out = tmp_path_factory.mktemp("once") / "water"
    return source, request.param, out, pack([source], out, LABELLING, request.param)


@pytest.mark.parametrize("parts", [pytest.param(1, marks=pytest.mark.long), 3, 8])
def test_the_joined_set_is_the_one_packed_at_once(packed_at_once, tmp_path, parts):
    source, packing, expected, once = packed_at_once
    out = tmp_path / "water"
    order = np.roll(np.arange(parts), 2) + 1
    done = [pack_part([source], out, LABELLING, packing, part=int(part), parts=parts) for part in order]
    assert sum(part.shards for part in done) == len(once.manifest.shards) > 5
    assert sum(part.tiles for part in done) == once.kept
    summary = join([source], out, LABELLING, packing)
    assert hashes(out) == hashes(expected)
    assert summary.manifest.sha256 == once.manifest.sha256
    assert summary.table() == once.table()
    assert [path.name for path in out.parent.iterdir()] == ["water"]
    keys = [key for shard in summary.manifest.shards for key in np.load(out / f"{shard.name}.index.npy")["key"]]
    assert len(set(keys)) == len(keys) == once.kept


def test_parts_share_the_reading_and_a_complete_part_reads_nothing_again(tiles, tmp_path, monkeypatch):
    out = tmp_path / "water"
    read = []
    look = "waterscape.sources.occurrence_survey.read"
    from waterscape.sources.occurrence import read as really_read

    monkeypatch.setattr(look, lambda path, size: (read.append(path), really_read(path, size))[1])
    pack_part([tiles], out, LABELLING, PLAIN, part=2, parts=2)
    first = len(read)
    assert first > 150  # all were judged, its own half packed
    again = pack_part([tiles], out, LABELLING, PLAIN, part=2, parts=2)
    assert (again.made, len(read)) == (0, first)
    monkeypatch.setattr(look, really_read)
    done = pack_part([tiles], out, LABELLING, PLAIN, part=1, parts=2)
    assert done.made == done.shards > 0


def test_only_the_part_that_failed_is_repeated(tiles, tmp_path):
    out = tmp_path / "water"
    for part in (1, 2, 3):
        pack_part([tiles], out, LABELLING, PLAIN, part=part, parts=3)
    victim = sorted((tmp_path / "water.parts" / "shards").glob("*.json"))[1]
    victim.unlink()
    with pytest.raises(UserError, match=r"run --part 2/3 again, then --join"):
        join([tiles], out, LABELLING, PLAIN)
    done = pack_part([tiles], out, LABELLING, PLAIN, part=2, parts=3)
    assert done.made == 1
    join([tiles], out, LABELLING, PLAIN)
    assert out.is_dir()


def test_other_options_or_files_are_refused(tiles, tmp_path):
    source = tmp_path / "in"
    shutil.copytree(tiles, source)
    out = tmp_path / "water"
    pack_part([source], out, LABELLING, PLAIN, part=1, parts=2)
    with pytest.raises(UserError, match="seed was 0, is 1"):
        pack_part([source], out, LABELLING, Packing(SIDE, group="file", samples_per_shard=16, seed=1), part=2, parts=2)
    with pytest.raises(UserError, match="parts was 2, is 3"):
        pack_part([source], out, LABELLING, PLAIN, part=2, parts=3)
    (source / "tile0001.png").unlink()
    for attempt in (lambda: pack_part([source], out, LABELLING, PLAIN, part=2, parts=2),
                    lambda: join([source], out, LABELLING, PLAIN)):  # fmt: skip
        with pytest.raises(UserError, match="files was 150, is 149"):
            attempt()


def test_a_set_that_stands_is_replaced_only_when_told_so(tiles, tmp_path):
    out = tmp_path / "water"
    pack([tiles], out, LABELLING, Packing(SIDE, group="file", seed=5))
    before = hashes(out)
    with pytest.raises(UserError, match="exists"):
        pack_part([tiles], out, LABELLING, PLAIN, part=1, parts=1)
    pack_part([tiles], out, LABELLING, PLAIN, part=1, parts=1, replace=True)
    with pytest.raises(UserError, match="exists"):
        join([tiles], out, LABELLING, PLAIN)
    assert hashes(out) == before
    join([tiles], out, LABELLING, PLAIN, replace=True)
    assert hashes(out) != before
    with pytest.raises(UserError, match=r"no parts of .* stands already"):
        join([tiles], out, LABELLING, PLAIN)


@pytest.mark.long
def test_the_commands(degrees, tmp_path):
    words = ["tools/pack_occurrence.py", degrees, "--out", tmp_path / "water", "--true-scale", "--tile-size", 48]
    with ThreadPoolExecutor(2) as at_once:
        for done in at_once.map(lambda part: run_program(*words, "--part", part, "--processes", 1), ["1/2", "2/2"]):
            assert done.returncode == 0, done.stderr
            assert "/2 is complete" in done.stdout
    done = run_program(*words, "--join")
    assert done.returncode == 0, done.stderr
    assert "lacks neighbours" in done.stdout
    assert Manifest.load(tmp_path / "water").facts["made"]["options"]["true_scale"] is True
    done = run_program(*words, "--join")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there are no parts")


def faults(tiles, tmp_path, parts, kind):
    """Pack under faults; returns how often it was killed, and how often of these at each step in turn."""
    program = Path(__file__).parent / "packing_under_faults.py"
    expected, out = tmp_path / "expected" / "water", tmp_path / "killed" / "water"
    out.parent.mkdir(parents=True)
    done = run_program(program, tiles, out, expected, parts, kind, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(out) == hashes(expected)
    return [int(word) for word in done.stdout.split() if word.isdigit()]


@pytest.fixture(scope="module")
def small_tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    write_tiles(folder, 30, side=32)
    return folder


def test_killed_at_every_step_a_rerun_ends_in_identical_hashes(small_tiles, tmp_path):
    killed, joining = faults(small_tiles, tmp_path, 2, "steps")
    assert killed > joining > 15


@pytest.mark.long
def test_killed_at_every_step_of_packing_at_once_a_rerun_ends_in_identical_hashes(small_tiles, tmp_path):
    killed, steps = faults(small_tiles, tmp_path, 0, "steps")
    assert steps > killed > 15


@pytest.mark.long
def test_killed_at_many_random_moments_a_rerun_ends_in_identical_hashes(small_tiles, tmp_path):
    """50 times and more, with the seeds that the number of parts makes; at first not in parts."""
    killed = [faults(small_tiles, tmp_path / str(parts), parts, "random")[0] for parts in range(8)]
    assert sum(killed) > 50


@pytest.fixture
def disk(small_disk):
    return small_disk("64m")


def both_parts(sources, out, packing):
    for part in (1, 2):
        pack_part(sources, out, LABELLING, packing, part=part, parts=2)


def test_a_full_disk_leaves_whole_shards_and_a_rerun_ends_in_identical_hashes(tiles, tmp_path, disk):
    packing = Packing(SIDE, group="file", samples_per_shard=40)
    pack([tiles], tmp_path / "water", LABELLING, packing)
    expected = hashes(tmp_path / "water")
    whole = sum(path.stat().st_size for path in (tmp_path / "water").glob("water*"))
    out, ballast = disk / "water", disk / "ballast"
    for share in (0.3, 0.97):  # of what the set takes
        ballast.write_bytes(bytes((64 << 20) - int(share * whole)))
        with pytest.raises(OSError, match="No space left"):
            pack([tiles], out, LABELLING, packing)
        assert [path.name for path in disk.iterdir()] == ["ballast"]
        ballast.unlink()
    for share in (0.3, 0.9):
        ballast.write_bytes(bytes((64 << 20) - int(share * whole)))
        with pytest.raises(OSError, match="No space left"):
            both_parts([tiles], out, packing)
        shards = disk / "water.parts" / "shards"
        stand = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in shards.glob("water*[ry]")}
        assert stand == {name: expected[name] for name in stand}
        assert not out.exists()
        assert not list((disk / "water.parts").glob(".part*"))
        ballast.unlink()
    both_parts([tiles], out, packing)
    used = sum(path.stat().st_size for path in (disk / "water.parts").rglob("*") if path.is_file())
    ballast.write_bytes(bytes((64 << 20) - used - (96 << 10)))  # links need no room, the rest does not fit
    with pytest.raises(OSError, match="No space left"):
        join([tiles], out, LABELLING, packing)
    assert not out.exists()
    ballast.unlink()
    join([tiles], out, LABELLING, packing)
    assert hashes(out) == expected
    assert [path.name for path in disk.iterdir()] == ["water"]
