"""The page itself, in a real browser: keys, what is shown as decided, a server or a browser that is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from itertools import pairwise

import pytest
import waiting
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


# Metres that the bar is long, by the tile's own 2.7 m a pixel, and how the browser has fitted it into its box.
METRES = """(() => {
  const image = document.querySelector('#tile img'), bar = document.querySelector('#tile .scale');
  const fitted = Math.min(image.clientWidth / image.naturalWidth, image.clientHeight / image.naturalHeight);
  return parseFloat(bar.style.width) / fitted * 2.7 * (450 / image.naturalWidth);
})()"""


def pressed(page, key, code, **held):
    """A key as a browser tells it: what it writes on this layout, and where it is."""
    page.evaluate(
        "event => document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {...event, bubbles: true, cancelable: true}))",
        {"key": key, "code": code, **held},
    )


def test_keys_mean_the_same_on_any_layout_with_caps_lock_and_after_the_mouse(page, path):
    with Ledger(path) as ledger:
        keys = [photo.key for photo in ledger.photos()]
    with reviewing(path) as server:
        opened(page, server)
        for key, code in [("н", "KeyY"), ("т", "KeyN"), ("&", "Digit3")]:  # Russian twice, French
            pressed(page, key, code)
        for key, words in zip(keys, ("✓", "✕", "✕ vehicle"), strict=False):
            badge(page, key, words)
        pressed(page, "U", "KeyU")  # Caps Lock: the last decision, not that of the focused photo
        badge(page, keys[2], "")
        pressed(page, "Y", "KeyY")
        badge(page, keys[2], "✓")
        pressed(page, "к", "KeyR")
        pressed(page, "л", "KeyK")
        assert page.evaluate("document.activeElement.id") == "words"
        page.keyboard.press("Escape")
        page.click("#reject")
        badge(page, keys[3], "✕")
        page.keyboard.press("Space")
        badge(page, keys[4], "✓")
        page.click("#ask")
        page.keyboard.press("Escape")
        page.keyboard.press("Space")
        badge(page, keys[5], "✓")
        page.keyboard.press("z")
        page.click("#reject")
        badge(page, keys[6], "✕")
        page.keyboard.press("Space")
        badge(page, keys[7], "✓")
        assert page.locator("#zoom").is_visible()
        tile, large = (page.locator(one).bounding_box() for one in ("#panel", "#zoom"))
        assert large["x"] + large["width"] <= tile["x"] + 1
        assert page.complaints == []


def test_undo_takes_back_what_was_decided_last_and_is_still_there(page, path):
    with Ledger(path) as ledger:
        keys = [photo.key for photo in ledger.photos()]
        ledger.decide([Decision(keys[0], "hand", "keep")])
    with reviewing(path) as server:
        opened(page, server)
        page.click("[data-state=all]")
        badge(page, keys[0], "✓")
        page.keyboard.press("Home")
        for key, place, words in [("l", 0, "✓"), ("y", 1, "✓"), ("Home", 0, "✓"), ("n", 0, "✕"), ("Home", 0, "✕")]:
            page.keyboard.press(key)
            badge(page, keys[place], words)
        page.keyboard.press("Shift+U")
        badge(page, keys[0], "✓")
        page.keyboard.press("u")
        badge(page, keys[1], "")
        assert hand(path) == {keys[0]: ("keep", "")}


def test_what_others_did_meanwhile_is_seen_and_decided_anew(page, path):
    with Ledger(path) as ledger:
        keys = [photo.key for photo in ledger.photos()]
    with reviewing(path) as server:
        opened(page, server)
        page.keyboard.press("y")
        badge(page, keys[0], "✓")
        with Ledger(path) as ledger:
            ledger.undo(keys[0], "hand")
        page.keyboard.press("Home")
        page.keyboard.press("y")  # which it seems to be already
        until(page, "document.querySelector('#word').textContent === 'keep'")
        waiting.until(lambda: hand(path) == {keys[0]: ("keep", "")})
        badge(page, keys[0], "✓")
        with Ledger(path) as ledger:
            ledger.undo(keys[0], "hand")
            ledger.decide([Decision(keys[0], "news", "reject", 0.5)])
        page.click("[data-state=all]")
        badge(page, keys[0], "")
        page.keyboard.press("Home")
        until(page, "document.querySelector('#said').textContent.includes('news')")
        page.select_option(
            "#filters", json.dumps({"filters": "one", "by": "news", "reason": ""}, separators=(",", ":"))
        )
        until(page, "document.querySelectorAll('#sheet [id^=photo-]').length === 1")
        with Ledger(path) as ledger:
            ledger._do("DELETE FROM decisions WHERE by = 'news'")
        page.reload()
        until(page, "document.querySelector('#filters').selectedOptions[0]?.textContent === 'news rejects it (0)'")
        page.select_option("#filters", index=0)
        page.keyboard.press("y")
        until(page, "document.querySelectorAll('#sheet [id^=photo-]').length > 12")
        page.evaluate(SLOW, "state=kept")
        page.click("[data-state=kept]")
        page.click("[data-state=rejected]")
        until(page, "window.late")
        page.wait_for_timeout(100)  # for what came too late to be shown
        until(page, "document.querySelectorAll('#sheet [id^=photo-]').length === 0")
        assert page.complaints == []


# Answers to addresses of these words come late.
SLOW = """words => {
  const now = window.fetch;
  window.fetch = async (path, options) => {
    const answer = await now(path, options);
    if (String(path).includes(words)) {
      await new Promise((go) => setTimeout(go, 400));
      window.late = true;
    }
    return answer;
  };
}"""


@pytest.mark.long
def test_one_decision_that_is_refused_is_told_and_takes_no_other_with_it(page, path):
    with Ledger(path) as ledger:
        keys = [photo.key for photo in ledger.photos()]
    with reviewing(path) as server:
        opened(page, server)

        def answer(route):
            if keys[1] in route.request.post_data:
                route.fulfill(status=400, body='{"error": "not this one"}')
            else:
                route.continue_()

        page.route("**/api/decisions", answer)
        for _ in range(3):
            page.keyboard.press("y")
        until(page, "document.querySelector('#trouble').textContent.includes('not this one')")
        badge(page, keys[2], "✓")
        badge(page, keys[1], "")
        page.wait_for_timeout(4500)  # longer than the pulse takes to find the server well
        assert "not saved" in page.locator("#trouble").inner_text()
        assert hand(path) == {keys[0]: ("keep", ""), keys[2]: ("keep", "")}
        page.click("#look")
        until(page, "document.querySelector('#trouble').hidden")
        until(page, "k => document.querySelector(`[data-photo='${k}']`).classList.contains('focused')", keys[1])


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
        assert page.locator("#said tr").count() == 4
        for width in (1280, 820, 400):  # the tile fills its box, or is fitted into one that is wider than high
            page.set_viewport_size({"width": width, "height": 800})
            page.evaluate("document.body.classList.toggle('with-panel', innerWidth <= 820)")
            waiting.until(lambda: page.evaluate(METRES) == pytest.approx(200, rel=0.02))
        page.set_viewport_size({"width": 1280, "height": 800})
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
        first, second = (page.locator(f"#photo-{place}").get_attribute("data-photo") for place in (0, 1))
        page.keyboard.press("y")
        page.keyboard.press("n")
        badge(page, first, "✓")
        badge(page, second, "✕")
        waiting.until(lambda: len(hand(path)) == 2)
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
        waiting.until(lambda: len(hand(path)) == 2)  # until then a badge tells what waits
        decided = hand(path)
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
    for words, behind in [("#progress", "header"), ("[aria-pressed=false] b", "#states"), ("#facts dt", "#panel")]:
        faint, below = (f"getComputedStyle(document.querySelector('{one}'))" for one in (words, behind))
        assert page.evaluate(f"{faint}.opacity") == "1"
        assert contrast(page.evaluate(f"{faint}.color"), page.evaluate(f"{below}.backgroundColor")) > 4.5


def contrast(one, other):
    """The ratio of WCAG 2.1 between two colours as a browser writes them."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


