"""Dailies in a browser: they ask for nothing, fit a telephone, and hand their commands over.

Needs a Chromium: see browsing.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import browser, page, told, until
from nights import NIGHT, NOW, long_night, night
from playwright.sync_api import Browser, Page

from storyflow.series.dailies.page import page as html
from storyflow.series.dailies.write import Written, write_dailies
from storyflow.series.orders import Grounds

__all__ = ["browser", "page", "told"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_dailies(Grounds(night(tmp_path_factory)), NIGHT, NOW)


def test_dailies_open_without_a_complaint_and_show_every_picture(
    page: Page, written: Written, told: list[str]
) -> None:
    page.goto(written.page.as_uri())
    pictures = "[...document.querySelectorAll('.sheet img')]"
    until(page, f"{pictures}.length === 4 && {pictures}.every((img) => img.naturalWidth > 0)")
    assert page.title() == f"The <b>Keepers</b> & Co, {NIGHT} – storyflow dailies"  # noqa: RUF001
    assert page.locator("article.failure").count() == 2
    assert told == []


def test_links_lead_to_the_films_and_their_reports(page: Page, written: Written) -> None:
    page.goto(written.page.as_uri())
    page.locator("#episode-1 .links a", has_text="report").click()
    page.wait_for_url("**/e1/report.html")


def test_nothing_is_wider_than_a_telephone_however_many_episodes_there_are(
    page: Page, written: Written, tmp_path: Path, told: list[str]
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    (tmp_path / "page.html").write_text(html(long_night(written.dailies, 100)))
    for file in (written.page, tmp_path / "page.html"):
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.evaluate("document.querySelector('#episode-100').scrollIntoView()")
    until(page, "document.querySelector('#episode-100 img').complete")
    assert told == []


def test_a_command_is_copied_or_marked_and_that_is_said(page: Page, written: Written) -> None:
    page.goto(written.page.as_uri())
    page.locator(".copy").first.click()
    until(page, "['Copied', 'Marked'].includes(document.querySelector('#told').textContent)")


def test_dark_is_dark_and_every_control_shows_its_focus(browser: Browser, written: Written) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(written.page.as_uri())
        was = page.evaluate(ground)
        assert (sum(map(int, was[4:-1].split(","))) < 200) == (scheme == "dark")
        for _ in range(8):
            page.keyboard.press("Tab")
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        page.keyboard.press("t")
        assert page.evaluate(ground) != was
        context.close()
