"""Titles: set within the safe area, readable on any picture, seen when and where they should be."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cutting import SIZE, drawn

from storyflow.cutting.geometry import geometry
from storyflow.cutting.overlays import overlay
from storyflow.cutting.pictures import Footage, Missing, film_pictures
from storyflow.cutting.titles import FADE, card_share, title_share
from storyflow.errors import CutError
from storyflow.lettering.fonts import FOLDER, font, missing_letters
from storyflow.lettering.setting import SAFE, BadTitle, set_title
from storyflow.pipeline import DeliverSection
from storyflow.store.clip import ClipWriter
from storyflow.store.hashing import frame_hashes
from storyflow.storyboard.resolved import Title, TitleStyle, Transition
from storyflow.timing import Size

STYLES: tuple[TitleStyle, ...] = ("center", "lower-third", "card")
SIZES = [Size(960, 544), Size(576, 384), Size(544, 960), Size(96, 64)]
TEXTS = [
    "THE KEEPER",
    "The Keeper of the Light at the End of the Long Grey Shore",
    "Ada\nKeeper of the light",
]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", TEXTS, ids=["short", "long", "two"])
def test_a_title_stays_in_the_safe_area(text: str, style: TitleStyle, size: Size) -> None:
    lines = set_title(text, style, size)
    assert " ".join(line.text for line in lines).split() == text.split(), "no word is lost"
    for line in lines:
        left, top, right, bottom = font(line.letters, bold=line.bold).getbbox(line.text)
        assert line.left + left >= SAFE * size.width - 1
        assert line.left + right <= (1 - SAFE) * size.width + 1
        assert line.top + top >= SAFE * size.height - 1
        assert line.top + bottom <= (1 - SAFE) * size.height + 1


def test_letters_grow_with_the_pictures_height() -> None:
    sizes = [Size(576, 384), Size(1152, 768), Size(2304, 1536)]
    letters = [set_title("DAWN", "center", size)[0].letters for size in sizes]
    assert letters[1] == pytest.approx(2 * letters[0], abs=1)
    assert letters[2] == pytest.approx(4 * letters[0], abs=2)


def test_lines_are_broken_evenly_and_an_authors_line_breaks_stay() -> None:
    size = Size(960, 544)
    lines = set_title("one two three four five six seven eight nine ten", "center", size)
    lengths = [font(line.letters, bold=True).getlength(line.text) for line in lines]
    assert len(lines) == 2 and min(lengths) > 0.7 * max(lengths)
    lines = set_title("Ada\nKeeper of the light", "lower-third", size)
    assert [line.text for line in lines] == ["Ada", "Keeper of the light"]
    assert lines[0].letters > lines[1].letters and lines[0].bold and not lines[1].bold


def test_a_long_title_is_set_smaller_and_a_longer_one_refused() -> None:
    size = Size(960, 544)
    normal = set_title("word", "center", size)[0].letters
    smaller = set_title("word " * 30, "center", size)[0].letters
    assert normal / 2 <= smaller < normal
    with pytest.raises(BadTitle) as refused:
        set_title("word " * 200, "center", size)
    assert refused.value.code == "long-title" and "shorten it" in refused.value.cure
    with pytest.raises(BadTitle):
        set_title("w" * 100, "center", size)


def test_the_font_has_latin_greek_and_cyrillic() -> None:
    assert not missing_letters("Ærøskøbing, łódź, Đặng, ŞİİR, ẞ, φάρος, Последний маяк, їжак")
    assert not missing_letters("\u201cquotes\u201d \u2013 \u2014 \u2026 \u20ac \u00bb \u2192")
    assert missing_letters("海 and ★ and 海") == "海★"
    assert (FOLDER / "LICENSE.txt").read_text().count("SIL OPEN FONT LICENSE") == 1
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 500_000


def test_an_accent_of_its_own_is_joined_with_its_letter() -> None:
    assert not missing_letters("Caf\u0065\u0301")
    assert set_title("e\u0301", "center", Size(96, 64))[0].text == "\u00e9"


def test_a_letter_that_the_font_lacks_is_named() -> None:
    with pytest.raises(BadTitle, match=r"no 海 \(U\+6D77\), ★ \(U\+2605\)") as refused:
        set_title("海★", "center", Size(960, 544))
    assert refused.value.code == "missing-glyph"
    with pytest.raises(CutError, match="the title '海' can't be shown"):
        overlay("海", "card", "black", SIZE)


def _contrast(light: float, dark: float) -> float:
    """WCAG 2 contrast of two grey levels."""

    def linear(level: float) -> float:
        part = level / 255
        return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4

    return float((linear(light) + 0.05) / (linear(dark) + 0.05))


@pytest.mark.parametrize("style", ["center", "lower-third"])
@pytest.mark.parametrize("ground", [0, 60, 128, 200, 255])
def test_a_title_can_be_read_on_any_picture(style: TitleStyle, ground: int) -> None:
    size = Size(960, 544)
    picture = np.full((size.height, size.width, 3), ground, np.uint8)
    shown = overlay("HHHH", style, "black", size).on(picture, 256)[:, :, 0].astype(float)
    line = set_title("HHHH", style, size)[0]
    rows = slice(line.top + line.letters // 3, line.top + line.letters)
    columns = slice(line.left, line.left + round(font(line.letters, bold=True).getlength("HHHH")))
    letters = shown[rows, columns]
    # The stems of the letters against what lies right beside them.
    assert letters.max() >= 250
    assert _contrast(letters.max(), float(np.percentile(letters, 20))) >= 3


@pytest.mark.parametrize(("ground", "ink"), [("black", 240), ("white", 24), ("#204060", 240)])
def test_a_card_hides_the_picture_and_its_letters_stand_out(ground: str, ink: int) -> None:
    size = Size(320, 192)
    noise = drawn(1, 1, size)[0]
    laid = overlay("DAWN", "card", ground, size)
    shown = laid.on(noise, 256)
    assert np.array_equal(shown, laid.on(255 - noise, 256))
    rgb = {"black": (0, 0, 0), "white": (255, 255, 255), "#204060": (32, 64, 96)}[ground]
    assert (shown[0, 0] == rgb).all()
    assert ink in shown[:, :, 0]


def test_what_is_around_a_title_is_left_as_it_is() -> None:
    size = Size(320, 192)
    noise = drawn(1, 1, size)[0]
    before = noise.copy()
    laid = overlay("DAWN", "lower-third", "black", size)
    shown = laid.on(noise, 256)
    assert np.array_equal(noise, before)
    changed = np.argwhere((shown != noise).any(axis=2))
    assert changed[:, 0].min() >= laid.top >= size.height // 2
    assert changed[:, 1].max() < laid.left + laid.color.shape[1]


def test_a_title_fades_in_and_out_within_its_time() -> None:
    shares = [title_share(Title("a", 10, 48), place) for place in range(70)]
    assert not any(shares[:10]) and not any(shares[58:])
    inside = shares[10:58]
    assert inside == inside[::-1] and inside[FADE:-FADE] == [256] * (48 - 2 * FADE)
    assert inside[: FADE + 1] == sorted(set(inside)) and inside[0] > 0


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7, 12])
def test_a_short_title_is_seen_fully_for_half_of_its_time(frames: int) -> None:
    shares = [title_share(Title("a", 0, frames), place) for place in range(frames)]
    assert all(shares) and shares.count(256) >= frames / 2


def test_a_card_is_cut_at_its_shots_ends_and_goes_on_under_transitions_there() -> None:
    opening, whole, inner = (
        Title("a", 0, 24, "card"), Title("a", 0, 96, "card"), Title("a", 30, 40, "card")
    )  # fmt: skip
    assert [card_share(opening, place, 96) for place in (-12, -1, 0, 5)] == [256] * 4
    assert 0 < card_share(opening, 23, 96) < 256 and card_share(opening, 24, 96) == 0
    assert {card_share(whole, place, 96) for place in range(-12, 108)} == {256}
    assert card_share(inner, -3, 96) == 0 and 0 < card_share(inner, 30, 96) < 256


def _footage(folder: Path, shot: str, seed: int, **more: object) -> Footage:
    frames = drawn(24, seed)
    path = folder / f"{shot}.mov"
    with ClipWriter(path, SIZE.width, SIZE.height, Fraction(24)) as writer:
        writer.write(frames)
    entry = Footage(shot, path, 0, 24, frame_hashes(frames), **more)  # type: ignore[arg-type]
    return entry


PLAIN = geometry(SIZE, DeliverSection())


def test_titles_lie_over_transitions_and_cards_under_them(tmp_path: Path) -> None:
    fade = Transition("fade", 8)
    over = _footage(tmp_path, "A", 1, into=fade, titles=(Title("A", 0, 24),))
    first = next(film_pictures([over], PLAIN)).pixels
    assert first.any(), "a title stands on the black that a fade begins with"
    card = Title("A", 0, 24, "card", "white")
    under = _footage(tmp_path, "B", 1, into=fade, titles=(card,))
    shown = [p.pixels for p in film_pictures([under], PLAIN)]
    assert not shown[0].any(), "a card fades in with its shot"
    assert shown[4][0, 0].tolist() == [128] * 3 and shown[8][0, 0].tolist() == [255] * 3


def test_a_card_at_a_shots_beginning_is_what_the_shot_before_dissolves_into(tmp_path: Path) -> None:
    joint = Transition("dissolve", 6)
    old = _footage(tmp_path, "A", 1)
    old = Footage("A", old.master, 0, 21, old.hashes, out=joint)
    new = _footage(
        tmp_path, "B", 2, into=joint, hold=3, titles=(Title("B", 0, 12, "card", "white"),)
    )
    shown = [p.pixels for p in film_pictures([old, new], PLAIN)]
    frames = drawn(24, 1)
    for step in range(6):
        part = (2 * step + 1) / 12
        exact = frames[18 + step][0, 0] * (1 - part) + 255 * part
        assert np.abs(shown[18 + step][0, 0] - exact).max() <= 1


def test_a_missing_shots_titles_are_not_shown(tmp_path: Path) -> None:
    entry = Missing("A", "lost", 5)
    assert len({p.sha256 for p in film_pictures([entry], PLAIN)}) == 1


def test_a_title_changes_the_digests_of_its_frames_and_no_others(tmp_path: Path) -> None:
    plain = _footage(tmp_path, "A", 1)
    titled = _footage(tmp_path, "A", 1, titles=(Title("A", 4, 5), Title("B", 9, 3, "lower-third")))
    before, after = ([p.sha256 for p in film_pictures([e], PLAIN)] for e in (plain, titled))
    assert [n for n in range(24) if before[n] != after[n]] == list(range(4, 12))
    other = _footage(tmp_path, "A", 1, titles=(Title("C", 4, 5), Title("B", 9, 3, "lower-third")))
    third = [p.sha256 for p in film_pictures([other], PLAIN)]
    assert [n for n in range(24) if third[n] != after[n]] == list(range(4, 9))


def test_a_long_titled_film_draws_each_title_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import storyflow.cutting.titles as titles

    drawn_titles: list[str] = []

    def counted(text: str, style: TitleStyle, ground: str, size: Size) -> object:
        drawn_titles.append(text)
        return overlay(text, style, ground, size)

    titles._overlay.cache_clear()
    monkeypatch.setattr(titles, "overlay", counted)
    entry = _footage(tmp_path, "A", 1, titles=(Title("A", 0, 24), Title("B", 0, 24, "card")))
    assert sum(1 for _ in film_pictures([entry, entry], PLAIN)) == 48
    assert sorted(drawn_titles) == ["A", "B"]
    titles._overlay.cache_clear()


def test_checking_a_title_loads_nothing_heavy(tmp_path: Path) -> None:
    file = tmp_path / "film.yaml"
    file.write_text("film: T\nshots:\n- {do: a, title: Ж}\n")
    program = (
        "import sys, storyflow\n"
        f"assert not [p for p in storyflow.check({str(file)!r}) if p.level == 'error']\n"
        "heavy = {'torch', 'ray', 'vllm', 'diffusers', 'cv2', 'av', 'opentimelineio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
