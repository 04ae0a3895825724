"""Packing Landsat scenes: pixels labelled once, indices as of the whole raster, a reason for all that is left out."""

import json
from collections import defaultdict

import numpy as np
import pytest
import rasterio
from landsat_files import NORTH_UP, apart, layers_of, numbers, scene, write_mask, write_tif
from packed_photos import by_source, dropped, hashes, packed_by_program, samples
from PIL import Image
from pyproj import Transformer
from rasterio import Affine

from waterscape.data.batches import Batches
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.landsat.bands import BANDS, LAND, UNKNOWN, WATER, band_stack
from waterscape.sources.landsat.packing import Packing
from waterscape.sources.landsat.scene import open_scene
from waterscape.sources.landsat.tiles import Tiles
from waterscape.sources.photo_set import Sharing

SIDE, TILE, SCENES = 96, 40, 5
HLS = ("B2=2", "B3=3", "B4=4", "B5=5", "B6=6", "elevation=10", "qa=8", "cover=11")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five synthetic scenes far from one another, with masks and QA bits that are wrong in places."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(SCENES):
        drawn = scene(number, SIDE)
        layers = numbers(drawn)
        layers["QA_PIXEL"] = np.roll(drawn.water, 1, axis=1) << 7
        layers["QA_PIXEL"][40:50, 40:50] |= 1 << 3
        name = f"lake-{number}"
        write_tif(folder / "scenes" / f"{name}.tif", layers, transform=apart(number), tags={"year": "2020"})
        write_mask(folder / "masks" / f"{name}.png", drawn.water)
    return folder


def packing(**options):
    usual = {"tile_size": TILE, "least_water": 0, "sharing": Sharing(samples_per_shard=16)}
    return Packing(**{**usual, **options})


def pack(sources, out, **options):
    return making.pack(Tiles.find(sources, out, packing(**options)), out)


def put_together(out, column):
    """Source → the column of all its windows, each pixel by the window that labels it, and how many label it."""
    found = defaultdict(lambda: (np.full((SIDE, SIDE), UNKNOWN, np.uint8), np.zeros((SIDE, SIDE), int)))
    for values in samples(out).values():
        place = values["json"]["window"]
        values_there, count = found[values["json"]["source"]]
        at = np.s_[place["row"] : place["row"] + TILE, place["column"] : place["column"] + TILE]
        mine = values[column] != UNKNOWN
        values_there[at][mine] = values[column][mine]
        count[at] += mine
    return found


def test_every_pixel_is_labelled_once_and_seen_as_in_the_whole(source, tmp_path):
    told = packed_by_program(
        "landsat", source / "scenes", "--masks", source / "masks", "--tile-size", TILE, "--least-water", 0,
        "--out", tmp_path / "set", "--licence", "made up", "--group", "file",
    )  # fmt: skip
    assert "scenes read" in told
    labels = put_together(tmp_path / "set", "water.npy")
    for number in range(SCENES):
        drawn = scene(number, SIDE)
        label, count = labels[f"scenes/lake-{number}"]
        inner = np.s_[2:-2, 2:-2]  # the line enhancement is not known at the raster's edge
        assert (count[inner] == 1).all()
        assert count.sum() == (SIDE - 4) ** 2
        assert np.array_equal(label[inner], drawn.water[inner])
    opened = {f"scenes/{path.stem}": open_scene(path) for path in (source / "scenes").iterdir()}
    whole = {name: band_stack(*one.read(one.whole)) for name, one in opened.items()}
    splits = defaultdict(set)
    for (split, _), values in samples(tmp_path / "set").items():
        facts = values["json"]
        row, column = facts["window"]["row"], facts["window"]["column"]
        part = whole[facts["source"]][row : row + TILE, column : column + TILE]
        assert np.array_equal(values["bands.npy"], part, equal_nan=True)
        assert values["cover.npy"].dtype == np.uint8
        assert (facts["crs"], facts["metres_per_pixel"], facts["year"]) == ("EPSG:32643", 30.0, "2020")
        assert 70 < facts["longitude"] < 80
        splits[facts["source"]].add(split)
    assert all(len(names) == 1 for names in splits.values())
    manifest = Manifest.load(tmp_path / "set").facts
    expected = {"side": TILE, "metres_per_pixel": 30.0, "degrees": False, "crs": "EPSG:32643", "bands": list(BANDS)}
    assert manifest["tiles"] == expected
    assert (manifest["groups"], manifest["licence"], manifest["dropped"]) == (SCENES, "made up", {})
    assert manifest["stored"] == {"Landsat Collection 2, Level 2: number × 2.75e-05 − 0.2": manifest["read"]}
    assert Image.open(tmp_path / "set" / "contact.png").width > 500


