"""A report in a browser: it plays, seeks, obeys keys, asks for nothing, and stays light when long.

Needs a Chromium: see browsing.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from browsing import browser, page, told, until
from playwright.sync_api import Browser, Page
from reported import long_film, reported

from storyflow.reporting.gather import gather
from storyflow.reporting.page import page as html

__all__ = ["browser", "page", "told"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory)


def opened(page: Page, folder: Path) -> Page:
    page.goto((folder / "report.html").as_uri())
    until(page, "video.readyState >= 1")
    return page


def frame(page: Page) -> int:
    return int(page.get_attribute("#track", "aria-valuenow") or -1)


def test_a_report_opens_offline_without_a_complaint(
    page: Page, folder: Path, told: list[str]
) -> None:
    opened(page, folder)
    until(page, "document.querySelectorAll('.shot img[src]').length > 3")
    assert page.title() == "A <b>report</b> – storyflow report"  # noqa: RUF001
    assert page.locator("article").count() == 4
    assert told == []


def test_the_film_plays(page: Page, folder: Path, told: list[str]) -> None:
    opened(page, folder)
    page.keyboard.press("Space")
    until(page, "!video.paused && video.currentTime > 0.2")
    until(page, "state.frame > 3")
    page.keyboard.press("Space")
    until(page, "video.paused")
    assert told == []


def test_a_click_on_a_plot_goes_there(page: Page, folder: Path) -> None:
    opened(page, folder)
    canvas = page.locator(".plots canvas").first
    box = canvas.bounding_box()
    assert box is not None
    for share in (0.1, 0.9, 0.5):
        canvas.click(position={"x": box["width"] * share, "y": 10})
        expected = 384 * share
        assert abs(frame(page) - expected) <= 2
        until(page, "!video.seeking")
        assert abs(page.evaluate("video.currentTime") * 24 - expected) <= 3


def test_a_click_on_a_still_a_beat_or_a_shot_goes_there(page: Page, folder: Path) -> None:
    opened(page, folder)
    for place in (page.locator(".still").nth(2), page.locator("h3 .go").nth(1)):
        place.click()
        assert frame(page) == int(place.get_attribute("data-frame") or -1)


KEYS = [
    (("ArrowRight", "ArrowRight"), 2),
    (("ArrowRight", "ArrowRight", "ArrowLeft"), 1),
    (("Shift+ArrowRight",), 24),
    (("ArrowLeft",), 0),
    (("j",), 72),
    (("j", "j"), 288),
    (("j", "ArrowRight", "k"), 72),
    (("j", "k"), 0),
    (("End",), 383),
    (("End", "Home"), 0),
    (("]",), 72),
]


def test_keys_move_the_film(page: Page, folder: Path) -> None:
    opened(page, folder)
    for keys, expected in KEYS:
        page.evaluate("seek(0)")
        for key in keys:
            page.keyboard.press(key)
        assert frame(page) == expected, keys


def test_a_question_mark_shows_the_keys_and_escape_hides_them(page: Page, folder: Path) -> None:
    opened(page, folder)
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()


def test_every_control_can_be_reached_and_shows_that_it_has_the_focus(
    page: Page, folder: Path
) -> None:
    opened(page, folder)
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"theme", "help", "play", "track"} <= reached


def test_dark_is_dark_and_can_be_changed(browser: Browser, folder: Path) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        opened(page, folder)
        was = page.evaluate(ground)
        assert (sum(map(int, was[4:-1].split(","))) < 200) == (scheme == "dark")
        page.keyboard.press("t")
        assert page.evaluate(ground) != was
        context.close()


def test_nothing_is_wider_than_a_telephone(page: Page, folder: Path) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    opened(page, folder)
    assert page.evaluate("document.documentElement.scrollWidth") == 420


def test_takes_play_together_from_where_the_film_shows_them(page: Page, folder: Path) -> None:
    opened(page, folder)
    page.locator(".both").click()
    takes = "[...document.querySelectorAll('.takes video')]"
    until(page, f"{takes}.every((take) => !take.paused && take.currentTime > 0)")
    assert page.evaluate(f"{takes}.length") == 2
    page.locator(".both").click()
    until(page, f"{takes}.every((take) => take.paused)")


def test_shots_are_found_by_their_words_and_kinds(page: Page, folder: Path) -> None:
    opened(page, folder)
    shown = page.locator("article:visible")
    page.keyboard.press("/")
    page.keyboard.type("star hops")
    assert shown.count() == 1
    assert page.locator("#count").inner_text() == "1 of 4"
    page.fill("#text", "")
    page.select_option("#only", "missing")
    assert page.locator("article:visible h3").inner_text() == "2B"


def test_a_long_film_loads_only_the_pictures_in_sight(
    page: Page, folder: Path, tmp_path: Path, told: list[str]
) -> None:
    (tmp_path / "report.html").write_text(html(long_film(gather(folder), 300)))
    page.goto((tmp_path / "report.html").as_uri())
    until(page, "document.querySelectorAll('.shot img[src]').length > 3")
    every = page.locator(".shot img").count()
    assert every > 1000
    assert page.evaluate("document.querySelectorAll('.shot img[src]').length") < every / 4
    hidden = "getComputedStyle(document.querySelector('.shot:last-child')).contentVisibility"
    assert page.evaluate(hidden) == "auto"
    page.evaluate("goToShot(298)")
    until(page, "document.querySelectorAll('.shot')[298].querySelector('img[src]')")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.querySelectorAll('.shot img[src]').length") == every
    assert told == []
