"""Pages in a browser: fixtures for tests that look at reports and dailies.

Needs a Chromium: `STORYFLOW_CHROMIUM`, or one on the PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)

PATIENCE = 120_000
"""Milliseconds: a busy machine is slow, not wrong."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    named = os.environ.get("STORYFLOW_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on the PATH, and STORYFLOW_CHROMIUM names none")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=found, args=[*ARGUMENTS], timeout=PATIENCE
        )
        yield chromium
        chromium.close()


@pytest.fixture
def told() -> list[str]:
    """What the page complained of, and whom it asked."""
    return []


@pytest.fixture
def page(browser: Browser, told: list[str]) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    made = context.new_page()
    made.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    made.on("pageerror", lambda error: told.append(str(error)))
    made.on("dialog", lambda dialog: (told.append("a dialog"), dialog.dismiss()))
    made.on("request", lambda asked: _outside(asked.url) and told.append(asked.url))
    yield made
    context.close()


def _outside(url: str) -> bool:
    return not url.startswith(("file:", "data:"))


def until(page: Page, condition: str) -> None:
    """Wait for a condition in the page; without eval, which the page forbids."""
    look = f"const look = () => ({condition}) ? done() : setTimeout(look, 20)"
    page.evaluate(f"() => new Promise((done) => {{ {look}; look(); }})")
