"""A cut list: its file, and what the plan makes of it. Rendered segments stay what they are."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from plan_films import KIND, PROFILE, film, lengths, names, new_segments, recipes, rendered

from storyflow.cutlist import CutEvent, CutList, cut_path, cut_schema, cut_text, read_cut
from storyflow.errors import StoryboardError
from storyflow.lock import Lock
from storyflow.planning.nodes import Plan
from storyflow.planning.planner import make_plan
from storyflow.storyboard.resolved import Transition

FILM = """\
film: Edited
handles: 12f
shots:
- {id: A, dur: 4s, do: a swan rests, title: {text: LAKE, at: 1s, dur: 2s}}
- {id: B, takes: 2, dur: 12s, do: it flies}
- {id: C, from: prev, dur: 4s, do: it lands}
- {id: D, dur: 4s, do: night falls}
"""
SECOND = 24


def cut_of(*events: CutEvent, **changes: object) -> CutList:
    return CutList("Edited", Fraction(24), events, **changes)  # type: ignore[arg-type]


def planned(cut: CutList | None, lock: Lock | None = None, text: str = FILM) -> Plan:
    lock = lock or Lock()
    return make_plan(film(text, lock), lock, PROFILE, "toybox", KIND, cut)


def told(plan: Plan, code: str) -> str:
    return " ".join(str(p) for p in plan.notices if p.code == code)


def test_a_cut_list_reads_back_as_it_was_written(tmp_path: Path) -> None:
    cut = cut_of(
        CutEvent("A", 0, 96, 1, Transition("fade", 24)),
        CutEvent("1E2", -6, 48, 2, Transition("dissolve", 12), Transition("fade", 9, "#204060")),
        CutEvent("A", 4, 40, into=Transition("wipe", 9, way="left")),
        left_out=("D",),
        source='an "edit" # 2.xml',
    )
    path = cut_path(tmp_path / "x.yaml")
    assert path.name == "x.cut.yaml"
    assert read_cut(path) is None
    path.write_text(cut_text(cut))
    assert read_cut(path) == cut


def test_the_schema_takes_what_the_writer_writes() -> None:
    import jsonschema
    import yaml

    cut = cut_of(CutEvent("A", 0, 96, 1, Transition("dissolve", 12)), left_out=("B",))
    jsonschema.Draft202012Validator.check_schema(cut_schema())
    jsonschema.validate(yaml.safe_load(cut_text(cut)), cut_schema())


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cut: []", "film"),
        ("{shot: A, in: 5, out: 5}", "ends before it begins"),
        ("{shot: A, in: 0, out: 5, transition: dissolve 1s}", "nothing stands before"),
        ("{shot: A, in: 0, out: 99, end: dissolve 1s}", "ends in a cut or a fade"),
        ("{shot: A, in: 0, out: 9, transition: fade 1s}", "longer than the piece"),
        ("{shot: A, in: 0, out: 9, speed: 2}", "unknown key 'speed'"),
        ("{shot: A, in: 0.5, out: 9}", "whole number"),
    ],
)
def test_what_is_no_cut_list_is_refused_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "x.cut.yaml"
    path.write_text(f'film: Edited\nfps: "24"\ncut:\n- {text}\n' if text[0] == "{" else text)
    with pytest.raises(StoryboardError, match=what) as caught:
        read_cut(path)
    assert text[0] != "{" or "x.cut.yaml:4" in str(caught.value)


def test_the_film_is_the_cut_lists_pieces_in_their_order() -> None:
    plan = planned(cut_of(CutEvent("D", 0, 48), CutEvent("A", 10, 40), CutEvent("D", 60, 96)))
    assert [(e.shot, e.stop - e.start) for e in plan.cut] == [("D", 48), ("A", 30), ("D", 36)]
    assert [e.start - plan.take(e.shot, 1).head for e in plan.cut] == [0, 10, 60]
    assert plan.frames == 114


def test_only_what_the_cut_shows_is_planned() -> None:
    whole = planned(None)
    plan = planned(cut_of(CutEvent("A", 0, 96), CutEvent("B", 0, 40, 2)))
    assert {(take.shot.id, take.take) for take in plan.takes} == {("A", 1), ("B", 2)}
    assert recipes(plan) < recipes(whole)
    assert lengths(plan.take("B", 2)) == lengths(whole.take("B", 2))[:1]


def test_trimming_dropping_and_swapping_renders_nothing_new() -> None:
    before, lock = rendered(FILM)
    cut = cut_of(
        CutEvent("C", 0, 90), CutEvent("B", 30, 250, 1), CutEvent("A", 0, 96, 1), source="x.otio"
    )
    plan = planned(cut, lock)
    assert new_segments(before, plan) == []
    assert "left out" not in told(plan, "not-in-cut")
    assert "added to the storyboard after the edit: D" in told(plan, "not-in-cut")
    assert "3 pieces, made from x.otio" in told(plan, "cut-list")
    plan = planned(replace(cut, left_out=("D",)), lock)
    assert "left out by the edit: D" in told(plan, "not-in-cut")


def test_a_shot_that_another_continues_is_planned_up_to_its_storyboards_end() -> None:
    before, lock = rendered(FILM)
    plan = planned(cut_of(CutEvent("C", 0, 48)), lock)
    assert [take.shot.id for take in plan.takes] == ["B", "C"]
    assert new_segments(before, plan) == []
    assert len(plan.take("C", 1).segments[0].history) >= 1
    short = planned(cut_of(CutEvent("B", 0, 24, 2), CutEvent("C", 0, 48)), lock)
    assert new_segments(before, short) == []
    assert {(t.shot.id, t.take) for t in short.takes} == {("B", 1), ("B", 2), ("C", 1)}


def test_frames_beyond_what_is_rendered_are_appended_and_change_no_key() -> None:
    before, lock = rendered(FILM)
    last = before.take("A", 1)
    beyond = last.generated - last.head + 30
    plan = planned(cut_of(CutEvent("A", 0, beyond), CutEvent("D", 0, 48)), lock)
    kept = [s.recipe for s in last.segments]
    assert [s.recipe for s in plan.take("A", 1).segments][: len(kept)] == kept
    assert new_segments(before, plan) == [f"A/{len(kept) + 1}"]
    assert f"up to frame {beyond}" in told(plan, "extended")
    assert plan.cut[0].stop <= plan.take("A", 1).generated


def test_segments_that_nothing_shows_are_not_rendered_again_after_a_change() -> None:
    _, lock = rendered(FILM)
    changed = FILM.replace("it flies", "it flies low")
    whole, plan = (
        planned(None, lock, changed),
        planned(cut_of(CutEvent("B", 0, 60, 1)), lock, changed),
    )
    assert names(plan, recipes(plan)) == ["B/1"]
    assert recipes(plan) < recipes(whole)


def test_a_longer_cut_list_finds_the_segments_of_a_shorter_one() -> None:
    cut = cut_of(CutEvent("B", 0, 60, 1))
    short = planned(cut)
    from storyflow.lockfile import pin, pin_windows

    lock = pin_windows(pin(Lock(), film(FILM)), short, recipes(short))
    long = planned(None, lock)
    assert recipes(short) < recipes(long)
    assert recipes(long) == recipes(planned(None))


def test_a_dissolve_takes_frames_from_around_both_pieces() -> None:
    before, lock = rendered(FILM)
    joint = Transition("dissolve", 13)
    cut = cut_of(
        CutEvent("A", 0, 96), CutEvent("D", 0, 96, None, joint), CutEvent("D", 3, 96, None, joint)
    )
    plan = planned(cut, lock)
    assert new_segments(before, plan) == []
    assert [e.into for e in plan.cut] == [Transition(), joint, joint]
    assert [e.out for e in plan.cut] == [joint, joint, Transition()]
    assert [e.hold for e in plan.cut] == [0, 0, 0]


def test_where_no_frame_comes_before_the_first_it_is_held() -> None:
    plan = planned(
        cut_of(CutEvent("A", 0, 96), CutEvent("C", 2, 90, None, Transition("dissolve", 12)))
    )
    assert plan.cut[1].start == 2
    assert plan.cut[1].hold == 4


def test_titles_stay_on_their_shots_frames() -> None:
    plan = planned(cut_of(CutEvent("A", 0, 30), CutEvent("A", 30, 60), CutEvent("A", 72, 96)))
    assert [[(t.at, t.frames) for t in e.titles] for e in plan.cut] == [[(24, 6)], [(0, 30)], []]


def test_a_take_that_isnt_the_chosen_one_is_told() -> None:
    assert "take 2 is shown" in told(planned(cut_of(CutEvent("B", 0, 48, 2))), "other-take")
    assert told(planned(cut_of(CutEvent("B", 0, 48))), "other-take") == ""


@pytest.mark.parametrize(
    ("events", "what"),
    [
        ([CutEvent("Z", 0, 48)], "no shot Z"),
        ([CutEvent("B", 0, 48, 7)], "no take 7"),
        ([CutEvent("C", -20, 48)], "20 frames before the first frame"),
        (
            [CutEvent("A", 0, 48, None, Transition(), Transition("fade", 9)),
             CutEvent("D", 0, 48, None, Transition("dissolve", 9))],
            "can't follow the fade",
        ),
        (
            [CutEvent("A", 0, 48), CutEvent("D", 0, 10, None, Transition("dissolve", 12)),
             CutEvent("A", 0, 48, None, Transition("dissolve", 12))],
            "its transitions take 12 frames, the piece has 10",
        ),
    ],
)  # fmt: skip
def test_what_the_film_has_not_is_refused(events: list[CutEvent], what: str) -> None:
    with pytest.raises(StoryboardError, match=what):
        planned(cut_of(*events))


def test_an_edit_at_another_rate_is_refused() -> None:
    with pytest.raises(StoryboardError, match="counts 25 frames a second, the film has 24"):
        planned(CutList("Edited", Fraction(25), (CutEvent("A", 0, 48),)))
