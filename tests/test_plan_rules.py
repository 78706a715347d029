"""What STORYBOARD words mean in frames and segments, rule by rule."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import clip_file, counting
from plan_films import KIND, PROFILE, film, lengths, planned, profile, rendered, with_kind

from storyflow.errors import ProfileError, StoryboardError
from storyflow.kinds import kind_of
from storyflow.lock import Lock
from storyflow.lockfile import choose_take, pin, pin_windows
from storyflow.pipeline import load_profile
from storyflow.planning.nodes import Plan
from storyflow.planning.planner import make_plan
from storyflow.settings import names
from storyflow.timing import Size

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060"
    "0000000400012734270a0000000049454e44ae426082"
)


def story(*shots: str, head: str = "") -> str:
    lines = "\n".join(f"- {shot}" for shot in shots)
    return f"film: Rules\n{head}\nshots:\n{lines}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("door.png", "open.png"):
        (tmp_path / name).write_bytes(PICTURE + name.encode())
    clip_file(tmp_path / "clip.mp4", counting(20))
    return tmp_path


def notices(plan: Plan) -> dict[str, str]:
    return {problem.code: str(problem) for problem in plan.notices}


def test_handles_are_rendered_around_a_text_shot() -> None:
    plan = planned(story("{id: A, dur: 4s, do: a door}", head="handles: 12f"))
    take = plan.take("A", 1)
    assert (take.head, take.frames) == (12, 96)
    assert take.generated >= 12 + 96 + 12
    assert (plan.cut[0].start, plan.cut[0].stop) == (12, 108)


def test_shots_that_start_from_something_have_no_head(folder: Path) -> None:
    shots = (
        "{id: A, dur: 4s, do: a door}",
        "{id: B, dur: 4s, from: prev, do: a hall}",
        "{id: C, dur: 4s, from: door.png, do: a door}",
        "{id: D, dur: 4s, from: door.png, to: open.png, do: a door}",
        "{id: E, dur: 4s, from: clip.mp4, do: a door}",
    )
    plan = planned(story(*shots, head="handles: 12f"), root=folder)
    assert [take.head for take in plan.takes] == [13, 0, 0, 0, 0]
    modes = ["text", "continue", "image", "first-last", "extend"]
    assert [take.mode for take in plan.takes] == modes
    overlaps = [take.segments[0].inputs.spec.overlap for take in plan.takes]
    assert overlaps == [0, 17, 0, 0, 17]
    assert all(take.generated >= take.head + 96 + 12 for take in plan.takes)


def test_a_dissolve_takes_half_from_each_sides_handles() -> None:
    plan = planned(
        story("{id: A, dur: 4s, do: a door}", "{id: B, dur: 4s, in: dissolve 3s, do: a hall}")
    )
    first, second = plan.takes
    assert second.head == 36
    assert first.head == 0
    assert first.generated >= 96 + 36
    assert plan.frames == 192, "a dissolve doesn't change the length of the film"


def test_a_wipe_takes_its_frames_as_a_dissolve_does() -> None:
    for frames in (1, 25, 72):
        plans = [
            planned(
                story(
                    "{id: A, dur: 4s, do: a door}",
                    f"{{id: B, dur: 4s, in: {kind} {frames}f, do: a hall}}",
                )
            )
            for kind in ("dissolve", "wipe up")
        ]
        assert plans[0].segments == plans[1].segments
        first, second = plans[1].takes
        assert second.head == frames // 2
        assert first.generated >= 96 + frames - frames // 2


def test_titles_are_in_the_cut_and_in_no_segment() -> None:
    shot = "{{id: A, dur: 4s, do: a door{}}}"
    plain = planned(story(shot.format("")))
    title = ", title: {text: Ada, as: lower third, at: 1s}"
    titled = planned(story(shot.format(title)))
    assert titled.segments == plain.segments
    (shown,) = titled.cut[0].titles
    assert (shown.text, shown.style, shown.at, shown.frames) == ("Ada", "lower-third", 24, 72)


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ('"\u6d77"', "missing-glyph"),
        ('"' + "word " * 200 + '"', "long-title"),
        ('["A", {text: "\u6d77", as: lower third}]', "missing-glyph"),
    ],
)
def test_a_title_that_can_not_be_drawn_is_a_fault_at_its_line(title: str, code: str) -> None:
    with pytest.raises(StoryboardError) as refused:
        planned(story("{id: A, dur: 4s, do: a}", f"{{id: B, do: b, title: {title}}}"))
    (problem,) = refused.value.problems
    assert (problem.code, problem.shot, problem.line) == (code, "B", 5)


def test_the_longer_of_handles_and_dissolve_counts() -> None:
    shots = ("{id: A, dur: 4s, do: a door}", "{id: B, dur: 4s, in: dissolve 1s, do: a hall}")
    assert planned(story(*shots, head="handles: 20f")).take("B", 1).head == 20
    assert planned(story(*shots, head="handles: 10f")).take("B", 1).head == 12


def test_a_picture_shot_holds_its_picture_under_a_dissolve(folder: Path) -> None:
    plan = planned(
        story(
            "{id: A, dur: 4s, do: a door}",
            "{id: B, dur: 4s, in: dissolve 1s, from: door.png, do: a door}",
        ),
        root=folder,
    )
    assert plan.take("B", 1).head == 0
    assert [entry.hold for entry in plan.cut] == [0, 12]


def test_fades_lie_inside_the_duration() -> None:
    plain = planned(story("{id: A, dur: 4s, do: a door}"))
    faded = planned(story("{id: A, dur: 4s, in: fade black 1s, out: fade 2s, do: a door}"))
    assert [lengths(t) for t in plain.takes] == [lengths(t) for t in faded.takes]
    assert plain.takes[0].head == faded.takes[0].head


def test_a_beat_starts_where_a_segment_ends() -> None:
    shot = "{id: A, beats: [{dur: 5s, do: one}, {dur: 90f, do: two}, {dur: 3s, do: three}]}"
    plan = planned(story(shot, head="handles: 6f"))
    take = plan.takes[0]
    for beat in (1, 2):
        first = next(s for s in take.segments if s.beat == beat)
        before = [s for s in take.segments if s.beat < beat]
        assert first.start == before[-1].stop
        assert first.inputs.prompt != before[-1].inputs.prompt
    starts = [next(s.start for s in take.segments if s.beat == n) for n in (1, 2)]
    assert [start - take.head for start in starts] == [120 - 1, 120 + 90 + 1]
    told = [problem.what for problem in plan.notices if problem.code == "moved-beat"]
    assert told[0].startswith("beat 2 of 3 starts 1 frame early")
    assert told[1].startswith("beat 3 of 3 starts 1 frame late")


def test_a_moved_beat_is_told_with_its_place(tmp_path: Path) -> None:
    from storyflow.storyboard.load import load
    from storyflow.storyboard.resolve import resolve

    path = tmp_path / "x.yaml"
    path.write_text(
        "film: X\nshots:\n- id: A\n  beats:\n  - {dur: 90f, do: one}\n  - {dur: 90f, do: two}\n"
        "  - {dur: 90f, do: three}\n"
    )
    plan = make_plan(resolve(load(path)), Lock(), PROFILE, "toybox", KIND)
    assert notices(plan)["moved-beat"].startswith(f"{path}:7:")
    assert "shot A" in notices(plan)["moved-beat"]


def test_only_the_last_segment_of_a_shot_has_a_surplus() -> None:
    shot = "{id: A, beats: [{dur: 5s, do: one}, {dur: 7s, do: two}]}"
    take = planned(story(shot, "{id: B, dur: 50f, do: two}")).takes[0]
    last = take.segments[-1]
    assert take.generated - last.inputs.spec.new < take.head + take.frames <= take.generated


def test_a_long_beat_splits_into_legal_windows() -> None:
    take = planned(story("{id: A, dur: 60s, do: a door}")).takes[0]
    assert lengths(take)[:-1] == [97, *[80] * 16]
    assert len(take.segments) == 18
    assert {s.beat for s in take.segments} == {0}


def test_too_short_a_beat_is_refused_with_its_place() -> None:
    beats = "[{dur: 4s, do: one}, {dur: 10f, do: two}, {dur: 4s, do: three}]"
    with pytest.raises(StoryboardError) as error:
        planned(story(f"{{id: A, beats: {beats}}}"))
    (problem,) = error.value.problems
    assert problem.code == "short-beat"
    assert problem.line == 4
    assert "beat 2 of 3" in problem.what
    assert "0.84s (20 frames)" in problem.what


def test_a_window_below_the_floor_is_told() -> None:
    from storyflow.pipeline import WindowsSection

    careful = profile(windows=WindowsSection(floor=57))
    beats = "[{dur: 4s, do: one}, {dur: 1s, do: two}, {dur: 1s, do: three}]"
    plan = planned(story(f"{{id: A, beats: {beats}}}"), profile=careful)
    (told,) = [problem.what for problem in plan.notices if problem.code == "below-floor"]
    assert told.startswith("beat 2 of 3 is so short that a segment sees 41 frames at once")
    assert lengths(plan.takes[0])[-1] == 40, "the last beat has a surplus instead"


def test_all_faults_are_told_at_once() -> None:
    beats = "[{dur: 4s, do: one}, {dur: 10f, do: two}, {dur: 4s, do: three}]"
    with pytest.raises(StoryboardError) as error:
        planned(story(f"{{id: A, beats: {beats}}}", f"{{id: B, beats: {beats}}}"))
    assert [problem.shot for problem in error.value.problems] == ["A", "B"]


def test_a_to_picture_falls_on_the_cut_out_within_four_frames(folder: Path) -> None:
    shot = "{id: A, dur: 5s, from: door.png, to: open.png, do: a door}"
    for head in ("", "handles: 12f"):
        plan = planned(story(shot, head=head), root=folder)
        take = plan.takes[0]
        ends = [s for s in take.segments if any(c.role == "end" for c in s.inputs.conditions)]
        assert [s.stop for s in ends] == [121]
        assert abs(ends[0].stop - (take.head + take.frames)) < 4
        assert (ends[0] is take.segments[-1]) == (not head), (
            "tail handles are a segment of their own"
        )
        assert [c.role for c in take.segments[0].inputs.conditions] == ["start"]
        assert "1 frame after the cut-out" in notices(plan)["moved-picture"]


def test_a_picture_enters_the_key_by_its_content(folder: Path) -> None:
    text = story("{id: A, dur: 2s, from: door.png, do: a door}")
    before = planned(text, root=folder)
    (folder / "door.png").write_bytes((folder / "open.png").read_bytes())
    after = planned(text, root=folder)
    assert before.segments[0].recipe != after.segments[0].recipe
    other = planned(text.replace("door.png", "open.png"), root=folder)
    assert other.segments[0].recipe == after.segments[0].recipe


def test_a_continuation_uses_the_last_frames_before_its_sources_cut_out() -> None:
    plan = planned(
        story(
            "{id: A, dur: 6s, do: a door}",
            "{id: B, from: A, dur: 4s, do: a hall}",
            head="handles: 8f",
        )
    )
    source, follower = plan.takes
    out = source.head + source.frames
    places = {s.recipe: s.start for s in source.segments}
    frames = [
        places[span.segment] + n
        for span in follower.segments[0].history
        for n in range(span.start, span.stop)
    ]
    assert frames == list(range(out - 17, out))
    assert "rounded-source" not in notices(plan)


def test_a_continuation_may_read_several_segments() -> None:
    """The cut-out lies shortly after the beginning of the source's last segment."""
    plan = planned(story("{id: A, dur: 100f, do: a door}", "{id: B, from: A, dur: 4s, do: a hall}"))
    source, follower = plan.takes
    assert lengths(source) == [61, 40]
    assert source.head + source.frames == 101
    short = planned(
        story("{id: A, dur: 68f, do: a}", "{id: B, from: A, dur: 4s, do: b}", head="handles: 40f")
    )
    source, follower = short.takes
    history = follower.segments[0].history
    assert len(history) == 2
    assert history[0].segment == source.segments[0].recipe
    assert history[0].stop == source.segments[0].inputs.spec.new
    assert history[1].start == 0
    assert sum(span.stop - span.start for span in history) == 17


