"""A model completes thin shots: what it is told, in what order, and what becomes of its answers."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from scripted_model import Scripted, dying

from storyflow.prompts.asking import Manner, Trouble, ask_twice, question, read_caption
from storyflow.prompts.caption import ShotCaption, Subject, from_json, to_json
from storyflow.prompts.enhance import Proposals, enhance
from storyflow.prompts.instructions import instructions
from storyflow.prompts.model import Answer, EngineDied, Question, Refusal
from storyflow.prompts.neighbours import Context
from storyflow.prompts.schema import MOST_SUBJECTS, caption_schema, longest_caption
from storyflow.storyboard.load import parse
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedFilm

MANNER = Manner("complete the shot", max_tokens=500)

CAPTION = ShotCaption(
    subjects=(Subject("Human", "Man", "a man in a coat", "climbs", "", "left", True),),
    shot_type="long_shot",
    shot_angle="eye_level",
    shot_position="front_view",
    camera_motion="the camera is static",
    environment="a stair",
    lighting="lamp light",
)
GOOD = to_json(CAPTION)


def film(**more: Any) -> ResolvedFilm:
    data: dict[str, Any] = {
        "film": "The Keeper",
        "style": "35mm film",
        "cast": {"keeper": {"look": "man of sixty, navy coat"}, "girl": "girl of ten"},
        "places": {"tower": "lighthouse stair"},
        "scenes": [
            {
                "scene": "INT. LIGHTHOUSE - NIGHT",
                "place": "tower",
                "light": "warm lamp light",
                "shots": [
                    {"id": "1A", "size": "LS", "do": "@keeper climbs"},
                    {"id": "1B", "size": "ECU", "do": "the flame shudders"},
                    {
                        "id": "1C",
                        "who": ["keeper"],
                        "beats": [
                            {"dur": "4s", "do": "he sets the lamp down"},
                            {"dur": "4s", "do": "he wipes the lens"},
                            {"dur": "4s", "do": "he turns", "feel": "surprise"},
                        ],
                    },
                ],
            },
            {
                "scene": "EXT. CLIFF - STORM",
                "shots": [
                    {"id": "2A", "do": "waves break"},
                    {"id": "2B", "from": "prev", "do": "the camera finds @girl"},
                ],
            },
        ],
    }
    return resolve(parse({**data, **more}))


def names(batch: list[Question]) -> list[str]:
    """The actions that the questions of a batch are about."""
    known = ("climbs", "flame", "sets the lamp", "wipes", "turns", "waves", "finds")
    return [next(word for word in known if word in stated(each)) for each in batch]


def stated(asked: Question) -> str:
    return asked.user.split("\n")[1]


def test_the_film_is_asked_in_three_batches_so_that_answers_agree() -> None:
    model = Scripted(lambda _: GOOD)
    made = enhance(film(), model, MANNER)
    assert [names(batch) for batch in model.batches] == [
        ["climbs", "waves"],
        ["flame", "sets the lamp", "finds"],
        ["wipes", "turns"],
    ]
    assert list(made.captions) == [
        ("1A", 0), ("1B", 0), ("1C", 0), ("1C", 1), ("1C", 2), ("2A", 0), ("2B", 0),
    ]  # fmt: skip
    assert set(made.captions.values()) == {CAPTION} and made.problems == ()


def test_a_question_tells_what_is_stated_and_what_lies_around() -> None:
    model = Scripted(lambda _: GOOD)
    enhance(film(), model, MANNER)
    (asked,) = [each for each in model.asked if "wipes" in stated(each)]
    assert asked.system == MANNER.instructions and asked.schema == caption_schema()
    said = from_json(stated(asked))
    assert said.lighting == "warm lamp light" and said.environment == "lighthouse stair"
    for words in (
        "keeper looks like this: man of sixty, navy coat",
        "the place: lighthouse stair",
        "the style of the film: 35mm film",
        "the scene: INT. LIGHTHOUSE - NIGHT",
        "he sets the lamp down",
        "he wipes the lens (this is what you describe)",
        "he turns",
        "An extreme close-up. The flame shudders.",
        "another moment of this shot",
        "another shot of this scene",
    ):
        assert words in asked.user, words
    assert "waves" not in asked.user, "the next scene is another one"


def test_a_continuation_is_told_what_it_goes_on_from() -> None:
    model = Scripted(lambda _: GOOD)
    enhance(film(), model, MANNER)
    (asked,) = [each for each in model.asked if "finds" in stated(each)]
    assert "without a cut, from this one" in asked.user and "waves break" in asked.user


def test_only_the_stale_beats_are_asked_and_the_written_ones_are_told() -> None:
    other = ShotCaption(lighting="a green lantern")
    written = {("1A", 0): CAPTION, ("1C", 0): other, ("1C", 1): CAPTION}
    model = Scripted(lambda _: GOOD)
    made = enhance(film(), model, MANNER, beats={("1C", 1)}, context=Context(written=written))
    assert list(made.captions) == [("1C", 1)]
    (asked,) = model.asked
    assert "a green lantern" in asked.user
    assert asked.user.count("Already written") == 2, "its own old words are no model"


def test_what_the_captioner_saw_is_told() -> None:
    seen = ShotCaption(subjects=(Subject(appearance="grey beard"),), environment="iron steps")
    model = Scripted(lambda _: GOOD)
    context = Context(shown={"1A": seen}, looks={"keeper": seen})
    enhance(film(), model, MANNER, beats={("1A", 0)}, context=context)
    assert "a picture of keeper shows: grey beard" in model.asked[0].user
    assert "iron steps" in model.asked[0].user


def test_strangers_are_asked_at_once_and_not_told_of_each_other() -> None:
    model = Scripted(lambda _: GOOD)
    enhance(film(), model, MANNER, alone=True)
    assert names(model.batches[0]) == ["climbs", "flame", "sets the lamp", "waves", "finds"]
    assert "climbs" not in model.batches[0][1].user


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (Answer("no JSON", True), "not JSON"),
        (Answer(GOOD[:-40], False), "cut off"),
        (Answer(GOOD.replace("long_shot", "wide_shot"), True), "shot_type is 'wide_shot'"),
        (Answer("", True), "not JSON"),
        (Answer("[]", True), "the caption is []"),
        (Answer("[" * 100_000, True), "not JSON"),
    ],
)
def test_an_answer_that_cannot_be_used_is_asked_once_more_then_given_up(
    bad: Answer, cause: str
) -> None:
    model = Scripted(lambda asked: bad if "flame" in stated(asked) else GOOD)
    made = enhance(film(), model, Manner("x", guided=False))
    assert ("1B", 0) not in made.captions and len(made.captions) == 6
    (problem,) = made.problems
    assert (problem.shot, problem.level, problem.code) == ("1B", "notice", "not-enhanced")
    assert cause in problem.what
    first, second = [each for each in model.asked if "flame" in stated(each)]
    assert first.schema is None and second.schema == caption_schema(), "the second is guided"
    assert cause in second.user and second.seed != first.seed
    assert second.max_tokens == first.max_tokens * (1 if bad.finished else 2)


def test_a_second_answer_that_can_be_used_is_used() -> None:
    said = iter(["{", GOOD])
    model = Scripted(lambda _: next(said))
    asked = [question(MANNER, "a shot", caption_schema())]
    assert ask_twice(model, asked, read_caption) == [CAPTION]


def test_a_refused_question_is_not_asked_again() -> None:
    model = Scripted(lambda _: Refusal("too long"))
    assert ask_twice(model, [question(MANNER, "a shot")], read_caption) == [Trouble("too long")]
    assert len(model.asked) == 1


def test_a_dead_engine_is_told() -> None:
    with pytest.raises(EngineDied):
        enhance(film(), Scripted(dying), MANNER)


def test_nothing_to_ask_asks_nothing() -> None:
    model = Scripted(dying)
    assert enhance(film(), model, MANNER, beats=()) == Proposals({})
    assert model.batches == []


@pytest.mark.parametrize("fence", ["```json\n{}\n```", "```\n{}\n```", "  {}\n"])
def test_a_fenced_answer_is_read(fence: str) -> None:
    assert read_caption(Answer(fence.replace("{}", GOOD), True)) == CAPTION


def test_raw_control_characters_are_spaces() -> None:
    raw = GOOD.replace("a stair", "a\tstair\x11").replace(", ", ",\n")
    assert read_caption(Answer(raw, True)).environment == "a stair "


def test_the_schema_allows_a_caption_and_bounds_it() -> None:
    schema = json.loads(caption_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(GOOD), schema)
    assert list(schema["properties"]) == list(json.loads(GOOD))
    assert list(schema["properties"]["subjects"]["items"]["properties"]) == list(
        json.loads(GOOD)["subjects"][0]
    )
    for wrong in (
        {"shot_type": "wide"},
        {"lighting": "x" * 1000},
        {"subjects": json.loads(GOOD)["subjects"] * (MOST_SUBJECTS + 1)},
        {"mood": "sad"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**json.loads(GOOD), **wrong}, schema)


def test_the_longest_caption_is_as_long_as_told() -> None:
    """So that a profile can leave it room."""

    def longest(schema: dict[str, Any]) -> Any:
        if schema["type"] == "object":
            return {name: longest(each) for name, each in schema["properties"].items()}
        if schema["type"] == "array":
            return [longest(schema["items"])] * schema["maxItems"]
        if schema["type"] == "boolean":
            return False
        return max(schema["enum"], key=len) if "enum" in schema else "x" * schema["maxLength"]

    text = json.dumps(longest(json.loads(caption_schema())), separators=(",", ":"))
    assert 0.9 * longest_caption() <= len(text) <= longest_caption()


@pytest.mark.parametrize("task", ["enhancer", "captioner"])
def test_instructions_name_every_field_and_word(task: Any) -> None:
    text = instructions(task)
    schema = json.loads(caption_schema())
    subject = schema["properties"]["subjects"]["items"]["properties"]
    fields = [*schema["properties"], *subject, "type", "sub_type"]
    words = [w for each in schema["properties"].values() for w in each.get("enum", ())]
    for word in [*fields, *words]:
        assert word in text, word


def test_a_profile_can_name_other_instructions(tmp_path: Any) -> None:
    file = tmp_path / "own.txt"
    file.write_text("Say it in German.\n", "utf-8")
    assert instructions("fuser-text", file) == "Say it in German."
    from storyflow.errors import InputError

    file.write_text(" \n", "utf-8")
    with pytest.raises(InputError, match="empty"):
        instructions("enhancer", file)
    with pytest.raises(InputError, match="be read"):
        instructions("enhancer", tmp_path / "none.txt")
