"""`waterscape deploy` against the loopback Earth Engine: proofs, exports, refusals, stops and goings-on."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import typing
import warnings

import ee
import numpy as np
import pytest
from loopback_earthengine import Assumptions, Fault, Raster, serve
from programs import ROOT, run
from small_region import ASSET, CRS, SIDE, TRANSFORM, services, write_region
from small_scenes import train_pixels
from waiting import until

from waterscape import models
from waterscape.earthengine.comparison import probability
from waterscape.errors import UserError
from waterscape.pages.deploy import parse_years
from waterscape.sources import earthengine
from waterscape.sources.landsat.bands import OFFSET, SCALE, band_stack
from waterscape.sources.server_tasks.task_list import TaskList
from waterscape.sources.web import Limits

YEARS = (2019, 2020)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of pixel_cnn that was trained for a moment."""
    return train_pixels(tmp_path_factory.mktemp("deployed"), images=96)


@pytest.fixture
def region(tmp_path):
    return write_region(tmp_path / "lakes.geojson")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Few attempts, short pauses: what a test waits for."""
    hurried = Limits(at_once=4, per_second=1000, attempts=3, first_pause=0.01, longest_pause=0.02)
    monkeypatch.setitem(earthengine.connect.__kwdefaults__, "limits", hurried)
    ee.Reset()
    yield
    earthengine.disconnect()


@pytest.fixture
def service(monkeypatch):
    """Start a loopback and name it as Earth Engine's endpoint."""
    from contextlib import ExitStack

    with ExitStack() as running:

        def start(**options):
            server = running.enter_context(serve(**{**services(YEARS), **options}))
            monkeypatch.setenv("EARTHENGINE_URL", server.url)
            return server

        yield start


def words(trained, area, out, **more):
    given = {"region": area, "years": "2019-2020", "asset": ASSET, "out": out, "poll-seconds": 0.01, **more}
    flags = [word for key, value in given.items() for word in ([f"--{key}"] if value is True else [f"--{key}", value])]
    return ["deploy", trained, *flags]


def asset(year, name="lakes"):
    return f"{ASSET}/{name}_{year}"


@pytest.mark.long
def test_the_exported_water_is_the_networks(trained, region, service, tmp_path, capsys):
    server = service()
    run(*words(trained, region, tmp_path / "out"))
    said = capsys.readouterr().out
    assert "probes: Earth Engine does what" in said
    assert "2 of 2 assets made (25 EECU-seconds)" in said
    network = models.load(trained).networks["pixels"]
    for year in YEARS:
        made = server.exports.assets[asset(year)]
        assert made.crs == CRS
        assert made.properties["year"] == year
        assert made.properties["network_sha256"] == models.load(trained).sha256
        expected = probability(network, composite(server, year))
        there = cut_like(made, expected)
        known = made.mask & np.isfinite(there)
        assert known.mean() > 0.8
        np.testing.assert_allclose(made.bands["probability"][known], there[known], rtol=0, atol=1e-5)
        certain = known & (np.abs(there - 0.5) > 1e-5)
        np.testing.assert_array_equal(made.bands["water"][certain], there[certain] > 0.5)
    facts = json.loads((tmp_path / "out" / "compared.json").read_text())
    assert facts["agrees"]
    assert facts["largest"] <= 1e-5
    agreed = json.loads((tmp_path / "out" / "agreement.json").read_text())["lakes"]
    assert agreed["pixels"] > 6_000
    assert 0 <= agreed["agreement"] <= 1
    assert (tmp_path / "out" / "agreement-lakes.png").stat().st_size > 10_000


def cut_like(made, whole):
    """The part of an array over the scenes that an exported asset covers."""
    left, top = round((made.transform[2] - TRANSFORM[2]) / 30), round((TRANSFORM[5] - made.transform[5]) / 30)
    return whole[top : top + made.shape[0], left : left + made.shape[1]]


