"""The export as a user runs it, against a loopback Earth Engine: the real client, real HTTP, synthetic scenes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import rasterio
from export_program import run_export
from loopback_earthengine import Fault, serve
from programs import ROOT, run_tool
from summers import expected, heights, scene, served
from waiting import until

from waterscape.data.manifest import Manifest
from waterscape.earthengine.deploy import training_pixels
from waterscape.sources import earthengine
from waterscape.sources.area import box_area
from waterscape.sources.landsat.bands import BANDS, band_stack
from waterscape.sources.landsat.export_tile import is_whole
from waterscape.sources.landsat.grid import DEGREES_PER_PIXEL as PIXEL
from waterscape.sources.landsat.grid import tiles_over

SIZE = 40  # pixels a side, of 9 tiles
STEP = SIZE * PIXEL
LEFT, BOTTOM = (round(number / STEP) * STEP for number in (217.0, 145.0))
WEST, SOUTH = LEFT - 180, BOTTOM - 90
AREA = (SOUTH + 0.001, WEST + 0.001, SOUTH + 3 * STEP - 0.001, WEST + 3 * STEP - 0.001)
SIDE = 3 * SIZE + 20
TRANSFORM = (PIXEL, 0.0, WEST - 10 * PIXEL, 0.0, -PIXEL, SOUTH + 3 * STEP + 10 * PIXEL)
DAYS = ("2020-06-02", "2020-07-03", "2020-08-04")
PIXELS = "computePixels"


def world(empty_tile=False):
    scenes = [scene("EPSG:4326", TRANSFORM, day, seed, SIDE) for seed, day in enumerate(DAYS)]
    if empty_tile:
        for each in scenes:
            each.bands["QA_PIXEL"][10 : 10 + SIZE, 10 : 10 + SIZE] = 1 << 3
    srtm, glo30 = (heights("EPSG:4326", TRANSFORM, SIDE, 5 + n, name) for n, name in enumerate(("elevation", "DEM")))
    return scenes, srtm, served(scenes, srtm, [glo30])


def words(out, *more, year=2020, grid="degrees", size=SIZE, area=AREA):
    box = ["--box=" + ",".join(map(str, area)), "--grid", grid, "--tile-size", size]
    return [*box, "--year", year, "--out", out, "--project", "demo-water", *more]


def run(out, url, *more, **options):
    """The tool within this process, with short pauses: exit code, stdout, stderr."""
    return run_export("export_landsat", url, *words(out, *more, **options))


def start(out, url, *more):
    """The tool as a process of its own."""
    program = [sys.executable, "tools/export_landsat.py", *map(str, words(out, *more))]
    environment = {**os.environ, "EARTHENGINE_URL": url}
    return subprocess.Popen(program, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def files(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def failed(out):
    """Tile → reason, as the list of the export has them."""
    lines = map(json.loads, (out / "failed.jsonl").read_text().splitlines())
    return {line["tile"]: line["reason"] for line in lines}


def absent(out):
    """The tiles that are not there."""
    return {t.key for t in tiles_over(box_area(*AREA), "degrees", SIZE) if not (out / f"{t.key}.tif").exists()}


def asked(server):
    return server.count(PIXELS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """An export, and what it came from."""
    out = tmp_path_factory.mktemp("exports") / "undisturbed"
    scenes, srtm, held = world(empty_tile=True)
    with serve(**held) as server:
        code, told, error = run(out, server.url)
        assert (code, asked(server)) == (0, 9), error
    return out, scenes, srtm, told


def test_tiles_hold_the_bands_of_the_composite(undisturbed):
    out, scenes, srtm, told = undisturbed
    assert "8 of 9 tiles written, 1 have no clear pixel (empty.txt), 0 failed" in told
    reflectances, metres, water = expected(scenes, srtm.bands["elevation"])
    wanted = np.dstack([band_stack(reflectances, metres), water])
    tiles = tiles_over(box_area(*AREA), "degrees", SIZE)
    assert [tile.key for tile in tiles if not (out / f"{tile.key}.tif").exists()] == [tiles[0].key]
    assert (out / "empty.txt").read_text() == f"{tiles[0].key}\n"
    for number, tile in enumerate(tiles[1:], 1):
        row, column = 10 + number // 3 * SIZE, 10 + number % 3 * SIZE
        with rasterio.open(out / f"{tile.key}.tif") as dataset:
            found = dataset.read().transpose(1, 2, 0)
            assert dataset.crs == "EPSG:4326"
            assert tuple(dataset.transform)[:6] == pytest.approx(tile.transform, abs=1e-9)
            assert dataset.descriptions == (*BANDS, "water")
            assert np.isnan(dataset.nodata)
            tags = dataset.tags()
        assert (tags["year"], tags["collection"], tags["key"]) == ("2020", "LANDSAT/LC08/C02/T1_L2", tile.key)
        assert tags["software"].startswith("waterscape")
        mine = wanted[row : row + SIZE, column : column + SIZE]
        assert np.array_equal(np.isnan(found), np.isnan(mine))
        assert np.nanmax(np.abs(found - mine)) <= 1e-6
    assert not list(out.glob(".partial-*"))


def test_a_run_of_tiles_in_degrees_is_deployed_on_their_very_pixels(undisturbed, tmp_path):
    words = ("--degrees", "--tile-size", SIZE, "--least-water", 0, "--group", "file")
    code, _, error = run_tool("pack_landsat", undisturbed[0], "--out", tmp_path / "shards", *words)
    assert code == 0, error
    facts = Manifest.load(tmp_path / "shards").facts
    for metres in (facts["tiles"]["metres_per_pixel"], 29.0):  # which people are told plays no part
        trained = {"tiles": {**facts["tiles"], "metres_per_pixel": metres}}
        lattice = training_pixels(trained, box_area(*AREA))[0].lattice
        for path in undisturbed[0].glob("N*.tif"):
            with rasterio.open(path) as dataset:
                theirs = dataset.transform
            assert (lattice[0], -lattice[4]) == pytest.approx((theirs.a, -theirs.e), rel=1e-12)
            between = (theirs.c - lattice[2]) / lattice[0], (theirs.f - lattice[5]) / lattice[4]
            assert between == pytest.approx(np.rint(between), abs=1e-6)


def test_the_same_words_again_ask_for_nothing(undisturbed):
    out = undisturbed[0]
    before = files(out)
    with serve(**world(empty_tile=True)[2]) as server:
        assert run(out, server.url)[0] == 0
        assert asked(server) == 0
    assert files(out) == before


def test_what_is_not_whole_is_asked_for_again(undisturbed, tmp_path):
    out = tmp_path / "again"
    out.mkdir()
    for name, content in files(undisturbed[0]).items():
        (out / name).write_bytes(content)
    first, second, third, *_ = sorted(out.glob("*.tif"))
    first.write_bytes(first.read_bytes()[:-2000])
    second.unlink()
    third.write_bytes(b"II*\0")
    with serve(**world(empty_tile=True)[2]) as server:
        assert run(out, server.url)[0] == 0
        assert asked(server) == 3
    assert files(out) == files(undisturbed[0])


@pytest.mark.parametrize(
    ("options", "differ"),
    [
        ({"year": 2021}, "year"),
        ({"grid": "utm"}, "grid, tiles"),
        ({"size": 50}, "tile_size"),
        ({"area": (*AREA[:3], AREA[3] - 1e-3)}, "area, bounds"),
    ],
)
def test_another_export_into_the_same_folder_is_refused(undisturbed, options, differ):
    out = undisturbed[0]
    before = files(out)
    code, _, error = run(out, "http://127.0.0.1:1", **options)
    assert code == 1
    assert f"is for another export ({differ}" in error
    assert files(out) == before


def test_tiles_in_metres_are_those_of_the_scenes_where_these_are_in_their_zone(tmp_path):
    (tile,) = tiles_over(box_area(55.1, 38.1, 55.1001, 38.1001), "utm", SIZE)
    a, _, left, _, _, top = tile.transform
    transform = (a, 0.0, left - 10 * a, 0.0, -a, top + 10 * a)
    scenes = [scene(tile.crs, transform, day, seed, SIZE + 20) for seed, day in enumerate(DAYS)]
    srtm, glo30 = (heights(tile.crs, transform, SIZE + 20, 5, name) for name in ("elevation", "DEM"))
    with serve(**served(scenes, srtm, [glo30])) as server:
        code, _, error = run(tmp_path / "exports", server.url, grid="utm", area=(55.1, 38.1, 55.1001, 38.1001))
        assert code == 0, error
    reflectances, metres, water = expected(scenes, srtm.bands["elevation"])
    wanted = np.dstack([band_stack(reflectances, metres), water])[10:-10, 10:-10]
    with rasterio.open(tmp_path / "exports" / f"{tile.key}.tif") as dataset:
        assert dataset.crs == "EPSG:32637"
        assert dataset.res == (30, 30)
        found = dataset.read().transpose(1, 2, 0)
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    assert np.nanmax(np.abs(found - wanted)) <= 1e-6


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    code, _, error = run(tmp_path, "http://127.0.0.1:1")
    assert (code, "stands already and is no export" in error) == (1, True)


def test_a_folder_left_before_its_plan_was_written_is_taken_up(tmp_path):
    out = tmp_path / "exports"
    out.mkdir()
    (out / ".partial-999999999-plan.json").write_text("{")
    with serve(**world()[2]) as server:
        code, _, error = run(out, server.url)
        assert code == 0, error
    assert not list(out.glob(".partial-*"))
    assert len(list(out.glob("N*.tif"))) == 9


def test_a_dry_run_asks_for_nothing_and_draws_a_map(tmp_path):
    code, told, error = run(tmp_path / "exports", "http://127.0.0.1:1", "--dry-run")
    assert code == 0, error
    assert "9 requests, 10 at a time" in told
    assert [path.name for path in tmp_path.iterdir()] == ["exports.grid.png"]


@pytest.mark.parametrize(("more", "at_once"), [((), 10), (("--at-once", 40), 40)])
def test_a_dry_run_tells_what_it_takes(tmp_path, more, at_once):
    """20 by 10 tiles of the reference's 501 pixels, counted in tiles of 0.135°: nine numbers of four bytes a pixel."""
    south, west = 1074 * 0.135 - 90, 1607 * 0.135 - 180
    area = (south + 0.001, west + 0.001, south + 10 * 0.135 - 0.001, west + 20 * 0.135 - 0.001)
    code, told, error = run(tmp_path / "exports", "http://127.0.0.1:1", "--dry-run", *more, size=501, area=area)
    assert code == 0, error
    requests, bytes_each = 20 * 10, 501 * 501 * (8 + 1) * 4
    tiles, asks, size, time_taken, *_ = told.splitlines()
    assert tiles == f"{requests} tiles"
    assert asks == f"{requests} requests, {at_once} at a time (quota: 40, and 100 a second)"
    assert size == f"at most {requests * bytes_each / 1e6:.0f} MB, {bytes_each / 1e6:.1f} MB a request (limit: 48)"
    numbers = re.findall(r"([0-9.]+) (s|minutes)\b", time_taken)
    least, most = (float(number) * {"s": 1, "minutes": 60}[unit] for number, unit in numbers[:2])
    assert (least, most) == (requests * 5 / at_once, requests * 30 / at_once)
    assert time_taken.endswith("if a tile takes the servers 5 to 30 s (assumed)")


