"""`waterscape predict`: a landscape for each tile, a film between them, tiles cut from a mosaic; what is no tile."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from loopback_yandex import serve as serve_yandex
from PIL import Image
from rasterio.transform import from_origin
from small_pairs import jpeg, train_encoder, train_landscapes, write_pairs

from waterscape import models
from waterscape.__main__ import dispatch
from waterscape.data.pictures import decode_picture
from waterscape.errors import UserError
from waterscape.pages.predict import FRAMES, SHOWN


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Pairs, a GAN of their photos, an encoder of their tiles."""
    root = tmp_path_factory.mktemp("places")
    pairs = write_pairs(root / "pairs")
    train_landscapes(pairs, root / "landscapes")
    train_encoder(pairs, root / "landscapes", root / "run")
    return root


@pytest.fixture(scope="module")
def tiles(places):
    """Three tiles as files, of 160 × 160 pixels."""
    found = []
    for number, colour in enumerate(((40, 90, 60), (200, 180, 90), (30, 60, 140))):
        tile = np.full((160, 160, 3), colour, np.uint8)
        tile[40:120, 40 + 20 * number : 90] = 255 - tile[40:120, 40 + 20 * number : 90]
        found.append(places / f"tile {number}.jpg")
        found[-1].write_bytes(jpeg(tile))
    return found


@pytest.fixture(scope="module")
def mosaic(places):
    """A mosaic of 500 × 500 pixels of 2.5 m."""
    random = np.random.default_rng(0)
    coarse = np.kron(random.integers(40, 215, (3, 25, 25)), np.ones((20, 20), int)).astype(np.uint8)
    place = {"crs": "EPSG:32637", "transform": from_origin(499_375, 6_000_625, 2.5, 2.5)}
    with rasterio.open(
        places / "mosaic.tif", "w", driver="GTiff", count=3, height=500, width=500, dtype="uint8", **place
    ) as dataset:
        dataset.write(coarse)
    return places / "mosaic.tif"


def predict(*words):
    return dispatch(["predict", *map(str, words)])


def test_each_tile_has_the_landscape_of_its_numbers(places, tiles, tmp_path, capsys):
    assert predict(places / "run", *tiles, "--out", tmp_path) == 0
    told = json.loads((tmp_path / "predicted.json").read_text())
    trained = models.load(places / "run")
    assert told["synthetic"] == "true"
    assert told["checkpoint_sha256"] == trained.sha256
    for path, one in zip(tiles, told["predicted"], strict=True):
        stored = torch.from_numpy(decode_picture(path.read_bytes(), (128, 128)).copy())
        numbers = trained.networks["encoder"](stored.permute(2, 0, 1)[None] / 127.5 - 1)
        assert one["tile"] == str(path)
        assert one["numbers"] == pytest.approx(numbers[0].tolist(), abs=1e-4)
        made = trained.networks["generator"](numbers)[0].permute(1, 2, 0) / 2 + 0.5
        with Image.open(tmp_path / one["landscape"]) as picture:
            assert np.abs(np.asarray(picture) / 255 - made.numpy()).max() < 0.01
            assert picture.text["synthetic"] == "true"
            assert picture.text["checkpoint_sha256"] == trained.sha256
    assert (tmp_path / "predicted.png").is_file()
    assert "3 predicted, 0 not" in capsys.readouterr().out


def test_a_film_goes_from_tile_to_tile(places, tiles, tmp_path):
    assert predict(places / "run", *tiles, "--animate", "--out", tmp_path / "film.gif") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]
    with Image.open(tmp_path / "film.gif") as shown:
        assert shown.n_frames == 2 * FRAMES + 1
        assert shown.size == (2 * SHOWN, SHOWN)
        assert all(word in shown.info["comment"] for word in (b"SYNTHETIC", b"checkpoint_sha256", b'"run": '))