def composite(server, year):
    """The bands (H W 8) of a summer's median, in numpy."""
    scenes = server.world.collections["LANDSAT/LC08/C02/T1_L2"][3 * YEARS.index(year) :][:3]
    clear = np.stack([(scene.bands["QA_PIXEL"] >> 1) & 15 == 0 for scene in scenes])
    bands = []
    for name in ("B2", "B3", "B4", "B5", "B6"):
        numbers = np.stack([scene.bands[f"SR_{name}"] for scene in scenes]) * SCALE + OFFSET
        with warnings.catch_warnings(action="ignore"):
            method = "lower" if server.world.assumptions.median_of_even == "lower" else "linear"
            bands.append(np.nanquantile(np.where(clear, numbers, np.nan), 0.5, axis=0, method=method))
    return band_stack(np.dstack(bands), server.world.assets["CGIAR/SRTM90_V4"].bands["elevation"])


def test_a_dry_run_asks_for_nothing(trained, region, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EARTHENGINE_URL", "http://127.0.0.1:9")
    script = tmp_path / "water.js"
    run(*words(trained, region, tmp_path / "out", **{"dry-run": True, "javascript": script}))
    said = capsys.readouterr().out
    assert "2 exports: 1 regions × 2 years" in said
    assert "EECU) cannot be told before" in said
    assert "nothing was asked for" in said
    assert "function" in script.read_text()
    assert not (tmp_path / "out").exists()


OF_PROBES = ("convolve_kernel", "neighbour_order", "neighbour_bands", "reprojected_scale", "matrix_rows")
OF_THE_TILE = "precision"
QUICK = ("flipped", "columns", "request")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({name: value}, marks=() if value in QUICK else pytest.mark.long)
        for name in OF_PROBES
        for value in typing.get_args(typing.get_type_hints(Assumptions)[name])[1:]
    ],
    ids=str,
)
def test_nothing_is_exported_to_a_service_that_works_otherwise(other, trained, region, service, tmp_path):
    server = service(assumptions=Assumptions(**other))
    with pytest.raises(UserError, match=r"otherwise than the network assumes|Earth Engine answers"):
        run(*words(trained, region, tmp_path / "out"))
    assert not server.count("image:export")


def test_nothing_is_exported_where_a_tile_is_not_torchs(trained, region, service, tmp_path, capsys):
    """In a world that no probe can tell: its small whole numbers are exact in few bits, and a network's are not."""
    server, out = service(assumptions=Assumptions(precision="14 bits")), tmp_path / "out"
    with pytest.raises(UserError, match=r"off torch's \(allowed 1e-05\), and 0 pixels are masked") as refused:
        run(*words(trained, region, out))
    assert "probes: Earth Engine does what the network assumes" in capsys.readouterr().out
    assert re.match(r"one tile of lakes, [\d,]+ pixels at 55\.\d+, 37\.\d+ in 2019: the servers'", str(refused.value))
    assert str(refused.value).endswith(f"nothing is exported, see {out / 'compared.png'}")
    told = json.loads((out / "compared.json").read_text())
    assert (told["agrees"], told["region"], told["year"]) == (False, "lakes", 2019)
    assert told["largest"] > told["allowed"]
    assert f"{told['largest']:.1e} off" in str(refused.value)
    assert (out / "compared.png").stat().st_size > 10_000
    assert not server.count("image:export")
    assert not (out / "tasks.jsonl").exists()


UNIMPORTANT = {
    "masked_neighbours": "skipped",
    "masked_pixels": "nan",
    "array_with_number": "refused",
    "repeated_request": "refused",
    "division_by_zero": "masked",
    "median_of_even": "lower",
    "shared_edge": "previous",
}


def test_each_assumption_is_settled_by_a_probe_or_by_the_tile_or_does_not_matter():
    assert {*OF_PROBES, OF_THE_TILE, *UNIMPORTANT} == {field.name for field in dataclasses.fields(Assumptions)}