def test_a_rounded_source_is_told() -> None:
    plan, lock = rendered(story("{id: A, dur: 97f, do: a}"))
    again = planned(story("{id: A, dur: 97f, do: a}", "{id: B, from: A, dur: 2s, do: b}"), lock)
    assert "rounded-source" not in notices(again)
    again = planned(story("{id: A, dur: 96f, do: a}", "{id: B, from: A, dur: 2s, do: b}"), lock)
    assert "3 frames before the end of shot A" in notices(again)["rounded-source"]
    assert again.take("A", 1).segments == plan.take("A", 1).segments


def test_too_short_a_source_is_refused() -> None:
    with pytest.raises(StoryboardError) as error:
        planned(story("{id: A, dur: 10f, do: a}", "{id: B, from: A, dur: 4s, do: b}"))
    assert "17 frames are read" in str(error.value)
    assert error.value.problems[0].shot == "B"


def test_a_chain_of_short_continuations_reads_past_its_source() -> None:
    shots = ["{id: A, dur: 4s, do: a}"]
    shots += [f"{{id: B{n}, from: prev, dur: 4f, do: b{n}}}" for n in range(4)]
    plan = planned(story(*shots))
    history = plan.take("B3", 1).segments[0].history
    assert [span.stop - span.start for span in history] == [5, 4, 4, 4]
    sources = [plan.take(shot, 1).segments[0].recipe for shot in ("A", "B0", "B1", "B2")]
    assert [span.segment for span in history] == sources


