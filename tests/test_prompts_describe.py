"""What a storyboard's beat says to the model: looks woven in, nothing lost, nothing invented."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyflow.errors import StoryboardError
from storyflow.prompts.describe import describe, prompt_for
from storyflow.prompts.english import listed, words
from storyflow.storyboard.resolved import Character, Place, ResolvedBeat, ResolvedShot, Where

KEEPER = Character("keeper", "man of sixty, navy coat")
GIRL = Character("girl", "girl of ten, yellow raincoat")
BOY = Character("boy", "boy of eight, red cap")
DOG = Character("dog", "grey dog, one blind eye")
SON = Character("son", "man of thirty, bald")
MAN, CHILD = "A man of sixty in a navy coat", "a girl of ten in a yellow raincoat"


def shot_of(beat: ResolvedBeat) -> ResolvedShot:
    return ResolvedShot("1A", "f", 0, "text", (beat,))


def prompt(do: str, *who: Character, **said: Any) -> str:
    beat = ResolvedBeat(96, do, who=who, **said)
    return prompt_for(shot_of(beat), beat)


@pytest.mark.parametrize(
    ("do", "who", "prose"),
    [
        ("a white swan crosses a misty lake at dawn", [],
         "A white swan crosses a misty lake at dawn."),
        ("@keeper climbs", [KEEPER], f"{MAN} climbs."),
        ("the camera finds @girl", [GIRL], f"The camera finds {CHILD}."),
        ("@keeper reaches for @girl", [KEEPER, GIRL], f"{MAN} reaches for {CHILD}."),
        ("@keeper, soaked, climbs", [KEEPER], f"{MAN}, soaked, climbs."),
        ("@keeper kneels and @keeper weeps", [KEEPER], f"{MAN} kneels and the man weeps."),
        ("@dog barks, @dog runs", [DOG], "A grey dog with one blind eye barks, the dog runs."),
        ("@son sits", [SON], "A man of thirty, bald, sits."),
        ("there sits @son", [SON], "There sits a man of thirty, bald."),
        ("the @keeper nods", [KEEPER], "The man of sixty in a navy coat nods."),
        ("old @keeper nods", [KEEPER], "An old man of sixty in a navy coat nods."),
        ("Rain. @keeper nods", [KEEPER], f"Rain. {MAN} nods."),
        ("a mail from keeper@sea", [], "A mail from keeper@sea."),
        ("KEEPER and the STORM", [], "KEEPER and the STORM."),
    ],
)  # fmt: skip
def test_a_look_stands_at_the_first_mention_of_a_name(
    do: str, who: list[Character], prose: str
) -> None:
    assert prompt(do, *who) == prose


@pytest.mark.parametrize(
    ("do", "who", "prose"),
    [
        ("he wipes the lens", [KEEPER], f"{MAN} wipes the lens."),
        ("he wipes the lens", [KEEPER, GIRL], f"{MAN} wipes the lens. There is {CHILD}."),
        ("he lifts @girl", [KEEPER, GIRL], f"{MAN} lifts {CHILD}."),
        ("they run", [KEEPER, GIRL], f"{MAN} and {CHILD} run."),
        ("they chase @dog", [GIRL, BOY, DOG],
         f"A{CHILD[1:]} and a boy of eight in a red cap chase a grey dog with one blind eye."),
        ("climbs the stair", [KEEPER], f"{MAN} climbs the stair."),
        ("walking home", [KEEPER], f"{MAN} is walking home."),
        ("his hands shake", [KEEPER], f"There is {MAN.replace('A', 'a')}. His hands shake."),
        ("the door rattles", [KEEPER], f"The door rattles. There is {MAN.replace('A', 'a')}."),
        ("he sits", [KEEPER, SON],
         "There is a man of sixty in a navy coat. There is a man of thirty, bald. He sits."),
        ("she sees @girl", [GIRL], f"She sees {CHILD}."),
    ],
)  # fmt: skip
def test_who_is_in_the_picture_keeps_the_look_without_being_named(
    do: str, who: list[Character], prose: str
) -> None:
    assert prompt(do, *who) == prose


def test_a_possessive_gives_the_look_a_sentence_before_it() -> None:
    assert prompt("@keeper's hand finds @girl\u2019s hand", KEEPER, GIRL) == (
        "There is a man of sixty in a navy coat. There is a girl of ten in a yellow raincoat. "
        "The man's hand finds the girl\u2019s hand."
    )


def test_people_with_the_same_noun_are_told_apart() -> None:
    assert prompt("@keeper hugs @son, @son weeps", KEEPER, SON) == (
        f"{MAN} hugs a man of thirty, bald, the man of thirty weeps."
    )


def test_two_who_look_alike_are_both_there() -> None:
    twins = Character("one", "man in black"), Character("two", "man in black")
    assert prompt("@one waits", *twins) == "A man in black waits. There is a man in black."


def test_a_longer_name_is_not_taken_for_a_shorter_one() -> None:
    others = Character("keeper2", "woman in grey"), Character("keeper-son", "boy in blue")
    assert prompt("@keeper2 and @keeper-son wait", KEEPER, *others).startswith(
        "A woman in grey and a boy in blue wait."
    )


def test_a_name_may_be_part_of_a_longer_word() -> None:
    assert prompt("a @girl-like doll cries", GIRL) == f"There is {CHILD}. A girl-like doll cries."


def test_a_proper_name_in_a_look_has_no_article() -> None:
    maria = Character("m", "Maria Lopez, tall woman")
    assert prompt("@m sings, @m bows", maria, say="Good night.") == (
        "Maria Lopez, tall woman, sings, Maria Lopez bows. Maria Lopez says: 'Good night.'"
    )


def test_a_feeling_is_the_expression_of_the_main_person() -> None:
    beat = ResolvedBeat(96, "the door rattles", who=(DOG, KEEPER), feel="fear")
    felt = [subject.expression for subject in describe(shot_of(beat), beat).subjects]
    assert felt == ["", "", "fear"]
    assert prompt("he turns", KEEPER, feel="surprise") == (
        f"{MAN} turns, with an expression of surprise."
    )


@pytest.mark.parametrize(
    ("feel", "phrase"),
    [
        ("neutral", "with a neutral expression"),
        ("quiet joy", "with an expression of quiet joy"),
        ("tired but proud", "with a tired but proud expression"),
        ("a faint smile", "with a faint smile"),
        ("smiling", "smiling"),
        ("in tears", "in tears"),
    ],
)
def test_a_feeling_reads_as_a_phrase(feel: str, phrase: str) -> None:
    assert prompt("a woman waits", feel=feel) == f"A woman waits, {phrase}."


@pytest.mark.parametrize(
    ("do", "who", "speech"),
    [
        ("@girl looks up", [GIRL], "The girl says: 'Is it out?'"),
        ("the lamp dies", [DOG, KEEPER], "The man says: 'Is it out?'"),
        ("an old woman leans in", [], "The woman says: 'Is it out?'"),
        ("she leans in", [], "She says: 'Is it out?'"),
        ("two children look up", [], "The children say: 'Is it out?'"),
        ("the lamp dies", [], "Someone says: 'Is it out?'"),
    ],
)
def test_spoken_words_belong_to_the_first_person(
    do: str, who: list[Character], speech: str
) -> None:
    assert prompt(do, *who, say="Is it out?").endswith(speech)


def test_a_feeling_is_not_taken_for_another_persons() -> None:
    assert prompt("@keeper lifts @girl", KEEPER, GIRL, feel="fear") == (
        f"{MAN} lifts {CHILD}. The man has an expression of fear."
    )
    assert prompt("@girl sings, and the lamp dies", GIRL, feel="smiling") == (
        f"A{CHILD[1:]} sings, and the lamp dies. The girl is smiling."
    )


def test_lens_joins_style() -> None:
    assert prompt("rain", style=("35mm film", "soft grain"), lens="85mm") == (
        "Rain. The style is 35mm film, soft grain, 85mm lens."
    )


@pytest.mark.parametrize(
    ("move", "prose"),
    [
        ("pan left", "The camera pans left."),
        ("the camera cranes up slowly", "The camera cranes up slowly."),
        ("like a falling leaf", "Like a falling leaf."),
    ],
)
def test_the_camera_has_the_last_word(move: str, prose: str) -> None:
    assert prompt("rain", move=move, light="dim") == f"Rain. The lighting is dim. {prose}"


def test_a_move_calls_characters_by_their_short_names() -> None:
    assert prompt("@girl runs", GIRL, move="circle @girl").endswith("runs. Circle the girl.")


def test_a_name_without_a_look_is_refused_with_its_place() -> None:
    beat = ResolvedBeat(96, "@gull cries", who=(KEEPER,), where=Where("keeper.yaml", 12, 7))
    with pytest.raises(StoryboardError, match=r"keeper.yaml:12:7: shot 1A: .*'@gull'"):
        describe(shot_of(beat), beat)


WORDS = sorted(listed(
    "he she they it his the The a an old one climbs walking waves rain glass lamp lens light KEEP "
    "Paris man's it's 3 1.5 says turns. and of in with coat beard woman men ßig øre 灯塔 éclair "
    "naïve \u0131x İx she's lightning says: OUT! why?"
))  # fmt: skip
GLUE = listed(
    "a an the there is are and in with of setting lighting style expression someone say says lens "
    "man woman girl boy dog has have"
)
VIEWS = {
    "size": {"long_shot": "long shot", "close_up": "close-up", None: ""},
    "angle": {"eye_level": "at eye level", "low_angle": "from a low angle", None: ""},
    "view": {"back_view": "from behind", "aerial_view": "in an aerial view", None: ""},
}
MOVES = {"pan left": "camera pans left", "static": "camera is static", None: ""}

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).flatmap(
    lambda some: st.sampled_from([" ", ", ", "; "]).map(lambda joint: joint.join(some))
)
maybe = st.none() | texts
casts = st.lists(
    st.tuples(
        st.sampled_from(["keeper", "girl", "keeper2", "old-dog", "Ünal"]),
        texts | st.sampled_from([KEEPER.look, GIRL.look, SON.look, DOG.look, "Maria, tall"]),
    ),
    unique_by=lambda pair: pair[0],
    max_size=3,
).map(lambda pairs: tuple(Character(name, look) for name, look in pairs))


@st.composite
def beats(draw: st.DrawFn) -> ResolvedBeat:
    who = draw(casts)
    mention = st.sampled_from(["he", "they", *(f"@{each.name}" for each in who)]).flatmap(
        lambda name: st.sampled_from([name, f"{name}'s", f"{name},", f"{name}."])
    )
    do = " ".join(draw(st.lists(texts | mention, min_size=1, max_size=5)))
    return ResolvedBeat(
        96,
        do,
        say=draw(maybe),
        feel=draw(maybe),
        size=draw(st.sampled_from(list(VIEWS["size"]))),
        angle=draw(st.sampled_from(list(VIEWS["angle"]))),
        view=draw(st.sampled_from(list(VIEWS["view"]))),
        move=draw(st.sampled_from(list(MOVES))),
        lens=draw(maybe),
        light=draw(maybe),
        place=draw(st.none() | texts.map(lambda look: Place("p", look))),
        who=who,
        style=tuple(draw(st.lists(texts, max_size=2))),
    )


def stated(beat: ResolvedBeat) -> list[str]:
    """Every text that the author wrote for a beat, cut where a name or a clause ends."""
    texts = [beat.say, beat.feel, beat.lens, beat.light, *beat.style]
    texts += [beat.place.look if beat.place else None, *(each.look for each in beat.who)]
    do = beat.do
    if words(do)[:1] in (("he",), ("she",), ("they",)):
        do = do.partition(" ")[2]
    for each in sorted(beat.who, key=lambda each: -len(each.name)):
        do = do.replace(f"@{each.name}'s", ";").replace(f"@{each.name}", ";")
    return [
        clause
        for text in [do, *(text for text in texts if text)]
        for clause in re.split(r"[,;]|[.!?]\s", text)
    ]


def views(beat: ResolvedBeat) -> list[str]:
    return [VIEWS["size"][beat.size], VIEWS["angle"][beat.angle], VIEWS["view"][beat.view]]


@settings(max_examples=60, deadline=None)
@given(beats())
def test_every_stated_fact_is_in_the_prompt(beat: ResolvedBeat) -> None:
    found = " ".join(["", *words(prompt_for(shot_of(beat), beat)), ""])
    for fact in [*stated(beat), *views(beat), MOVES[beat.move]]:
        assert f" {' '.join(words(fact))} ".replace("  ", " ") in found


@settings(max_examples=60, deadline=None)
@given(beats())
def test_no_word_is_invented(beat: ResolvedBeat) -> None:
    known = set(words(" ".join([*stated(beat), beat.do, *views(beat), MOVES[beat.move], "shot"])))
    said = set(words(prompt_for(shot_of(beat), beat)))
    assert {word.removesuffix("'s") for word in said - known} <= GLUE | known


@settings(max_examples=60, deadline=None)
@given(beats())
def test_a_prompt_is_clean_prose(beat: ResolvedBeat) -> None:
    text = prompt_for(shot_of(beat), beat)
    assert text == " ".join(text.split())
    assert " ," not in text and " ." not in text and ",," not in text
    assert "@" not in text
    assert text == prompt_for(shot_of(beat), beat)
