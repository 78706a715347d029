"""Prompts are pinned: what makes them stale, what happens to edits by hand, and who may write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from test_prompts_faithful import Desk, Say, dies

import storyflow
from storyflow.cli.app import app
from storyflow.errors import Cancelled, InputError, ModelError, StoryboardError
from storyflow.events import Event, Notice
from storyflow.film import prepare
from storyflow.jobs.merge import merge_locks
from storyflow.lock import LockedPrompt
from storyflow.lockfile import lock_path, pin_prompts, read_lock, write_lock
from storyflow.ordering import order
from storyflow.prompts.facts import facts_hash, text_hash
from storyflow.prompts.model import Answer, Question, Refusal
from storyflow.storyboard.resolved import Character, Place, ResolvedBeat
from storyflow.wording import Wordings, write_needed, write_words
from storyflow.wordtable import word_diff

STORY = """
film: Swan
style: 35mm film
cast: {keeper: {look: "man of sixty, navy coat"}}
shots:
- {id: A, dur: 4s, do: waves break}
- {id: B, dur: 4s, size: CU, do: "@keeper looks up"}
- id: C
  beats:
  - {dur: 4s, do: a gull cries}
  - {dur: 4s, do: a bell rings}
"""


class Studio:
    """A storyboard in a folder of its own, and what its lock says."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "swan.yaml"
        self.lock = lock_path(self.file)
        self.say(STORY)

    def say(self, text: str) -> None:
        """Write another storyboard."""
        self.file.write_text(text)

    def change(self, *pairs: tuple[str, str]) -> None:
        """Change words of the storyboard."""
        text = self.file.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        self.say(text)

    def edit(self, *pairs: tuple[str, str]) -> None:
        """Change words of the lock, as a person would."""
        text = self.lock.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        self.lock.write_text(text)

    def write(self, **options: object) -> Wordings:
        """`storyflow prompts`."""
        return storyflow.write_prompts(self.file, **options)  # type: ignore[arg-type]

    def prompts(self, profile: str = "composer") -> dict[str, LockedPrompt]:
        """What the lock has, by beat."""
        return {
            f"{shot.id}{number}": prompt
            for shot in read_lock(self.lock).shots
            for number, prompt in enumerate(shot.prompts_for(profile), 1)
        }

    def planned(self, *settings: str) -> dict[str, str]:
        """The prompts that a render would use, by segment."""
        plan = storyflow.plan(self.file, settings=settings)
        return {segment.name: segment.inputs.prompt for segment in plan.segments}


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.chdir(tmp_path)
    return Studio(tmp_path)


def test_planning_and_checking_write_nothing(studio: Studio) -> None:
    storyflow.plan(studio.file)
    assert storyflow.check(studio.file) == ()
    assert not studio.lock.exists()


def test_the_prompts_are_written_once(studio: Studio) -> None:
    first = studio.write()
    assert [(p.name, p.state, p.changed) for p in first.prompts] == [
        ("A", "missing", True),
        ("B", "missing", True),
        ("C/1", "missing", True),
        ("C/2", "missing", True),
    ]
    text = studio.lock.read_text()
    again = studio.write()
    assert [(p.state, p.changed) for p in again.prompts] == [("kept", False)] * 4
    assert studio.lock.read_text() == text
    assert (
        studio.planned()["B/1"]
        == first.prompts[1].text
        == ("A close-up. A man of sixty in a navy coat looks up. The style is 35mm film.")
    )