def test_a_dry_run_foretells_the_requests_and_the_bytes_of_what_is_left(undisturbed, tmp_path):
    out, one = tmp_path / "exports", SIZE * SIZE * 9 * 4 / 1e6
    shutil.copytree(undisturbed[0], out)
    for path in sorted(out.glob("N*.tif"))[:5]:
        path.unlink()
    _, told, _ = run(out, "http://127.0.0.1:1", "--dry-run", "--at-once", 2)
    assert "9 tiles, 4 of them done\n5 requests, 2 at a time" in told
    assert f"at most {5 * one:.0f} MB, {one:.1f} MB a request" in told
    assert "12 s to 75 s, if a tile takes" in told
    with serve(**world(empty_tile=True)[2]) as server:
        assert run(out, server.url, "--at-once", 2)[0] == 0
        assert asked(server) == 5
        sent = sum(size for path, size in server.answers if PIXELS in path)
    assert 1 <= sent / (5 * one * 1e6) < 1.1  # nothing is compressed by this server, and each answer has a header


def test_faults_on_the_way_change_nothing(undisturbed, tmp_path):
    faults = [
        Fault(PIXELS, "error", 429, "Too many concurrent aggregations.", times=2),
        Fault(PIXELS, "error", 500, times=1, after=3),
        Fault(PIXELS, "cut", after=5),
        Fault(PIXELS, "nonsense", after=7),
        Fault(PIXELS, "lost", after=9),
        Fault("algorithms", "error", 503, times=1),
    ]
    with serve(**world(empty_tile=True)[2], faults=faults) as server:
        code, _, error = run(tmp_path / "exports", server.url, "--at-once", 3)
        assert code == 0, error
        assert asked(server) == 9 + 6
    assert files(tmp_path / "exports") == files(undisturbed[0])