def test_training_reads_the_columns(source, tmp_path):
    pack([source / "scenes"], tmp_path / "set", masks=source / "masks")
    splits = defaultdict(set)
    for (split, _), values in samples(tmp_path / "set").items():
        splits[values["json"]["group"]].add(split)
    assert len(splits) >= SCENES  # blocks of ground
    assert all(len(names) == 1 for names in splits.values())
    shards = ShardSet(tmp_path / "set", "train")
    columns = ["bands.npy", "water.npy"]
    with Batches(shards, columns, batch=4, order=Order.sequential(shards.counts), stop=4) as batches:
        (loaded,) = list(batches)
    assert loaded.columns["bands.npy"].shape == (4, TILE, TILE, 8)
    assert np.array_equal(loaded.columns["water.npy"][0].numpy(), shards.read(0)["water.npy"])


def test_bits_are_labels_and_masks_their_truth(source, tmp_path):
    told = {"masks": source / "masks", "labels": "qa", "qa_bit": 7, "hide_bits": (3, 4)}
    pack([source / "scenes"], tmp_path / "set", **told)
    labels, truths = (put_together(tmp_path / "set", name) for name in ("water.npy", "truth.npy"))
    for number in range(SCENES):
        name, drawn = f"scenes/lake-{number}", scene(number, SIDE)
        (label, count), (truth, _) = labels[name], truths[name]
        known = count == 1
        assert not known[38:52, 38:52][3:11, 3:11].any()  # hidden, as the cloud bit says
        assert np.array_equal(label[known], np.roll(drawn.water, 1, axis=1)[known])
        assert np.array_equal(truth[known], drawn.water[known])
        assert np.array_equal(truth == UNKNOWN, ~known)


@pytest.mark.long
def test_bytes_depend_on_neither_processes_nor_parts(source, tmp_path):
    options = packing(masks=source / "masks")
    expected = []
    for processes in (1, 2):
        out = tmp_path / str(processes) / "set"
        making.pack(Tiles.find([source / "scenes"], out, options), out, processes=processes)
        expected.append(hashes(out))
    out = tmp_path / "set"
    for part in (3, 1, 2):
        making.pack_part(Tiles.find([source / "scenes"], out, options), out, part=part, parts=3)
    making.join(Tiles.find([source / "scenes"], out, options), out)
    assert hashes(out) == expected[0] == expected[1]


def test_a_share_of_water_is_a_label_and_nan_is_none(tmp_path):
    drawn = scene(2, SIDE)
    share = np.where(drawn.water, 0.7, 0.3).astype(np.float32)
    share[10:20] = np.nan
    bands = dict(zip(BANDS, band_stack(drawn.reflectances, drawn.elevation).transpose(2, 0, 1), strict=True))
    write_tif(tmp_path / "in" / "a.tif", bands | {"water": share}, dtype="float32", nodata=np.nan)
    summary = pack([tmp_path / "in"], tmp_path / "set")
    label, count = put_together(tmp_path / "set", "water.npy")["in/a"]
    assert not count[10:20].any()
    assert np.array_equal(label[count == 1], drawn.water[count == 1])
    assert summary.manifest.facts["stored"] == {"reflectance as it is: number × 1 + 0": summary.kept}


