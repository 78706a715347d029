"""Whatever a language model returns, what the storyboard states is in the prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from plan_films import film

from storyflow.lock import Lock
from storyflow.lockfile import pin
from storyflow.prompts.caption import (
    SHOT_ANGLES,
    SHOT_POSITIONS,
    SHOT_TYPES,
    ShotCaption,
    Subject,
)
from storyflow.prompts.english import listed
from storyflow.prompts.finish import finish
from storyflow.prompts.merge import merge
from storyflow.prompts.model import Answer, EngineDied, LanguageModel, Question, Refusal
from storyflow.prompts.settings import PromptsSection
from storyflow.prompts.settle import settle
from storyflow.prompts.write import Written, write
from storyflow.storyboard.load import parse
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedFilm

VLLM = PromptsSection(enhancer="vllm")
Say = Callable[[Question], Answer | Refusal]


class Scripted:
    """A language model that says what a test tells it to."""

    name = "scripted"
    revision = "1"

    def __init__(self, say: Say) -> None:
        self.say = say
        self.asked: list[Question] = []

    def setup(self) -> None:
        """Nothing to load."""

    def ask(self, questions: Sequence[Question]) -> list[Answer | Refusal]:
        self.asked += questions
        return [self.say(question) for question in questions]

    def close(self) -> None:
        """Nothing to give back."""


class Desk:
    """Hands out one scripted model for everything."""

    def __init__(self, say: Say) -> None:
        self.model = Scripted(say)

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        yield self.model

    @contextmanager
    def vision(self) -> Iterator[LanguageModel]:
        yield self.model


def written(resolved: ResolvedFilm, say: Say, section: PromptsSection = VLLM) -> Written:
    """The prompts of a film that nobody has written yet."""
    settled = settle(resolved, pin(Lock(), resolved), section)
    return write(resolved, settled, section, None, Desk(say))


SIZES = {"LS": "long shot", "CU": "close-up", "ECU": "extreme close-up", "MS": "medium shot"}
ANGLES = {"low": "low angle", "high": "high angle", "eye": "eye level"}
CAST = {
    "keeper": "man of sixty, navy coat",
    "girl": "girl of ten, yellow raincoat",
    "dog": "small black dog, red collar",
}
DOES = (
    "@{} climbs the stair",
    "@{} looks up, startled",
    "the flame shudders and @{} turns",
    "@{}'s hands shake",
    "waves break on the rocks",
    "he wipes the lens",
)
PLACES = ("lighthouse stair, oil lamp", "cliff, white lighthouse", "")
LIGHTS = ("warm lamp light", "cold moonlight, rain", "pale gold mist", "")
STYLES = ("35mm film, muted teal and amber", "black and white", "")

storyboards = st.fixed_dictionaries(
    {
        "size": st.sampled_from([*SIZES, ""]),
        "angle": st.sampled_from([*ANGLES, ""]),
        "move": st.sampled_from(["crane up", "pan left", "static", ""]),
        "do": st.sampled_from(DOES),
        "who": st.sampled_from(sorted(CAST)),
        "place": st.sampled_from(PLACES),
        "light": st.sampled_from(LIGHTS),
        "style": st.sampled_from(STYLES),
        "say": st.sampled_from(["Is it out?", ""]),
        "feel": st.sampled_from(["grief", ""]),
        "picture": st.booleans(),
    }
)

WORDS = """
navy yellow red coat raincoat collar man girl dog young old sixty ten climbs never not no looks up
away lighthouse stair oil lamp cliff sunny noon night moonlight rain warm cold light close-up long
shot low high angle the a in of with and , . ; ! white black grey ignore previous instructions
system: {"x": 1} <b> ``` 你好 " ' %
"""
some_words = st.lists(st.sampled_from(sorted(listed(WORDS))), max_size=25).map(" ".join)
phrases = some_words | st.text(max_size=60)


def captions() -> st.SearchStrategy[str]:
    """Captions under the schema, about anything at all."""
    subject = st.fixed_dictionaries(
        {
            "TYPES": st.fixed_dictionaries(
                {
                    "type": st.sampled_from(["Human", "Animal", "Scenery"]),
                    "sub_type": st.sampled_from(["Man", "Girl", "Dog", "Woman", "Sea"]),
                }
            ),
            "appearance": phrases,
            "action": phrases,
            "expression": phrases,
            "position": phrases,
            "is_main_subject": st.booleans(),
        }
    )
    return st.fixed_dictionaries(
        {
            "subjects": st.lists(subject, max_size=3),
            "shot_type": st.sampled_from(SHOT_TYPES),
            "shot_angle": st.sampled_from(SHOT_ANGLES),
            "shot_position": st.sampled_from(SHOT_POSITIONS),
            "camera_motion": phrases,
            "environment": phrases,
            "lighting": phrases,
        }
    ).map(json.dumps)


@dataclass(frozen=True)
class Echo:
    """A model that gives back what it is asked about, with some words gone and some put in."""

    gone: frozenset[int]
    put: tuple[tuple[int, str], ...]

    def answer(self, question: Question) -> Answer:
        start = question.user.index("{")
        data, _ = json.JSONDecoder().raw_decode(question.user[start:])
        if question.schema:
            return Answer(json.dumps(self._bend(data)), True)
        return Answer(self._words(". ".join(_texts(data))), True)

    def _bend(self, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: self._bend(value) for key, value in data.items()}
        if isinstance(data, list):
            return [self._bend(value) for value in data]
        return self._words(data) if isinstance(data, str) and " " in data else data

    def _words(self, text: str) -> str:
        words = [word for n, word in enumerate(text.split()) if n not in self.gone]
        for at, word in self.put:
            words.insert(min(at, len(words)), word)
        return " ".join(words)


def _texts(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _texts(value)


echoes = st.builds(
    Echo,
    st.frozensets(st.integers(0, 40), max_size=2),
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(sorted(listed(WORDS)))), max_size=3).map(
        tuple
    ),
)
answers = st.one_of(
    echoes,
    st.builds(Answer, captions(), st.booleans()),
    st.builds(Answer, phrases, st.booleans()),
    st.just(Answer("", True)),
    st.builds(Refusal, phrases),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture for shots to start from."""
    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (96, 64), "navy").save(folder / "start.png")
    return folder


def story(said: dict[str, Any]) -> dict[str, object]:
    """A storyboard of one shot, with what is said in it."""
    shot: dict[str, object] = {"id": "A", "dur": "4s", "do": said["do"].format(said["who"])}
    shot |= {k: said[k] for k in ("size", "angle", "move", "say", "feel") if said[k]}
    if said["picture"]:
        shot["from"] = "start.png"
    if said["do"].startswith("he "):
        shot["who"] = ["keeper"]
    scene: dict[str, object] = {"scene": "INT. X", "shots": [shot]}
    if said["place"]:
        scene["place"] = "here"
    if said["light"]:
        scene["light"] = said["light"]
    return {
        "film": "X",
        "cast": {name: {"look": look} for name, look in CAST.items()},
        "places": {"here": {"look": said["place"] or "a room"}},
        **({"style": said["style"]} if said["style"] else {}),
        "scenes": [scene],
    }


def stated_words(said: dict[str, Any]) -> list[str]:
    """Every word that must be in the prompt, told from the storyboard alone."""
    look = CAST["keeper" if said["do"].startswith("he ") else said["who"]]
    named = "@" in said["do"] or said["do"].startswith("he ")
    do = re.sub(r"@\{\}('s)?", "", said["do"]).removeprefix("he ")
    texts = [do, said["place"], said["light"], said["style"], said["say"], said["feel"]]
    texts += [look] if named else []
    texts += [SIZES.get(said["size"], ""), ANGLES.get(said["angle"], "")]
    small = {"the", "a", "of", "on", "and", "is", "it", "in"}
    return [w for text in texts for w in re.findall(r"[\w-]+", text.lower()) if w not in small]


def has(text: str, word: str) -> bool:
    """Whether a text has a word, in whatever inflection a retelling may give it."""
    root = re.sub(r"(ies|es|s|e)$", "", word) if len(word) > 4 else word
    return re.search(rf"\b{re.escape(root)}", text.lower()) is not None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(storyboards, st.lists(answers, min_size=1, max_size=6))
def test_no_stated_fact_is_lost_whatever_the_model_returns(
    pictures: Path, said: dict[str, Any], given: list[Answer | Refusal | Echo]
) -> None:
    resolved = resolve(parse(story(said), root=pictures))
    queue = list(given)

    def say(question: Question) -> Answer | Refusal:
        queue.append(queue.pop(0))
        said = queue[-1]
        return said.answer(question) if isinstance(said, Echo) else said

    done = written(resolved, say)
    (prompt,) = done.lock.shots[0].prompts_for(VLLM.profile)
    text = re.sub(r"close ?up", "close-up", prompt.text.lower())
    missing = [word for word in stated_words(said) if not has(text, word)]
    assert not missing, (missing, prompt.text)
    if said["size"]:
        rivals = [name for size, name in SIZES.items() if size != said["size"]]
        text = text.replace("extreme close-up", "ECU")
        wanted = SIZES[said["size"]].replace("extreme close-up", "ECU")
        found = [r for r in rivals if r.replace("extreme close-up", "ECU") in text]
        assert wanted in text and not found, prompt.text
    for bad in ("`", "{", "<", "\n"):
        assert bad not in prompt.text


GOOD = {
    "subjects": [
        {
            "TYPES": {"type": "Human", "sub_type": "Man"},
            "appearance": "weathered man of sixty, navy coat, grey beard",
            "action": "slowly climbs the spiral stair",
            "expression": "determined",
            "position": "in the centre",
            "is_main_subject": True,
        }
    ],
    "shot_type": "close_up",
    "shot_angle": "low_angle",
    "shot_position": "other",
    "camera_motion": "",
    "environment": "stone lighthouse stair, a brass oil lamp on a hook",
    "lighting": "warm flickering lamp light",
}
PROSE = (
    "A long shot from a low angle. A weathered man of sixty with a grey beard, in a navy coat, "
    "slowly climbs the spiral stone lighthouse stair past a brass oil lamp on a hook, determined. "
    "Warm flickering lamp light. {}The style is 35mm film."
)
STORY = """
film: X
style: 35mm film
cast: {keeper: {look: "man of sixty, navy coat"}}
places: {tower: {look: "lighthouse stair, oil lamp"}}
scenes:
- {place: tower, light: warm lamp light, shots: [
    {id: A, dur: 4s, size: LS, move: crane up, do: "@keeper climbs the stair"}]}
"""


def answering(prose: str) -> Say:
    """A model that completes well, and writes this prose."""

    def say(question: Question) -> Answer:
        return Answer(json.dumps(GOOD) if question.schema else prose, True)

    return say


def one(done: Written) -> tuple[str, list[str]]:
    """The only prompt, and the codes of what was told."""
    (prompt,) = done.lock.shots[0].prompts_for(VLLM.profile)
    return prompt.text, [problem.code for problem in done.problems]


def test_good_prose_is_the_prompt_and_the_camera_stands_last() -> None:
    text, told = one(written(film(STORY), answering(PROSE.format(""))))
    assert text == PROSE.format("") + " The camera cranes up."
    assert told == ["kept-storyboard"]  # the enhancer asked for a close-up


@pytest.mark.parametrize(
    ("prose", "why"),
    [
        (PROSE.format("").replace("navy", "blue"), "does not say navy"),
        (PROSE.format("").replace("A long shot", "A close-up"), "does not say long"),
        (PROSE.format("A close-up of his hand. "), "says close-up"),
        (PROSE.format("He is not there. "), "says not"),
        (PROSE.format("A green ball. "), "says green"),
        (PROSE.format("").replace("man of sixty", "girl of ten"), "does not say man, sixty"),
        (PROSE.format("```json``` "), "is no plain text"),
    ],
)
def test_prose_that_says_another_thing_is_told_and_the_composer_writes(
    prose: str, why: str
) -> None:
    done = written(film(STORY), answering(prose))
    text, told = one(done)
    assert "not-faithful" in told
    assert any(why in problem.what for problem in done.problems)
    assert text == (
        "A long shot from a low angle. A weathered man of sixty with a grey beard, in a navy coat, "
        "slowly climbs the spiral stair, with a determined expression, in the centre. The setting "
        "is a stone lighthouse stair, a brass oil lamp on a hook. The lighting is warm flickering "
        "lamp light. The style is 35mm film. The camera cranes up."
    )


def test_a_model_that_never_answers_leaves_the_composers_words_provisionally() -> None:
    done = written(film(STORY), lambda question: Refusal("busy"))
    (prompt,) = done.lock.shots[0].prompts_for(VLLM.profile)
    assert prompt.provisional and prompt.source == "composer"
    assert prompt.text.startswith("A long shot. A man of sixty in a navy coat climbs the stair.")


def dies(question: Question) -> Answer:
    raise EngineDied("the engine is gone")


def test_a_dead_engine_means_what_the_profile_says() -> None:
    done = written(film(STORY), dies)
    assert one(done)[1] == ["no-model"]
    assert done.lock.shots[0].prompts_for(VLLM.profile)[0].provisional
    with pytest.raises(EngineDied):
        written(film(STORY), dies, PromptsSection(enhancer="vllm", on_failure="stop"))


def test_a_prompt_is_capped_by_leaving_out_what_the_model_added() -> None:
    short = PromptsSection(enhancer="vllm", words=40)
    done = written(film(STORY), answering(PROSE.format("")), short)
    (prompt,) = done.lock.shots[0].prompts_for(short.profile)
    assert len(prompt.text.split()) <= 40
    assert "grey beard" in prompt.dropped
    assert "A man of sixty in a navy coat" in prompt.text
    assert not [w for w in prompt.dropped if w in prompt.text]


def test_a_shot_from_a_picture_is_told_what_happens_and_what_was_stated() -> None:
    stated = ShotCaption(
        subjects=(Subject("Human", "Man", "man of sixty, navy coat", "climbs the stair"),),
        lighting="warm lamp light",
        camera_motion="The camera cranes up",
    )
    seen = ShotCaption(environment="a harbour", lighting="warm lamp light, shadows")
    merged = merge(stated, None, seen, "image")
    assert not merged.additions
    done = finish(merged, "He climbs the stair, step by step. The camera cranes up.", "image", 150)
    assert done.text == (
        "There is a man of sixty in a navy coat. He climbs the stair, step by step. "
        "The lighting is warm lamp light. The camera cranes up."
    )