def test_mp4_says_what_it_takes(places, tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"MP4 takes a library that is not installed \(pip install imageio-ffmpeg\)"):
        predict(places / "run", *tiles, "--animate", "--out", tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not importlib.util.find_spec("imageio_ffmpeg"), reason="needs imageio-ffmpeg")
def test_mp4_where_the_library_is(places, tiles, tmp_path):
    """The film read again: as many frames as the GIF has, of its size, and what they are stands in the file."""
    import imageio_ffmpeg

    words = [places / "run", *tiles, "--animate", "--out"]
    assert predict(*words, tmp_path / "film.mp4") == predict(*words, tmp_path / "film.gif") == 0
    facts, *frames = imageio_ffmpeg.read_frames(str(tmp_path / "film.mp4"))
    assert (facts["size"], round(facts["fps"])) == ((2 * SHOWN, SHOWN), 17)
    assert b"SYNTHETIC" in (tmp_path / "film.mp4").read_bytes()
    with Image.open(tmp_path / "film.gif") as shown:
        assert len(frames) == shown.n_frames
        for number in (0, len(frames) - 1):
            shown.seek(number)
            there = np.frombuffer(frames[number], np.uint8).reshape(SHOWN, 2 * SHOWN, 3).astype(float)
            assert np.abs(there - np.asarray(shown.convert("RGB"))).mean() < 8  # of 256 levels, both being lossy


def test_tiles_are_cut_from_a_mosaic_at_training_s_scale(places, mosaic, tmp_path):
    """The middle of the mosaic, cut, is the same as the file of those pixels."""
    with rasterio.open(mosaic) as dataset:
        pixels = dataset.read()[:, 170:330, 170:330].transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "tile.png")
    words = ["--at", "54.146", "--source", mosaic]
    with pytest.raises(UserError, match="give latitude and longitude"):
        predict(places / "run", *words)
    from pyproj import Transformer

    longitude, latitude = Transformer.from_crs("EPSG:32637", "EPSG:4326", always_xy=True).transform(500_000, 6_000_000)
    words = ["--at", f"{latitude},{longitude}", "--source", mosaic]
    assert predict(places / "run", tmp_path / "tile.png", *words, "--out", tmp_path / "out") == 0
    one, other = json.loads((tmp_path / "out" / "predicted.json").read_text())["predicted"]
    assert one["numbers"] == pytest.approx(other["numbers"], abs=0.02)
    with pytest.raises(UserError, match="lies outside of"):
        predict(places / "run", "--at", "10,10", "--source", mosaic)


def test_tiles_come_from_a_service_at_training_s_scale(places, tmp_path, monkeypatch):
    """A web map's zoom 15 has 2.5 m per pixel at 58.45° north, and 3.1 at 49.5°, between two zooms."""
    with serve_yandex() as server:
        monkeypatch.setenv("YANDEX_STATIC_URL", server.url)
        monkeypatch.setenv("YANDEX_APIKEY", server.key)
        assert predict(places / "run", "--at", "58.45,30.5", "--source", "yandex", "--out", tmp_path / "out") == 0
        assert (server.asked[0].query["z"], server.asked[0].query["size"]) == ("15", "160,160")
        with pytest.raises(UserError, match=r"yandex has 3\.1 m per pixel at 49\.5° and the run was trained on 2\.5"):
            predict(places / "run", "--at", "49.5,30.5", "--source", "yandex")
    assert len(json.loads((tmp_path / "out" / "predicted.json").read_text())["predicted"]) == 1