@pytest.mark.parametrize(("more", "at_once"), [((), 10), (("--at-once", 3), 3)])
def test_no_more_requests_are_under_way_than_may_be(tmp_path, more, at_once):
    """As many as may be wait for one another, and then for a moment in which one too many could come."""
    together = 16 // at_once * at_once
    gate = Fault(PIXELS, "slow", seconds=0.1, times=together, gate=threading.Barrier(at_once, timeout=60))
    with serve(**world()[2], faults=[gate]) as server:
        code, told, error = run(tmp_path / "exports", server.url, *more, size=32)
        assert (code, asked(server)) == (0, 16), error
        assert f"16 requests, {at_once} at a time (quota: 40, and 100 a second)" in told
        assert server.most_at_once == at_once


@pytest.mark.parametrize(
    ("status", "words", "most"),
    [
        (403, "403: Permission denied for demo: see that --project is registered", 6),
        (401, "the credentials are expired or were withdrawn", 12),
    ],
)
def test_a_refusal_ends_the_export_at_once(tmp_path, status, words, most):
    faults = [Fault(PIXELS, "error", status, "Permission denied for demo", times=100)]
    with serve(**world()[2], faults=faults) as server:
        code, _, error = run(tmp_path / "exports", server.url, "--at-once", 3)
        assert asked(server) <= most  # each of three may have begun another tile
    assert code == 1
    assert words in error
    assert not list((tmp_path / "exports").glob("*.tif"))