FRAMES = """async (first) => {
  const grid = document.querySelector('#grid');
  let cells = 0;
  for (let step = first; step < first + 10; step++) {
    grid.scrollTop += step < 120 ? 90 : 1500;
    await new Promise(requestAnimationFrame);
    cells = Math.max(cells, document.querySelectorAll('.cell').length);
  }
  return cells;
}"""


def worked(page):
    """A clock of the page's own thread, milliseconds: another process of this machine does not lengthen its work."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def now():
        named = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        return 1000 * named["TaskDuration"]

    return now


@pytest.mark.long
def test_five_thousand_photos_scroll_without_stutter(page, tmp_path):
    path = write_ledger(tmp_path / "set", photos=5000, pictures=20)
    with reviewing(path) as server:
        opened(page, server)
        now, cells, marks = worked(page), [], []
        for first in range(0, 180, 10):
            marks.append(now())
            cells.append(page.evaluate(FRAMES, first))
        frames = sorted((end - begin) / 10 for begin, end in pairwise([*marks, now()]))
        print(
            f"scrolling 5000 synthetic photos: {max(cells)} cells, {frames[9]:.1f} ms a frame, at most {frames[-1]:.1f}"
        )
        assert max(cells) < 80
        assert frames[9] < 30  # of ten frames together, by the page's own work
        assert frames[-1] < 100  # nowhere does it freeze
        page.keyboard.press("End")
        page.wait_for_selector(f"#photo-4999{FOCUSED} img[src^='blob:']")
        for _ in range(30):
            page.keyboard.press("y")
            page.keyboard.press("ArrowLeft")
            page.keyboard.press("ArrowLeft")
        until(page, "document.querySelector('#progress').textContent.startsWith('30 of 5')", seconds=60)
        assert len(hand(path)) == 30
        assert page.complaints == []
