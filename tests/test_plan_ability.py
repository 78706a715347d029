"""What a model kind can't render is told at the shot's line, with the cure; what it costs, too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from media_files import clip_file, counting, picture_file
from plan_films import KIND, PROFILE, lengths, planned, with_kind

from storyflow.errors import Problem, StoryboardError
from storyflow.planning.estimate import predict, quote_of
from storyflow.planning.nodes import Plan
from storyflow.renderer import EVERY_MODE, CardFit, ModelKind


@dataclass(frozen=True)
class OneWindow:
    """A lattice that continues nothing."""

    window: int = 97
    overlap: int = 0
    grid: int = 4

    def new_frames(self, *, fresh: bool) -> range:
        return range(5, self.window + 1, 4) if fresh else range(0)


FRESH_MODES = EVERY_MODE - {"extend", "continue"}
SINGLE = with_kind(lattice=OneWindow(), modes=FRESH_MODES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("door.png", "open.png"):
        picture_file(tmp_path / name)
    clip_file(tmp_path / "clip.mp4", counting(20))
    return tmp_path


def story(*shots: str, head: str = "") -> str:
    lines = "\n".join(f"- {shot}" for shot in shots)
    return f"film: Rules\n{head}\nshots:\n{lines}\n"


def refused(text: str, folder: Path, kind: ModelKind) -> list[Problem]:
    with pytest.raises(StoryboardError) as error:
        planned(text, root=folder, kind=kind)
    return list(error.value.problems)


def told(plan: Plan, code: str) -> list[str]:
    return [problem.what for problem in plan.notices if problem.code == code]


@pytest.mark.parametrize("policy", ["full", "balanced"])
@pytest.mark.parametrize("frames", [1, 5, 33, 60, 96, 97])
def test_a_shot_of_one_window_is_one_segment(frames: int, policy: str) -> None:
    windows = PROFILE.windows.model_copy(update={"policy": policy})
    profile = PROFILE.model_copy(update={"windows": windows})
    plan = planned(story(f"{{id: A, dur: {frames}f, do: a}}"), kind=SINGLE, profile=profile)
    (made,) = lengths(plan.takes[0])
    assert frames <= made <= 97 and made in OneWindow().new_frames(fresh=True)


LIMITS = [
    ("{id: A, dur: 98f, do: a}", "98 frames, this pipeline's model renders at most 97", 4),
    ("{id: A, beats: [{dur: 1s, do: a},\n  {dur: 1s, do: b}]}", "one prompt a shot", 5),
    ("{id: A, dur: 1s, from: clip.mp4, do: a}", "it can't extend a clip", 4),
    ("{id: B, dur: 1s, do: b}\n- {id: A, dur: 1s, from: B, do: a}", "can't continue another", 5),
]


@pytest.mark.parametrize(("shot", "what", "line"), LIMITS)
def test_more_than_one_window_is_refused_at_its_line(
    folder: Path, shot: str, what: str, line: int
) -> None:
    (problem,) = refused(story(shot, head="seed: 1"), folder, SINGLE)
    assert what in problem.what
    assert (problem.shot, problem.line) == ("A", line)
    assert "diffusion-forcing pipeline" in problem.cure


def test_a_shot_of_many_lines_is_refused_at_its_from(folder: Path) -> None:
    text = "film: F\nshots:\n- id: A\n  dur: 1s\n  from: clip.mp4\n  do: a\n"
    (problem,) = refused(text, folder, SINGLE)
    assert (problem.line, problem.code) == (5, "unsupported-mode")


MODES = [
    ("{id: A, dur: 1s, do: a}", {"image"}, "starts from a picture always"),
    ("{id: A, dur: 1s, do: a}", {"first-last"}, "starts from a picture always"),
    ("{id: A, dur: 1s, from: door.png, do: a}", {"text"}, "can't start from a picture"),
    ("{id: A, dur: 1s, from: door.png, to: open.png, do: a}", {"text"}, "can't start from"),
    ("{id: A, dur: 1s, from: door.png, to: open.png, do: a}", {"image"}, "can't end on a picture"),
]


@pytest.mark.parametrize(("shot", "modes", "what"), MODES)
def test_weights_for_other_modes_refuse_the_shot(
    folder: Path, shot: str, modes: set[str], what: str
) -> None:
    kind = with_kind(lattice=OneWindow(), modes=frozenset(modes))
    (problem,) = refused(story(shot), folder, kind)
    assert what in problem.what and problem.cure and problem.shot == "A"


def test_every_fault_is_told_at_once(folder: Path) -> None:
    (folder / "open.png").write_bytes((folder / "open.png").read_bytes()[:40])
    shots = (
        "{id: A, dur: 9s, do: a}",
        "{id: B, dur: 1s, from: open.png, do: b}",
        "{id: C, dur: 1s, from: A, do: c}",
    )
    problems = refused(story(*shots), folder, SINGLE)
    assert [(p.shot, p.code) for p in problems] == [
        ("A", "single-window"),
        ("B", "broken-media"),
        ("C", "unsupported-mode"),
    ]


def test_handles_give_way_where_the_window_is_full(folder: Path) -> None:
    plan = planned(story("{id: A, dur: 90f, do: a}", head="handles: 12f"), kind=SINGLE)
    take = plan.takes[0]
    assert lengths(take) == [97] and take.frames == 90
    assert told(plan, "shorter-handles") == [
        "its handles are 17 frames shorter: the model's window has no room"
    ]
    roomy = planned(story("{id: A, dur: 60f, do: a}", head="handles: 12f"), kind=SINGLE)
    assert not told(roomy, "shorter-handles") and roomy.takes[0].head == 12


def test_nothing_comes_after_a_last_picture(folder: Path) -> None:
    shot = "{id: A, dur: 60f, from: door.png, to: open.png, do: a}"
    plan = planned(story(shot, head="handles: 12f"), kind=SINGLE, root=folder)
    assert lengths(plan.takes[0]) == [61]
    assert [c.role for c in plan.segments[0].inputs.conditions] == ["start", "end"]


def test_a_dissolve_needs_its_frames(folder: Path) -> None:
    shots = ("{id: A, dur: 90f, do: a}", "{id: B, dur: 90f, in: dissolve 1s, do: b}")
    problems = refused(story(*shots), folder, SINGLE)
    assert [p.shot for p in problems] == ["A", "B"]
    assert "the shot and its dissolves have 102 frames" in problems[0].what
    short = tuple(shot.replace("90f", "80f") for shot in shots)
    assert planned(story(*short), kind=SINGLE).takes[1].head == 12


def test_an_extension_must_be_long_enough_to_be_continued(folder: Path) -> None:
    """Its history would lie in the clip, of which only the end is read."""
    shots = "{id: A, dur: 12f, from: clip.mp4, do: a}", "{id: B, dur: 1s, from: A, do: b}"
    (problem,) = refused(story(*shots), folder, KIND)
    assert (problem.shot, problem.code) == ("B", "short-source")
    assert "make shot A at least 0.84s long" in problem.cure
    longer = story(shots[0].replace("12f", "0.84s"), shots[1])
    assert lengths(planned(longer, root=folder).take("B", 1))


def test_what_settings_mean_is_told_with_the_plan() -> None:
    from storyflow.forcing.config import ForcingConfig
    from storyflow.forcing.cost.advice import advice

    plain = ForcingConfig(model="toybox")
    assert advice(plain) == ()
    (slow,) = advice(ForcingConfig(model="toybox", steps=30, ar_step=5, block=5))
    assert "100 passes through the model for a whole window instead of 60, 1.67 times" in slow.what
    plan = planned(story("{id: A, dur: 1s, do: a}"), kind=with_kind(notices=(slow,)))
    assert slow in plan.notices
    (lossy,) = advice(ForcingConfig(model="toybox", step_cache=0.1))
    assert "advise against" in lossy.what


CARDS = (CardFit("24 GB", None, 50 << 30), CardFit("48 GB", ("a.b=c",), 40 << 30),
         CardFit("80 GB", (), 50 << 30))  # fmt: skip


def test_the_plan_says_on_which_cards_its_longest_window_fits(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from storyflow.tables import print_plan

    asked = []

    def memory(window: int) -> tuple[CardFit, ...]:
        asked.append(window)
        return CARDS

    kind = with_kind(memory=memory)
    plan = planned(story("{id: A, dur: 50f, do: a}", "{id: B, dur: 70f, do: b}"), kind=kind)
    quote = quote_of(plan, predict(plan, frozenset()), kind)
    assert asked == [73] == [quote.window]
    data = quote.as_data()["memory"]
    assert [fit["text"] for fit in data] == ["does not fit", "fits with a.b=c", "fits"]  # type: ignore[union-attr]
    print_plan(quote)
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("memory"))
    assert "a window of 73 frames" in line and "48 GB: fits with a.b=c (40.0 GiB)" in line
    without = quote_of(plan, predict(plan, frozenset()), KIND)
    assert without.memory == ()