def test_what_is_no_tile_is_told_and_the_others_are_predicted(places, tiles, tmp_path, capsys):
    Image.fromarray(np.zeros((100, 160, 3), np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.zeros((160, 160), np.uint8)).save(tmp_path / "grey.jpg")
    Image.fromarray(np.zeros((160, 160), np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "none.jpg").write_text("no picture")
    with rasterio.open(
        tmp_path / "coarse.tif", "w", driver="GTiff", count=3, height=160, width=160, dtype="uint8",
        crs="EPSG:32637", transform=from_origin(5e5, 6e6, 10, 10),
    ) as dataset:  # fmt: skip
        dataset.write(np.full((3, 160, 160), 90, np.uint8))
    names = ("small.png", "grey.jpg", "deep.png", "none.jpg", "coarse.tif", "absent.jpg")
    bad = [tmp_path / name for name in names]
    assert predict(places / "run", *bad, tiles[0], "--out", tmp_path / "out") == 1
    told = json.loads((tmp_path / "out" / "predicted.json").read_text())
    reasons = [told["not predicted"][str(path)] for path in bad]
    assert len(told["predicted"]) == 1
    assert "160 × 100 pixels, and the run was trained on 160 × 160" in reasons[0]
    assert "a single channel" in reasons[1]
    assert "16 bits a colour" in reasons[2]
    assert "no picture by its content" in reasons[3]
    assert "10 m per pixel, and the run was trained on 2.5" in reasons[4]
    assert "No such file" in reasons[5]
    assert capsys.readouterr().err.count("NOT predicted") == 6


def test_tiles_of_every_kind_are_predicted_as_the_plain_one_or_named(places, tiles, tmp_path, capsys):
    plain = Image.open(tiles[0])
    lying = Image.Exif()
    lying[0x0112] = 6  # the picture lies on its side: shown upright, it is turned by a quarter
    kinds = {
        "plain.png": ["PNG made JPEG"],
        "inks.jpg": ["CMYK made RGB"],
        "opaque.png": ["PNG made JPEG"],
        "clear.png": ["PNG made JPEG", "transparency laid on white"],
        "lying.jpg": ["turned upright"],
    }
    plain.save(tmp_path / "plain.png")
    plain.convert("CMYK").save(tmp_path / "inks.jpg", quality=100)
    plain.convert("RGBA").save(tmp_path / "opaque.png")
    Image.merge("RGBA", [*plain.split(), Image.new("L", plain.size, 254)]).save(tmp_path / "clear.png")
    plain.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.jpg", quality=100, exif=lying)
    bad = {"cut.jpg": "damaged or cut short", "enormous.png": "too large: 9000 × 9000 pixels"}
    (tmp_path / "cut.jpg").write_bytes(tiles[0].read_bytes()[:900])
    Image.new("1", (9000, 9000)).save(tmp_path / "enormous.png")
    files = [tmp_path / name for name in (*kinds, *bad)]
    assert predict(places / "run", tiles[0], *files, "--out", tmp_path / "out") == 1
    told = json.loads((tmp_path / "out" / "predicted.json").read_text())
    first, *others = told["predicted"]
    assert {Path(one["tile"]).name: one["read"] for one in others} == kinds
    for one in others:
        assert one["numbers"] == pytest.approx(first["numbers"], abs=0.1), one["tile"]
    assert "inks.jpg: " in (printed := capsys.readouterr()).out
    assert "(CMYK made RGB)" in printed.out
    for name, reason in bad.items():
        assert reason in told["not predicted"][str(tmp_path / name)]
        assert f"{name}: NOT predicted: " in printed.err
    assert f"{1 + len(kinds)} predicted, {len(bad)} not" in printed.out


def test_words_that_do_not_go_together(places, tiles, mosaic):
    for words, told in (
        ((), "name the tiles, or --at"),
        (("--at", "1,2"), "--at LATITUDE,LONGITUDE and --source MOSAIC go together"),
        ((tiles[0], "--source", mosaic), "go together"),
        ((tiles[0], "--animate"), "there are 1 that can be used: give two or more"),
        ((tiles[0], "--out", "film.gif"), "names a film: say --animate too"),
    ):
        with pytest.raises(UserError, match=told):
            predict(places / "run", *words)
    with pytest.raises(UserError, match="a run of landscape_gan, which predicts nothing"):
        predict(places / "landscapes", tiles[0])