def test_tiles_that_fail_are_named_and_the_others_are_written(tmp_path):
    memory = "User memory limit exceeded."
    with serve(**world()[2], faults=[Fault(PIXELS, "error", 400, memory, times=2, after=3)]) as server:
        code, told, error = run(tmp_path / "exports", server.url)
        assert code == 1
        assert "7 of 9 tiles written, 2 failed" in told
        assert f"Earth Engine answers 400: {memory}" in error
        assert "2 tiles are absent; run the same command again" in error
        assert set(failed(tmp_path / "exports")) == absent(tmp_path / "exports")
        assert run(tmp_path / "exports", server.url)[0] == 0
        assert asked(server) == 9 + 2
    assert not (tmp_path / "exports" / "failed.jsonl").exists()


def test_tiles_that_always_fail_do_not_keep_the_others_from_coming(tmp_path):
    timeout = Fault(PIXELS, "error", 400, "Computation timed out.", times=6)
    with serve(**world()[2], faults=[timeout]) as server:
        code, told, error = run(tmp_path / "exports", server.url, "--at-once", 1)
        assert (code, asked(server)) == (1, 9)
    assert "3 of 9 tiles written, 6 failed" in told
    out = tmp_path / "exports"
    assert f"6 tiles are absent; run the same command again to ask for them alone. {out}/failed.jsonl lists" in error
    assert len(list(out.glob("N*.tif"))) == 3
    assert set(failed(out)) == absent(out)  # five of them are told on the terminal
    assert all(f"{tile}: Earth Engine answers 400: Computation timed out." in why for tile, why in failed(out).items())


def test_the_list_of_failed_tiles_holds_what_failed_last_and_is_absent_still(tmp_path):
    out, words = tmp_path / "exports", ("--at-once", 1)
    keys = [tile.key for tile in tiles_over(box_area(*AREA), "degrees", SIZE)]
    with serve(**world()[2], faults=[Fault(PIXELS, "error", 400, "Computation timed out.", times=3)]) as server:
        assert run(out, server.url, *words)[0] == 1
        assert list(failed(out)) == keys[:3]
        with (out / "failed.jsonl").open("a") as file:  # as a program leaves it that is killed as it writes
            file.write(f'{{"tile": "{keys[5]}", "reason": "it is there"}}\n{{"tile": "{keys[2]}", "rea')
        server.faults[:] = [Fault(PIXELS, "error", 400, "Too deep.", after=1), Fault(PIXELS, "error", 403, after=2)]
        assert run(out, server.url, *words)[0] == 1
    assert list(failed(out)) == keys[1:3]
    assert "Too deep." in failed(out)[keys[1]]
    assert "403" in failed(out)[keys[2]]


def test_a_service_that_stays_away_five_times_in_a_row_ends_it(tmp_path):
    with serve(**world()[2], faults=[Fault(PIXELS, "error", 503, times=1000, after=1)]) as server:
        code, _, error = run(tmp_path / "exports", server.url, "--at-once", 1)
        assert code == 1
        attempts = earthengine.LIMITS.attempts
        assert 1 + 5 * attempts <= asked(server) <= 1 + 6 * attempts  # the next tile may have been begun
    assert "5 requests in a row failed, the last: tile" in error
    assert "Tiles written: 1; the same command goes on" in error


