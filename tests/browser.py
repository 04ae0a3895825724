"""A real browser for tests of pages: the system's Chromium, driven by Playwright, without a window."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager

import pytest
import waiting

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Root may not use the sandbox; a container's /dev/shm may be small. A real GPU is there nowhere that this is tested.
WORDS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@contextmanager
def launched(**options):
    """The browser; without one the test is skipped, or fails where WATERSCAPE_REQUIRE_DATA is set."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        reason = "needs Chromium on the PATH and the package playwright"
        if os.environ.get("WATERSCAPE_REQUIRE_DATA"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=WORDS, **options)
        try:
            yield browser
        finally:
            browser.close()


def watch(page):
    """Whatever the page complains of, or asks of another server than its own: a list that should stay empty."""
    found = []
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on(
        "console", lambda message: message.type == "error" and found.append(f"{message.text} {message.location['url']}")
    )

    def asked(request):
        if not request.url.startswith(("http://127.0.0.1:", "http://localhost:", "blob:http://127.0.0.1:", "data:")):
            found.append(f"asked: {request.url}")

    page.on("request", asked)
    return found


def until(page, expression, *argument, seconds=60):
    """Wait until a JavaScript expression, or function of the argument, is true. A page whose rules for scripts forbid
    `eval` forbids it to Playwright's own way of waiting too."""
    waiting.until(lambda: page.evaluate(expression, *argument), seconds, lambda: f"{expression} {argument}")


def shot(page, more=""):
    """A screenshot named after the test, for whoever wants to look: into the folder WATERSCAPE_SCREENSHOTS."""
    folder = os.environ.get("WATERSCAPE_SCREENSHOTS")
    if folder:
        test = os.environ["PYTEST_CURRENT_TEST"].split("::")[1].rpartition(" ")[0]
        page.screenshot(path=f"{folder}/{re.sub(r'[^a-z0-9]+', '-', test + more).strip('-')}.png")