def test_what_is_left_out_is_counted_with_its_reason(tmp_path):
    """One scene is sound, every other is wrong in its own way."""
    drawn, folder, masks = scene(1, SIDE), tmp_path / "in", tmp_path / "masks"
    layers, degrees = numbers(drawn), Affine(0.00027, 0, 10, 0, -0.00027, 50)
    empty = {name: values * 0 - 5 for name, values in layers.items()}
    dry, lost = ({**layers, "B2": layers["B2"] + brighter} for brighter in (1, 2))
    written = {
        "sound": {},
        "again": {},
        "degrees": {"crs": "EPSG:4326", "transform": degrees},
        "nowhere": {"crs": None},
        "south": {"transform": Affine(30, 0, 3e5, 0, 30, 6e6)},
        "turned": {"transform": NORTH_UP @ Affine.rotation(5)},
        "coarse": {"transform": NORTH_UP @ Affine.scale(2)},
        "size": {},
        "elsewhere": {},
        "values": {},
        "unmasked": {},
        "plain": {"described": False},
        "dry": {},
        "empty": {"nodata": -5},
    }
    for name, options in written.items():
        mine = {"dry": dry, "nowhere": lost, "empty": empty}.get(name, layers)
        write_tif(folder / f"{name}.tif", mine, **options)
        write_mask(masks / f"{name}.png", drawn.water)
    write_mask(masks / "size.png", drawn.water[:50])
    write_mask(masks / "values.png", drawn.water * 3)
    write_mask(masks / "dry.png", drawn.water * 0)
    (masks / "unmasked.png").unlink()
    (masks / "elsewhere.png").unlink()
    moved = NORTH_UP @ Affine.translation(5, 5)
    write_tif(masks / "elsewhere.tif", {"": drawn.water}, dtype="uint8", transform=moved, described=False)
    (folder / "broken.tif").write_bytes(b"II*\0 no more")
    options = {"masks": masks, "tile_size": SIDE, "least_water": 101}
    with pytest.raises(UserError, match=r"scenes differ in resolution \(in/.* 30 m, in/coarse has 60 m\): say which"):
        pack([folder], tmp_path / "set", **options)
    with pytest.raises(UserError, match=r"nowhere\.tif has no CRS, so its place is not known: say --group file"):
        pack([folder], tmp_path / "set", metres_per_pixel=30, **options)
    summary = pack([folder], tmp_path / "set", metres_per_pixel=30, group="file", **options)
    reasons = dropped(tmp_path / "set")
    assert reasons == {
        "in/degrees": "in degrees",
        "in/south": "stored south up",
        "in/turned": "rotated or skewed",
        "in/coarse": "of another resolution than the set",
        "in/size": "a mask of another size",
        "in/elsewhere": "a mask of another place",
        "in/values": "a mask of other values",
        "in/unmasked": "no mask",
        "in/plain": "bands missing",
        "in/dry#0,0": "fewer than 101 pixels of water",
        "in/empty": "all nodata",
        "in/broken": "no GeoTIFF that can be read",
        "in/sound#0,0": "the same window again",
    }
    assert (summary.kept, summary.came_in) == (2, len(reasons) + 2)
    (folder / "coarse.tif").unlink()
    with_degrees = pack([folder], tmp_path / "more", degrees=True, group="file", **options)
    assert with_degrees.dropped["without CRS"] == 1
    alone = pack([folder / "degrees.tif"], tmp_path / "alone", degrees=True, group="file", **options)
    tiles = alone.manifest.facts["tiles"]
    assert (tiles["degrees"], tiles["crs"]) == (True, "EPSG:4326")
    nowhere = pack([folder / "nowhere.tif"], tmp_path / "nowhere", metres_per_pixel=30, group="file", **options)
    assert nowhere.manifest.facts["tiles"]["degrees"] is None
    with pytest.raises(UserError, match=r"of 1 scenes nothing is left: 1 bands missing \(.*: B2, .*say which is which"):
        pack([folder / "plain.tif"], tmp_path / "none", **options)


def test_small_scenes_are_filled_up_with_nodata(tmp_path):
    drawn = scene(1, SIDE)
    assert 0 < drawn.water[40:66, 22:78].mean() < 1
    small = {name: values[38:68, 20:80] for name, values in numbers(drawn).items()}
    write_tif(tmp_path / "in" / "a.tif", small)
    write_mask(tmp_path / "masks" / "a.png", drawn.water[38:68, 20:80] * 255)  # 255 is water where nothing is 1
    summary = pack([tmp_path / "in"], tmp_path / "set", masks=tmp_path / "masks", tile_size=64)
    assert summary.manifest.facts["stored"]["smaller than a window: filled up with nodata"] == 1
    (values,) = samples(tmp_path / "set").values()
    assert values["bands.npy"].shape == (64, 64, 8)
    assert np.isnan(values["bands.npy"][30:]).all()
    assert (values["water.npy"][30:] == UNKNOWN).all()
    assert np.array_equal(values["water.npy"][2:28, 2:58], drawn.water[40:66, 22:78])
    assert {LAND, WATER} <= set(np.unique(values["water.npy"]))


def check_labels(out, name, expected):
    label, count = put_together(out, "water.npy")[name]
    inner = np.s_[2:-2, 2:-2]
    assert np.array_equal(label[inner], expected[inner])
    assert np.array_equal(count[inner], expected[inner] != UNKNOWN)


