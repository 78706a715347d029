"""The dailies of a series: what became of a night, whatever became of it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nights import EPISODES, HOSTILE, NIGHT, NOW, SERIES, long_night, night, rendered, series_in
from typer.testing import CliRunner

import storyflow
from storyflow.budget import Budget
from storyflow.cli import app
from storyflow.cutting.masters import tag_of
from storyflow.draining import Draining
from storyflow.errors import InputError
from storyflow.events import SegmentStarted
from storyflow.qc.filed import write_quality
from storyflow.qc.verdicts import Quality, TakeQuality, Verdict
from storyflow.series.dailies.account import bill, tallies
from storyflow.series.dailies.facts import Dailies
from storyflow.series.dailies.gather import gather, latest_night
from storyflow.series.dailies.page import gpu, money, page
from storyflow.series.dailies.places import data_of, page_of, render_command, retry_command
from storyflow.series.dailies.write import write_dailies
from storyflow.series.ledger import EpisodeRow, Ledger
from storyflow.series.orders import Grounds, Where
from storyflow.series.told import EpisodeTold, SeriesEvent, SeriesNotice

MORNING = datetime(2026, 1, 11, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return night(tmp_path_factory)


@pytest.fixture(scope="module")
def made(file: Path) -> Dailies:
    return gather(Grounds(file), NIGHT, MORNING)


@pytest.fixture
def copied(file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(file.parent, tmp_path / "series")) / "series.yaml"


def test_dailies_tell_what_became_of_every_episode(made: Dailies, file: Path) -> None:
    assert [(each.name, each.outcome, each.rendered) for each in made.episodes] == [
        ("e1", "complete", 2),
        ("e2", "partial", 1),
        ("e4", "complete", 1),
    ]
    with Ledger.reading(Grounds(file).ledger) as ledger:
        segments = ledger.segments(made.series, NIGHT)
        runs = ledger.runs(made.series, NIGHT)
        rows = {row.episode: row for row in ledger.episodes(made.series, NIGHT)}
    assert made.bill.rendered == sum(row.outcome == "rendered" for row in segments)
    assert made.bill.gpu_seconds == sum(run.gpu_seconds for run in runs)
    assert (made.bill.finished, made.bill.failed, made.bill.currency) == (2, 1, "EUR")
    assert made.bill.money == pytest.approx(made.bill.gpu_seconds * 2 / 3600)
    first = made.episodes[0]
    assert first.gpu_seconds == rows["e1"].gpu_seconds
    assert first.second_money == pytest.approx(first.gpu_seconds * 2 / 3600 / first.film_seconds)
    assert (first.folder, first.report, first.film) == (
        "../e1", "../e1/report.html", "../e1/film.mp4"
    )  # fmt: skip


def test_each_failure_has_its_cause_and_one_command(made: Dailies, file: Path) -> None:
    second, third = made.failures
    (cause,) = second.causes
    assert (second.outcome, cause.segment, cause.shot) == ("partial", "2B/1", "2B")
    assert "as scripted" in cause.error
    assert second.command == f"storyflow series retry {file} e2"
    assert (third.episode, third.outcome) == ("e3", "broken")
    assert "did you mean 'ball'?" in third.error and third.cure.startswith("Mend")
    assert not second.mended and not third.mended


def test_a_contact_sheet_shows_what_is_new_and_what_is_missing(made: Dailies) -> None:
    sheets = {each.name: each.sheet for each in made.episodes}
    assert [(p.shot, p.state, p.timecode) for p in sheets["e1"]] == [
        ("1A", "new", "00:00:00:00"),
        ("1B", "new", "00:00:02:00"),
    ]
    assert [p.line for p in sheets["e1"]] == ["@ball rolls", "“Is it out?”"]
    assert [(p.shot, p.state, p.shown is None) for p in sheets["e2"]] == [
        ("2A", "new", False),
        ("2B", "missing", True),
    ]
    assert "as scripted" in sheets["e2"][1].line


def test_names_are_shown_as_text_and_nothing_else_can_run(made: Dailies, file: Path) -> None:
    bad = replace(made.failures[0], episode=HOSTILE, command=HOSTILE)
    worse = replace(made.episodes[0], name=HOSTILE, title=HOSTILE, error=HOSTILE, outcome="budget")
    text = page(replace(made, failures=(bad,), episodes=(worse, *made.episodes)))
    assert "<b>Keepers</b>" not in text and "&lt;b&gt;Keepers" in text
    assert "<img src=x" not in text and "&lt;img src=x onerror" in text
    assert text.count("<script") == text.count("</script>") == 1
    assert "default-src &#39;none&#39;" in text
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    assert " onclick" not in text and " style=" not in text


def test_the_page_and_the_json_lie_in_the_films_folder_and_link_beside_it(file: Path) -> None:
    written = write_dailies(Grounds(file), NIGHT, MORNING)
    assert written.page == file.parent / f"renders/series/dailies/{NIGHT}.html"
    text = written.page.read_text()
    for name in ("report.html", "film.mp4"):
        assert f'href="../e1/{name}"' in text
        assert (written.page.parent / f"../e1/{name}").is_file()
    data = json.loads(written.data.read_text())
    assert data == json.loads(json.dumps(written.dailies.as_data()))
    assert (data["storyflow"], data["night"]) == (1, NIGHT)
    assert "webp" not in written.data.read_text()
    assert [each["shot"] for each in data["episodes"][0]["sheet"]] == ["1A", "1B"]
    assert data["failures"][0]["command"].startswith("storyflow series retry ")


def test_a_night_in_which_nothing_was_rendered_has_a_page(tmp_path: Path) -> None:
    grounds = Grounds(series_in(tmp_path, episodes={"e1": EPISODES["e1"]}))
    made = gather(grounds, NIGHT, NOW)
    assert (made.episodes, made.failures, made.calls) == ((), (), ())
    assert (made.next.segments, made.next.done, made.next.when) == (2, 0, None)
    text = page(made)
    assert "Nothing was rendered in this night." in text and "Needs a hand" not in text
    assert "2 segments of 1 episode are left; nobody can estimate them yet." in text
    assert "until 06:00" in text


def test_a_night_of_failures_only_tells_of_them(tmp_path: Path) -> None:
    file = series_in(tmp_path, episodes={"e3": EPISODES["e3"]})
    rendered(file)
    made = gather(Grounds(file), NIGHT, MORNING)
    assert (made.episodes, [f.episode for f in made.failures]) == ((), ["e3"])
    text = page(made)
    assert "1 episode needs a hand" in text and "Nothing was rendered in this night." in text
    assert "Nothing is left to render but what needs a hand." in text


def test_what_was_rendered_and_not_cut_yet_is_shown_from_the_store(tmp_path: Path) -> None:
    file, draining = series_in(tmp_path, episodes={"e1": EPISODES["e1"]}), Draining()

    def stop(event: SeriesEvent) -> None:
        if isinstance(event, EpisodeTold) and isinstance(event.event, SegmentStarted):
            draining.wish()

    rendered(file, draining=draining, tell=stop)
    made = gather(Grounds(file), NIGHT, NOW)
    (episode,) = made.episodes
    assert (episode.outcome, episode.rendered, episode.film) == ("stopped", 1, None)
    ((picture,),) = [episode.sheet]
    assert (picture.shot, picture.state) == ("1A", "uncut")
    assert picture.shown is not None and picture.shown.width == 192
    assert made.next.segments == 1 and made.bill.second_money is None
    assert json.loads(data_of(page_of(Grounds(file), NIGHT)).read_text()) == made.as_data()


def test_the_next_night_mends_and_the_films_cost_is_that_of_both(copied: Path) -> None:
    copied.write_text(SERIES.replace("'slate.fail={2B/1: -1}'", "deliver.poster=0s"))
    (copied.parent / "e3.yaml").write_text(EPISODES["e3"].replace("bell", "ball"))
    storyflow.retry_series(copied, ["e2"])
    tomorrow = NOW.replace(day=11)
    assert rendered(copied, tomorrow).outcome == "complete"
    grounds = Grounds(copied)
    second = gather(grounds, "2026-01-11", tomorrow)
    e2 = next(each for each in second.episodes if each.name == "e2")
    assert [(p.shot, p.state) for p in e2.sheet] == [("2A", "kept"), ("2B", "new")]
    with Ledger.reading(grounds.ledger) as ledger:
        both = [row for row in ledger.episodes(second.series) if row.episode == "e2"]
    assert len(both) == 2
    whole = sum(row.gpu_seconds + row.prompt_seconds for row in both)
    assert e2.second_gpu == pytest.approx(whole / e2.film_seconds)
    assert (second.failures, second.next.done, second.next.nights) == ((), 4, 0)
    # What the call wrote, which planned again just what it had worked at.
    written = json.loads(data_of(page_of(grounds, "2026-01-11")).read_text())
    assert written == second.as_data()
    assert "Nothing: every film is there." in page(second)
    first = gather(grounds, NIGHT, tomorrow)
    assert [(f.episode, f.mended) for f in first.failures if f.episode == "e2"] == [("e2", True)]
    assert "Mended since" in page(first)


def test_findings_of_the_quality_check_are_shown_as_far_as_they_are_of_these_pictures(
    copied: Path,
) -> None:
    folder = copied.parent / "renders/series/e1"
    fail = Verdict("seam", "fail", 9.0, 3.0, "<i>jumps</i>", "1A")
    fine = Verdict("seam", "pass", 1.0, 3.0, "fine", "1A")
    warn = Verdict("light", "warn", 2.0, 1.0, "darker", "1B")
    takes = [
        TakeQuality(shot, 1, tag or "older", 48, "fail", (), None, None, verdicts)
        for shot, tag, verdicts in (
            ("1A", tag_of(folder / "shots/1A.mov"), (fine, fail)),
            ("1B", None, (warn,)),
        )
    ]
    quality = Quality(title="", pipeline="", limits="", level="fail", takes=tuple(takes))
    write_quality(folder / "qc.json", quality)
    made = gather(Grounds(copied), NIGHT, MORNING)
    first, *others = made.episodes
    assert first.findings is not None
    assert [(f.level, f.text, f.shot) for f in first.findings] == [("fail", "<i>jumps</i>", "1A")]
    assert first.stale and all(each.findings is None for each in others)
    text = page(made)
    assert "&lt;i&gt;jumps" in text and "of an older version" in text


@pytest.mark.parametrize(
    ("now", "rules", "when", "closes", "left"),
    [
        # Within the window, with a budget that lasts.
        (NOW, "budget: {night: {gpu_hours: 5}}, ", None, "2026-01-11T06:00", 5 * 3600),
        # After it has closed: the next night's.
        (MORNING, "budget: {night: {gpu_hours: 5}}, ", "2026-01-11T22:00", "2026-01-12T06:00",
         5 * 3600),
        # Within the window, with a budget that is used up.
        (NOW, "budget: {night: {gpu_hours: 1}}, ", "2026-01-11T22:00", "2026-01-12T06:00", 3600),
        (NOW, "", None, "2026-01-11T06:00", None),
    ],
)  # fmt: skip
def test_dailies_say_when_it_goes_on_and_what_may_be_used_then(
    tmp_path: Path, now: datetime, rules: str, when: str | None, closes: str, left: float | None
) -> None:
    text = SERIES.replace("rules: {", f"rules: {{{rules}")
    grounds = Grounds(series_in(tmp_path, text, {"e1": EPISODES["e1"]}))
    if "gpu_hours: 1" in rules:
        with Ledger.writing(grounds.ledger) as ledger:
            run = ledger.begin_run(grounds.series.series, NIGHT, "EUR")
            ledger.spent(run, 3600, 2.0)
            ledger.end_run(run, "budget")
    following = gather(grounds, NIGHT, now).next
    assert following.when == (when and f"{when}:00+00:00")
    assert following.closes == f"{closes}:00+00:00"
    assert following.left_seconds == left


def test_without_a_window_a_spent_night_goes_on_at_noon(tmp_path: Path) -> None:
    text = SERIES.replace("window: {from: 22:00, to: 06:00}", "budget: {night: {gpu_hours: 1}}")
    grounds = Grounds(series_in(tmp_path, text, {"e1": EPISODES["e1"]}))
    with Ledger.writing(grounds.ledger) as ledger:
        ledger.spent(ledger.begin_run(grounds.series.series, NIGHT, "EUR"), 3600, 2.0)
    assert gather(grounds, NIGHT, NOW).next.when == "2026-01-11T12:00:00+00:00"


def row(run: int, name: str, outcome: str, **more: object) -> EpisodeRow:
    plain: dict[str, object] = {
        "title": name, "began": "", "ended": None, "planned": 0, "rendered": 0, "reused": 0,
        "failed": 0, "frames": 0, "film_seconds": 10.0, "estimate_seconds": None,
        "gpu_seconds": 0.0, "useful_seconds": 0.0, "prompt_seconds": 0.0, "money": None,
        "folder": "", "mark": "", "error": "",
    }  # fmt: skip
    return EpisodeRow(run=run, episode=name, outcome=outcome, **{**plain, **more})  # type: ignore[arg-type]


def test_an_estimate_counts_for_what_was_rendered_of_it() -> None:
    rows = [
        row(2, "a", "budget", planned=10, rendered=4, estimate_seconds=100.0, gpu_seconds=50.0,
            money=5.0),
        row(3, "a", "complete", planned=6, rendered=6, estimate_seconds=60.0, gpu_seconds=65.0,
            prompt_seconds=5.0, money=7.0),
        row(3, "b", "complete", planned=1, rendered=1, gpu_seconds=10.0, film_seconds=30.0),
    ]  # fmt: skip
    before = [row(1, "a", "partial", rendered=2, gpu_seconds=30.0, money=3.0)]
    a, b = tallies(rows, before)
    assert (a.calls, a.rendered, a.gpu_seconds, a.money) == (2, 10, 120.0, 12.0)
    assert a.estimate_seconds == pytest.approx(100.0)
    assert (a.second_gpu, a.second_money) == (15.0, 1.5)
    assert (b.estimate_seconds, b.second_gpu, b.second_money) == (None, pytest.approx(1 / 3), None)
    made = bill([], [a, b], Budget(), 0, 0)
    # Both films' seconds; the cost of one of them is unknown, so that of both is.
    assert (made.second_gpu, made.second_money) == (pytest.approx(160 / 40), None)
    assert (made.estimate_seconds, made.finished, made.finished_seconds) == (None, 2, 40.0)


def test_the_night_to_look_at_is_the_one_that_is_over_or_has_begun(file: Path) -> None:
    grounds = Grounds(file)
    assert latest_night(grounds, NOW) == NIGHT
    assert latest_night(grounds, MORNING) == NIGHT
    # The next one has begun, and no call yet.
    assert latest_night(grounds, MORNING.replace(hour=22)) == NIGHT
    # It is over, and nothing came of it.
    assert latest_night(grounds, NOW.replace(day=12, hour=7)) == "2026-01-11"


def test_a_night_of_a_hundred_episodes_stays_small(made: Dailies, file: Path) -> None:
    text = page(long_night(made, 100))
    assert text.count('<article class="episode"') == 100
    assert "All 100" in text and "100 episodes are left" in text
    assert len(text) < 2_000_000


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--night", "yesterday"], "'yesterday' is no night; name its date: 2026-01-31"),
        (["--night", "9999-01-01"], "the night of 9999-01-01 has not begun; the last one is "),
        (["--to", "page.pdf"], "page.pdf is no page; name a file that ends in .html"),
    ],
)
def test_what_is_wrong_with_the_command_is_told(file: Path, options: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["series", "dailies", str(file), *options])
    assert isinstance(result.exception, InputError)
    assert told in str(result.exception)


def test_the_command_prints_the_night_in_lines_or_as_data(file: Path, tmp_path: Path) -> None:
    to = tmp_path / "out" / "page.html"
    command = ["series", "dailies", str(file), "--night", NIGHT, "--to", str(to)]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    first, e2, e3, last = told.stdout.splitlines()
    assert first.startswith("night of 2026-01-10: 2 films finished, 4 segments rendered, ")
    assert e2 == f"e2 is partial: storyflow series retry {file} e2"
    assert e3 == f"e3 is broken: storyflow series retry {file} e3"
    assert last == str(to) and to.is_file() and to.with_suffix(".json").is_file()
    told = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(told.stdout)["bill"]["rendered"] == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0, "0.0 s"), (14.21, "14.2 s"), (750, "12.5 min"), (145_000, "40.3 h")],  # noqa: RUF001
)
def test_gpu_time_is_told_for_people(seconds: float | None, text: str) -> None:
    assert gpu(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "–"), (0, "0.00"), (12.345, "12.35"), (0.0812, "0.081"), (0.00002, "<0.0001")],  # noqa: RUF001
)
def test_money_is_told_for_people(amount: float | None, text: str) -> None:
    assert money(amount) == text


def test_each_call_leaves_its_night_s_dailies_even_where_it_had_nothing_to_do(
    copied: Path,
) -> None:
    tomorrow = NOW.replace(day=11)
    written = copied.parent / "renders/series/dailies"
    assert sorted(path.name for path in written.iterdir()) == [f"{NIGHT}.html", f"{NIGHT}.json"]
    rendered(copied, tomorrow)
    data = json.loads((written / "2026-01-11.json").read_text())
    assert (data["night"], data["episodes"]) == ("2026-01-11", [])
    assert [failure["episode"] for failure in data["failures"]] == ["e2", "e3"]
    # Outside of the window nothing is planned, and no page of a night to come is made.
    rendered(copied, MORNING.replace(day=12))
    assert not (written / "2026-01-12.html").exists()


def test_dailies_that_can_not_be_written_are_a_notice(tmp_path: Path) -> None:
    file = series_in(tmp_path, episodes={"e1": EPISODES["e1"]})
    (tmp_path / "renders/series").mkdir(parents=True)
    (tmp_path / "renders/series/dailies").write_text("in the way")
    told: list[SeriesEvent] = []
    assert rendered(file, tell=told.append).outcome == "complete"
    notices = [event.text for event in told if isinstance(event, SeriesNotice)]
    assert any(text.startswith("no dailies were written: can't write") for text in notices)


def test_the_one_command_renders_what_failed(copied: Path) -> None:
    mended = SERIES.replace("'slate.fail={2B/1: -1}'", "deliver.poster=0s")
    copied.write_text(mended.replace(", window: {from: 22:00, to: 06:00}", ""))
    (copied.parent / "e3.yaml").write_text(EPISODES["e3"].replace("bell", "ball"))
    failed = gather(Grounds(copied), NIGHT, NOW).failures
    assert [failure.episode for failure in failed] == ["e2", "e3"]
    for failure in failed:
        words = shlex.split(failure.command)
        told = CliRunner().invoke(app, words[1:])
        assert told.exit_code == 0, told.output
        assert (copied.parent / f"renders/series/{failure.episode}/film.mp4").is_file()
    assert [f.episode for f in gather(Grounds(copied), NIGHT, NOW).failures if not f.mended] == []


def test_a_command_works_in_any_folder_and_says_all_that_the_call_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = series_in(tmp_path)
    where = Where(
        cluster="cluster.yaml",
        store="s3://bucket/x",
        out="my films",
        settings=("forcing.steps=2",),
        address="in-process",
        workers=2,
        allow_outside=True,
    )
    grounds = Grounds(file.name, where)
    assert retry_command(grounds, "e one") == (
        f"storyflow series retry {file} 'e one' --cluster {tmp_path}/cluster.yaml "
        f"--store s3://bucket/x --out '{tmp_path}/my films' --set forcing.steps=2 "
        "--address in-process --workers 2 --allow-outside"
    )
    assert shlex.split(retry_command(Grounds(file, Where(cluster="local")), "e"))[-1] == "local"
    grounds.command = ("storyflow", "series", "submit", "/far/series.yaml")
    assert retry_command(grounds, "e") == "storyflow series submit /far/series.yaml --retry"
    assert render_command(grounds) == "storyflow series submit /far/series.yaml"