def test_a_continuation_follows_the_chosen_take() -> None:
    text = story("{id: A, takes: 2, dur: 4s, do: a}", "{id: B, from: A, dur: 4s, do: b}")
    first = planned(text)
    assert set(first.take("B", 1).segments[0].parents) <= {
        s.recipe for s in first.take("A", 1).segments
    }
    lock = choose_take(pin(Lock(), film(text)), "A", 2)
    second = planned(text, lock)
    assert set(second.take("B", 1).segments[0].parents) <= {
        s.recipe for s in second.take("A", 2).segments
    }
    assert [entry.take for entry in second.cut] == [2, 1]


def test_a_longer_duration_appends_and_a_shorter_one_trims() -> None:
    text = story("{id: A, dur: 10s, do: a}")
    before, lock = rendered(text)
    longer = planned(text.replace("10s", "12s"), lock)
    assert longer.segments[: len(before.segments)] == before.segments
    assert len(longer.segments) == len(before.segments) + 1
    shorter = planned(text.replace("10s", "6s"), lock)
    assert shorter.segments == before.segments[: len(shorter.segments)]
    assert len(shorter.segments) == 2


def test_windows_stay_when_the_policy_changes() -> None:
    from storyflow.pipeline import WindowsSection

    text = story("{id: A, dur: 10s, do: a}")
    balanced = profile(windows=WindowsSection(policy="balanced", floor=33))
    before, lock = rendered(text)
    assert lengths(planned(text, profile=balanced).takes[0]) != lengths(before.takes[0])
    assert planned(text, lock, profile=balanced).segments == before.segments