def test_what_255_means_is_one_thing_in_all_masks(tmp_path):
    """A mask of 0 and 255 may be water, or a dry place with something not known: no file tells by itself."""
    folder, masks, out = tmp_path / "in", tmp_path / "masks", tmp_path / "set"
    wet, dry = scene(1, SIDE).water.astype(np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    for number, label in enumerate((wet, dry)):
        label[30:40, 30:40] = 255
        write_tif(folder / f"{number}.tif", numbers(scene(number, SIDE)), transform=apart(number))
        write_mask(masks / f"{number}.png", label)
    with pytest.raises(
        UserError, match=r"0\.png holds 1, but .*1\.png 255 and no 1: say which is water, --mask-water 1"
    ):
        pack([folder], out, masks=masks, group="file")
    pack([folder], out, masks=masks, group="file", mask_water=1)
    for number, label in enumerate((wet, dry)):
        check_labels(out, f"in/{number}", label)
    pack([folder], tmp_path / "other", masks=masks, group="file", mask_water=255)
    check_labels(tmp_path / "other", "in/1", (dry == 255).astype(np.uint8))
    assert dropped(tmp_path / "other") == {"in/0": "a mask of other values"}
    write_mask(masks / "1.png", np.dstack([dry] * 3))  # what is no mask has no say
    pack([folder], tmp_path / "coloured", masks=masks, group="file")
    assert dropped(tmp_path / "coloured") == {"in/1": "a mask of several bands"}
    write_mask(masks / "0.png", np.where(wet, 255, 0))
    pack([folder], tmp_path / "both", masks=masks, group="file")
    check_labels(tmp_path / "both", "in/0", (wet > 0).astype(np.uint8))


def test_255_in_a_band_of_water_is_not_known(tmp_path):
    drawn = scene(1, SIDE)
    label = drawn.water.astype(np.uint8)
    label[30:40, 30:40] = 255
    write_tif(tmp_path / "in" / "a.tif", numbers(drawn) | {"water": label})
    pack([tmp_path / "in"], tmp_path / "set", group="file")
    check_labels(tmp_path / "set", "in/a", label)


def test_a_mask_is_of_one_scene(tmp_path):
    folder, masks = tmp_path / "in", tmp_path / "masks"
    for number, below in enumerate("ab"):
        write_tif(folder / below / "1.tif", numbers(scene(number, SIDE)), transform=apart(number))
    options = {"masks": masks, "group": "file"}
    write_mask(masks / "a" / "1.png", scene(0, SIDE).water)
    pack([folder], tmp_path / "one", **options)
    assert dropped(tmp_path / "one") == {"in/b/1": "no mask"}
    write_mask(masks / "1.png", scene(1, SIDE).water)
    pack([folder], tmp_path / "two", **options)
    check_labels(tmp_path / "two", "in/b/1", scene(1, SIDE).water)
    (masks / "a" / "1.png").unlink()
    with pytest.raises(UserError, match=r"masks/1\.png is the mask of both .*in/a/1\.tif and .*in/b/1\.tif: put masks"):
        pack([folder], tmp_path / "three", **options)


def test_shifted_scenes_share_no_ground_between_splits(tmp_path):
    """One ground, cut at other places, and once more in the next UTM zone, whose pixels lie askew."""
    side, tile = 160, 64
    drawn = scene(3, side)
    place, layers = Affine(30, 0, 710_000, 0, -30, 5_000_000), numbers(drawn)
    for number, shift in enumerate((0, 7, 23)):
        part = {name: values[shift:, shift:] for name, values in layers.items()} | {
            "water": drawn.water[shift:, shift:]
        }
        write_tif(tmp_path / "in" / f"{number}.tif", part, transform=place @ Affine.translation(shift, shift))
    there = Transformer.from_crs("EPSG:32643", "EPSG:32644", always_xy=True).transform(place.c, place.f)
    askew = Affine(30, 0, round(there[0]), 0, -30, round(there[1]))
    write_tif(tmp_path / "in" / "3.tif", layers | {"water": drawn.water}, crs="EPSG:32644", transform=askew)
    sharing = Sharing((0.5, 0.25, 0.25), samples_per_shard=64)
    pack([tmp_path / "in"], tmp_path / "set", block_km=2.0, tile_size=tile, sharing=sharing)
    to_blocks = {crs: Transformer.from_crs(crs, "EPSG:6933", always_xy=True) for crs in ("EPSG:32643", "EPSG:32644")}
    splits, labelled = defaultdict(set), defaultdict(int)
    ground = defaultdict(lambda: np.zeros((side, side), int))  # of the first three: by how many a pixel is labelled
    for (split, _), values in samples(tmp_path / "set").items():
        facts = values["json"]
        with rasterio.open(tmp_path / f"{facts['source']}.tif") as dataset:
            corner, crs = dataset.transform, dataset.crs.to_string()
        rows, columns = np.nonzero(values["water.npy"] != UNKNOWN)
        east = corner.c + 30 * (columns + facts["window"]["column"] + 0.5)
        north = corner.f - 30 * (rows + facts["window"]["row"] + 0.5)
        blocks = np.floor(np.divide(to_blocks[crs].transform(east, north), 2000))
        ((to_east, to_north),) = np.unique(blocks.astype(int), axis=1).T.tolist()
        assert facts["group"] == f"2km:{to_east}:{to_north}"
        splits[facts["group"]].add(split)
        labelled[facts["source"]] += len(rows)
        if crs == "EPSG:32643":
            np.add.at(ground[split], (((place.f - north) // 30).astype(int), ((east - place.c) // 30).astype(int)), 1)
    assert set(ground) == {"train", "valid", "test"}
    assert all(len(one) == 1 for one in splits.values())
    assert (sum((counts > 0).astype(int) for counts in ground.values()) <= 1).all()
    assert sum((counts > 1).sum() for counts in ground.values()) > side**2 / 4  # the scenes do show the same
    assert all(count > 0.4 * (side - 23) ** 2 for count in labelled.values())


def test_files_of_one_band_cannot_be_grouped_by_a_band(tmp_path):
    for name, values in numbers(scene(1, SIDE)).items():
        write_tif(tmp_path / "in" / f"lake_{name}.tif", {"": values}, described=False)
    with pytest.raises(UserError, match=r"--group band:3 needs one file with all bands, .*in/lake_\* are files of one"):
        pack([tmp_path / "in"], tmp_path / "set", group="band:3")


def test_what_changes_meanwhile_is_told(source, tmp_path):
    origin = Tiles.find([source / "scenes"], tmp_path / "set", packing(masks=source / "masks"))
    judged = origin.judge(lambda _, work, items: [work(item) for item in items])
    write_tif(tmp_path / "other.tif", layers_of(scene(9, SIDE)), dtype="float32")
    kept = judged.kept[0]
    found, *rest = kept.source
    (source / "scenes" / "keep.bin").write_bytes(found.path.read_bytes())
    try:
        found.path.write_bytes((tmp_path / "other.tif").read_bytes())
        with pytest.raises(UserError, match="was changed while it was being packed"):
            judged.make(kept)
    finally:
        (source / "scenes" / "keep.bin").rename(found.path)
    assert rest
    judged.make(kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": ("B9=1",)}, "--bands B9=1: give NAME=BAND"),
        ({"bands": ("B2=2", "B2=3")}, "--bands names B2 twice"),
        ({"labels": "masks"}, "--labels masks: say where they are"),
        ({"labels": "qa"}, "--labels qa: say which bit means water"),
        ({"group": "band"}, "--group band: give place, file, or band:N"),
        ({"metres_per_pixel": 0.0}, "--metres-per-pixel 0.0: give a positive number"),
        ({"block_km": 0.0}, "--block-km 0.0: give a positive number of kilometres"),
        ({"tile_size": 8}, "--tile-size 8, --overlap 10: tiles must be larger"),
        ({"hide_bits": (40,)}, "bits are counted from 0 to 31"),
        ({}, "nothing is left: 5 bands missing .* it has no water, of which labels are to be made"),
    ],
)
def test_options_that_cannot_be(options, words, source, tmp_path):
    with pytest.raises(UserError, match=words):
        pack([source / "scenes"], tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


@pytest.mark.long
def test_the_real_tiles(real_data, tmp_path):
    """70 tiles of 53 places; the mask is the label, and no place is in two splits."""
    hls = real_data / "hls_water"
    told = {"bands": HLS, "scale": 1e-4, "offset": 0.0, "metres_per_pixel": 30.0, "masks": hls / "labels"}
    summary = pack([hls / "images"], tmp_path / "set", group="band:10", tile_size=128, **told)
    facts = summary.manifest.facts
    assert (summary.kept, facts["groups"], facts["dropped"]) == (70, 53, {})
    found = by_source(tmp_path / "set")
    splits = defaultdict(set)
    for (split, _), values in samples(tmp_path / "set").items():
        splits[values["json"]["group"]].add(split)
    assert all(len(names) == 1 for names in splits.values())
    for path in (hls / "labels").glob("*.png"):
        values = found[f"images/{path.stem}"]
        expected = np.asarray(Image.open(path)) > 0
        known = values["water.npy"] != UNKNOWN
        assert np.array_equal(values["water.npy"][known], expected[known])
        assert known.sum() > 0.8 * 124**2
    assert json.dumps(facts["made"]["options"])
    assert str(real_data) not in json.dumps(facts)
    one, unscaled = hls / "images" / "94.tif", told | {"scale": None, "offset": None}
    with pytest.raises(UserError, match=r"of 1 scenes nothing is left: 1 no reflectances .* --scale 0.0001 --offset 0"):
        pack([one], tmp_path / "no", **unscaled)