def test_a_later_wording_of_the_composer_changes_no_pinned_prompt(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.write()
    before = studio.planned()
    for home in ("storyflow.prompts.settle", "storyflow.planning.planner"):
        monkeypatch.setattr(f"{home}.prompt_for", lambda shot, beat: "Other words.")
    assert studio.planned() == before
    studio.write()
    assert studio.planned() == before
    studio.write(rewrite=["C/2"])
    assert [beat for beat, p in studio.prompts().items() if p.text == "Other words."] == ["C2"]
    assert studio.planned() != before


EDITS = {
    "another shot": ([("waves break", "the sea lies flat")], "A1"),
    "its words": ([("looks up", "looks down")], "B1"),
    "its size": ([("size: CU", "size: MS")], "B1"),
    "the look of who is in it": ([("navy coat", "red coat")], "B1"),
    "one of its beats": ([("a bell rings", "a bell falls silent")], "C2"),
    "a style that all share": ([("35mm film", "16mm film")], "A1 B1 C1 C2"),
    "durations": ([("dur: 4s", "dur: 5s")], ""),
    "a note, a take and a title": (
        [("id: A,", "id: A, note: dawn, takes: 2, title: {text: SEA, dur: 1s},")],
        "",
    ),
    "what must not be seen": ([("film: Swan", "film: Swan\navoid: people")], ""),
}


@pytest.mark.parametrize("name", EDITS)
def test_only_the_prompts_of_what_was_changed_are_stale(studio: Studio, name: str) -> None:
    studio.write()
    before = studio.prompts()
    changes, stale = EDITS[name]
    studio.change(*changes)
    after = {f"{p.shot}{p.beat + 1}": p.state for p in studio.write().prompts}
    assert [beat for beat, state in after.items() if state != "kept"] == stale.split()
    for beat, prompt in studio.prompts().items():
        assert (prompt == before[beat]) == (beat not in stale.split())


def test_place_in_the_film_and_in_the_shot_makes_no_prompt_stale(studio: Studio) -> None:
    studio.write()
    before = studio.prompts()
    studio.change(
        ("  - {dur: 4s, do: a bell rings}\n", ""),
        (
            "  beats:\n",
            "  beats:\n  - {dur: 4s, do: a bell rings}\n  - {dur: 4s, do: all is still}\n",
        ),
        ("shots:\n", "shots:\n- {id: N, dur: 4s, do: fog lifts}\n"),
    )
    states = {f"{p.shot}{p.beat + 1}": p.state for p in studio.write().prompts}
    assert states == {
        "N1": "missing",
        "A1": "kept",
        "B1": "kept",
        "C1": "kept",
        "C2": "missing",
        "C3": "kept",
    }
    now = studio.prompts()
    assert (now["C1"], now["C3"]) == (before["C2"], before["C1"])


def test_an_edit_by_hand_is_kept_marked_and_used(studio: Studio) -> None:
    studio.write()
    studio.edit(("looks up", "looks up and smiles"))
    found = studio.write()
    assert [(p.name, p.hand) for p in found.prompts if p.hand] == [("B", True)]
    assert studio.prompts()["B1"].hand
    assert "looks up and smiles" in studio.planned()["B/1"]
    studio.change(("waves break", "the sea lies flat"))
    studio.write()
    assert "and smiles" in studio.prompts()["B1"].text
    studio.edit((" and smiles", ""))
    studio.write()
    assert not studio.prompts()["B1"].hand


def test_how_lines_are_broken_is_no_edit(studio: Studio) -> None:
    studio.write()
    lines = "|\n        Waves break.\n        The style is 35mm film."
    studio.edit(('"Waves break. The style is 35mm film."', lines))
    assert not any(p.hand for p in studio.write().prompts)
    assert studio.planned()["A/1"] == "Waves break. The style is 35mm film."


def test_an_emptied_prompt_is_written_anew(studio: Studio) -> None:
    studio.write()
    before = studio.prompts()
    studio.edit(('"Waves break. The style is 35mm film."', '""'))
    assert studio.write().prompts[0].state == "missing"
    assert studio.prompts() == before


def test_an_edit_whose_shot_has_changed_is_for_a_person_to_settle(studio: Studio) -> None:
    studio.write()
    studio.edit(("looks up", "looks up and smiles"))
    studio.change(("looks up", "looks down"))
    with pytest.raises(StoryboardError) as error:
        storyflow.plan(studio.file)
    (problem,) = error.value.problems
    text = str(problem)
    assert (problem.code, problem.shot, problem.file) == ("edited-prompt", "B", str(studio.lock))
    assert "looks up and smiles" in studio.lock.read_text().splitlines()[(problem.line or 1) - 1]
    for said in ("looks up and smiles", "looks down", "--keep B", "--rewrite B"):
        assert said in text
    assert [p.code for p in storyflow.check(studio.file)] == ["edited-prompt"]

    kept = studio.lock.read_text()
    studio.write(keep=["B"])
    assert "looks up and smiles" in studio.planned()["B/1"] and studio.prompts()["B1"].hand
    studio.lock.write_text(kept)
    studio.write(rewrite=["B"])
    assert "looks down" in studio.planned()["B/1"] and not studio.prompts()["B1"].hand


def test_one_beat_of_a_shot_can_be_settled(studio: Studio) -> None:
    studio.write()
    studio.edit(("A gull cries.", "Two gulls cry."), ("A bell rings.", "Two bells ring."))
    studio.change(("a bell rings", "a horn sounds"))
    with pytest.raises(StoryboardError, match=r"--keep C/2 .*--rewrite C/2"):
        studio.write()
    studio.write(rewrite=["C/2"])
    texts = [studio.prompts()[beat].text for beat in ("C1", "C2")]
    assert texts == [
        "Two gulls cry. The style is 35mm film.",
        "A horn sounds. The style is 35mm film.",
    ]


def test_an_edited_prompt_that_lost_its_beat_is_told(studio: Studio) -> None:
    studio.write()
    studio.edit(("A bell rings.", "Two bells ring."))
    studio.change(("  - {dur: 4s, do: a bell rings}\n", ""))
    (told,) = studio.write().notices
    assert (told.code, told.shot) == ("lost-edit", "C")
    assert "Two bells ring" in str(told)


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["X"], "no shot 'X'"),
        (["C/3"], "shot C has 2 beats"),
        (["C/x"], "shot C has 2 beats"),
        (["A/0"], "shot A has 1 beat"),
    ],
)
def test_unknown_beats_are_refused(studio: Studio, names: list[str], match: str) -> None:
    with pytest.raises(InputError, match=match):
        studio.write(rewrite=names)
    with pytest.raises(InputError, match="no prompt of A to be kept"):
        studio.write(keep=["A"])
    with pytest.raises(InputError, match="no shot 'X'"):
        studio.write(shots=["X"])
    assert not studio.lock.exists()


