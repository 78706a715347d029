"""Series files: what they say, what is wrong with them, and how episodes inherit the bible."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
import yaml

from storyflow.errors import InputError, StoryboardError
from storyflow.series.inherit import inherited
from storyflow.series.load import (
    episode_at,
    episode_film,
    episode_named,
    episodes_of,
    load_series,
    parse_series,
    pipeline_of,
    series_schema,
)
from storyflow.series.model import Bible
from storyflow.series.night import night_of
from storyflow.storyboard.model import Film
from storyflow.storyboard.resolve import resolve
from storyflow.yamltree import read_tree

SERIES = """\
storyflow: 1
series: The Keeper
bible:
  style: 35mm film
  avoid: watermark
  frame: 96x64
  defaults: {dur: 4s, light: lamp light, place: tower}
  cast:
    keeper: man of sixty, navy coat
    girl: {look: girl of ten}
  places:
    tower: lighthouse stair
  pipeline: slate
  settings: [deliver.preset=ultrafast]
episodes:
- episodes/*.yaml
- {file: special/one.yaml, name: special, priority: 2, style: grainy, settings: [frame=64x48]}
rules:
  budget: {night: {gpu_hours: 20}, episode: {money: 5}}
  window: {from: 22:00, to: 06:00}
  zone: Europe/Vienna
  at_once: 3
"""

EPISODE = """\
film: {title}
shots:
- {{id: 1A, do: "@keeper climbs"}}
- {{id: 1B, do: a door rattles}}
"""


def written(folder: Path, text: str = SERIES) -> Path:
    for name in ("episodes/e10.yaml", "episodes/e2.yaml", "special/one.yaml"):
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(EPISODE.format(title=file.stem))
    (folder / "episodes/e2.lock.yaml").write_text("storyflow: 1\n")
    (folder / "series.yaml").write_text(text)
    return folder / "series.yaml"


def test_a_pattern_lists_storyboards_by_number_and_nothing_that_lies_beside_them(tmp_path):
    series = load_series(written(tmp_path))
    names = [(each.name, each.priority) for each in episodes_of(series)]
    assert names == [("e2", 1), ("e10", 1), ("special", 2)]


def test_a_file_with_wishes_of_its_own_is_left_out_of_patterns(tmp_path):
    text = SERIES.replace("special/one.yaml, name: special", "episodes/e2.yaml")
    names = [each.name for each in episodes_of(load_series(written(tmp_path, text)))]
    assert names == ["e10", "e2"]


def test_an_episode_is_found_by_name_and_by_file(tmp_path):
    series = load_series(written(tmp_path))
    assert episode_named(series, "SPECIAL").file == tmp_path / "special/one.yaml"
    assert episode_at(series, tmp_path / "episodes/e2.yaml").name == "e2"
    with pytest.raises(InputError, match="did you mean 'special'"):
        episode_named(series, "specal")


def test_an_episode_inherits_the_bible(tmp_path):
    series = load_series(written(tmp_path))
    film = resolve(episode_film(series, episode_named(series, "special")))
    first = film.shots[0]
    assert film.title == "one"
    assert str(film.size) == "96x64"
    assert first.frames == 96
    assert first.beats[0].style == ("35mm film, grainy",)
    assert first.beats[0].light == "lamp light"
    assert [c.look for c in first.beats[0].who] == ["man of sixty, navy coat"]
    assert pipeline_of(series, episode_named(series, "special")) == (
        "slate",
        ("deliver.preset=ultrafast", "frame=64x48"),
    )


def test_the_narrower_level_wins_and_styles_add_up():
    bible = Bible(
        style="a.", avoid="x", fps=25, cast={"k": "old", "g": "girl"}, defaults={"light": "sun",
        "size": "MS", "style": "d"},
    )  # fmt: skip
    film = Film(
        film="F", style="b", light="moon", cast={"k": "new"}, shots=["s"], defaults={"size": "CU"}
    )
    made = inherited(film, (bible,))
    assert (made.style, made.avoid, made.fps) == ("a, b", "x", 25)
    assert {name: member.look for name, member in made.cast.items()} == {"k": "new", "g": "girl"}
    assert made.defaults is not None
    assert made.defaults.size != bible.defaults.size
    assert (made.defaults.style, made.defaults.light) == ("d", None)
    assert resolve(made).shots[0].beats[0].light == "moon"


def test_a_film_without_a_bible_stays_as_it_is():
    film = Film(film="F", style="b", shots=["s"], defaults={"size": "CU"})
    assert inherited(film, (Bible(),)) == film


def test_the_bibles_pictures_lie_beside_the_series(tmp_path):
    file = written(tmp_path, SERIES.replace("girl of ten}", "girl of ten, ref: refs/girl.png}"))
    series = load_series(file)
    episode = episode_named(series, "e2")
    with pytest.raises(StoryboardError, match=r"series\.yaml:10:\d+.*not there"):
        resolve(episode_film(series, episode))
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs/girl.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 30)
    resolve(episode_film(series, episode))


WRONG = [
    ("pipeline: slate", "pipelin: slate", "did you mean 'pipeline'?", 13),
    ("place: tower}", "place: towr}", "did you mean 'tower'?", 7),
    ("to: 06:00", "to: 25:00", "write hours and minutes", 20),
    ("Europe/Vienna", "Vienna", "did you mean 'Europe/Vienna'?", 21),
    ("to: 06:00", "to: 22:00", "the window has no hours", 20),
    ("at_once: 3", "at_once: 0", "expected 1 to 1000", 22),
    ("gpu_hours: 20", "gpu_hours: -1", "expected a number above 0", 19),
    ("- episodes/*.yaml", "- {file: 'episodes/*.yaml', name: all}", "has no one name", 16),
]


@pytest.mark.parametrize(("old", "new", "told", "line"), WRONG)
def test_a_mistake_is_told_with_its_line_and_cure(tmp_path, old, new, told, line):
    assert old in SERIES
    file = written(tmp_path, SERIES.replace(old, new))
    with pytest.raises(StoryboardError) as caught:
        load_series(file)
    assert told in str(caught.value)
    assert [problem.line for problem in caught.value.problems] == [line]


def test_episodes_that_cannot_be_told_apart_are_refused(tmp_path):
    series = load_series(written(tmp_path, SERIES.replace("name: special", "name: E2")))
    with pytest.raises(StoryboardError, match="two episodes have the name 'E2'"):
        episodes_of(series)
    series = load_series(written(tmp_path, SERIES.replace("episodes/*", "epsodes/*")))
    with pytest.raises(StoryboardError, match="no storyboard matches"):
        episodes_of(series)


def test_a_broken_storyboard_is_its_episodes_matter(tmp_path):
    series = load_series(written(tmp_path))
    (tmp_path / "episodes/e2.yaml").write_text("film: x\nshot: []\n- y")
    assert len(episodes_of(series)) == 3
    with pytest.raises(StoryboardError, match=r"e2\.yaml"):
        episode_film(series, episode_named(series, "e2"))


@pytest.mark.parametrize("entry", ["../secret.yaml", "../sec*.yaml", "{outside}", "link.yaml"])
def test_nothing_outside_of_the_series_folder_is_read_unless_allowed(tmp_path, entry):
    secret = tmp_path / "secret.yaml"
    secret.write_text("swordfish")
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "link.yaml").symlink_to(secret)
    entry = entry.format(outside=secret)
    series = load_series(written(folder, f"series: S\nepisodes: ['{entry}']\n"))
    (listed,) = episodes_of(series)
    with pytest.raises(StoryboardError, match="leads out of the series' folder") as caught:
        episode_film(series, listed)
    assert "swordfish" not in str(caught.value)
    assert [problem.line for problem in caught.value.problems] == [2]
    with pytest.raises(StoryboardError, match="swordfish"):
        episode_film(series, listed, allow_outside=True)


def test_a_mistake_in_an_episode_does_not_blame_the_names_that_it_inherits(tmp_path):
    series = load_series(written(tmp_path))
    file = tmp_path / "episodes/e2.yaml"
    file.write_text(file.read_text() + "- {id: 1C, do: '@keeper rests', sise: CU}\n")
    with pytest.raises(StoryboardError) as caught:
        episode_film(series, episode_named(series, "e2"))
    assert [problem.code for problem in caught.value.problems] == ["unknown-key"]


def test_the_schema_takes_what_the_reader_takes():
    schema = series_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read_tree(SERIES).data, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load("series: x\nepisode: [a]"), schema)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHTS = [
    # In Vienna it is one hour later in winter, two in summer.
    ("2026-01-10T21:30", "2026-01-10", True, "2026-01-11T05:00"),
    ("2026-01-11T04:59", "2026-01-10", True, "2026-01-11T05:00"),
    ("2026-01-11T05:00", "2026-01-10", False, "2026-01-11T05:00"),
    ("2026-01-11T20:59", "2026-01-10", False, "2026-01-11T05:00"),
    ("2026-07-10T20:00", "2026-07-10", True, "2026-07-11T04:00"),
    # The clocks change in this night.
    ("2026-03-28T21:00", "2026-03-28", True, "2026-03-29T04:00"),
]


@pytest.mark.parametrize(("now", "date", "open", "closes"), NIGHTS)
def test_a_night_lasts_from_window_to_window(now, date, open, closes):
    rules = parse_series(SERIES).rules
    night = night_of(rules, at(now))
    assert (night.date.isoformat(), night.open, night.closes) == (date, open, at(closes))
    assert (night.next is None) == open


def test_a_night_without_a_window_begins_at_noon_and_is_always_open():
    rules = parse_series("series: S\nepisodes: [a.yaml]").rules
    assert night_of(rules, at("2026-01-10T11:59")).date.isoformat() == "2026-01-09"
    assert night_of(rules, at("2026-01-10T12:00")).date.isoformat() == "2026-01-10"
    assert night_of(rules, at("2026-01-10T12:00")).open


BOTH = ("start", "finish")


@pytest.mark.parametrize(
    ("text", "url", "on"),
    [
        ("https://h.example/x?k=1", "https://h.example/x?k=1", ("start", "finish", "failure")),
        ("{url: 'h.example:8443/x', on: failure}", "https://h.example:8443/x", ("failure",)),
        ("{url: http://127.0.0.1:9, on: [finish, start]}", "http://127.0.0.1:9", BOTH),
        ("{url_env: $HOOK, secret_env: SECRET, timeout: 3}", None, ("start", "finish", "failure")),
    ],
)  # fmt: skip
def test_a_webhook_is_an_address_and_what_it_is_told(tmp_path, text, url, on):
    file = written(tmp_path, f"{SERIES}  webhook: {text}\n")
    webhook = load_series(file).rules.webhook
    assert webhook is not None
    assert (webhook.url, webhook.on) == (url, on)
    jsonschema.validate(read_tree(file.read_text()).data, series_schema())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ftp://h.example/x", "no address of a web server"),
        ("{url: 'https://'}", "no address of a web server"),
        ("{url: 'https://h.example:99999'}", "no address of a web server"),
        ("{url: h.example, on: [ends]}", "a webhook can't be told of 'ends'"),
        ("{url: h.example, on: []}", "told of nothing"),
        ("{url: h.example, secret_env: s-3cr3t}", "no environment variable"),
        ("{url: h.example, url_env: HOOK}", "two addresses"),
        ("{on: failure}", "no address"),
        ("{url: h.example, timeout: 0}", "a number above 0"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_told_with_its_line(tmp_path, text, told):
    file = written(tmp_path, f"{SERIES}  webhook: {text}\n")
    with pytest.raises(StoryboardError, match=told) as caught:
        load_series(file)
    (problem,) = caught.value.problems
    assert problem.line == len(SERIES.splitlines()) + 1
