"""Packing satellite chips: files by their names, rows of numbers, whole scenes; split by scene, all of them counted."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections import Counter, defaultdict

import numpy as np
import pytest
from packed_photos import (
    by_source,
    checked,
    dropped,
    hashes,
    packed_by_program,
    picture,
    png_bomb,
    refused,
    samples,
    save,
)
from PIL import Image
from programs import ROOT

from waterscape.data.batches import Batches
from waterscape.data.manifest import Manifest
from waterscape.data.order import Order
from waterscape.data.shards import ShardSet
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.photo_file import PhotoError
from waterscape.sources.photo_set import Sharing
from waterscape.sources.ship_rows import read_row
from waterscape.sources.ships import Chips, Ships

SIDE = 20


def chip(number, side=SIDE):
    return np.asarray(picture(number, side, side))


def place(number):
    return round(-122.5 + 0.01 * number, 4), round(37.5 + 0.002 * number, 4)


def file_name(number, label=None):
    longitude, latitude = place(number)
    return f"{number % 2 if label is None else label}__2018070{number % 7}_180909_0f47__{longitude}_{latitude}.png"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """84 synthetic chips of 7 scenes, named as published."""
    folder = tmp_path_factory.mktemp("files") / "shipsnet"
    for number in range(84):
        save(folder / file_name(number), Image.fromarray(chip(number)))
    return folder


def write_rows(path, numbers, side=SIDE, **changes):
    """The JSON form; a change of None leaves a key out."""
    found = {
        "data": [chip(number, side).transpose(2, 0, 1).ravel().tolist() for number in numbers],
        "labels": [number % 2 for number in numbers],
        "locations": [list(place(number)) for number in numbers],
        "scene_ids": [f"2018070{number % 7}_180909_0f47" for number in numbers],
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({name: value for name, value in found.items() if value is not None}))
    return path


def pack(sources, out, *, processes=1, **options):
    origin = Ships.find(sources, out, Chips(**{"side": SIDE, **options}))
    return making.pack(origin, out, processes=processes)


def test_chips_are_stored_as_they_are_whole_scenes_in_one_split(files, tmp_path):
    out = tmp_path / "ships"
    told = packed_by_program("ships", files, "--side", SIDE, "--out", out, "--licence", "CC BY-SA 4.0")
    facts = Manifest.load(out).facts
    assert (facts["classes"], facts["read"], facts["dropped"]) == (["no_ship", "ship"], 84, {})
    assert (facts["licence"], facts["groups"]) == ("CC BY-SA 4.0", 7)
    found = by_source(out)
    for number in range(84):
        values = found[f"shipsnet/{file_name(number)}"]
        assert np.array_equal(values["image.npy"], chip(number))
        assert int(values["class.npy"]) == number % 2
        told_of = values["json"]
        assert (told_of["longitude"], told_of["latitude"]) == place(number)
        assert told_of["scene"] == told_of["group"] == f"2018070{number % 7}_180909_0f47"
        assert told_of["metres_per_pixel"] == [3.0, 3.0]
    splits = defaultdict(set)
    for (split, _), values in samples(out).items():
        splits[values["json"]["scene"]].add(split)
    assert all(len(names) == 1 for names in splits.values())
    assert {name for names in splits.values() for name in names} == {"train", "valid", "test"}
    assert "chips read                                    84" in told
    assert "to the nearest training tile" in checked(out)
    assert (out.parent / "look" / "map.png").is_file()


def test_training_reads_the_pixels(files, tmp_path):
    pack([files], tmp_path / "ships")
    shards = ShardSet(tmp_path / "ships", "train")
    with Batches(shards, ["image.npy", "class.npy"], batch=8, order=Order.sequential(shards.counts), stop=8) as batches:
        (loaded,) = list(batches)
    assert loaded.columns["image.npy"].shape == (8, SIDE, SIDE, 3)
    assert np.array_equal(loaded.columns["image.npy"][0].numpy(), shards.read(0)["image.npy"])


def test_rows_are_the_same_chips_as_files(files, tmp_path):
    path = write_rows(tmp_path / "rows" / "shipsnet.json", range(84))
    pack([files], tmp_path / "a")
    summary = pack([path], tmp_path / "b")
    assert summary.manifest.facts["stored"] == {"rows of numbers": 84}
    one, other = (
        {
            (*place, int(values["class.npy"]), values["json"]["scene"], split): values["image.npy"].tobytes()
            for (split, _), values in samples(tmp_path / name).items()
            if (place := (values["json"]["longitude"], values["json"]["latitude"]))
        }
        for name in "ab"
    )
    assert one == other
    assert len(one) == 84
    both = pack([files, path], tmp_path / "both")
    assert (both.came_in, both.kept, both.dropped) == (168, 84, {"the same chip again": 84})


def test_bytes_depend_on_neither_processes_nor_parts(files, tmp_path):
    options = Chips(side=SIDE, sharing=Sharing(samples_per_shard=16))
    expected = []
    for processes in (1, 2):
        out = tmp_path / str(processes) / "ships"
        making.pack(Ships.find([files], out, options), out, processes=processes)
        expected.append(hashes(out))
    out = tmp_path / "ships"
    for part in (3, 1, 2):
        making.pack_part(Ships.find([files], out, options), out, part=part, parts=3)
    making.join(Ships.find([files], out, options), out)
    assert hashes(out) == expected[0] == expected[1]


@pytest.mark.parametrize("missing", [("labels",), ("locations",), ("scene_ids",), ("labels", "locations", "scene_ids")])
def test_each_key_beside_the_rows_may_be_missing(tmp_path, missing):
    path = write_rows(tmp_path / "in" / "chips.json", range(20), **dict.fromkeys(missing))
    if "scene_ids" in missing:
        with pytest.raises(
            UserError, match=r"20 of 20 chips do not say their scene, such as chips.json#0: say --split"
        ):
            pack([path], tmp_path / "out")
    split = "random" if "scene_ids" in missing else "scene"
    summary = pack([path], tmp_path / "out", split=split)
    assert summary.kept == 20
    assert summary.manifest.facts.get("classes") == (None if "labels" in missing else ["no_ship", "ship"])
    for values in samples(tmp_path / "out").values():
        told = values["json"]
        assert ("class.npy" in values) == ("labels" not in missing)
        assert (told["longitude"] is None) == ("locations" in missing)
        assert (told["scene"] is None) == ("scene_ids" in missing)
    if "locations" in missing:
        with pytest.raises(UserError, match="do not say their place"):
            pack([path], tmp_path / "other", split="place")
    else:
        summary = pack([path], tmp_path / "other", split="place", block_km=2)
        assert summary.manifest.facts["groups"] > 3


def test_bad_rows_are_named(tmp_path):
    path = write_rows(tmp_path / "in.json", range(10))
    found = json.loads(path.read_text())
    found["data"][0] = found["data"][0][:-1]
    found["data"][1][5] = 256
    found["data"][2][5] = -1
    found["data"][3][5] = 0.5
    found["labels"][4] = 2
    found["labels"][5] = True
    found["locations"][6] = [200, 0]
    found["locations"][7] = "there"
    found["data"][9], found["labels"][9] = found["data"][8], found["labels"][8]
    path.write_text(json.dumps(found, indent=1))
    summary = pack([path], tmp_path / "out")
    assert dropped(tmp_path / "out") == {
        "in.json#0": "a row of another length",
        **{f"in.json#{number}": "a row of other values than 0 to 255" for number in (1, 2, 3)},
        **{f"in.json#{number}": "a label that is neither 0 nor 1" for number in (4, 5)},
        **{f"in.json#{number}": "coordinates out of range" for number in (6, 7)},
        "in.json#9": "the same chip again",
    }
    assert (summary.came_in, summary.kept) == (10, 1)


@pytest.mark.parametrize(
    "text", ["[1 2, 3]", "[1,,2]", "[1,2,3,]", "[,1,2]", "[1.0, 2, 3]", "[300, 1, 1]", "[1e1,2,3]"]
)
def test_a_row_that_is_no_list_of_bytes_is_refused(tmp_path, text):
    (tmp_path / "row").write_text(text)
    with pytest.raises(PhotoError, match="a row of other values"):
        read_row(tmp_path / "row", (0, len(text)), 1)
    (tmp_path / "row").write_text("[1,\n 2 ,3 ]")
    assert read_row(tmp_path / "row", (0, 11), 1).tolist() == [[[1, 2, 3]]]


def test_a_damaged_file_of_rows_is_refused(tmp_path):
    path = write_rows(tmp_path / "in.json", range(4))
    whole = path.read_bytes()
    begin = whole.index(b"[[") + 1
    for length in (begin + 5, begin + 3000, whole.index(b'"labels"') - 3, len(whole) - 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"in.json is damaged"):
            pack([path], tmp_path / "out")
    write_rows(path, range(4), labels=[0, 1])
    with pytest.raises(UserError, match="2 labels for 4 rows"):
        pack([path], tmp_path / "out")
    for content in (b'{"words": 1}', b'{"x": {"data": [[1]]}}', b""):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"of 1 chips none is left \(1 no rows of chips in it"):
            pack([path], tmp_path / "out")
    path.write_text('{"data": []}')
    with pytest.raises(UserError, match="none is left"):
        pack([path], tmp_path / "out")


def test_rows_are_read_in_bounded_memory(tmp_path):
    """A file of 90 MB, in a process that may have 60 MB more than it holds when it begins."""
    text = json.dumps(np.tile(np.arange(200), 96).tolist()).encode()
    assert text.count(b",") == 19_199
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.write(b'{"labels": ' + json.dumps([0, 1] * 500).encode() + b', "data": [')
        file.write(b",\n".join([text] * 1000))
        file.write(b"]}")
    assert path.stat().st_size > 80_000_000
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from waterscape.sources.ship_rows import find_rows, read_row\n"
        "path = Path(sys.argv[1])\n"
        "def data():\n"
        "    return int(open('/proc/self/statm').read().split()[5]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (data() + (60 << 20),) * 2)\n"
        "rows = find_rows(path)\n"
        "total = sum(int(read_row(path, place, 80).sum()) for place in rows.places[::100])\n"
        "print(len(rows.places), len(rows.beside['labels']), total)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert run.stdout == f"1000 1000 {10 * 96 * sum(range(200))}\n", run.stderr
    assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY


def test_files_that_are_no_chips_are_named(tmp_path):
    folder = tmp_path / "in"
    for number in range(6):
        save(folder / file_name(number), Image.fromarray(chip(number)))
    image = Image.fromarray(chip(50))
    save(folder / "ship.png", image)
    save(folder / "2__scene__1_2.png", image)
    save(folder / "1__scene__1.png", image)
    save(folder / "1__scene__181.0_2.png", image)
    save(folder / "1__scene__1_nan.png", image)
    save(folder / "1__small__1_2.png", Image.fromarray(chip(51, SIDE - 1)))
    save(folder / "1__grey__1_2.png", Image.fromarray(chip(52)).convert("L"))
    save(folder / "1__clear__1_2.png", Image.fromarray(chip(53)).convert("RGBA"))
    deep = np.asarray(Image.fromarray(chip(54)).convert("L")).astype(np.uint16)
    save(folder / "1__deep__1_2.png", Image.fromarray((deep << 8) + 99))
    save(folder / "0__same__1_2.png", Image.fromarray(chip(0)))
    (folder / "1__bomb__1_2.png").write_bytes(png_bomb(50_000, 50_000))
    (folder / "1__short__1_2.png").write_bytes((folder / file_name(1)).read_bytes()[:200])
    (folder / "1__empty__1_2.png").write_bytes(b"")
    (folder / "readme.txt").write_text("chips")
    (folder / ".DS_Store").write_text("chips")
    summary = pack([folder], tmp_path / "out")
    expected = {
        "ship.png": "a name that does not parse",
        "2__scene__1_2.png": "a name that does not parse",
        "1__scene__1.png": "a name that does not parse",
        "1__scene__181.0_2.png": "coordinates out of range",
        "1__scene__1_nan.png": "a name that does not parse",
        "1__small__1_2.png": "a tile of another size",
        "1__bomb__1_2.png": "too large",
        "1__short__1_2.png": "damaged or cut short",
        "1__empty__1_2.png": "empty file",
        "readme.txt": "no picture by its name",
        ".DS_Store": "no picture by its name",
    }
    lost = dropped(tmp_path / "out")
    same = {name for name, reason in lost.items() if reason == "the same chip again"}
    assert len(same) == 1
    assert {name: reason for name, reason in lost.items() if name not in same} == {
        f"in/{name}": reason for name, reason in expected.items()
    }
    assert (summary.came_in, summary.kept) == (21, 9)
    assert summary.dropped == dict(Counter(lost.values()))
    grey = by_source(tmp_path / "out")["in/1__grey__1_2.png"]
    assert grey["json"]["scene"] == "grey"
    assert np.array_equal(
        grey["image.npy"], np.repeat(np.asarray(Image.fromarray(chip(52)).convert("L"))[..., None], 3, 2)
    )
    found = by_source(tmp_path / "out")["in/1__deep__1_2.png"]["image.npy"]
    assert np.array_equal(found, np.repeat(deep[..., None], 3, 2))
    stored = summary.manifest.facts["stored"]
    assert (stored["grey, three equal colours"], stored["16 bits made 8"]) == (2, 1)


def test_a_chip_with_both_labels_has_none_and_sidecars_are_read(tmp_path):
    folder = tmp_path / "in"
    for number in range(6):
        save(folder / file_name(number), Image.fromarray(chip(number)))
    save(folder / "1__late__1_2.png", Image.fromarray(chip(0)))
    path = write_rows(folder / "rows.json", [1, 20], labels=None)
    (folder / f"{file_name(2)}.json").write_text('{"licence": "CC0", "latitude": 5, "longitude": 6}')
    summary = pack([folder], tmp_path / "out")
    lost = dropped(tmp_path / "out")
    both = "the same chip with both labels"
    assert lost == {f"in/{file_name(0)}": both, "in/1__late__1_2.png": both, f"in/{path.name}#0": "the same chip again"}
    assert (summary.came_in, summary.kept) == (9, 6)
    facts = summary.manifest.facts
    assert (facts["sidecars"], facts["licences"]) == (1, {"CC0": 1})
    assert sum(counts["unlabelled"] for counts in facts["kept"].values()) == 1
    where = by_source(tmp_path / "out")[f"in/{file_name(2)}"]["json"]
    assert (where["licence"], where["longitude"]) == ("CC0", place(2)[0])


def test_scenes_are_cut_into_chips(tmp_path):
    for number in range(5):
        scene = np.asarray(picture(number, 90, 130)).copy()
        scene[:, :30] = 0
        save(tmp_path / "scenes" / f"bay_{number}.png", Image.fromarray(scene))
    save(tmp_path / "scenes" / "narrow.png", picture(9, SIDE - 1, 100))
    with pytest.raises(UserError, match="6 a name that does not parse"):
        pack([tmp_path / "scenes"], tmp_path / "out")
    summary = pack([tmp_path / "scenes"], tmp_path / "out", cut=True)
    assert summary.dropped == {"mostly without data": 40, "a tile of another size": 1}
    assert (summary.came_in, summary.kept) == (5 * 4 * 6 + 1, 5 * 4 * 4)
    facts = summary.manifest.facts
    assert (facts["scenes_cut"], facts["pixels_left_over"]) == (6, 5 * (90 * 130 - 80 * 120))
    assert "classes" not in facts
    splits = defaultdict(set)
    for (split, _), values in samples(tmp_path / "out").items():
        told = values["json"]
        scene = np.asarray(picture(int(told["scene"][-1]), 90, 130))
        left, top = told["left"], told["top"]
        assert np.array_equal(values["image.npy"], scene[top : top + SIDE, left : left + SIDE])
        splits[told["scene"]].add(split)
    assert all(len(names) == 1 for names in splits.values())
    closer = pack([tmp_path / "scenes"], tmp_path / "closer", cut=True, stride=10, most_empty=1.0)
    assert closer.kept + closer.dropped["the same chip again"] == 5 * 8 * 12
    assert "chips" in checked(tmp_path / "out")


def test_mistakes_are_told_in_a_line(files, tmp_path):
    out = tmp_path / "out"
    assert "of 84 chips none is left (84 a tile of another size" in refused("ships", files, "--out", out)
    (tmp_path / "empty").mkdir()
    for sources, options, told in (
        ([tmp_path / "empty"], {}, "holds no file"),
        ([tmp_path / "nowhere"], {}, "does not exist"),
        ([], {}, "no source was named"),
        ([files], {"stride": 5}, "--stride goes with --cut"),
        ([files], {"side": 0}, "give 1 pixel or more"),
        ([files], {"metres_per_pixel": 0.0}, "positive number"),
        ([files], {"sharing": Sharing(shares=(1.0, 0.5, -0.5))}, "add up to 1"),
    ):
        with pytest.raises(UserError, match=told):
            pack(sources, out, **options)
    assert not out.exists()


def test_a_chip_that_changes_meanwhile_ends_the_packing(tmp_path):
    for number in range(4):
        save(tmp_path / "in" / file_name(number), Image.fromarray(chip(number)))
    origin = Ships.find([tmp_path / "in"], tmp_path / "out", Chips(side=SIDE))
    judged = origin.judge(lambda _name, work, items: [work(item) for item in items])
    save(tmp_path / "in" / file_name(2), Image.fromarray(chip(77)))
    make = judged.sampler()
    with pytest.raises(UserError, match="was changed while it was being packed"):
        [make(item) for item in judged.kept]


@pytest.mark.long
def test_real_scenes_are_cut(real_data, tmp_path):
    summary = pack([real_data / "planet_scenes"], tmp_path / "out", side=80, cut=True)
    assert summary.dropped == {}
    scenes = {}
    for path in (real_data / "planet_scenes").glob("*.jpg"):
        with Image.open(path) as image:
            scenes[path.stem] = np.asarray(image.convert("RGB"))
    expected = {name: (scene.shape[0] // 80) * (scene.shape[1] // 80) for name, scene in scenes.items()}
    told = Counter()
    for values in samples(tmp_path / "out").values():
        where = values["json"]
        told[where["scene"]] += 1
        left, top = where["left"], where["top"]
        assert np.array_equal(values["image.npy"], scenes[where["scene"]][top : top + 80, left : left + 80])
    assert told == expected
