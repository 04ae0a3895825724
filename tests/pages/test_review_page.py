"""The page itself, in a real browser: keys, what is shown as decided, a server or a browser that is killed."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from browser import launched, until, watch
from many_photos import OWNER, write_ledger
from review_server import reviewing

from waterscape.sources.ledger import Decision, Ledger

FOCUSED = ".cell.focused"
SHOTS = os.environ.get("WATERSCAPE_SCREENSHOTS")  # a folder, for whoever wants to look


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def path(tmp_path):
    return write_ledger(tmp_path / "set", photos=30, pictures=6)


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.complaints = watch(page)
    yield page
    context.close()


def opened(page, server, number=0):
    page.goto(server.link(number))
    page.wait_for_selector(f"{FOCUSED} img[src^='blob:']")
    assert "token" not in page.url
    return page


def shown(page):
    """The focused photo's key."""
    return page.locator(FOCUSED).get_attribute("data-photo")


def badge(page, key, words):
    """Wait until a photo shows these words."""
    until(
        page,
        "([key, words]) => document.querySelector(`[data-photo='${key}'] .badge`)?.textContent === words",
        [key, words],
    )


def hand(path):
    with Ledger(path) as ledger:
        return {one.photo: (one.verdict, one.reason) for one in ledger.decisions(by="hand")}


def test_a_person_decides_by_keys_and_all_of_it_is_in_the_ledger(page, path):
    with Ledger(path) as ledger:
        keys = [photo.key for photo in ledger.photos()]
        ledger.decide([Decision(keys[6], "blur", "reject", 0.01, "<img src=x onerror=alert(1)>")])
    with reviewing(path) as server:
        opened(page, server)
        for key in ("y", "n", "3", " "):
            page.keyboard.press(key)
        for key, words in zip(keys, ("✓", "✕", "✕ vehicle", "✓"), strict=False):
            badge(page, key, words)
        assert hand(path) == {
            keys[0]: ("keep", ""), keys[1]: ("reject", ""), keys[2]: ("reject", "vehicle"), keys[3]: ("keep", "")
        }  # fmt: skip
        page.keyboard.press("r")
        page.keyboard.type("a mill, not a lake")
        page.keyboard.press("Enter")
        badge(page, keys[4], "✕ a mill, not a lake")
        assert shown(page) == keys[5]
        page.keyboard.press("u")
        badge(page, keys[4], "")
        assert shown(page) == keys[4]
        page.keyboard.press("Control+z")
        badge(page, keys[3], "")
        page.keyboard.press("h")
        page.keyboard.press("Shift+U")
        badge(page, keys[2], "")
        assert hand(path) == {keys[0]: ("keep", ""), keys[1]: ("reject", "")}
        assert page.locator("#progress").inner_text().startswith("2 of 30 decided")
        page.keyboard.press("Home")
        columns = page.evaluate(
            "new Set([...document.querySelectorAll('.cell')].map(one => one.getBoundingClientRect().x)).size"
        )
        for word, place in [
            ("ArrowRight", 1),
            ("j", 1 + columns),
            ("k", 1),
            ("h", 0),
            ("End", 29),
            ("PageUp", None),
            ("g", 0),
        ]:
            page.keyboard.press(word)
            assert place is None or shown(page) == keys[place]
        page.keyboard.press("o")
        assert shown(page) == keys[2]
        for _ in range(4):
            page.keyboard.press("l")
        until(page, "document.querySelector('#said').textContent.includes('onerror')")  # as text
        page.keyboard.press("z")
        page.wait_for_selector("#zoom img[src^='blob:']")
        page.keyboard.press("y")
        badge(page, keys[6], "✓")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("y")  # decides nothing there
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        assert str(OWNER) not in page.content()
        assert set(hand(path)) == {keys[0], keys[1], keys[6]}
        assert page.complaints == []


def test_it_shows_the_place_its_tile_and_what_filters_said(page, path):
    with reviewing(path) as server:
        opened(page, server)
        with Ledger(path) as ledger:
            tiled = next(iter(ledger.tiles())).photo
            keys = [photo.key for photo in ledger.photos()]
        for _ in range(keys.index(tiled)):
            page.keyboard.press("ArrowRight")
        page.wait_for_selector("#tile:not(.none) img[src^='blob:']")
        until(page, "document.querySelector('#tile .scale').textContent === '200 m'")
        assert page.locator("#said tr").count() == 3
        assert "rounded to 0.1°" in page.locator("#map figcaption").inner_text()
        colours = page.evaluate(
            "(() => { const c = document.querySelector('#map canvas');"
            "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
            "return new Set(Array.from({length: d.length / 4}, (_, i) => d.slice(4 * i, 4 * i + 3).join())).size })()"
        )
        assert colours > 10  # dots, lines, a pin
        page.select_option(
            "#filters", json.dumps({"filters": "one", "by": "blur", "reason": ""}, separators=(",", ":"))
        )
        until(page, "document.querySelectorAll('#sheet [id^=photo-]').length < 12")
        flags = page.locator("#sheet [id^=photo-] .flags").all_inner_texts()
        assert flags
        assert all("blur" in one for one in flags)
        assert page.complaints == []


def test_nothing_is_shown_as_decided_before_the_server_has_it(page, path):
    with reviewing(path) as server:
        opened(page, server)
        key = shown(page)
        server.process.send_signal(signal.SIGSTOP)
        page.keyboard.press("y")
        badge(page, key, "keep …")
        time.sleep(0.5)
        badge(page, key, "keep …")
        assert hand(path) == {}
        server.process.send_signal(signal.SIGCONT)
        badge(page, key, "✓")
        assert hand(path) == {key: ("keep", "")}