def test_only_the_shots_that_are_asked_for_are_written(studio: Studio) -> None:
    found = studio.write(shots=["B"])
    assert [p.name for p in found.prompts] == ["B"]
    assert list(studio.prompts()) == ["B1"]


def test_prompt_profiles_have_words_of_their_own(studio: Studio) -> None:
    studio.write()
    studio.write(settings=["prompts.name=draft"])
    studio.edit(("Waves break.", "Big waves break."))  # the first of both
    text = studio.lock.read_text()
    assert text.count("Big waves break.") == 2
    studio.write(rewrite=["A"], settings=["prompts.name=draft"])
    assert studio.prompts("draft")["A1"].text.startswith("Waves break.")
    assert studio.prompts()["A1"].text.startswith("Big waves break.")
    assert studio.planned()["A/1"].startswith("Big")
    assert studio.planned("prompts.name=draft")["A/1"].startswith("Waves")


def test_a_pipeline_without_a_text_encoder_reads_and_pins_no_prompts(studio: Studio) -> None:
    made = prepare(order(studio.file, pipeline="slate"))
    assert not any(shot.prompts for shot in made.lock.shots)
    with pytest.raises(InputError, match="slate reads no prompts"):
        studio.write(pipeline="slate")


def test_a_storyboard_that_says_too_much_is_refused_with_line_and_count(studio: Studio) -> None:
    studio.change(("waves break", " and ".join(["waves break"] * 200)))
    with pytest.raises(StoryboardError) as error:
        storyflow.plan(studio.file)
    (problem,) = error.value.problems
    assert (problem.code, problem.file, problem.line) == ("long-prompt", str(studio.file), 6)
    assert "tokens, the model reads 512" in problem.what
    assert not studio.lock.exists()


