"""`waterscape compare-losses`: a matrix for each loss, against what is computed by pairs; a picture; errors."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from waterscape.__main__ import dispatch
from waterscape.errors import UserError
from waterscape.nn.unlikeness import places_network
from waterscape.pages.compare_losses import matrices, read_folder

NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture
def folders(tmp_path):
    """Three real pictures; the generated ones are the first two of them, another with noise."""
    random = np.random.default_rng(0)
    for folder in ("real", "generated"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        picture = np.kron(random.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1), int)).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "real" / name)
        noise = random.integers(-20, 21, picture.shape) * (name == "c.png")
        Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8)).save(tmp_path / "generated" / name)
    return tmp_path


def compare(folders, *words):
    usual = ["--generated", folders / "generated", "--real", folders / "real", "--out", folders / "out", "--side", 64]
    return dispatch(["compare-losses", *map(str, [*usual, *words])])


def test_the_table_is_that_of_the_pairs(folders, capsys):
    assert compare(folders) == 0
    told = json.loads((folders / "out" / "losses.json").read_text())
    assert told["generated"] == told["real"] == list(NAMES)
    assert set(told["losses"]) == {"squared error", "1 - SSIM"}
    shown = {
        folder: [np.asarray(Image.open(folders / folder / name)) / 127.5 - 1 for name in NAMES]
        for folder in ("generated", "real")
    }
    errors = [[float(np.mean((one - other) ** 2)) for other in shown["real"]] for one in shown["generated"]]
    assert np.array(told["losses"]["squared error"]) == pytest.approx(np.array(errors), abs=0.01)  # stored as JPEG
    for table in told["losses"].values():
        assert np.argmin(table, axis=1).tolist() == [0, 1, 2]
        assert np.diag(table).max() < 0.2
    text = capsys.readouterr().out
    assert text.count("*") == 2 + 6
    with Image.open(folders / "out" / "losses.png") as picture:
        assert picture.width > 4 * 100


def test_a_network_of_scenes_is_a_third_table(folders):
    torch.manual_seed(0)
    network = places_network()
    save_file(network[2].state_dict(), folders / "places.safetensors")
    assert compare(folders, "--places365", folders / "places.safetensors") == 0
    told = json.loads((folders / "out" / "losses.json").read_text())
    assert "places.safetensors" in told["scenes"]
    real, made = (read_folder(folders / folder, 64).pictures for folder in ("real", "generated"))
    with torch.no_grad():
        seen_made, seen_real = (network.eval()(pictures) for pictures in (made, real))
    wanted = (seen_made[:, None] - seen_real[None]).square().mean(2)
    assert np.array(told["losses"]["squared error of scenes"]) == pytest.approx(wanted.numpy(), rel=1e-3, abs=1e-5)


def test_more_of_one_than_of_the_other():
    generator = torch.Generator().manual_seed(0)
    made, true = (torch.rand(count, 3, 16, 16, generator=generator) * 2 - 1 for count in (2, 5))
    assert {table.shape for table in matrices(made, true).values()} == {(2, 5)}


def test_pictures_of_every_kind_are_read_and_bad_ones_named(folders, tmp_path):
    """One picture as it may come, beside itself as it is."""
    place = tmp_path / "kinds"
    place.mkdir()
    plain = Image.open(folders / "real" / "a.png")
    lying = Image.Exif()
    lying[0x0112] = 6
    plain.convert("CMYK").save(place / "inks.jpg", quality=100, subsampling=0)
    plain.convert("RGBA").save(place / "opaque.png")
    plain.transpose(Image.Transpose.ROTATE_90).save(place / "lying.jpg", quality=100, subsampling=0, exif=lying)
    grey = plain.convert("L")
    grey.save(place / "grey.jpg", quality=100)
    Image.fromarray(np.asarray(grey).astype(np.uint16) << 8).save(place / "deep.png")
    found = read_folder(place, 64)
    assert found.names == ("deep.png", "grey.jpg", "inks.jpg", "lying.jpg", "opaque.png")
    whole = read_folder(folders / "real", 64).pictures[0]
    for name, picture in zip(found.names, found.pictures, strict=True):
        wanted = picture[:1].expand(3, -1, -1) if name in ("deep.png", "grey.jpg") else whole
        assert (picture - wanted).abs().mean() < 0.05, name
    assert torch.allclose(found.pictures[0], found.pictures[1], atol=0.1)
    good = (place / "lying.jpg").read_bytes()
    (place / "cut.jpg").write_bytes(good[: len(good) // 2])
    with pytest.raises(UserError, match=r"cut\.jpg: damaged or cut short.*; take it out"):
        read_folder(place, 64)
    (place / "cut.jpg").unlink()
    Image.new("1", (9000, 9000)).save(place / "enormous.png")
    with pytest.raises(UserError, match=r"enormous\.png: too large: 9000 × 9000 pixels.*; take it out"):
        read_folder(place, 64)


def test_what_cannot_be_compared(folders):
    (folders / "empty").mkdir()
    for words, told in (
        (("--real", folders / "none"), "none is no folder"),
        (("--real", folders / "empty"), "empty holds no pictures"),
        (("--side", 8), "SSIM's window is 11 pixels wide"),
        (("--original-normalisation",), "goes with --places365"),
        (("--places365", folders / "none"), "there is no such file"),
        (("--scenes", folders / "empty"), "is not a run"),
    ):
        with pytest.raises(UserError, match=told):
            compare(folders, *words)
    (folders / "real" / "d.png").write_text("no picture")
    with pytest.raises(UserError, match=r"d\.png: no picture by its content.*; take it out"):
        compare(folders)
    assert not (folders / "out").exists()
