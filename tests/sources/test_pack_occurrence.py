"""Packing occurrence tiles: what is kept, where it goes, what the shards hold, and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
import warnings
from collections import Counter, defaultdict
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from programs import ROOT, run_program
from rasterio.transform import Affine

from waterscape.data.manifest import Manifest
from waterscape.errors import UserError, run_command
from waterscape.metrics import morphology
from waterscape.sources.occurrence_pack import Packing, pack
from waterscape.sources.occurrence_rules import ALL_WATER, EMPTY, SEAM, STRIPE, WRONG_SIZE, Rules
from waterscape.sources.occurrence_sample import Labelling, reduce

SIDE = 64
LABELLING = Labelling(morphology.bodies, morphology.dominant, morphology.CLASSES, morphology.COLUMNS)
PACKING = Packing(tile_size=SIDE, sizes=(64, 32, 20))


def lake(number):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - 20 - number % 23, columns - 25 - number % 17) + 3 * np.sin(columns / (3 + number % 5))
    return np.clip(150 - 8 * distance, 0, 100).astype(np.uint8)


def seamed(number):
    tile = np.maximum(lake(number), 40)
    tile[:, 30:] //= 2
    return tile


def striped(number):
    tile = np.maximum(lake(number), 30)
    tile[[40]] = 0
    return tile


def write_geotiff(path, occurrence, row=0, column=0, **options):
    """A tile of 100 m pixels whose place follows from its offsets, as in an export."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(100, 0, 3e5 + 100 * column, 0, -100, 6e6 - 100 * row)
    bands = occurrence if occurrence.ndim == 3 else occurrence[None]
    profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    profile |= {"crs": "EPSG:32637", "transform": transform, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
            dataset.write(bands)


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """120 fit tiles of two regions, 64 pixels apart, and 11 unfit ones."""
    folder = tmp_path_factory.mktemp("export")
    for number in range(120):
        region, row, column = ("lena", "surgut")[number % 2], 64 * (number // 10), 640 * (number % 10)
        write_geotiff(folder / region / f"{region}-{row:010d}-{column:010d}.tif", lake(number), row, column)
    unfit = [lake(1)[:40], lake(2)[:, :9], *[np.zeros((SIDE, SIDE), np.uint8)] * 3, np.full((SIDE, SIDE), 99, np.uint8)]
    unfit += [seamed(3), seamed(4).T, striped(5), striped(6).T, striped(7)]
    for number, tile in enumerate(unfit):
        row = 10_000 + 64 * number
        write_geotiff(folder / "lena" / f"lena-{row:010d}-{0:010d}.tif", np.ascontiguousarray(tile), row, 0)
    return folder


@pytest.fixture(scope="module")
def packed(export, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "water"
    return out, pack([export], out, LABELLING, replace(PACKING, block_km=10, licence="CC BY 4.0"))


def samples(out):
    """Every sample of a set, read by tarfile alone: (split, key) → column → value."""
    found = defaultdict(dict)
    for shard in Manifest.load(out).shards:
        with tarfile.open(out / f"{shard.name}.tar") as tar:
            for member in tar:
                key, _, column = member.name.partition(".")
                content = tar.extractfile(member).read()
                value = json.loads(content) if column == "json" else np.load(io.BytesIO(content))
                found[shard.split, key][column] = value
    return found


def hashes(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def test_every_tile_is_kept_or_dropped_for_its_reason(packed):
    out, summary = packed
    assert summary.dropped == {WRONG_SIZE: 2, EMPTY: 3, ALL_WATER: 1, STRIPE: 3, SEAM: 2}
    assert (summary.came_in, summary.kept) == (131, 120)
    assert sum(sum(counts.values()) for counts in summary.shapes.values()) == 120
    facts = summary.manifest.facts
    assert facts["dropped"] == summary.dropped
    assert facts["regions"] == {"lena": {"read": 71, "kept": 60}, "surgut": {"read": 60, "kept": 60}}
    assert facts["classes"] == list(morphology.CLASSES)
    assert facts["body_columns"] == list(morphology.COLUMNS)
    assert facts["licence"] == "CC BY 4.0"
    assert facts["synthetic"] is False
    assert facts["made"]["options"]["rules"]["min_cover"] == 0.2
    with Image.open(out / "contact.png") as contact:
        assert contact.text["synthetic"] == "no"
    table = summary.table()
    for reason, count in summary.dropped.items():
        assert f"{reason:<22}{count:8d}" in table


def test_a_sum_that_does_not_agree_is_an_error(packed):
    _, summary = packed
    summary.check()
    with pytest.raises(RuntimeError, match="sums differ"):
        replace(summary, came_in=132).check()
    with pytest.raises(RuntimeError, match="sums differ"):
        replace(summary, shapes={**summary.shapes, "train": {"lake": 1}}).check()


def test_samples_hold_the_tiles_their_reductions_labels_and_origin(export, packed):
    out, _ = packed
    kept = samples(out)
    assert len({values["json"]["source"] for values in kept.values()}) == len(kept) == 120
    for (split, _), values in kept.items():
        origin = values["json"]
        with rasterio.open(export / origin["source"]) as dataset:
            occurrence = dataset.read(1)
            assert origin["transform"] == list(dataset.transform)[:6]
        tiles = {"occurrence.npy", "occurrence64.npy", "occurrence32.npy", "occurrence20.npy"}
        assert set(values) == tiles | {"bodies.npy", "body.npy", "shape.npy", "json"}
        assert np.array_equal(values["occurrence.npy"], occurrence)
        assert np.array_equal(values["occurrence64.npy"], occurrence)  # models of 64 pixels find it under that name
        means = occurrence.reshape(32, 2, 32, 2).mean(axis=(1, 3))
        assert np.array_equal(values["occurrence32.npy"], np.floor(means + 0.5))
        metres = np.sqrt(np.prod(origin["metres_per_pixel"]))
        bodies = morphology.bodies(occurrence, float(metres))
        np.testing.assert_array_equal(values["bodies.npy"], bodies)
        assert values["shape.npy"].shape == ()
        assert values["shape.npy"].dtype == np.uint8
        assert int(values["shape.npy"]) == morphology.dominant(bodies)
        assert f"{origin['region']}-{origin['row']:010d}-{origin['column']:010d}.tif" == Path(origin["source"]).name
        assert origin["crs"] == "EPSG:32637"
        assert origin["split"] == split


def test_no_block_of_ground_is_torn_between_splits(packed):
    out, _ = packed
    splits = defaultdict(set)
    counts = Counter()
    for (split, _), values in samples(out).items():
        splits[values["json"]["group"]].add(split)
        counts[split] += 1
    assert all(len(names) == 1 for names in splits.values())
    assert len(splits) > 10
    assert counts["train"] > counts["test"] > 3
    assert counts["valid"] > 3


@pytest.mark.long
def test_bytes_do_not_depend_on_processes_or_the_order_of_sources(export, packed, tmp_path):
    out, _ = packed
    again = tmp_path / "water"
    options = replace(PACKING, block_km=10, licence="CC BY 4.0")
    pack([export / "surgut", export / "lena"], again, LABELLING, options, processes=2)
    first, second = hashes(out), hashes(again)
    source = [name for name in first if name != "manifest.json"]  # which tells the sources' names
    assert {name: second[name] for name in source} == {name: first[name] for name in source}

    once_more = tmp_path / "more" / "water"
    pack([export], once_more, LABELLING, options, processes=2)
    assert hashes(once_more) == first


def test_another_seed_gives_another_split_and_order(export, packed, tmp_path):
    out, _ = packed
    pack([export], tmp_path / "water", LABELLING, replace(PACKING, block_km=10, seed=1))
    one = [values["json"]["source"] for values in samples(out).values()]
    other = [values["json"]["source"] for values in samples(tmp_path / "water").values()]
    assert sorted(one) == sorted(other)
    assert one != other


def test_random_split_has_exact_shares(export, tmp_path):
    summary = pack([export], tmp_path / "water", LABELLING, replace(PACKING, split="random"))
    assert [sum(summary.shapes[split].values()) for split in ("train", "valid", "test")] == [96, 12, 12]


def test_groups_by_folder_and_by_pattern_hold_together(export, tmp_path):
    shares = (0.5, 0.25, 0.25)
    pack([export], tmp_path / "a", LABELLING, replace(PACKING, group="folder", shares=shares))
    groups = {(values["json"]["group"], split) for (split, _), values in samples(tmp_path / "a").items()}
    assert {group for group, _ in groups} == {"lena", "surgut"}
    assert len(groups) == 2
    pack([export], tmp_path / "b", LABELLING, replace(PACKING, group=r"-(\d+)-", shares=shares))
    splits = defaultdict(set)
    for (split, _), values in samples(tmp_path / "b").items():
        row = f"{values['json']['row']:010d}"
        assert values["json"]["group"] == row
        splits[row].add(split)
    assert len(splits) == 12
    assert all(len(names) == 1 for names in splits.values())


def test_mask_is_a_column_only_where_it_tells_more_than_zero(tmp_path):
    for number in range(4):
        values = np.where(lake(number) > 0, lake(number), 255).astype(np.uint8)
        write_geotiff(tmp_path / "plain" / f"{number}.tif", values, column=9_999 * number, nodata=255)
    summary = pack([tmp_path / "plain"], tmp_path / "a", LABELLING, PACKING)
    assert "mask.npy" not in [column.name for column in summary.manifest.columns]
    masked = [values["json"]["masked_share"] for values in samples(tmp_path / "a").values()]
    assert sorted(masked) == pytest.approx(sorted(float((lake(n) == 0).mean()) for n in range(4)), abs=1e-6)

    never_water_here, masked_there = lake(9), lake(9) == 100
    write_geotiff(
        tmp_path / "plain" / "seen.tif", np.where(masked_there, 255, never_water_here), column=77_777, nodata=255
    )
    pack([tmp_path / "plain"], tmp_path / "b", LABELLING, PACKING)
    masks = {values["json"]["source"]: values["mask.npy"] for values in samples(tmp_path / "b").values()}
    assert np.array_equal(masks.pop("seen.tif"), ~masked_there)
    for name, mask in masks.items():
        assert np.array_equal(mask, lake(int(name[0])) > 0)


def test_tiles_beside_a_worlds_mark_are_called_synthetic(tmp_path):
    for number in range(3):
        write_geotiff(tmp_path / "world" / "region" / f"{number}.tif", lake(number), column=9_999 * number)
    (tmp_path / "world" / "world.json").write_text('{"synthetic": true}')
    summary = pack([tmp_path / "world"], tmp_path / "out", LABELLING, PACKING)
    assert summary.manifest.facts["synthetic"] is True
    assert all(values["json"]["synthetic"] for values in samples(tmp_path / "out").values())
    with Image.open(tmp_path / "out" / "contact.png") as contact:
        assert contact.text["synthetic"] == "yes"


@pytest.mark.parametrize(("side", "size"), [(12, 4), (12, 5), (7, 3), (9, 9), (10, 1), (64, 20)])
def test_reduction_is_the_exact_area_mean_rounded_half_up(side, size):
    tile = np.random.default_rng(side).integers(0, 101, (side, side)).astype(np.uint8)
    tile[: side // 2] = np.where(tile[: side // 2] > 50, 1, 0)  # halves occur
    step = Fraction(side, size)

    def overlap(part, pixel):
        return max(Fraction(0), min((part + 1) * step, Fraction(pixel + 1)) - max(part * step, Fraction(pixel)))

    weights = [[overlap(part, pixel) for pixel in range(side)] for part in range(size)]
    reduced = reduce(tile, size)
    assert reduced.shape == (size, size)
    for row in range(0, size, 3):
        for column in range(size):
            total = sum(
                weights[row][y] * weights[column][x] * int(tile[y, x])
                for y in range(side)
                if weights[row][y]
                for x in range(side)
                if weights[column][x]
            )
            assert reduced[row, column] == (total / step**2 + Fraction(1, 2)).__floor__()


def test_a_tile_that_changes_meanwhile_ends_the_packing(tmp_path):
    for number in range(3):
        write_geotiff(tmp_path / "in" / f"{number}.tif", lake(number), column=9_999 * number)

    def meddle(occurrence, metres):
        for number in range(3):
            write_geotiff(tmp_path / "in" / f"{number}.tif", lake(number + 5), column=9_999 * number)
        return morphology.bodies(occurrence, metres)

    with pytest.raises(UserError, match="was changed while"):
        pack([tmp_path / "in"], tmp_path / "out", replace(LABELLING, bodies=meddle), PACKING)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_splits_that_got_nothing_and_stretched_tiles_are_told(tmp_path):
    write_geotiff(tmp_path / "in" / "a.tif", lake(0), crs="EPSG:4326", transform=Affine(0.001, 0, 90, 0, -0.001, 70))
    summary = pack([tmp_path / "in"], tmp_path / "out", LABELLING, PACKING)
    assert "stretched" in summary.notes[0]
    assert "2.9 times" in summary.notes[0]
    assert [note.split()[0] for note in summary.notes[1:]] == ["valid", "test"]


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("pack_occurrence", ROOT / "tools" / "pack_occurrence.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack_occurrence"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def command(tool, monkeypatch, capsys):
    """Run the tool's command line in this process: exit code, stdout, stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pack_occurrence.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            run_command(tool.main)
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    return run


def test_the_command_packs_and_tells_the_sums(command, export, tmp_path):
    out = tmp_path / "water"
    words = [export, "--tile-size", 64, "--sizes", "64,32", "--block-km", 10, "--processes", 1]
    code, told, _ = command(*words, "--out", out)
    assert code == 0
    assert "tiles read                   131" in told
    assert "contact.png" in told
    names = {column.name for column in Manifest.load(out).columns}
    assert {"occurrence.npy", "occurrence64.npy", "occurrence32.npy", "json"} <= names
    before = hashes(out)
    code, _, error = command(*words, "--out", out)
    assert code == 1
    assert "exists" in error
    code, _, error = command(*words, "--out", out, "--replace", "--min-cover", 101)
    assert code == 1
    assert "none is left (2 wrong size, 129 practically empty)" in error
    assert hashes(out) == before
    assert command(*words, "--out", out, "--replace")[0] == 0
    assert hashes(out) == before


def bad_inputs():
    nan = lake(0).astype(np.float32)
    nan[3, 3] = np.nan
    above = lake(0)
    above[3, 3] = 101
    noise = np.random.default_rng(0).integers(0, 100, (SIDE, SIDE)).astype(np.uint8)
    return {
        "NaN among them": lambda folder: write_geotiff(folder / "a.tif", nan),
        "101, outside 0–100": lambda folder: write_geotiff(folder / "a.tif", above),
        "4 bands": lambda folder: write_geotiff(folder / "a.tif", np.stack([lake(0)] * 4)),
        "band counts are mixed": lambda folder: [
            write_geotiff(folder / "a.tif", lake(0)),
            write_geotiff(folder / "b.tif", np.stack([lake(0)] * 3)),
        ],
        "none is left (1 practically empty)": lambda folder: write_geotiff(folder / "a.tif", 0 * lake(0)),
        "none is left (1 wrong size): most are 64×9 pixels": lambda folder: write_geotiff(
            folder / "a.tif", lake(0)[:9]
        ),
        "--group file": lambda folder: Image.fromarray(lake(0)).save(folder / "a.png"),
        "holds no tile": lambda folder: (folder / "a.txt").write_text("water"),
        "not a GeoTIFF": lambda folder: (folder / "a.tif").write_text("water"),
        "damaged or cut off": lambda folder: [
            write_geotiff(folder / "a.tif", noise),
            (folder / "a.tif").write_bytes((folder / "a.tif").read_bytes()[:2000]),
        ],
        "mode RGBA": lambda folder: Image.new("RGBA", (64, 64)).save(folder / "a.png"),
    }


@pytest.mark.parametrize("message", bad_inputs())
def test_bad_input_is_told_in_one_line_and_leaves_nothing(command, tmp_path, message):
    (tmp_path / "in").mkdir()
    bad_inputs()[message](tmp_path / "in")
    code, told, error = command(tmp_path / "in", "--out", tmp_path / "out", "--tile-size", 64)
    assert code == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not told
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile-siez", 64], "--tile-size"),
        (["--group", "("], "regular expression"),
        (["--group", "nowhere"], "fits nowhere"),
        (["--group", "file", "--split", "random"], "exclude each other"),
        (["--shares", "0.5,0.1,0.1"], "add up to 1"),
        (["--shares", "0.5,0.5"], "add up to 1"),
        (["--sizes", "64,128"], "sides of 1 to 64"),
        (["--processes", 0], "--processes is 0"),
        (["--block-km", 0], "positive number of kilometres"),
        (["--tile-size", 0], "must be 1 or more"),
        (["--part", "0/2"], "give I/N"),
        (["--part", "3/2"], "give I/N"),
        (["--part", "2"], "give I/N"),
        (["--part", "1/2", "--join"], "exclude each other"),
        (["--join"], "there are no parts"),
        (["--true-scale", "--group", "file"], "--group is for tiles without coordinates"),
        (["--true-scale"], "is in EPSG:32637: --true-scale takes exports in EPSG:4326"),
        (["--metres-per-pixel", 50], "goes with --true-scale"),
        (["--true-scale", "--metres-per-pixel", -3], "positive number of metres"),
    ],
)
def test_bad_options_are_told_in_one_line(command, export, tmp_path, words, message):
    code, _, error = command(export / "surgut", "--out", tmp_path / "out", "--tile-size", 64, *words)
    assert code == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


def test_values_that_are_no_numbers_end_the_command(command, export, tmp_path):
    code, _, error = command(export, "--out", tmp_path / "out", "--sizes", "64,small")
    assert code == 2
    assert "--sizes" in error
    assert not list(tmp_path.iterdir())


def test_out_within_the_source_is_refused(command, export):
    code, _, error = command(export, "--out", export / "shards", "--tile-size", 64)
    assert code == 1
    assert "within the source" in error


def test_help_says_what_each_rule_means(command):
    code, told, _ = command("--help")
    assert code == 0
    for rule in fields(Rules):
        assert f"--{rule.name.replace('_', '-')}" in told
    for reason in (EMPTY, ALL_WATER, STRIPE, SEAM):
        assert reason in told.lower()


@pytest.mark.long
def test_the_real_tiles(real_data, tmp_path):
    source = real_data / "water_occurrence"
    words = ["tools/pack_occurrence.py", source, "--tile-size", 128, "--group", "file", "--out", tmp_path / "water"]
    done = run_program(*words)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    kept = samples(tmp_path / "water")
    assert len(kept) == 73
    for values in kept.values():
        with Image.open(source / values["json"]["source"]) as image:
            assert np.array_equal(values["occurrence.npy"], np.asarray(image))
        assert values["occurrence64.npy"].shape == (64, 64)
        assert values["json"]["metres_per_pixel"] is None