def test_locks_that_were_written_apart_join_their_prompts(studio: Studio) -> None:
    studio.write(shots=["A"])
    base = read_lock(studio.lock)
    words = (LockedPrompt("Fog.", "f-w", source="model"),)
    there = pin_prompts(base, "model", {"B": words})
    here = pin_prompts(base, "composer", {"B": words})
    merged = merge_locks(base, here, there)
    assert not merged.conflicts
    assert [p.profile for p in merged.lock.shots[1].prompts] == ["composer", "model"]
    other = pin_prompts(base, "model", {"B": (LockedPrompt("Mist.", "f-w"),)})
    (conflict,) = merge_locks(base, other, there).conflicts
    assert str(conflict) == "shot B: prompts of model is 'Mist.' here, 'Fog.' in the fetched film"


MODEL = ("prompts.enhancer=vllm", "prompts.language.model=./model")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Say], list[Question]]:
    """Puts a scripted model in the place of every profile's; the questions that it got."""

    def script(say: Say) -> list[Question]:
        desk = Desk(say)
        monkeypatch.setattr("storyflow.farm.language.ProfileWriters", lambda *_: desk)
        return desk.model.asked

    return script


def retelling(question: Question) -> Answer | Refusal:
    """A model that adds light, and has no time for prose."""
    if question.schema:
        return Answer(json.dumps({"lighting": "soft light"}), True)
    return Refusal("busy")