@pytest.mark.parametrize(
    "status",
    [429, pytest.param(403, marks=pytest.mark.long)],
    ids=["RESOURCE_EXHAUSTED", "as some front ends have it"],
)
def test_a_quota_that_stays_exhausted_ends_it_and_it_goes_on_once_there_is_some(undisturbed, tmp_path, status):
    out, attempts = tmp_path / "exports", earthengine.LIMITS.attempts
    shutil.copytree(undisturbed[0], out)
    for path in sorted(out.glob("N*.tif"))[:6]:
        path.unlink()
    spent = "Quota exceeded for quota metric 'Read requests' of service 'earthengine.googleapis.com'."
    with serve(**world(empty_tile=True)[2], faults=[Fault(PIXELS, "error", status, spent, times=1000)]) as server:
        code, _, error = run(out, server.url, "--at-once", 5)
        assert 5 * attempts <= asked(server) <= 6 * attempts  # and there are no more than six tiles to ask for
    assert code == 1
    ended = error.splitlines()[-1]
    assert re.search(
        rf"5 requests in a row failed, the last: tile N.*: {attempts} attempts, the last: the server", ended
    )
    assert f"answers {status} ({spent})" in ended
    assert f"Tiles written: 0; the same command goes on, {out}/failed.jsonl lists what failed" in ended
    assert 5 <= len(failed(out)) <= 6
    assert set(failed(out)) < absent(out)  # the other one is empty
    with serve(**world(empty_tile=True)[2]) as server:
        assert run(out, server.url)[0] == 0
        assert asked(server) == 6
    assert files(out) == files(undisturbed[0])


@pytest.mark.long
def test_killed_in_the_middle_it_goes_on_and_asks_for_no_whole_tile_twice(undisturbed, tmp_path):
    out = tmp_path / "exports"
    held = world(empty_tile=True)[2]
    faults = [Fault(PIXELS, "error", 400, "Computation timed out."), Fault(PIXELS, "slow", seconds=0.3, times=100)]
    with serve(**held, faults=faults) as server:
        program = start(out, server.url, "--at-once", 2)
        until(lambda: len(list(out.glob("N*.tif"))) >= 3 and (out / "failed.jsonl").exists())
        program.send_signal(signal.SIGKILL)
        program.communicate()
        time.sleep(1)  # what was under way is answered to nobody
    tiles = tiles_over(box_area(*AREA), "degrees", SIZE)
    whole = sum(is_whole(out / f"{tile.key}.tif", tile) for tile in tiles)
    assert 3 <= whole < 8
    assert [why.endswith("Computation timed out.") for why in failed(out).values()] == [True]
    (out / f".partial-{program.pid}-N00.tif").write_bytes(b"a tile that was being written")
    assert whole == len(list(out.glob("N*.tif")))
    empty = len((out / "empty.txt").read_text().split())
    with serve(**held) as server:
        assert run(out, server.url)[0] == 0
        assert asked(server) == 9 - whole - empty
    assert files(out) == files(undisturbed[0])


@pytest.mark.long
def test_an_interrupt_ends_it_in_a_moment(tmp_path):
    with serve(**world()[2], faults=[Fault(PIXELS, "slow", seconds=20, times=100)]) as server:
        program = start(tmp_path / "exports", server.url)
        until(lambda: asked(server))
        program.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, told = program.communicate()
        assert time.monotonic() - began < 8
    assert (program.returncode, told.strip()) == (130, "interrupted")


@pytest.mark.long
def test_a_full_disk_is_told_and_leaves_no_tile(tmp_path):
    """A limit on files' sizes stands for the disk."""
    with serve(**world()[2]) as server:
        environment = {**os.environ, "EARTHENGINE_URL": server.url}
        command = " ".join(map(str, words(tmp_path / "exports", "--at-once", 2)))
        shell = f"trap '' XFSZ; ulimit -f 10; exec {sys.executable} tools/export_landsat.py {command}"  # 10 KiB
        program = ["bash", "-c", shell]
        done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "exports").glob("N*.tif"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--year", 2012), "the first summer that Landsat 8 saw is that of 2013"),
        (("--at-once", 41), "--at-once is 41; give 1 to 40"),
        (("--area", "area.geojson"), "give either --area FILE or --box S,W,N,E"),
        (("--project", "Demo Water"), "--project Demo Water cannot be a project"),
        (("--project", ""), "give --project NAME"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, more, words):
    code, _, error = run(tmp_path / "exports", "http://127.0.0.1:1", *more)
    assert code == 1
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "exports").exists()


def test_help_tells_all_options():
    code, told, _ = run_tool("export_landsat", "--help")
    assert (code, "--box S,W,N,E" in told) == (0, True)


def test_the_plan_says_what_belongs_here(undisturbed):
    plan = json.loads((undisturbed[0] / "plan.json").read_text())
    assert (plan["year"], plan["grid"], plan["tile_size"], plan["tiles"]) == (2020, "degrees", SIZE, 9)
    assert plan["bands"] == [*BANDS, "water"]