@pytest.mark.long
@pytest.mark.parametrize("other", [UNIMPORTANT, {"precision": "single"}], ids=["conventions", "precision"])
def test_other_worlds_that_do_not_matter(other, trained, region, service, tmp_path):
    server = service(assumptions=Assumptions(**other))
    run(*words(trained, region, tmp_path / "out", years="2019"))
    made = server.exports.assets[asset(2019)]
    expected = probability(models.load(trained).networks["pixels"], composite(server, 2019))
    there = cut_like(made, expected)
    np.testing.assert_array_equal(made.mask, np.isfinite(there) & made.mask)
    np.testing.assert_allclose(made.bands["probability"][made.mask], there[made.mask], rtol=0, atol=1e-5)


@pytest.mark.long
def test_an_existing_asset_is_listed_and_left_or_replaced(trained, region, service, tmp_path, capsys):
    old = Raster({"water": np.ones((SIDE, SIDE), np.uint8)}, CRS, TRANSFORM)
    world = services(YEARS)
    server = service(assets={**world["assets"], asset(2019): old})
    run(*words(trained, region, tmp_path / "out"))
    said = capsys.readouterr().out
    assert "lakes_2019: skipped: the asset exists (--overwrite replaces it)" in said
    assert "1 of 2 assets made" in said
    assert server.exports.assets[asset(2019)] is old
    assert on_the_list(tmp_path / "out") == {"lakes_2019": "skipped", "lakes_2020": "SUCCEEDED"}
    run(*words(trained, region, tmp_path / "out", overwrite=True))
    assert "probability" in server.exports.assets[asset(2019)].bands
    assert server.count("image:export") == 2  # 2020 was ours and done: not again
    assert on_the_list(tmp_path / "out") == {"lakes_2019": "SUCCEEDED", "lakes_2020": "SUCCEEDED"}


def on_the_list(out):
    return {name: task.state for name, task in TaskList(out / "tasks.jsonl").tasks.items()}


@pytest.mark.long
def test_an_asset_that_appears_before_its_task_has_ended_is_listed_and_left(trained, region, service, tmp_path, capsys):
    server = service(running=0)
    run(*words(trained, region, tmp_path / "out", **{"no-wait": True}))
    assert on_the_list(tmp_path / "out") == {"lakes_2019": "PENDING", "lakes_2020": "PENDING"}
    other = Raster({"water": np.ones((SIDE, SIDE), np.uint8)}, CRS, TRANSFORM)
    server.exports.assets[asset(2019)], server.exports.running = other, 2
    run(*words(trained, region, tmp_path / "out"))
    said = capsys.readouterr().out
    assert "lakes_2019: skipped: the asset appeared meanwhile (--overwrite replaces it)" in said
    assert "1 of 2 assets made (12 EECU-seconds), 1 skipped, 0 under way" in said
    assert server.exports.assets[asset(2019)] is other
    assert on_the_list(tmp_path / "out") == {"lakes_2019": "skipped", "lakes_2020": "SUCCEEDED"}


@pytest.mark.long
def test_assets_without_water_are_no_part_of_the_map(trained, region, service, tmp_path, capsys):
    other = Raster({"red": np.ones((SIDE, SIDE), np.uint8)}, CRS, TRANSFORM)
    service(assets={**services(YEARS)["assets"], asset(2019): other})
    run(*words(trained, region, tmp_path / "out"))
    assert "of pixels agree with" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "agreement.json").read_text())["lakes"]["pixels"] > 6_000


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([Fault("value:compute", status=401, message="Request had invalid credentials")], "earthengine authenticate"),
        ([Fault("image:export", status=403, message="Permission denied")], "may use it"),
        ([Fault("image:export", status=429, message="Quota exceeded for tasks", times=99)], "Quota exceeded for tasks"),
        ([Fault("value:compute", "nonsense", times=99)], "what makes no sense"),
        ([Fault("/operations", "nonsense", times=99)], "what makes no sense"),
    ],
    ids=["expired", "forbidden", "quota", "nonsense", "nonsense about tasks"],
)
def test_what_the_service_refuses_is_one_clear_line(faults, message, trained, region, service, tmp_path):
    service(faults=faults)
    with pytest.raises(UserError, match=message) as refused:
        run(*words(trained, region, tmp_path / "out"))
    assert "\n" not in str(refused.value)


