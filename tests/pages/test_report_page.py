"""A report in a real browser: light, dark, on a phone, in print; it asks for nothing and its script only adds."""

from __future__ import annotations

import os
import re

import pytest
from browser import launched, until
from programs import run

SHOTS = os.environ.get("WATERSCAPE_SCREENSHOTS")  # a folder, for whoever wants to look

COLUMNS = "new Set([...document.querySelectorAll('#overview .run')].map(one => one.getBoundingClientRect().x)).size"
WATCH = """() => {
  const button = document.querySelector('.copy');
  const look = () => { if (button.textContent === 'Copied') window.copied = true; };
  new MutationObserver(look).observe(button, { childList: true });
}"""  # the word stands for a moment only
COPIED = """window.copied
  || getSelection().toString().startsWith('waterscape train')"""
COUNT_FOLDED = """addEventListener('beforeprint', () => {
  window.folded = document.querySelectorAll('details:not([open])').length;
})"""


@pytest.fixture(scope="module")
def path(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    run("report", runs / "vae", runs / "gan", "--out", out, "--samples", 18)
    return out


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


def opened(browser, path, **options):
    page = browser.new_context(**options).new_page()
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: message.type in ("error", "warning") and page.complaints.append(message.text))
    page.on("request", lambda request: request.url.startswith("data:") or page.complaints.append(request.url))
    page.goto(path.as_uri())
    assert page.complaints == [path.as_uri()], "it asked for itself, and nothing else"
    return page


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def test_nothing_is_wider_than_the_page_and_every_picture_shows(browser, path, width, scheme):
    page = opened(browser, path, viewport={"width": width, "height": 800}, color_scheme=scheme)
    until(page, "[...document.querySelectorAll('main img')].every(one => one.complete && one.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 3 * 128
    assert light == (scheme == "light")
    columns = page.evaluate(COLUMNS)
    assert columns == (2 if width > 1000 else 1), "two runs stand side by side where there is room"
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/report-{width}-{scheme}.png", full_page=True)
    page.context.close()


def test_curves_are_read_pictures_enlarged_and_the_command_copied(browser, path):
    page = opened(browser, path, viewport={"width": 1280, "height": 800})
    chart = page.locator("#curves .chart").first
    chart.locator("svg").first.hover()
    tip = chart.locator(".tip")
    tip.wait_for(state="visible")
    assert re.match(r"\d[\d,]* images", tip.inner_text())
    lines = [line.get_attribute("data-values") for line in chart.locator("[data-values]").all()]
    there = {float(pair.split(",")[1]) for line in lines for pair in line.split()}
    shown = re.findall(r"-?[\d.e+-]+(?= \w)", tip.inner_text().split("images", 1)[1])
    assert shown
    assert {float(number) for number in shown} <= there
    page.locator("#time img").first.click()
    assert page.locator("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    page.locator("nav a", has_text="Command").click()
    until(page, "document.querySelector('#command').getBoundingClientRect().top < innerHeight")
    page.evaluate(WATCH)
    page.locator(".copy").first.click()
    until(page, COPIED)
    assert page.complaints == [path.as_uri()]
    page.context.close()


def test_it_is_whole_without_its_script_and_prints_light_with_everything_open(browser, path, tmp_path):
    plain = opened(browser, path, java_script_enabled=False)
    assert plain.locator("#curves polyline").count() > 4
    assert plain.locator("#command pre").first.is_visible()
    plain.context.close()
    page = opened(browser, path, color_scheme="dark")
    page.evaluate(COUNT_FOLDED)
    page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert page.evaluate("window.folded") == 0, "nothing is folded on paper"
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") > 2
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.complaints == [path.as_uri()]
    page.context.close()
