"""Names that a hand-over gives away: files, reels, timecodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from storyflow.errors import InputError
from storyflow.timeline.handed import RECORD, Handed, HandedFile, read_handed, write_handed


def handed(*shots: tuple[str, int]) -> Handed:
    made = Handed("Film", "24")
    for shot, take in shots:
        made = made.with_take(shot, take, 30 * 24)
    return made


def test_names_and_reels_are_short_plain_and_given_once() -> None:
    made = handed(("1C", 2), ("1c", 2), ("Ä.1", 1), ("a-long-shot", 12), ("龙", 1), ("1C", 2))
    assert [take.name for take in made.takes] == [
        "1C_t2", "1c-2_t2", "A-1_t1", "a-long-shot_t12", "shot_t1"
    ]  # fmt: skip
    assert [take.reel for take in made.takes] == ["1CT2", "R00002", "A1T1", "R00004", "R00005"]
    assert all(len(take.reel) <= 8 for take in made.takes)


def test_every_take_has_minutes_of_its_own() -> None:
    made = handed(("1A", 1), ("1B", 1), ("1C", 1))
    second = 24
    hours = [3600 * second + minute * 60 * second + 10 * second for minute in (0, 1, 2)]
    assert [take.zero for take in made.takes] == hours
    names = made.takes[0]
    assert made.start(names, -12) == hours[0] - 12
    assert made.start(names, 24 * 3600 * second) == hours[0]


def test_a_record_reads_back(tmp_path: Path) -> None:
    assert read_handed(tmp_path) is None
    made = handed(("1A", 1)).with_file(HandedFile("1A", 1, 1, "1A_t1_v001.mov", "d", 97, -12, 5))
    write_handed(tmp_path, made)
    assert read_handed(tmp_path) == made
    (media,) = made.media()
    assert (media.url, media.reel, media.current) == ("media/1A_t1_v001.mov", "1AT1", True)
    (tmp_path / RECORD).write_text("{}")
    with pytest.raises(InputError, match="is not a hand-over's record of this version"):
        read_handed(tmp_path)