@pytest.mark.long
def test_what_goes_wrong_for_a_while_is_done_again_and_no_asset_twice(trained, region, service, tmp_path, capsys):
    server = service(
        faults=[
            Fault("image:export", "lost"),
            Fault("image:export", "cut", after=1),
            Fault("image:export", status=500, after=2),
            Fault("computePixels", status=429, message="Too many concurrent aggregations.", times=2),
            Fault("/operations", status=503, times=2, after=1),
            Fault("lakes_2019", "fails", message="An internal error has occurred"),
        ]
    )
    run(*words(trained, region, tmp_path / "out"))
    assert "2 of 2 assets made" in capsys.readouterr().out
    assert succeeded(server) == [asset(2019), asset(2020)]


def succeeded(server):
    return sorted(each.asset for each in server.exports.operations.values() if each.state == "SUCCEEDED")


@pytest.mark.long
def test_a_task_that_fails_for_good_is_named_and_tried_by_the_next_run(trained, region, service, tmp_path, capsys):
    server = service(faults=[Fault("lakes_2019", "fails", message="User memory limit exceeded.")])
    del server.world.assets["JRC/GSW1_4/GlobalSurfaceWater"]  # a map that fails hides nothing and fails nothing
    with pytest.raises(UserError, match="1 of 2 assets were not made; the same command tries them again"):
        run(*words(trained, region, tmp_path / "out"))
    said, no_map = capsys.readouterr().out, "lakes: no map of the agreement with JRC"
    assert said.index("lakes_2019: failed, User memory limit exceeded.") < said.index(no_map)
    run(*words(trained, region, tmp_path / "out"))
    assert no_map in capsys.readouterr().out
    assert set(server.exports.assets) >= {asset(2019), asset(2020)}
    assert server.count("image:export") == 3


@pytest.mark.long
def test_killed_anywhere_it_goes_on_and_exports_each_asset_once(trained, region, service, tmp_path):
    server = service(polls=3, running=1)
    command = [sys.executable, "-m", "waterscape", *map(str, words(trained, region, tmp_path / "out"))]
    stops = ["started", "intended", "running"]
    for stop in stops:
        if stop == "started":
            server.faults.append(Fault("image:export", "slow", seconds=3.0))
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})
        wanted = server.count("image:export") + 1

        def is_so_far(stop=stop, process=process, wanted=wanted):
            all_run = stop == "running" and len(server.exports.operations) == 2
            return all_run or process.poll() is not None or server.count("image:export") >= wanted

        until(is_so_far)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    subprocess.run(command, cwd=ROOT, check=True, timeout=240, capture_output=True)
    made = [operation.asset for operation in server.exports.operations.values()]
    assert sorted(made) == [asset(2019), asset(2020)]
    assert {operation.state for operation in server.exports.operations.values()} == {"SUCCEEDED"}


@pytest.mark.long
def test_another_deployment_in_the_same_folder_is_refused(trained, region, service, tmp_path):
    service()
    run(*words(trained, region, tmp_path / "out", years="2019"))
    with pytest.raises(UserError, match="another deployment"):
        run(*words(trained, region, tmp_path / "out", years="2019", threshold=0.7))
    run(*words(trained, region, tmp_path / "out", years="2019-2020"))  # more of the same goes on


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"asset": "users/me/water"}, "projects/PROJECT/assets/NAME"),
        ({"years": "2020-"}, "give 2020"),
        ({"years": "2012"}, "first summer"),
        ({"threshold": 1}, "between 0 and 1"),
        ({"region": "none.geojson"}, "cannot be read"),
        ({"crs": "EPSG:0"}, "no coordinate system"),
    ],
)
def test_mistakes_are_one_line_each(more, message, trained, region, tmp_path):
    with pytest.raises(UserError, match=message):
        run(*words(trained, region, tmp_path / "out", **more))


def test_years():
    assert parse_years("2013-2015,2020") == (2013, 2014, 2015, 2020)
    with pytest.raises(UserError, match="each once"):
        parse_years("2013,2013")
