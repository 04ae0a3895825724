"""Packing folders of labelled photos: classes, splits, copies, and files of every kind, each kept or told."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from packed_photos import (
    by_source,
    checked,
    dropped,
    exif,
    hashes,
    jpeg,
    jpeg_bomb,
    packed,
    packed_by_program,
    picture,
    png_bomb,
    refused,
    samples,
    save,
)
from PIL import Image, ImageCms, ImageOps

from waterscape.data.manifest import Manifest
from waterscape.data.pictures import decode_picture
from waterscape.errors import UserError
from waterscape.sources import making
from waterscape.sources.near_duplicates import fingerprint, joined, near_pairs
from waterscape.sources.photo_file import Limits, PhotoError, decode, read
from waterscape.sources.photo_set import Sharing
from waterscape.sources.scene_folders import split_word
from waterscape.sources.scenes import Classes, Scenes

CLASSES = ("forest", "glacier", "sea")


def write_classes(root, classes=CLASSES, count=20, first=0):
    """Folders of distinct synthetic photos."""
    for kind, name in enumerate(classes):
        for number in range(count):
            save(root / name / f"{number:03d}.jpg", picture(first + 1000 * kind + number), quality=90)
    return root


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("photos") / "intel")


def pack(roots, out, *, processes=1, replace=False, **options):
    return making.pack(Scenes.find(roots, out, Classes(**options)), out, processes=processes, replace=replace)


def test_classes_are_shared_out_and_photos_keep_their_bytes(photos, tmp_path):
    out = tmp_path / "scenes"
    told = packed_by_program("scenes", photos, "--out", out)
    facts = Manifest.load(out).facts
    assert facts["classes"] == list(CLASSES)
    assert facts["kept"] == {
        "train": dict.fromkeys(CLASSES, 14),
        "valid": dict.fromkeys(CLASSES, 3),
        "test": dict.fromkeys(CLASSES, 3),
    }
    assert (facts["read"], facts["dropped"], facts["synthetic"]) == (60, {}, False)
    assert facts["stored"] == {"stored as they are": 60}
    for source, values in by_source(out).items():
        assert values["jpg"] == (photos.parent / source).read_bytes()
        assert CLASSES[int(values["class.npy"])] == values["json"]["class"] == source.split("/")[1]
        assert values["class.npy"].dtype == np.uint8
        assert values["json"]["longitude"] is None
    assert "  glacier                                     14       3       3      20" in told
    assert "glacier" in checked(out)
    with Image.open(out / "contact.png") as contact:
        assert contact.text["synthetic"] == "no"


def test_bytes_depend_on_neither_processes_nor_parts(photos, tmp_path):
    out, options = tmp_path / "scenes", Classes(sharing=Sharing(samples_per_shard=16))
    making.pack(Scenes.find([photos], out, options), out, processes=2)
    expected = hashes(out)
    assert len([name for name in expected if name.endswith("tar")]) == 5
    for name in ("again", "parts"):
        (tmp_path / name).mkdir()
    again = tmp_path / "again" / "scenes"
    summary = making.pack(Scenes.find([photos], again, options), again)
    assert hashes(again) == expected
    parts = tmp_path / "parts" / "scenes"
    for part in (2, 1, 2):
        done = making.pack_part(Scenes.find([photos], parts, options), parts, part=part, parts=2)
    assert done.made == 0
    assert making.join(Scenes.find([photos], parts, options), parts).table() == summary.table()
    assert hashes(parts) == expected
    assert [path.name for path in parts.parent.iterdir()] == ["scenes"]
    with pytest.raises(UserError, match="exists"):
        making.pack(Scenes.find([photos], out, options), out)
    making.pack(Scenes.find([photos], out, options), out, replace=True)
    assert hashes(out) == expected


def test_the_command_packs_in_parts(photos, tmp_path):
    out = tmp_path / "scenes"
    words = [photos, "--out", out, "--samples-per-shard", 20]
    assert "part 1/2 is complete" in packed("scenes", *words, "--part", "1/2")
    assert "run --part 2/2 again" in refused("scenes", *words, "--join")
    packed("scenes", *words, "--part", "2/2")
    assert "photos read" in packed("scenes", *words, "--join")
    assert "--part 3/2" in refused("scenes", *words, "--part", "3/2")
    assert "exclude each other" in refused("scenes", *words, "--part", "1/2", "--join")


def test_roots_are_joined_by_a_map_of_classes(photos, tmp_path):
    other = write_classes(tmp_path / "landscape", ("Coast", "Forest", "Street"), 6, first=5000)
    out = tmp_path / "scenes"
    summary = pack([photos, other], out, map=("coast=sea", "STREET=-"))
    assert {name: sum(summary.classes[split][name] for split in summary.classes) for name in CLASSES} == {
        "forest": 26,
        "glacier": 20,
        "sea": 26,
    }
    assert summary.dropped == {"its class is left out": 6}
    assert (summary.came_in, summary.kept) == (78, 72)
    assert by_source(out)["landscape/Coast/001.jpg"]["json"]["class"] == "sea"
    regions = Counter(values["json"]["region"] for values in samples(out).values())
    assert regions == {"intel": 60, "landscape": 12}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--map", "cost=sea"], r"no folder is called cost \(did you mean coast\?\); there are coast, forest"),
        (["--classes", "forest", "sea"], r"coast is of no class among forest, sea: say --map coast="),
        (["--classes", "forest", "coast", "desert"], "class desert has no folder"),
        (["--map", "coast"], "give FOLDER=CLASS"),
        (["--map", "coast=a,coast=b"], "two classes"),
        (["--split", "given"], "not all folders name a split"),
        (["--shares", "0.5,0.1,0.1"], "add up to 1"),
        (["--samples-per-shard", "0"], "1 or more"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, words, told):
    root = write_classes(tmp_path / "in", ("coast", "forest"), 3)
    assert re.search(told, refused("scenes", root, "--out", tmp_path / "out", *words))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_folders_that_cannot_be(photos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for roots, told in (
        ([empty], "holds no folder of a class"),
        ([tmp_path / "nowhere"], "does not exist"),
        ([photos / "sea" / "000.jpg"], "is no folder"),
        ([photos, photos / "sea"], "lie in one another"),
        ([], "no folder was named"),
    ):
        with pytest.raises(UserError, match=told):
            Scenes.find(roots, tmp_path / "out", Classes())
    with pytest.raises(UserError, match="lies within the source"):
        Scenes.find([photos], photos / "out", Classes())
    other = write_classes(tmp_path / "other" / "intel", count=1)
    with pytest.raises(UserError, match="two folders are called alike"):
        Scenes.find([photos, other], tmp_path / "out", Classes())


def test_folders_that_are_no_classes(tmp_path):
    for number in range(257):
        (tmp_path / "in" / f"album {number}").mkdir(parents=True)
    with pytest.raises(UserError, match="257 folders of classes: are these classes"):
        Scenes.find([tmp_path / "in"], tmp_path / "out", Classes())


def test_linked_folders_are_followed_once(photos, tmp_path):
    (tmp_path / "in").mkdir()
    for name in CLASSES:
        (tmp_path / "in" / name).symlink_to(photos / name)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    summary = pack([tmp_path / "in"], tmp_path / "out", map=("loop=-",))
    assert summary.kept == 60


def test_a_class_without_a_photo_is_named(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "in")
    (root / "desert").mkdir()
    with pytest.raises(UserError, match=r"class desert has no photo that can be used .* say --map desert=-"):
        pack([root], tmp_path / "out")
    (root / "desert" / "notes.txt").write_text("dry")
    with pytest.raises(UserError, match=r"1 no picture by its name, such as in/desert/notes.txt"):
        pack([root], tmp_path / "out")
    assert pack([root], tmp_path / "out", map=("desert=-",)).kept == 60
    for name in CLASSES:
        shutil.rmtree(root / name)
    with pytest.raises(UserError, match="of 1 photos none is left"):
        pack([root], tmp_path / "other")


def test_splits_are_taken_from_folders(tmp_path):
    root = tmp_path / "intel"
    for number, folder in enumerate(("seg_train/seg_train", "seg_test/seg_test", "Validation Data")):
        write_classes(root / folder, ("forest", "sea"), 8 - 2 * number, first=100 * number)
    save(root / "seg_pred" / "1.jpg", picture(1))
    save(root / "seg_train" / "seg_train" / "stray.jpg", picture(1))
    summary = pack([root], tmp_path / "out")
    assert {split: sum(counts.values()) for split, counts in summary.classes.items()} == {
        "train": 16, "test": 12, "valid": 8
    }  # fmt: skip
    assert dropped(tmp_path / "out") == {
        "intel/seg_pred/1.jpg": "in no split's folder",
        "intel/seg_train/seg_train/stray.jpg": "in no class's folder",
    }
    assert all(
        {"train": "seg_train", "test": "seg_test", "valid": "Validation Data"}[split] in values["json"]["source"]
        for (split, _), values in samples(tmp_path / "out").items()
    )
    dealt = pack([root], tmp_path / "dealt", split="random")
    assert sum(dealt.classes["train"].values()) == 24  # 12 of 18, twice
    plain = write_classes(tmp_path / "plain", ("forest",), 2, first=900)
    with pytest.raises(UserError, match="say --split random"):
        pack([root, plain], tmp_path / "both")


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("seg_test", "test"),
        ("Validation Data", "valid"),
        ("val", "valid"),
        ("Training_set", "train"),
        ("sea", None),
        ("train_station", None),
        ("testament", None),
        ("train test", None),
    ],
)
def test_names_of_splits(folder, split):
    assert split_word(folder) == split


def test_photos_that_look_the_same_go_to_one_split_and_are_told(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "in")
    for number in range(10):
        name = f"{number:03d}.jpg"
        save(root / "sea" / f"copy-{name}", Image.open(root / "sea" / name), quality=60)
    shutil.copy(root / "sea" / "011.jpg", root / "sea" / "same.jpg")
    shutil.copy(root / "sea" / "012.jpg", root / "forest" / "astray.jpg")
    save(root / "glacier" / "alike.jpg", Image.open(root / "sea" / "013.jpg"), quality=60)
    summary = pack([root], tmp_path / "out")
    near = summary.manifest.facts["near_duplicates"]
    assert (near["pairs"], near["across_splits"], near["across_classes"]) == (11, {}, 1)
    assert near["across_classes_listed"][0][:2] == ["in/glacier/alike.jpg", "in/sea/013.jpg"]
    split_of = {values["json"]["source"]: split for (split, _), values in samples(tmp_path / "out").items()}
    for number in range(10):
        assert split_of[f"in/sea/{number:03d}.jpg"] == split_of[f"in/sea/copy-{number:03d}.jpg"]
    assert dropped(tmp_path / "out") == {
        "in/sea/same.jpg": "the same file again",
        "in/sea/012.jpg": "the same file in two classes",
        "in/forest/astray.jpg": "the same file in two classes",
    }
    assert any("differ in class" in note for note in summary.notes)
    loose = pack([root], tmp_path / "loose", near=-1)
    assert loose.manifest.facts["near_duplicates"]["pairs"] == 0


def test_copies_across_given_splits_are_told(tmp_path):
    root = tmp_path / "in"
    write_classes(root / "train", ("sea", "forest"), 6)
    write_classes(root / "valid", ("sea", "forest"), 2, first=50)
    write_classes(root / "test", ("sea", "forest"), 2, first=70)
    shutil.copy(root / "train" / "sea" / "001.jpg", root / "test" / "sea" / "leak.jpg")
    save(root / "test" / "sea" / "leak2.jpg", Image.open(root / "train" / "sea" / "002.jpg"), quality=50)
    told = packed("scenes", root, "--out", tmp_path / "out")
    assert "2 pairs that look the same stand in train and test" in told
    near = Manifest.load(tmp_path / "out").facts["near_duplicates"]
    assert near["across_splits"] == {"train and test": 2}
    assert near["across_splits_listed"][0] == ["in/test/sea/leak.jpg", "in/train/sea/001.jpg", 0]


def test_fingerprints_find_what_was_saved_anew_and_nothing_else():
    random = np.random.default_rng(0)
    originals = [picture(number, 120, 160) for number in range(60)]
    again = [Image.open(io.BytesIO(jpeg(image.resize((100, 75)), quality=70))) for image in originals]
    prints = [fingerprint(image) for image in (*originals, *again)]
    pairs = near_pairs(prints)
    assert [(one, two) for one, two, _ in pairs] == [(number, number + 60) for number in range(60)]
    bits = random.integers(0, 2, (300, 256)).astype(np.uint8)
    bits[200] = bits[3]
    bits[200, :24] ^= 1
    texts = [np.packbits(row).tobytes().hex() for row in bits]
    assert near_pairs(texts) == [(3, 200, 24)]
    assert near_pairs(texts, 23) == []
    flat = fingerprint(Image.new("RGB", (50, 50), "grey"))
    assert flat == ""
    assert near_pairs([flat, flat, texts[0]]) == []


def odd_pictures(folder):
    """Pictures of every kind: name → how each is stored, or for which reason it is dropped."""
    folder.mkdir(parents=True)
    image = picture(7, 60, 90)
    save(folder / "plain.jpg", image)
    save(folder / "grey.jpg", image.convert("L"))
    save(folder / "progressive.jpeg", picture(8), progressive=True)
    save(folder / "cmyk.jpg", picture(9).convert("CMYK"))
    save(folder / "turned.jpg", picture(10), exif=exif(6))
    save(folder / "upright.jpg", picture(11), exif=exif(1))
    save(folder / "colour.png", picture(12))
    save(
        folder / "see-through.png",
        Image.merge("RGBA", [*picture(13).split(), Image.linear_gradient("L").resize((80, 60))]),
    )
    save(folder / "opaque.png", picture(14).convert("RGBA"))
    save(folder / "palette.png", picture(15).quantize(64))
    deep = (np.asarray(picture(16).convert("L")).astype(np.uint16) << 8) + 99
    save(folder / "deep.png", Image.fromarray(deep))
    save(folder / "deep.tif", Image.fromarray(deep))
    save(folder / "float.tif", Image.fromarray(deep.astype(np.float32)))
    save(folder / "web.webp", picture(17), quality=95)
    save(folder / "really-png.jpg", picture(18), format="PNG")
    (folder / "short.jpg").write_bytes(jpeg(picture(19))[:-600])
    (folder / "half.png").write_bytes((folder / "colour.png").read_bytes()[:-2000])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture at all")
    (folder / "notes.txt").write_text("about")
    (folder / "bomb.png").write_bytes(png_bomb(60_000, 60_000))
    (folder / "bomb.jpg").write_bytes(jpeg_bomb(65_000, 65_000))
    save(folder / "tiny.png", picture(20).resize((9, 40)))
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / ".hidden.jpg").write_bytes(jpeg(picture(21)))
    (folder / "sidecar.jpg").write_bytes(jpeg(picture(22)))
    (folder / "sidecar.json").write_text("[broken")
    kept = {
        "plain.jpg": ["stored as they are"],
        "grey.jpg": ["stored as they are, grey"],
        "progressive.jpeg": ["stored as they are"],
        "cmyk.jpg": ["CMYK made RGB"],
        "turned.jpg": ["turned upright"],
        "upright.jpg": ["stored as they are"],
        "colour.png": ["PNG made JPEG"],
        "see-through.png": ["PNG made JPEG", "transparency laid on white"],
        "opaque.png": ["PNG made JPEG"],
        "palette.png": ["PNG made JPEG"],
        "deep.png": ["PNG made JPEG", "16 bits made 8"],
        "web.webp": ["WEBP made JPEG"],
        "really-png.jpg": ["PNG made JPEG"],
    }
    lost = {
        "deep.tif": "colours of an unknown kind",
        "float.tif": "colours of an unknown kind",
        "short.jpg": "damaged or cut short",
        "half.png": "damaged or cut short",
        "empty.jpg": "empty file",
        "text.jpg": "no picture by its content",
        "notes.txt": "no picture by its name",
        "bomb.png": "too large",
        "bomb.jpg": "too large",
        "tiny.png": "too small",
        "gone.jpg": "cannot be opened",
        ".hidden.jpg": "no picture by its name",
        "sidecar.jpg": "its .json cannot be used",
    }
    return kept, lost


def reference(path):
    """A picture as it should look, by the long way."""
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "I;16":
            upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
        if upright.has_transparency_data:
            pixels = np.asarray(upright.convert("RGBA")).astype(float)
            share = pixels[:, :, 3:] / 255
            return pixels[:, :, :3] * share + 255 * (1 - share)
        return np.asarray(upright.convert("RGB")).astype(float)


def test_pictures_of_every_kind_are_stored_right_or_named(tmp_path):
    kept, lost = odd_pictures(tmp_path / "in" / "sea")
    out = tmp_path / "out"
    summary = pack([tmp_path / "in"], out)
    assert dropped(out) == {f"in/sea/{name}": reason for name, reason in lost.items()}
    assert summary.dropped == dict(Counter(lost.values()))
    assert (summary.came_in, summary.kept) == (len(kept) + len(lost), len(kept))
    found = by_source(out)
    assert {name: values["json"]["stored"] for name, values in found.items()} == {
        f"in/sea/{name}": ways for name, ways in kept.items()
    }
    for name, ways in kept.items():
        path, values = tmp_path / "in" / "sea" / name, found[f"in/sea/{name}"]
        as_it_is = ways[0].startswith("stored")
        assert (values["jpg"] == path.read_bytes()) == as_it_is
        expected = reference(path)
        assert (values["json"]["height"], values["json"]["width"]) == expected.shape[:2]
        made = decode_picture(values["jpg"], expected.shape[:2])  # as training reads it
        assert np.abs(made - expected).mean() < (4 if name == "palette.png" else 2), name
        with Image.open(io.BytesIO(values["jpg"])) as image:  # and as any other reader does
            assert image.getexif().get(0x0112, 1) == 1
            assert image.mode in ("RGB", "L")
            assert image.size == expected.shape[1::-1]
    parts = tmp_path / "parts" / "out"
    origin = Scenes.find([tmp_path / "in"], parts, Classes())
    making.pack_part(origin, parts, part=1, parts=1)
    making.join(origin, parts)
    assert hashes(parts) == hashes(out)
    stored = summary.manifest.facts["stored"]
    assert (stored["PNG made JPEG"], stored["stored as they are"], stored["turned upright"]) == (6, 3, 1)
    assert "stored: transparency laid on white" in summary.table()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path, orientation):
    path = save(tmp_path / "a.jpg", picture(3, 40, 64), exif=exif(orientation), quality=95)
    photo = read(path)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image)).astype(float)
    assert (photo.width, photo.height) == upright.shape[1::-1]
    made = decode_picture(photo.stored(), upright.shape[:2])
    assert np.abs(made - upright).mean() < 1.5
    assert bool(photo.done) == (orientation != 1)


def test_colour_profiles_are_applied_but_for_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    image = picture(5)
    same = read(save(tmp_path / "same.jpg", image, icc_profile=srgb.tobytes()))
    assert same.done == ()
    # sRGB with its red and blue primaries exchanged, and another name: colours that nobody could miss
    swapped = bytearray(
        srgb.tobytes().replace("sRGB".encode("utf-16-be"), "xYZW".encode("utf-16-be")).replace(b"sRGB", b"xYZW")
    )
    tags = swapped[132 : 132 + 12 * int.from_bytes(swapped[128:132], "big")]
    red, blue = tags.index(b"rXYZ"), tags.index(b"bXYZ")
    swapped[132 + red : 136 + red], swapped[132 + blue : 136 + blue] = b"bXYZ", b"rXYZ"
    other = read(save(tmp_path / "other.jpg", image, icc_profile=bytes(swapped), quality=95))
    assert other.done == ("colour profile made sRGB",)
    assert np.abs(other.pixels().astype(float) - np.asarray(image)[:, :, ::-1]).mean() < 4
    broken = read(save(tmp_path / "broken.jpg", image, icc_profile=b"no profile at all"))
    assert broken.done == ()


def test_bombs_are_refused_in_a_process_without_the_memory():
    """Each in a process that may not have the memory of its pixels: 3600 million of them."""
    code = (
        "import resource, sys\n"
        "from waterscape.sources.photo_file import PhotoError, decode\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)\n"
        "try:\n    decode(sys.stdin.buffer.read())\n"
        "except PhotoError as error:\n    print(error)\n"
    )
    for bomb in (png_bomb(60_000, 60_000), jpeg_bomb(60_000, 60_000)):
        run = subprocess.run([sys.executable, "-c", code], input=bomb, capture_output=True, timeout=60)
        assert run.stdout.decode() == "too large: more than 64 million pixels\n", run.stderr
    with pytest.raises(PhotoError, match="too large"):
        decode(jpeg(picture(1)), Limits(most_megapixels=0.001))


def test_a_photo_cut_anywhere_is_refused():
    photo = jpeg(picture(1))
    for length in range(1, len(photo) - 2, 97):
        with pytest.raises(PhotoError, match=r"damaged or cut short|no picture by its content"):
            decode(photo[:length], small=16)


def test_places_and_licences_come_from_exif_and_sidecars(tmp_path):
    root = write_classes(tmp_path / "in", ("sea", "forest"), 3)
    save(root / "sea" / "gps.jpg", picture(50), exif=exif(place=(-70.25, -33.5), copyright="CC BY 4.0", artist="A. B."))
    save(root / "sea" / "null.jpg", picture(51), exif=exif(place=(0, 0)))
    save(root / "sea" / "told.jpg", picture(52), exif=exif(place=(10, 10)))
    told = {
        "lon": 37.5,
        "lat": "55.25",
        "license": "CC0",
        "title": "a\ud800\nb",
        "url": "https://example.org/1",
        "secret": "no",
        "date": None,
    }
    (root / "sea" / "told.jpg.json").write_text(json.dumps(told))
    save(root / "sea" / "far.jpg", picture(53))
    (root / "sea" / "far.json").write_text('{"longitude": 500, "latitude": 0}')
    summary = pack([root], tmp_path / "out")
    assert dropped(tmp_path / "out") == {"in/sea/far.jpg": "its .json cannot be used"}
    assert (summary.came_in, summary.manifest.facts["sidecars"]) == (10, 2)
    found = by_source(tmp_path / "out")
    one, two = (found[f"in/sea/{name}.jpg"]["json"] for name in ("gps", "told"))
    assert (one["longitude"], one["latitude"]) == pytest.approx((-70.25, -33.5))
    assert (one["licence"], one["author"]) == ("CC BY 4.0", "A. B.")
    assert (two["longitude"], two["latitude"], two["licence"]) == (37.5, 55.25, "CC0")
    assert two["source_url"] == "https://example.org/1"
    assert "secret" not in two
    assert two["title"] == r"a\ud800\nb"
    assert summary.manifest.facts["licences"] == {"CC BY 4.0": 1, "CC0": 1}
    assert found["in/sea/null.jpg"]["json"]["longitude"] is None


def test_a_photo_that_changes_meanwhile_ends_the_packing(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "in")
    origin = Scenes.find([root], tmp_path / "out", Classes())
    judged = origin.judge(lambda _name, work, items, **_: [work(item) for item in items])
    save(root / "sea" / "003.jpg", picture(77))
    make = judged.sampler()
    with pytest.raises(UserError, match="was changed while it was being packed"):
        [make(item) for item in judged.kept]


def test_names_that_are_no_text_are_packed_and_listed(tmp_path):
    root = write_classes(tmp_path / "in", ("sea",), 2)
    odd = bytes(root) + b"/sea/\xff\tname.jpg"
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write(jpeg(picture(60)))
    with open(odd + b".txt", "wb"):  # noqa: PTH123
        pass
    summary = pack([root], tmp_path / "out")
    assert summary.kept == 3
    assert list(dropped(tmp_path / "out")) == [r"in/sea/\udcff\tname.jpg.txt"]


def test_photos_beside_a_worlds_mark_are_called_synthetic(tmp_path):
    root = write_classes(tmp_path / "in", ("sea",), 3)
    (root / "world.json").write_text('{"synthetic": true}')
    summary = pack([root], tmp_path / "out")
    assert summary.manifest.facts["synthetic"] is True
    assert all(values["json"]["synthetic"] for values in samples(tmp_path / "out").values())
    with Image.open(tmp_path / "out" / "contact.png") as contact:
        assert contact.text["synthetic"] == "yes"


def test_real_scenes(real_data, tmp_path):
    out = tmp_path / "scenes"
    summary = pack([real_data / "scenes"], out)
    files = list((real_data / "scenes").rglob("*.jpg"))
    assert (summary.kept, summary.dropped) == (len(files), {})
    assert set(summary.manifest.facts["classes"]) == {path.name for path in (real_data / "scenes").iterdir()}
    for source, values in by_source(out).items():
        assert values["jpg"] == (real_data / source).read_bytes()
    assert "glacier" in checked(out)


def test_a_synthetic_world_s_facts_of_itself_are_no_stray_file(tmp_path):
    world = tmp_path / "world"
    save(world / "sea" / "0.jpg", picture(0))
    save(world / "forest" / "1.jpg", picture(1))
    (world / "world.json").write_text(json.dumps({"synthetic": True}))
    (world / "notes.txt").write_text("a stray file\n")
    packed("scenes", world, "--out", tmp_path / "out", "--shares", "1,0,0")
    facts = Manifest.load(tmp_path / "out").facts
    assert (facts["read"], facts["dropped"], facts["synthetic"]) == (3, {"in no class's folder": 1}, True)


def test_near_pairs_and_what_they_join_are_those_of_a_plain_search():
    random = np.random.default_rng(3)
    bits = random.integers(0, 2, (1500, 256), np.uint8)  # more than are compared at once
    for number in range(1, 1500, 3):
        bits[number] = bits[number - 1]
        bits[number, random.choice(256, random.integers(0, 40), replace=False)] ^= 1
    prints = ["" if number % 50 == 7 else np.packbits(row).tobytes().hex() for number, row in enumerate(bits)]
    apart = (bits[:, None] != bits[None]).sum(2)
    known = [number for number, text in enumerate(prints) if text]
    plain = [(one, two, apart[one, two]) for one in known for two in known if one < two and apart[one, two] <= 24]
    found = near_pairs(prints, 24)
    assert found == plain
    assert len(found) > 100
    assert near_pairs(prints, -1) == []
    chain = [(5, 9, 0), (2, 9, 0), (2, 7, 1), (11, 12, 0), (12, 13, 0), (3, 13, 0)]
    assert joined(14, chain) == [0, 1, 2, 3, 4, 2, 6, 2, 8, 2, 10, 3, 3, 3]


def test_a_dry_run_counts_what_would_be_packed_and_writes_nothing(tmp_path):
    for number in range(8):
        save(tmp_path / "photos" / CLASSES[number % 2] / f"{number}.jpg", picture(number))
    (tmp_path / "photos" / CLASSES[0] / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    words = (tmp_path / "photos", "--out", tmp_path / "out" / "set", "--shares", "0.5,0.25,0.25")
    told = packed("scenes", *words, "--dry-run").splitlines()
    assert not (tmp_path / "out").exists()
    packed("scenes", *words)
    facts = Manifest.load(tmp_path / "out" / "set").facts
    lines = {f"photos dropped: {reason}": count for reason, count in facts["dropped"].items()}
    lines |= {f"would be packed, {split}": sum(counts.values()) for split, counts in facts["kept"].items()}
    assert {line[:56].strip(): int(line[56:]) for line in told} == {**lines, "would be packed": 8}
    assert "torn.jpg" in str(dropped(tmp_path / "out" / "set"))
    assert "exists: choose another --out" in refused("scenes", *words, "--dry-run")
    assert packed("scenes", *words, "--dry-run", "--replace").splitlines() == told
