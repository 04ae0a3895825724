"""What a report tells apart, told by colour and by shape: many classes, in light, dark and without colours."""

from __future__ import annotations

import datetime
import io
import re

import numpy as np
import pytest
from browser import launched, shot, until
from coloured_scenes import write_scenes
from PIL import Image

from waterscape.metrics.classification import Verdicts
from waterscape.pages.report.album import Album
from waterscape.pages.report.data_set import read_set
from waterscape.pages.report.looked_at import Judged, LookedAt
from waterscape.pages.report.page import whole_page
from waterscape.pages.report.signs import COLOURS, SHAPES, look, shapes, sign
from waterscape.pages.report.subject import State, Subject

CLASSES = tuple(f"class {letter}" for letter in "abcdefghijklmn")
ALIKE = 0.02  # a share of a sign's square by which two signs differ at least, in black and white


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


def test_ninety_things_have_signs_of_their_own_and_eighteen_have_shapes_of_their_own():
    signs = [re.search('class="sign ([^"]*)".*href="([^"]*)"', sign(number)).groups() for number in range(90)]
    assert len(set(signs)) == 90
    assert len({("hollow" in classes, shape) for classes, shape in signs[:18]}) == 18
    assert {look(number) for number in range(9)} == {f"c{number}" for number in range(9)}
    assert (COLOURS, len(SHAPES)) == (10, 9)


def many_classes(tmp_path):
    """A run of fourteen classes, as a report sees it."""
    random = np.random.default_rng(0)
    kinds = np.arange(420) % len(CLASSES)
    around = random.normal(0, 4, (len(CLASSES), 2))[kinds] + random.normal(0, 0.7, (len(kinds), 2))
    pictures = np.broadcast_to((17 * kinds[:40, None, None, None]).astype(np.uint8), (40, 16, 16, 3))
    verdicts = Verdicts(CLASSES, np.eye(len(CLASSES))[kinds] * 0.9 + 0.1 / len(CLASSES), kinds)
    judged = Judged("valid", len(kinds), verdicts, around, pictures)
    events = [
        {"event": "picture", "images": images, "time": images, "measured": recalls}
        for images in (0, 400, 800)
        for recalls in [{f"recall: {name}": (n + images / 400) / 20 for n, name in enumerate(CLASSES)}]
    ]
    options = {"images": 800, "data": "shards", "batch": 1, "seed": 0, "precision": "no", "out": "runs/x"}
    facts = {"model": "scene_classifier", "preset": "small", "recipe": {}, "run": options}
    seen = LookedAt("000000000800", "ab" * 32, {"classifier": 1000}, {}, {}, judged)
    data = read_set(str(write_scenes(tmp_path / "set", CLASSES, 168)), "")
    return Subject(tmp_path, 0, "many classes", facts, events, State("done", "done"), {}, (), data, seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_many_classes_are_told_apart_by_the_same_sign_everywhere(browser, tmp_path, scheme):
    album = Album(10**7)
    text = whole_page([many_classes(tmp_path)], album, datetime.datetime.now(datetime.UTC))
    (tmp_path / "report.html").write_text(album.fill(text))
    page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page.goto((tmp_path / "report.html").as_uri())
    keys = """place => [...document.querySelectorAll(`${place} .legend span`)].map(one => [one.textContent,
        one.querySelector('svg').getAttribute('class').replace('sign ', ''),
        one.querySelector('use').getAttribute('href')])"""
    known = page.evaluate(keys, "#map")
    assert [name for name, *_ in known] == list(CLASSES)
    assert len({tuple(looks) for _, *looks in known}) == len(CLASSES)
    assert page.evaluate(keys, "#curves") == page.evaluate(keys, "#data") == known
    drawn = """place => [...document.querySelectorAll(`${place} use.point`)].map(one =>
        [one.textContent, one.getAttribute('class').replace('point ', ''), one.getAttribute('href')])"""
    points = page.evaluate(drawn, "#map")
    assert len(points) == 420
    assert {tuple(point) for point in points} == {tuple(one) for one in known}
    chart = page.locator("#curves .chart svg").first
    chart.hover()
    until(page, "document.querySelector('#curves .tip').checkVisibility()")
    assert page.locator("#curves .tip .sign").count() == len(CLASSES)
    for place in ("curves", "map", "data"):
        page.locator(f"#{place}").scroll_into_view_if_needed()
        page.evaluate("place => document.getElementById(place).scrollIntoView()", place)
        shot(page, f"{place} {scheme}")
    page.close()


def test_eighteen_signs_differ_in_black_and_white(browser, tmp_path):
    style = "body { margin: 0; --raised: #fff } svg.sign { width: 16px; height: 16px; display: block; fill: #000; "
    style += "stroke: #000; stroke-width: 0 } svg.hollow { fill: #fff; stroke-width: 1.3 }"
    (tmp_path / "signs.html").write_text(f"<style>{style}</style>{''.join(map(sign, range(18)))}{shapes()}")
    page = browser.new_page(viewport={"width": 16, "height": 16 * 18})
    page.goto((tmp_path / "signs.html").as_uri())
    seen = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L")) / 255
    page.close()
    signs = seen.reshape(18, 16, 16)
    apart = np.abs(signs[:, None] - signs[None]).mean((2, 3))
    assert (apart + np.eye(18)).min() > ALIKE
    inked = 1 - signs[:9].mean((1, 2))
    assert inked.max() < 1.6 * inked.min(), "none looks heavier than the others"
