"""Sheets of pictures: the palette's law, what lands where, and files that are whole or absent."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from waterscape.sheet import MISSING, PAPER, coloured, oklab, palette, save_png, sheet


def find(image, colour):
    """Rows and columns of all pixels of one colour: (top, bottom, left, right), the last ones included."""
    rows, columns = np.nonzero((np.asarray(image) == colour).all(axis=2))
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_palette_darkens_in_even_steps():
    lab = oklab(palette() / 255)
    assert (np.diff(lab[:, 0]) < 0).all()
    coarse = np.linalg.norm(np.diff(lab[::15], axis=0), axis=1)  # 15 steps at a time: 8-bit rounding is small then
    assert coarse.max() / coarse.min() < 1.12


def test_oklab_of_known_colours():
    """Values of the definition's own table (Ottosson 2020): white, and sRGB red as published for CSS Color 4."""
    np.testing.assert_allclose(oklab(np.array([1.0, 1.0, 1.0])), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(oklab(np.array([1.0, 0.0, 0.0])), [0.62796, 0.22486, 0.12585], atol=1e-4)


def test_water_is_coloured_by_the_palette_and_missing_pixels_are_grey():
    picture = np.array([[[0.0, 1.0], [0.5, np.nan]]])
    colours = coloured(picture)
    assert colours[0, 0, 0].tolist() == palette()[0].tolist()
    assert colours[0, 0, 1].tolist() == palette()[255].tolist()
    assert colours[0, 1, 1].tolist() == list(MISSING)
    assert not (palette() == MISSING).all(axis=1).any()
    assert coloured(np.array([[[-1.0, 2.0]]]))[0, 0].tolist() == [palette()[0].tolist(), palette()[255].tolist()]


def test_pictures_stand_in_order_wrap_and_keep_their_pixels():
    red = np.zeros((5, 8, 6, 3))
    red[..., 0] = np.linspace(0.2, 1, 5)[:, None, None]
    image = sheet({"a": red, "b": np.full((1, 4, 4, 3), (0, 1, 0), float)}, scale=2, columns=3)
    boxes = [find(image, (round(51 + 51 * k), 0, 0)) for k in range(5)]
    assert all(bottom - top == 15 and right - left == 11 for top, bottom, left, right in boxes)
    assert [box[0] for box in boxes] == [boxes[0][0]] * 3 + [boxes[3][0]] * 2
    assert boxes[3][0] > boxes[0][1]
    assert [boxes[k][2] for k in (0, 1, 2)] == sorted(box[2] for box in boxes[:3])
    assert boxes[3][2] == boxes[0][2]
    green = find(image, (0, 255, 0))
    assert green[0] > boxes[3][1]
    assert green[1] - green[0] == 7


def test_labels_and_title_are_drawn_and_never_over_pictures():
    plain = np.zeros((2, 10, 10, 3), np.uint8) + np.array([255, 0, 255], np.uint8)
    bare = sheet({"": plain})
    told = sheet({"a rather long label\nin two lines": plain}, title="Title — of 3 × 4")
    for image in (bare, told):
        top, bottom, left, right = find(image, (255, 0, 255))
        assert (np.asarray(image)[top : bottom + 1, left : left + 10] == (255, 0, 255)).all()
        assert right - left > 19
    inked = (np.asarray(told) != PAPER).any(axis=2).sum() - (np.asarray(bare) != PAPER).any(axis=2).sum()
    assert inked > 300
    assert told.size[0] > bare.size[0]


def test_empty_rows_and_no_rows_at_all_are_drawn():
    assert sheet({}).size[0] > 0
    assert sheet({"none": np.zeros((0, 8, 8))}).size[1] > 0


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((8, 8)), "K H W"),
        (np.zeros((2, 1, 8, 8)), "K H W"),
        (np.zeros((2, 8, 8), np.uint8), "divide"),
    ],
)
def test_what_is_no_row_of_pictures_is_refused(pictures, message):
    with pytest.raises(ValueError, match=message):
        sheet({"a": pictures})


def test_png_is_whole_carries_facts_and_replaces_only_when_done(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    image = sheet({"ü": np.random.default_rng(0).random((3, 9, 9))}, title="t")
    save_png(image, path, synthetic="yes", run="aé🜄")
    with Image.open(path) as read:
        assert read.text["synthetic"] == "yes"
        assert read.text["run"] == "aé🜄"
        assert np.array_equal(np.asarray(read), np.asarray(image))
    before = path.read_bytes()

    def fail(file, content):
        file.open("wb").write(content[: len(content) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(type(path), "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_png(image, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