def test_windows_of_another_lattice_are_not_used() -> None:
    from plan_films import kind

    text = story("{id: A, dur: 10s, do: a}")
    _, lock = rendered(text)
    short = planned(text, lock, kind=kind(window=65))
    assert all(length <= 65 for length in lengths(short.takes[0]))
    assert "divided anew" in notices(short)["divided-anew"]
    assert "divided-anew" not in notices(planned(text, lock))


def test_windows_are_pinned_per_pipeline() -> None:
    text = story("{id: A, dur: 10s, do: a}")
    _, lock = rendered(text)
    resolved = film(text)
    from storyflow.pipeline import WindowsSection

    balanced = profile(windows=WindowsSection(policy="balanced", floor=33))
    other = make_plan(resolved, lock, balanced, "other", KIND)
    assert lengths(other.takes[0]) != [97, 80, 63]
    both = pin_windows(lock, other, {other.segments[0].recipe})
    assert [w.pipeline for w in both.shots[0].windows] == ["other", "toybox"]


@pytest.mark.parametrize("fps", ["24", "23.976", "25"])
def test_other_frame_rates_show_the_same_frames(fps: str) -> None:
    plan = planned(story("{id: A, dur: 96f, do: a}", head=f"fps: {fps}"))
    assert plan.segments == planned(story("{id: A, dur: 96f, do: a}")).segments
    assert ("frame-rate" in notices(plan)) == (fps != "24")


def test_other_frame_rates_are_refused() -> None:
    with pytest.raises(StoryboardError, match=r"24, 23\.976, 25 frames a second.*'30'.*fps: 24"):
        planned(story("{id: A, dur: 2s, do: a}", head="fps: 30"))
    model_of_16 = profile(fps=Fraction(16))
    with pytest.raises(StoryboardError, match="16 frames a second"):
        planned(story("{id: A, dur: 2s, do: a}", head="fps: 24"), profile=model_of_16)


def test_the_pipelines_frame_size_wins_with_a_notice() -> None:
    plan = planned(story("{id: A, dur: 2s, do: a}", head="frame: 960x544"))
    assert plan.size == Size(96, 64)
    assert "the film asks for 960x544, this pipeline renders 96x64" in notices(plan)["frame-size"]


def test_a_frame_size_off_the_models_grid_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"multiples of 16.*'100x64'.*use 96x64"):
        planned(story("{id: A, dur: 2s, do: a}"), profile=profile(frame=Size(100, 64)))


