"""An edit re-renders exactly what depends on it: what changes, on a plan whose film is rendered."""

from __future__ import annotations

import pytest
from plan_films import kind, names, new_segments, planned, profile, recipes, rendered

STORY = """
storyflow: 1
film: Edits
handles: 12f
style: 35mm film
cast:
  keeper: {look: man of sixty}
  girl: {look: girl of ten}
shots:
- {id: A, dur: 8s, do: "@keeper climbs"}
- id: B
  beats:
  - {dur: 4s, do: "@girl looks up"}
  - {dur: 8s, do: she turns}
  - {dur: 4s, do: she runs}
- {id: C, from: B, dur: 6s, do: the camera follows}
- {id: D, dur: 10s, do: waves break}
"""
BEFORE, LOCK = rendered(STORY)
EVERYTHING = [segment.name for segment in BEFORE.segments]
OF_B_AND_C = [name for name in EVERYTHING if name[0] in "BC"]


def of(*shots: str) -> list[str]:
    return [name for name in EVERYTHING if name.split("/")[0] in shots]


def edited(*changes: tuple[str, str]) -> str:
    text = STORY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


# What is edited, and the segments that are rendered again.
EDITS = {
    "nothing": ([], []),
    "the first beat": ([("looks up", "looks down")], OF_B_AND_C),
    "the second beat": (
        [("she turns", "she sleeps")],
        [name for name in OF_B_AND_C if name not in ("B/1", "B/2")],
    ),
    "the last beat": ([("she runs", "she sits")], ["B/6", "B/7", *of("C")]),
    "a single shot": ([("waves break", "waves roll")], of("D")),
    "a continuation": ([("the camera follows", "the camera waits")], of("C")),
    "a cast look": ([("girl of ten", "girl of nine")], OF_B_AND_C),
    "the other cast look": ([("man of sixty", "man of fifty")], of("A")),
    "style": ([("35mm film", "16mm film")], EVERYTHING),
    "avoid": ([("style: 35mm film", "style: 35mm film\navoid: text")], EVERYTHING),
    "a shot's seed": ([("{id: D,", "{id: D, seed: 3,")], of("D")),
    "the film's seed": ([("handles: 12f", "handles: 12f\nseed: 3")], EVERYTHING),
    "a longer shot": ([("id: D, dur: 10s", "id: D, dur: 14s")], ["D/5", "D/6"]),
    "a shorter shot": ([("id: D, dur: 10s", "id: D, dur: 5s")], []),
    "a longer last beat": ([("4s, do: she runs", "6s, do: she runs")], ["B/8", *of("C")]),
    "a shorter last beat": ([("4s, do: she runs", "3s, do: she runs")], of("C")),
    "a title": ([("{id: D,", "{id: D, title: THE END,")], []),
    "a fade": ([("{id: D,", "{id: D, out: fade black 1s,")], []),
    "a dissolve within the handles": ([("{id: D,", "{id: D, in: dissolve 1s,")], []),
    "more takes": ([("{id: D,", "{id: D, takes: 2,")], [f"D.2/{n}" for n in (1, 2, 3, 4)]),
    "shorter handles": ([("handles: 12f", "handles: 4f")], []),
    "the film's title": ([("film: Edits", "film: Other")], []),
    "a note": ([("{id: D,", "{id: D, note: reshoot?,")], []),
    "the frame rate": ([("handles: 12f", "handles: 12f\nfps: 23.976")], []),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_renders_exactly_what_depends_on_it(edit: str) -> None:
    changes, expected = EDITS[edit]
    after = planned(edited(*changes), LOCK)
    assert new_segments(BEFORE, after) == expected


def test_a_dissolve_longer_than_the_handles_appends_but_changes_nothing() -> None:
    after = planned(edited(("{id: D,", "{id: D, in: dissolve 2s,")), LOCK)
    # C's tail grows from 12 to 24 frames: one segment is appended to it. D needs 12 more frames at
    # its head and takes them from inside: its end moves, and its surplus no longer covers it.
    assert new_segments(BEFORE, after) == ["C/3", "D/5"]
    assert after.take("D", 1).head == 24
    assert after.take("D", 1).slip == 12


def test_reordering_shots_renders_nothing() -> None:
    shots = STORY[STORY.index("- {id: A") :]
    first, rest = shots.split("\n", 1)
    after = planned(STORY.replace(shots, rest + first + "\n"), LOCK)
    assert new_segments(BEFORE, after) == []
    assert [entry.shot for entry in after.cut] == ["B", "C", "D", "A"]


def test_inserting_a_shot_renders_only_that_shot() -> None:
    after = planned(edited(("- {id: D", "- {id: C2, dur: 2s, do: a gull cries}\n- {id: D")), LOCK)
    assert set(name.split("/")[0] for name in new_segments(BEFORE, after)) == {"C2"}


def test_removing_a_shot_renders_nothing() -> None:
    after = planned(edited(('- {id: A, dur: 8s, do: "@keeper climbs"}\n', "")), LOCK)
    assert new_segments(BEFORE, after) == []


def test_a_renamed_shot_renders_nothing() -> None:
    after = planned(edited(("id: A", "id: Opening")), LOCK)
    assert new_segments(BEFORE, after) == []
    assert planned(edited(("id: A", "id: Opening"))).take("Opening", 1).seed != (
        after.take("Opening", 1).seed
    )


def test_a_follower_hangs_only_on_what_it_can_see() -> None:
    """A source's frames after the cut-out are no one's history."""
    story = """
film: Tail
handles: 80f
shots:
- {id: A, dur: 4s, do: a door}
- {id: B, from: A, dur: 4s, do: a hall}
"""
    plan = planned(story)
    source = plan.take("A", 1)
    assert len(source.segments) == 3
    out = source.head + source.frames
    parents = set(plan.take("B", 1).segments[0].parents)
    assert parents == {s.recipe for s in source.segments if s.start < out <= s.stop}
    assert source.segments[2].recipe not in parents


def test_another_model_or_frame_size_or_sampler_changes_every_key() -> None:
    from plan_films import with_kind

    assert names(planned(STORY, LOCK, kind=kind(identity="model@2")), recipes(BEFORE)) == []
    steps = with_kind(pixel_fields=(("steps", 21), ("history", "pixels")))
    assert names(planned(STORY, LOCK, kind=steps), recipes(BEFORE)) == []
    from storyflow.timing import Size

    larger = planned(STORY, LOCK, profile=profile(frame=Size(112, 64)))
    assert names(larger, recipes(BEFORE)) == []


def test_delivery_settings_change_no_key() -> None:
    from storyflow.pipeline import DeliverSection

    after = planned(STORY, LOCK, profile=profile(deliver=DeliverSection(crf=30)))
    assert recipes(after) == recipes(BEFORE)


def test_equal_shots_with_equal_seeds_are_one_node() -> None:
    story = """
film: Twice
shots:
- {id: A, dur: 4s, seed: 5, do: a door}
- {id: B, dur: 4s, seed: 5, do: a door}
- {id: C, dur: 4s, do: a door}
"""
    plan = planned(story)
    assert plan.take("A", 1).segments[0].recipe == plan.take("B", 1).segments[0].recipe
    assert plan.take("A", 1).segments[0].recipe != plan.take("C", 1).segments[0].recipe
    assert len(plan.segments) == 2


def test_a_label_is_in_the_key_only_where_it_is_drawn() -> None:
    assert BEFORE.segments[0].inputs.spec.label == ""
    drawn = planned(STORY, kind=kind(draws_labels=True))
    assert drawn.segments[0].inputs.spec.label == "A\nbeat 1\n@keeper climbs\n0"