def test_a_plan_has_the_composers_words_until_a_model_has_written(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    questions = asked(retelling)
    plan = storyflow.plan(studio.file, settings=MODEL)
    assert plan.segments[0].inputs.prompt == "Waves break. The style is 35mm film."
    (told,) = [p for p in plan.notices if p.code == "unwritten-prompts"]
    assert "the prompts of A, B, C are not written yet by ./model" in told.what
    assert not questions and not studio.lock.exists()


def run_words(studio: Studio, shots: list[str] | None = None) -> tuple[bool, list[str]]:
    """The prompt stage of a render: whether it wrote, and what it told."""
    what = order(studio.file, settings=MODEL, shots=shots)
    told: list[Event] = []
    wrote = asyncio.run(write_words(what, prepare(what).plan, told.append))
    return wrote, [event.text for event in told if isinstance(event, Notice)]


def test_a_render_writes_what_it_needs_and_then_uses_it(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    questions = asked(retelling)
    studio.change(("- id: C\n", "- id: C\n  from: B\n"))
    wrote, told = run_words(studio, ["C"])
    assert wrote and told[0] == "writing 3 prompts with ./model"
    assert list(studio.prompts("./model")) == ["B1", "C1", "C2"]
    assert "soft light" in studio.planned(*MODEL)["B/1"]
    first = len(questions)
    assert run_words(studio)[0] and len(questions) > first
    assert "soft light" in studio.planned(*MODEL)["A/1"]


def test_provisional_words_are_asked_for_again_and_then_stay(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    asked(lambda question: Refusal("busy"))
    found = studio.write(settings=MODEL)
    assert not found.complete and all(p.provisional for p in found.prompts)
    assert studio.planned(*MODEL)["A/1"] == "Waves break. The style is 35mm film."

    def answers(question: Question) -> Answer:
        caption = json.dumps({"lighting": "soft light"})
        return Answer(caption if question.schema else "Not about this at all.", True)

    asked(answers)
    found = studio.write(settings=MODEL)
    assert found.complete and all("soft light" in p.text for p in found.prompts)
    questions = asked(answers)
    assert studio.write(settings=MODEL).complete and not questions
    prompt = studio.prompts("./model")["A1"]
    assert prompt.source == "./model temperature=0 seed=0"
    assert json.loads(prompt.caption)["lighting"] == "soft light"


def test_words_that_a_dead_model_wrote_before_stay(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    asked(retelling)
    studio.write(settings=MODEL)
    before = studio.prompts("./model")
    assert all(prompt.provisional and "soft light" in prompt.text for prompt in before.values())
    for say in (dies, lambda question: Refusal("busy")):
        asked(say)
        studio.write(settings=MODEL)
        assert studio.prompts("./model") == before


def test_a_stopped_run_asks_nothing_more(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    stopped: list[bool] = []

    def say(question: Question) -> Answer | Refusal:
        stopped.append(True)
        return retelling(question)

    def check() -> None:
        if stopped:
            raise Cancelled("the run was stopped")

    questions = asked(say)
    what = order(studio.file, settings=MODEL)
    with pytest.raises(Cancelled):
        write_needed(what, prepare(what).plan, lambda _: None, check)
    assert len({question.user for question in questions}) < 4
    assert not studio.lock.exists()


def test_the_hash_of_facts_is_what_locks_hold() -> None:
    """Another one would have every prompt of every film written anew."""
    character = Character("keeper", "man of sixty, navy coat")
    beat = ResolvedBeat(
        96, "@keeper climbs", "Oh", "joy", "long_shot", "low_angle", "side_view",
        "the camera tilts", "35mm", "dim", Place("tower", "stair"), (character,), ("film",),
        ("text",),
    )  # fmt: skip
    assert facts_hash(beat) == "ab1140da2d92"
    assert facts_hash(beat, ("seen",)) != facts_hash(beat)
    assert text_hash("a  b\n") == text_hash("a b") == "c8687a08aa5d"


def test_a_model_that_is_not_there_ends_the_run(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    def missing(question: Question) -> Answer:
        raise ModelError("vllm is not installed", cure="pip install 'storyflow[vllm]'")

    asked(missing)
    with pytest.raises(ModelError, match="vllm is not installed"):
        run_words(studio)
    assert not studio.lock.exists()


def test_a_take_that_is_chosen_while_a_model_writes_stays_chosen(
    studio: Studio, asked: Callable[[Say], Sequence[Question]]
) -> None:
    studio.change(("id: A,", "id: A, takes: 2,"))
    storyflow.write_prompts(studio.file)

    def chooses(question: Question) -> Answer | Refusal:
        lock = read_lock(studio.lock)
        write_lock(studio.lock, storyflow.lockfile.choose_take(lock, "A", 2))
        return Refusal("busy")

    asked(chooses)
    studio.write(settings=MODEL)
    assert read_lock(studio.lock).shots[0].chosen == 2
    assert studio.prompts("./model")["A1"].provisional


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("a red ball", "a blue ball", "a [-red -]{+blue +}ball"),
        ("a ball", "a ball, bouncing", "a ball{+, bouncing+}"),
        ("", "a ball", "{+a ball+}"),
        ("a ball", "", "[-a ball-]"),
        ("same", "same", "same"),
    ],
)
def test_a_word_diff_shows_whole_words(before: str, after: str, pieces: str) -> None:
    marks = {"same": "{}", "gone": "[-{}-]", "new": "{{+{}+}}"}
    found = word_diff(before, after)
    assert "".join(marks[kind].format(text) for kind, text in found) == pieces


def test_the_command_shows_a_page_a_diff_and_data(
    studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = app(["prompts", str(studio.file), *arguments], standalone_mode=False)
        return code or 0, capsys.readouterr().out

    code, out = run()
    assert code == 0
    assert out.splitlines()[:2] == ["A composer", "    Waves break. The style is 35mm film."]
    assert out.splitlines()[-1] == "4 prompts of composer: 4 written"
    studio.change(("waves break", "the waves break"))
    assert run("--diff") == (
        0,
        "A composer\n    [-Waves-] {+The waves+} break. The style is 35mm film.\n"
        "4 prompts of composer: 3 as before, 1 written\n",
    )
    data = json.loads(run("--json", "--shots", "A")[1])
    assert [(p["name"], p["state"]) for p in data["prompts"]] == [("A", "kept")]