def test_guidance_off_leaves_the_negative_prompt_out() -> None:
    text = story("{id: A, dur: 4s, do: a, avoid: text}")
    assert planned(text).segments[0].inputs.negative == "text"
    plan = planned(text, kind=with_kind(reads_negative=False))
    assert plan.segments[0].inputs.negative == ""


def test_planning_twice_gives_the_same_plan() -> None:
    text = story("{id: A, takes: 2, dur: 9s, do: a}", "{id: B, from: A, dur: 4s, do: b}")
    before, lock = rendered(text)
    assert planned(text) == before
    assert planned(text, lock) == before


CONTINUING = [n for n in names("pipelines") if load_profile(n)[1].model.kind != "skyreels-v2"]
"""Profiles whose models continue shots; what the others refuse is in test_profiles.py."""


@pytest.mark.parametrize("name", CONTINUING)
@pytest.mark.parametrize("board", ["first-light", "the-keeper"])
def test_shipped_storyboards_plan_on_every_shipped_profile_that_continues_shots(
    board: str, name: str
) -> None:
    from storyflow.resources import shipped
    from storyflow.storyboard.load import load
    from storyflow.storyboard.resolve import resolve

    path = shipped("storyboards") / f"{board}.yaml"
    resolved = resolve(load(path))
    _, chosen = load_profile(name)
    kind = kind_of(chosen)
    for policy in ("full", "balanced"):
        windows = chosen.windows.model_copy(update={"policy": policy})
        plan = make_plan(
            resolved, Lock(), chosen.model_copy(update={"windows": windows}), name, kind
        )
        assert plan.frames == resolved.frames
        for entry in plan.cut:
            assert entry.stop <= plan.take(entry.shot, entry.take).generated
        again = pin_windows(pin(Lock(), resolved), plan, {s.recipe for s in plan.segments})
        assert make_plan(resolved, again, chosen, name, kind).segments == plan.segments


def test_planning_imports_no_torch_and_no_ray() -> None:
    code = (
        "import sys, storyflow.kinds, storyflow.planning.planner, storyflow.planning.estimate\n"
        "from storyflow.pipeline import load_profile\n"
        "storyflow.kinds.kind_of(load_profile('toybox')[1])\n"
        "print([m for m in ('torch', 'ray', 'vllm', 'diffusers') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_a_plan_is_a_plain_value() -> None:
    plan = planned(story("{id: A, dur: 4s, do: a}"))
    assert replace(plan) == plan
    assert hash(plan.segments[0].inputs) == hash(replace(plan.segments[0].inputs))


@st.composite
def any_story(draw: st.DrawFn) -> str:
    """Shots of one to three beats; each may continue any earlier one."""
    shots = []
    for number in range(draw(st.integers(1, 5))):
        beats = draw(st.lists(st.integers(24, 300), min_size=1, max_size=3))
        source = draw(st.none() | st.integers(0, number - 1)) if number else None
        follows = "" if source is None else f"from: S{source}, "
        inner = ", ".join(f"{{dur: {frames}f, do: action {n}}}" for n, frames in enumerate(beats))
        shots.append(f"{{id: S{number}, {follows}beats: [{inner}]}}")
    return story(*shots, head=f"handles: {draw(st.integers(0, 30))}f")


@settings(max_examples=60, deadline=None)
@given(any_story())
def test_history_is_always_the_frames_right_before(text: str) -> None:
    plan = planned(text)
    frames = {s.recipe: [(s.recipe, n) for n in range(s.inputs.spec.new)] for s in plan.segments}
    seen: dict[str, list[tuple[str, int]]] = {}
    for take in plan.takes:
        before: list[tuple[str, int]] = []
        if take.shot.follows is not None:
            source = plan.take(take.shot.follows, 1)
            out = source.head + source.frames
            grid_end = out - (out - source.segments[0].inputs.spec.new) % 4
            story_so_far = seen[take.shot.follows]
            own = sum(len(frames[s.recipe]) for s in source.segments)
            before = story_so_far[: len(story_so_far) - own + grid_end]
        stream = list(before)
        for segment in take.segments:
            read = [
                f for span in segment.history for f in frames[span.segment][span.start : span.stop]
            ]
            overlap = segment.inputs.spec.overlap
            assert read == (stream[-overlap:] if overlap else [])
            assert len(read) == overlap
            stream += frames[segment.recipe]
        seen[take.shot.id] = stream
        assert take.head + take.frames <= take.generated