@pytest.mark.long
def test_a_killed_server_is_told_and_what_waits_is_saved_once_it_is_back(page, path):
    with reviewing(path) as server:
        port = server.port
        opened(page, server)
        keys = [page.locator(f"#photo-{place}").get_attribute("data-photo") for place in range(4)]
        page.keyboard.press("y")
        badge(page, keys[0], "✓")
    page.keyboard.press("n")
    page.keyboard.press("y")
    until(page, "document.querySelector('#trouble').textContent.includes('2 decisions wait')")
    assert "does not answer" in page.locator("#trouble").inner_text()
    badge(page, keys[1], "reject …")
    assert hand(path) == {keys[0]: ("keep", "")}
    with reviewing(path, "--port", port) as server:
        until(page, "document.querySelector('#trouble').textContent.includes('open the link')")
        again = page.context.new_page()
        opened(again, server)
        again.close()
        badge(page, keys[2], "✓")
        until(page, "document.querySelector('#trouble').hidden")
        assert hand(path) == {keys[0]: ("keep", ""), keys[1]: ("reject", ""), keys[2]: ("keep", "")}
        with Ledger(path) as ledger:
            assert ledger._one("SELECT count(*) FROM history WHERE by = 'hand'") == 3


@pytest.mark.long
def test_it_goes_on_where_one_was_after_a_reload_and_after_a_crash(page, browser, path):
    with reviewing(path) as server:
        opened(page, server)
        page.keyboard.press("y")
        page.keyboard.press("n")
        badge(page, shown(page), "")
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        page.click("[data-state=all]")
        until(page, "document.querySelectorAll('#sheet .badge:not(:empty)').length === 2")
        here = shown(page)
        page.reload()
        page.wait_for_selector(f"{FOCUSED}[data-photo='{here}']")
        assert page.locator("[data-state=all]").get_attribute("aria-pressed") == "true"
        page.keyboard.press("u")  # what was decided before the reload
        until(page, "document.querySelectorAll('#sheet .badge:not(:empty)').length === 1")
        page.keyboard.press("y")
        until(page, "document.querySelectorAll('#sheet .badge:not(:empty)').length === 2")
        decided = hand(path)
        assert len(decided) == 2
        with pytest.raises(Exception, match="crash"):
            page.goto("chrome://crash")
        other = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()  # knows nothing of before
        opened(other, server, 1)
        assert shown(other) not in decided
        assert other.locator("#progress").inner_text().startswith("2 of 30 decided")
        assert hand(path) == decided


def test_it_fits_any_window_in_light_and_dark(page, path):
    with reviewing(path) as server:
        opened(page, server)
        for width, height in [(360, 740), (820, 1180), (1440, 900)]:
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": height})
                fits(page, width, height)
                key = shown(page)
                page.click("#keep")
                badge(page, key, "✓")
                if SHOTS:
                    page.wait_for_timeout(800)
                    page.screenshot(path=f"{SHOTS}/{width}-{scheme}.png")
        assert len(hand(path)) == 6


def fits(page, width, height):
    """Nothing sticks out, buttons are large enough for a finger where there is no mouse, words are legible."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("keep", "reject", "why", "undo", "ask"):
        box = page.locator(f"#{name}").bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
        assert 0 <= box["y"] <= box["y"] + box["height"] <= height
        assert box["height"] >= (40 if width < 800 and name != "ask" else 28)
    ink, paper = page.evaluate("['color', 'backgroundColor'].map(of => getComputedStyle(document.body)[of])")
    assert contrast(ink, paper) > 7
    faint = page.evaluate("getComputedStyle(document.querySelector('#progress')).color")
    assert contrast(faint, page.evaluate("getComputedStyle(document.querySelector('header')).backgroundColor")) > 4.5


def contrast(one, other):
    """The ratio of WCAG 2.1 between two colours as a browser writes them."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


FRAMES = """async () => {
  const grid = document.querySelector('#grid'), times = [];
  let cells = 0, before = performance.now();
  for (let step = 0; step < 180; step++) {
    grid.scrollTop += step < 120 ? 90 : 1500;
    const now = await new Promise(requestAnimationFrame);
    times.push(now - before);
    before = now;
    cells = Math.max(cells, document.querySelectorAll('.cell').length);
  }
  times.sort((one, other) => one - other);
  return {median: times[90], p95: times[171], longest: times[179], cells};
}"""


@pytest.mark.long
def test_five_thousand_photos_scroll_without_stutter(page, tmp_path):
    path = write_ledger(tmp_path / "set", photos=5000, pictures=20)
    with reviewing(path) as server:
        opened(page, server)
        measured = page.evaluate(FRAMES)
        print(f"scrolling 5000 synthetic photos: {measured}")
        assert measured["cells"] < 80
        assert measured["median"] < 50  # milliseconds; 17 is the display's own pace, and machines of tests are busy
        page.keyboard.press("End")
        page.wait_for_selector(f"#photo-4999{FOCUSED} img[src^='blob:']")
        for _ in range(30):
            page.keyboard.press("y")
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("ArrowLeft")
        until(page, "document.querySelector('#progress').textContent.startsWith('30 of 5')", seconds=60)
        assert len(hand(path)) == 30
        assert page.complaints == []
