"""The export of water occurrence as a user runs it, against a loopback Earth Engine: the real client, real HTTP."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import rasterio
import shapely
from export_program import run_export
from loopback_earthengine import Fault, serve
from programs import ROOT, run_tool
from pyproj import CRS, Transformer
from small_country import BOUNDARIES, country, sampled, served, waters
from waiting import until

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError
from waterscape.sources.occurrence_export.folder import Folder, Plan
from waterscape.sources.occurrence_export.outline import country_parts, file_parts
from waterscape.sources.occurrence_export.parts import REFERENCE_KM2, ground_km2
from waterscape.sources.server_tasks.task_list import Task, TaskList

SIZE = 64
PIXELS, EXPORT = "computePixels", "image:export"
WORDS = ("--country", "LS", "--tile-size", SIZE, "--project", "demo-water", "--request-pixels", 2 * SIZE)


def run(out, url, *more, words=WORDS):
    """The tool within this process, with short pauses: exit code, stdout, stderr."""
    return run_export("export_occurrence", url, *words, "--out", out, "--poll-seconds", 0.01, *more)


def tiles(out):
    """Each tile by its name below the folder: pixels, CRS, transform, nodata."""
    found = {}
    for path in sorted(out.rglob("*.tif")):
        with rasterio.open(path) as dataset:
            place = dataset.crs.to_string(), tuple(dataset.transform)[:6], dataset.nodata
            found[path.relative_to(out).as_posix()] = (dataset.read(1), *place)
    return found


def same(one, other):
    assert set(one) == set(other)
    for name in one:
        assert np.array_equal(one[name][0], other[name][0]), name
        assert one[name][1] == other[name][1]
        assert one[name][2] == pytest.approx(other[name][2], abs=1e-6)
        assert one[name][3] == other[name][3] == 255


WAYS = {"utm": [], "equal-area": ["--projection", "equal-area"], "degrees": ["--reference"]}


@pytest.fixture(scope="module", params=WAYS)
def undisturbed(request, tmp_path_factory):
    """An export, straight: the folder, the words that made it, what it told, and what was asked for."""
    out = tmp_path_factory.mktemp("exports") / "water"
    way = WAYS[request.param]
    with serve(**served()) as server:
        code, told, error = run(out, server.url, *way)
        assert code == 0, error
        return out, way, told, server.count(PIXELS)


def test_tiles_hold_the_ground_they_say_true_to_scale_and_never_twice(undisturbed):
    out, way, told, _ = undisturbed
    found, raster = tiles(out), waters()
    degrees = way == WAYS["degrees"]
    assert len(found) > (80 if degrees else 40)
    squares = []
    for name, (percent, crs, transform, nodata) in found.items():
        assert np.array_equal(percent, sampled(raster, crs, transform, SIZE)), name
        assert nodata == 255
        a, _, c, _, e, f = transform
        assert (a, e) == (
            (100, -100) if not degrees else (pytest.approx(100 / 111319.4908), pytest.approx(-100 / 111319.4908))
        )
        ring = np.array([(c, f), (c + a * SIZE, f), (c + a * SIZE, f + e * SIZE), (c, f + e * SIZE)])
        places = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*ring.T)
        squares.append((name.split("/")[0], shapely.Polygon(np.stack(places, 1))))
    if not degrees:
        systems = {crs for _, crs, _, _ in found.values()}
        if way:
            (laea,) = (CRS(crs) for crs in systems)
            assert laea == CRS("+proj=laea +lat_0=66 +lon_0=48 +datum=WGS84")
        else:
            assert systems == {"EPSG:32637", "EPSG:32638"}
        ground = [square for _, square in squares]
        assert shapely.union_all(ground).area == pytest.approx(sum(square.area for square in ground), rel=1e-4)
    assert {part for part, _ in squares} == {"LS-1", "LS-2"}
    empty = (out / "empty.txt").read_text().split()
    assert empty
    assert not set(empty) & set(found)
    assert f"{len(found):,} tiles written, {len(empty):,} without water" in told


def test_the_plan_foretells_the_distortion_of_each_tile(undisturbed):
    from pyproj import Geod

    out, way, _, _ = undisturbed
    rows = {row["file"]: row for row in csv.DictReader((out / "tiles.csv").open())}
    found = tiles(out)
    assert set(found) <= set(rows)
    for name, (_, crs, (a, _, c, _, e, f), _) in found.items():
        x, y = c + a * SIZE * np.array([0, 1, 1, 0]), f + e * SIZE * np.array([0.5, 0.5, 0, 1])
        x[2:] = c + a * SIZE / 2
        longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
        across, down = Geod(ellps="WGS84").inv(longitude[::2], latitude[::2], longitude[1::2], latitude[1::2])[2]
        row = {key: float(rows[name][key]) for key in ("scale_least", "scale_most", "stretch", "area")}
        if way == WAYS["degrees"]:
            assert row["stretch"] == pytest.approx(down / across, rel=6e-3)  # at the tile's worst end
            assert row["stretch"] > 2
        else:
            for metres in (across, down):
                assert row["scale_least"] - 2e-6 <= 100 * SIZE / metres <= row["scale_most"] + 2e-6
            edges = np.linspace(0, SIZE, 9)
            ring = np.concatenate([[(x, 0) for x in edges], [(SIZE, y) for y in edges]])
            ring = np.concatenate([ring, SIZE - ring])
            longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
                *(c + a * ring[:, 0], f + e * ring[:, 1])
            )
            ground = abs(Geod(ellps="WGS84").polygon_area_perimeter(longitude, latitude)[0])
            assert row["area"] == pytest.approx((100 * SIZE) ** 2 / ground, abs=3e-5)
            assert row["stretch"] < (1.006 if way else 1.00001)
            assert way == [] or row["area"] == 1


@pytest.mark.parametrize(
    ("undisturbed", "to"),
    [("utm", "drive"), ("equal-area", "drive"), ("degrees", "gs://my-bucket/some/where")],
    indirect=["undisturbed"],
)
@pytest.mark.long
def test_drive_and_buckets_get_the_same_files(undisturbed, tmp_path, to):
    out, way, _, _ = undisturbed
    with serve(**served(drive=tmp_path / "files")) as server:
        code, told, error = run(tmp_path / "water", server.url, *way, "--to", to)
        assert code == 0, error
        sheets = len(server.exports.operations)
        assert f"{sheets} of {sheets} tasks done, 0 failed" in told
        assert sheets == (2 if way else 3)
        assert run(tmp_path / "water", server.url, *way, "--to", to)[0] == 0
        assert len(server.exports.operations) == sheets
    if to == "drive":
        made = {f"{path.split('_', 1)[1]}": tile for path, tile in tiles(tmp_path / "files").items()}
    else:
        made = tiles(tmp_path / "files/gs/my-bucket/some/where")
    same(made, tiles(out))


@pytest.mark.long
@pytest.mark.parametrize("undisturbed", ["utm"], indirect=True)
def test_files_that_were_brought_by_hand_are_taken_for_tiles(undisturbed, tmp_path):
    out, way, _, asked = undisturbed
    with serve(**served(drive=tmp_path / "files")) as server:
        assert run(tmp_path / "water", server.url, *way, "--to", "gs://my-bucket")[0] == 0
        for path in (tmp_path / "files/gs/my-bucket").rglob("*.tif"):
            path.rename(tmp_path / "water" / path.parent.name / path.name)
        torn, *_ = sorted((tmp_path / "water").rglob("*.tif"))
        torn.write_bytes(torn.read_bytes()[:3000])
        code, told, _ = run(tmp_path / "water", server.url, *way, "--dry-run")
        assert code == 0
        assert "1 files are damaged or lie elsewhere, and will be made anew: LS-1/" in told
        assert run(tmp_path / "water", server.url, *way)[0] == 0
        assert server.count(PIXELS) < asked
    same(tiles(tmp_path / "water"), tiles(out))


def test_the_folder_feeds_pack_occurrence(undisturbed, tmp_path):
    out, way, _, _ = undisturbed
    degrees = way == WAYS["degrees"]
    more = ["--true-scale"] if degrees else []
    words = ("pack_occurrence", out, "--out", tmp_path / "shards", "--tile-size", SIZE, "--block-km", 10, *more)
    code, foretold, error = run_tool(*words, "--dry-run")
    assert code == 0, error
    assert not list(tmp_path.iterdir())
    code, told, error = run_tool(*words)
    assert code == 0, error
    manifest = Manifest.load(tmp_path / "shards")
    packed = sum(shard.samples for shard in manifest.shards)
    assert foretold.split()[-1] == str(packed)
    assert packed > len(tiles(out)) * (0.25 if degrees else 0.9), told


@pytest.mark.parametrize("undisturbed", ["utm"], indirect=True)
def test_the_same_words_again_ask_for_nothing_and_damage_is_mended(undisturbed, tmp_path):
    out, way, _, _ = undisturbed
    copied = tmp_path / "water"
    subprocess.run(["cp", "-r", out, copied], check=True)
    with serve(**served()) as server:
        assert run(copied, server.url, *way)[0] == 0
        assert (server.count(PIXELS), server.count("value:compute")) == (0, 0)
        first, second, third, *_ = sorted(copied.rglob("*.tif"))
        first.write_bytes(first.read_bytes()[:-200])
        content = bytearray(second.read_bytes())
        content[-300] ^= 4
        second.write_bytes(content)
        third.unlink()
        assert run(copied, server.url, *way)[0] == 0
        assert 1 <= server.count(PIXELS) <= 3
    same(tiles(copied), tiles(out))


@pytest.mark.parametrize("undisturbed", ["utm"], indirect=True)
@pytest.mark.long
def test_faults_on_the_way_change_nothing(undisturbed, tmp_path):
    out, way, _, asked = undisturbed
    faults = [
        Fault(PIXELS, "error", 429, "Too many concurrent aggregations.", times=2),
        Fault(PIXELS, "cut", after=4),
        Fault(PIXELS, "nonsense", after=6),
        Fault(PIXELS, "lost", after=8),
        Fault("value:compute", "error", 503),
    ]
    with serve(**served(), faults=faults) as server:
        code, _, error = run(tmp_path / "water", server.url, *way, "--at-once", 3)
        assert code == 0, error
        assert server.count(PIXELS) == asked + 5
    same(tiles(tmp_path / "water"), tiles(out))


def test_a_dry_run_of_a_country_asks_for_its_outline_once_and_for_nothing_else(tmp_path):
    with serve(**served()) as server:
        for _ in range(2):
            code, told, error = run(tmp_path / "water", server.url, "--dry-run")
            assert code == 0, error
        assert (server.count("value:compute"), server.count(PIXELS)) == (1, 0)
    assert "requests, 10 at a time (quota: 40" in told
    assert " hours, if a request takes the servers" in told
    left = {path.name for path in (tmp_path / "water").iterdir()}
    assert left == {"outline.geojson", "tiles.csv"}
    assert (tmp_path / "water.parts.png").read_bytes()[:4] == b"\x89PNG"


def test_the_reference_is_one_word_for_russia(tmp_path):
    """Six synthetic parts of the areas that the reference lists; its boxes cut the one called lena."""
    spans = {"moscow": 30, "surgut": 65, "peterburg": 20, "baikal-tyumen": 90, "okhotsk": 130, "lena": 120}
    norths = {"okhotsk": 49, "lena": 77}
    parts = []
    for name, west in spans.items():
        north = norths.get(name, 68)
        strip = ground_km2(shapely.box(0, north - 20, 1, north))
        parts.append(shapely.box(west, north - 20, west + REFERENCE_KM2[name] / strip, north))
    held = {"collections": {BOUNDARIES: country("RS", parts)}}
    more = ("--country", "RS", "--reference", "--dry-run", "--metres", 2000, "--to", "drive")
    with serve(**held) as server:
        code, told, error = run(tmp_path / "exports", server.url, *more, words=("--project", "demo-water"))
        assert code == 0, error
    lines = {line.split()[0]: line for line in told.splitlines() if line}
    assert {"dezhnev_north", "dezhnev_south"} <= set(lines)
    for name in set(REFERENCE_KM2) - {"lena"}:
        assert f"{REFERENCE_KM2[name]:,} (" in lines[name]
        assert "0.00%)" in lines[name]
    assert "stretched from west to east" in told
    assert "tasks to drive (quota: 3,000 queued" in told


@pytest.mark.long
def test_tasks_that_fail_in_passing_are_tried_again_and_others_named(tmp_path):
    passing = Fault("LS-2-38N", "fails", message="Internal error.", times=1)
    lasting = Fault("LS-1-37N", "fails", message="Export too large.", times=1)
    with serve(**served(drive=tmp_path / "files"), faults=[passing, lasting]) as server:
        code, told, error = run(tmp_path / "water", server.url, "--to", "drive")
        assert (code, len(server.exports.operations)) == (1, 4)
        assert "2 of 3 tasks done, 1 failed" in told
        assert "LS-1-37N failed: Export too large." in error
        assert run(tmp_path / "water", server.url, "--to", "drive")[0] == 0
        assert len(server.exports.operations) == 5
        code, _, error = run(tmp_path / "water", server.url, "--to", "gs://elsewhere")
        assert "was exported to drive:water_LS-1/LS-1-37N by an earlier start" in error


@pytest.mark.long
def test_a_task_that_the_service_forgot_is_never_started_again_by_itself(tmp_path):
    with serve(**served(drive=tmp_path / "files"), running=0) as server:
        assert run(tmp_path / "water", server.url, "--to", "drive", "--no-wait")[0] == 0
        server.exports.operations.clear()
        for _ in range(2):
            code, _, error = run(tmp_path / "water", server.url, "--to", "drive")
            assert code == 1
            assert "no longer knows its task: see whether drive:water_LS-1/LS-1-37N-*.tif are there" in error
            assert "3 tasks are unknown: look whether their files are there, then --again LS-1-37N LS-2-37N" in error
            assert "starts them again" not in error
        assert not server.exports.operations
        server.exports.requests.clear()
        words = ("--to", "drive", "--again", "LS-1-37N", "--no-wait")
        run(tmp_path / "water", server.url, *words)
        assert [each.asset for each in server.exports.operations.values()] == ["water_LS-1/LS-1-37N"]


@pytest.mark.long
@pytest.mark.parametrize(("undisturbed", "to"), [("degrees", "download"), ("utm", "drive")], indirect=["undisturbed"])
def test_killed_at_any_moment_it_goes_on_and_asks_for_nothing_twice(undisturbed, tmp_path, to):
    out, way, _, asked = undisturbed
    words = [*map(str, (*WORDS, "--out", tmp_path / "water", *way, "--to", to, "--at-once", 2, "--poll-seconds", 0.05))]
    slow = [Fault(PIXELS, "slow", seconds=0.1, times=10**6), Fault("image:export", "slow", seconds=0.5, times=10**6)]
    random = np.random.default_rng(5)
    with serve(**served(drive=tmp_path / "files"), faults=slow) as server:
        ended = []
        for _ in range(3):
            before = server.count(PIXELS) + server.count(EXPORT)
            program = subprocess.Popen(
                [sys.executable, "tools/export_occurrence.py", *words],
                cwd=ROOT,
                env={**os.environ, "EARTHENGINE_URL": server.url},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            # Or it ended by itself: the starts before may have left nothing to ask for.
            until(lambda: server.count(PIXELS) + server.count(EXPORT) > before or program.poll() is not None)  # noqa: B023 at once
            time.sleep(random.uniform(0, 0.6))
            program.send_signal(signal.SIGKILL)
            ended.append(program.wait())
        assert -signal.SIGKILL in ended  # it was still running, at least once
        time.sleep(0.7)  # what was under way is answered to nobody
        code, _, error = run(tmp_path / "water", server.url, *way, "--to", to)
        assert code == 0, error
        if to == "download":
            assert server.count(PIXELS) <= asked + 3 * 2  # what was under way, twice
            same(tiles(tmp_path / "water"), tiles(out))
        else:
            assert len(server.exports.operations) == (2 if way else 3)
            assert len(tiles(tmp_path / "files")) == len(tiles(out))
    assert not list((tmp_path / "water").rglob(".partial-*"))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--country", "Russia"), "give the two capital letters"),
        (("--country", "QQ"), "no such country; its codes are those of FIPS 10-4"),
        (("--box", "60,41,61,42"), "give one of --country CODE, --area FILE and --box"),
        (("--to", "ftp://x"), "give download, drive, or gs://BUCKET/FOLDER"),
        (("--tile-size", "100"), "give a multiple of 16"),
        (("--at-once", "41"), "give 1 to 40"),
        (("--metres", "1"), "--metres is 1"),
        (("--reference", "--projection", "utm"), "--reference is in degrees, not --projection utm"),
        (("--again", "LS-7", "--to", "drive"), "no such sheet is left to do; there are LS-1-37N"),
        (("--again", "LS-1-37N"), "--again LS-1-37N starts a task anew: give --to drive or --to gs://"),
        (("--poll-seconds", "-1"), "--poll-seconds is -1; give 0.01 to 3600"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, more, words):
    with serve(**served()) as server:
        code, _, error = run(tmp_path / "water", server.url, *more)
    assert code == 1
    assert words in error
    assert len(error.splitlines()) == 1


def test_boxes_that_do_not_fit_are_told_in_one_line(tmp_path):
    words = ("--box", "60,41,61,42")
    for cut, told in (
        ("nonsense", "--cut nonsense: give NAME=S,W,N,E"),
        ("LS-9/a=60,41,61,42", "there is no such part; there are box"),
        ("a=10,41,11,42", "it holds no ground of the area"),
        ("BOX=60,41,61,41.5", "a part has that name already"),
    ):
        code, _, error = run(tmp_path / "water", "http://127.0.0.1:1", "--cut", cut, words=words)
        assert (code, len(error.splitlines())) == (1, 1)
        assert told in error


@pytest.mark.parametrize("undisturbed", ["utm"], indirect=True)
def test_another_export_into_the_same_folder_is_refused(undisturbed):
    out, *_ = undisturbed
    url = "http://127.0.0.1:1"
    for more, differ in (
        (("--metres", 200), "metres, tiles"),
        (("--reference",), "image, projection"),
        (("--projection", "equal-area"), "projection"),
        (("--cut", "a=60.1,41.5,60.2,41.6"), "sheets differ"),
    ):
        code, _, error = run(out, url, *more)
        assert code == 1
        assert f"is for another export ({differ}" in error
    code, _, error = run(out, url, words=("--country", "ZZ"))
    assert code == 1
    assert "is of LS, not of ZZ" in error


@pytest.mark.parametrize("undisturbed", ["utm"], indirect=True)
def test_files_of_tasks_that_are_done_are_named_where_damaged_and_none_is_started(undisturbed, tmp_path):
    """Nothing answers at the address: nobody is asked."""
    out, *_ = undisturbed
    url, copied, words = "http://127.0.0.1:1", tmp_path / "water", ("--to", "gs://bucket")
    subprocess.run(["cp", "-r", out, copied], check=True)
    code, _, error = run(copied, url, *words, "--again", "LS-1-37N")
    assert code == 1
    assert "--again LS-1-37N: no such sheet is left to do; there are none" in error
    empty = (copied / "empty.txt").read_text().split()
    (copied / "empty.txt").unlink()  # the servers tell nobody of it
    tasks = TaskList(copied / "tasks.jsonl")
    for name in ("LS-1-37N", "LS-2-37N", "LS-2-38N"):
        tasks.put(Task(name, f"gs://bucket/{name[:4]}/{name}", "SUCCEEDED", attempt=1))
    tasks.close()
    code, told, error = run(copied, url, *words)
    assert code == 0, error
    assert f"{len(empty)} tiles are absent beside others of their sheets, taken to be without water: LS-1/" in told
    assert "\n0 tasks to bucket" in told
    assert "nothing is left to ask for" in told
    torn = min((copied / "LS-2").glob("LS-2-38N-*.tif"))
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    code, told, error = run(copied, url, *words)
    assert code == 1
    assert error.splitlines() == [
        f"error: 1 files are damaged or lie elsewhere (LS-2/{torn.name}): --again LS-2-38N makes them anew"
    ]
    code, told, _ = run(copied, url, *words, "--again", "LS-2-38N", "--dry-run")
    assert code == 0
    assert "\n1 tasks to bucket" in told
    for path in (copied / "LS-2").glob("LS-2-38N-*.tif"):
        path.unlink()
    code, told, error = run(copied, url, *words)
    assert code == 0, error
    assert "1 tasks are done and none of their files is here: put the files of gs://bucket/ into OUT/PART" in told


def test_a_start_that_failed_midway_leaves_a_folder_that_is_taken_up(tmp_path):
    plan = Plan.of("LS", "image", "utm", 100.0, SIZE, [])
    folder = Folder(tmp_path / "water")
    with pytest.raises(UserError, match="cannot be written"):
        folder.begin(plan, ["LS-1", "x" * 300])  # no disk takes such a name
    assert (tmp_path / "water/LS-1").is_dir()
    seed = folder.begin(plan, ["LS-1", "LS-2"])
    assert folder.begin(plan, ["LS-1", "LS-2"]) == seed


@pytest.mark.parametrize(
    ("other", "properties", "told"),
    [
        ((0, 0, 4, 4), {"name": "b"}, "a and b overlap; ground belongs to one part"),
        ((1, 1, 2, 2), {"name": "b"}, "a and b overlap"),
        ((-1, -1, 9, 9), {"name": "b"}, "a and b overlap"),
        ((3, 3, 9, 9), None, "a and area-2 overlap"),
        ((4, 0, 8, 4), ["b"], "feature 2 has properties that are no object"),
        ((4, 0, 8, 4), {"name": "b"}, None),
    ],
)
def test_features_share_no_ground(tmp_path, other, properties, told):
    boxes = [((0, 0, 4, 4), {"name": "a"}), (other, properties)]
    features = [
        {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shapely.box(*box))), "properties": named}
        for box, named in boxes
    ]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    if told is None:
        assert [part.name for part in file_parts(path)] == ["a", "b"]
    else:
        with pytest.raises(UserError, match=told):
            file_parts(path)


def test_without_a_sign_in_or_a_project_the_command_of_the_handbook_says_so(tmp_path):
    def start(**environment):
        there = {key: value for key, value in os.environ.items() if not key.startswith(("GOOGLE_", "EARTHENGINE_"))}
        return subprocess.run(
            [
                sys.executable,
                "tools/export_occurrence.py",
                "--country",
                "RS",
                "--out",
                tmp_path / "exports",
                "--dry-run",
            ],
            cwd=ROOT,
            env={**there, "HOME": str(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    nobody = start(GOOGLE_CLOUD_PROJECT="demo-water")
    assert (nobody.returncode, len(nobody.stderr.splitlines())) == (1, 1)
    assert "nobody has signed in to Earth Engine here" in nobody.stderr
    assert "give --project NAME or set GOOGLE_CLOUD_PROJECT" in start().stderr
    assert not (tmp_path / "exports").exists()


def test_an_outline_with_lines_and_crossings_is_mended():
    bow = shapely.Polygon([(41.7, 60.1), (41.9, 60.3), (41.9, 60.1), (41.7, 60.3)])
    mixed = shapely.GeometryCollection([bow, shapely.LineString([(41.7, 60.1), (41.8, 60.1)])])
    feature = {"type": "Feature", "geometry": json.loads(shapely.to_geojson(mixed)), "properties": {}}
    (part,) = country_parts({"country": "BW", "features": [feature]})
    assert part.name == "BW"
    assert part.km2 == pytest.approx(ground_km2(shapely.box(41.7, 60.1, 41.9, 60.3)) / 2, rel=1e-2)
