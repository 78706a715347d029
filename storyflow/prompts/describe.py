"""What a storyboard says about one beat, as the structured caption that prompts are made from.

Every fact that the author stated is in the caption, and no other: looks stand where the beat names
the character, those who are in the picture without being named get a sentence of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from storyflow.errors import Problem, StoryboardError
from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.compose import compose
from storyflow.prompts.english import (
    DETERMINERS,
    PEOPLE,
    capital,
    described,
    fragment,
    gender,
    head,
    is_plural,
    listed,
    listing,
    short_names,
    tidy,
    with_article,
    without_determiner,
    words,
)
from storyflow.storyboard.grammar import move_prose
from storyflow.storyboard.resolved import Character, ResolvedBeat, ResolvedShot

_ANY_NAME = re.compile(r"(?<![\w@])@(\w+(?:-\w+)*)")
_REFERS_BACK = listed("he she they him her his hers their them himself herself themselves")
_REFERS_TO_THING = listed("it its itself")
_AGED = re.compile(r"\b(?:(?:old|young|little)\s+)+$", re.IGNORECASE)
_OWNED = re.compile(
    r"\b(?:an?|the|his|her|its|their|my|our|your)\s+(?:(?:old|young|little)\s+)*$", re.IGNORECASE
)
_AFTER_VERB = DETERMINERS | listed("up down away back out off in over around along")
_NOUNS_IN_ING = listed(
    "lightning morning evening building king ring string wing thing spring ceiling painting "
    "clothing wedding nothing something everything anything"
)
_LENS_CLAUSE_STANDS_ALONE = listed("lens lenses focus depth bokeh zoom field iris aperture")


def prompt_for(shot: ResolvedShot, beat: ResolvedBeat) -> str:
    """The prompt of one beat, composed without a model.

    Raises StoryboardError if the beat names someone who isn't among its `who`.
    """
    return compose(describe(shot, beat))


def describe(shot: ResolvedShot, beat: ResolvedBeat) -> ShotCaption:
    """One beat as a structured caption. `shot` says where the beat stands, for messages.

    Raises StoryboardError if the beat names someone who isn't among its `who`.
    """
    cast = _cast(beat.who)
    return ShotCaption(
        subjects=_subjects(shot, beat, cast),
        shot_type=beat.size,
        shot_angle=beat.angle,
        shot_position=beat.view,
        camera_motion=_motion(cast.called(beat.move or "")),
        environment=tidy(beat.place.look) if beat.place else "",
        lighting=tidy(beat.light or ""),
        style=", ".join(fragment(text) for text in (*beat.style, _lens(beat.lens)) if text),
        dialogue=tidy(beat.say or ""),
    )


# A film has the same people in shot after shot, and few camera moves.
_motion = lru_cache(maxsize=1024)(move_prose)


@lru_cache(maxsize=1024)
def _cast(who: tuple[Character, ...]) -> _Cast:
    return _Cast(who)


@lru_cache(maxsize=64)
def _found(mention: re.Pattern[str], text: str) -> tuple[re.Match[str], ...]:
    """Asked several times in a row about one beat's text."""
    return tuple(mention.finditer(text)) if "@" in text else ()


class _Cast:
    """The characters of a beat and what they are called in its prompt."""

    def __init__(self, who: Sequence[Character]) -> None:
        self.who = tuple(who)
        # A character without a look is known by the name alone.
        self.looks = {
            each.name: tidy(each.look) if words(each.look) else f"the {each.name}" for each in who
        }
        self._subjects = {
            name: replace(_kind_of(head(look)), appearance=look)
            for name, look in self.looks.items()
        }
        shorts = short_names([self.looks[each.name] for each in who])
        self.shorts = dict(zip(self.looks, shorts, strict=True))
        names = "|".join(re.escape(name) for name in sorted(self.looks, key=len, reverse=True))
        self._mention = re.compile(
            rf"(?<![\w@])@(?P<name>{names or '(?!)'})(?!\w)(?P<possessive>(?:['\u2019]s?(?!\w))?)"
        )

    def find(self, text: str) -> tuple[re.Match[str], ...]:
        """Mentions of characters, in order; of two names that fit, the longer one."""
        return _found(self._mention, text)

    def called(self, text: str) -> str:
        """The text with short names in place of `@names`; who isn't here keeps the bare name."""
        text = tidy(text)
        if "@" not in text:
            return text
        known = self._mention.sub(
            lambda found: self.shorts[found["name"]] + found["possessive"], text
        )
        return _ANY_NAME.sub(r"\1", known)

    def subject(self, name: str) -> Subject:
        """A character as a subject that does nothing yet."""
        return self._subjects[name]


@dataclass(frozen=True)
class _Woven:
    """An action with its characters' looks in it.

    `shown` are those whose looks the text carries, in order; `owners` were first named by a
    possessive ("@keeper's hand"), so that their looks need a sentence before this one.
    """

    text: str
    shown: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()


def _subjects(shot: ResolvedShot, beat: ResolvedBeat, cast: _Cast) -> tuple[Subject, ...]:
    do = tidy(beat.do)
    _refuse_unknown_names(shot, beat, cast)
    actors, rest = _actors(do, cast)
    woven = _weave(rest, cast, actors)
    carried = [name for name in cast.looks if name not in woven.shown + woven.owners]
    if len(carried) == 1 and not woven.shown + woven.owners and _is_predicate(do):
        feel = tidy(beat.feel or "")
        only = cast.subject(carried[0])
        return (replace(only, action=do, expression=feel, is_main_subject=True),)

    action = Subject()
    if woven.shown:
        action = cast.subject(woven.shown[0])
    elif not woven.owners and not carried:
        action = _person_in(do)
    others = [cast.subject(name) for name in woven.shown[1:]]
    owners = [cast.subject(name) for name in woven.owners]
    present = [cast.subject(name) for name in carried]
    refers_back = _refers_back(rest, cast, carried)
    before = owners + (present if refers_back else [])
    after = others + ([] if refers_back else present)
    acts = [replace(action, action=woven.text, is_main_subject=not before)] if woven.text else []
    subjects = [*before, *acts, *after]
    return _with_feeling(subjects, len(before), others, tidy(beat.feel or ""))


def _with_feeling(
    subjects: list[Subject], acting: int, others: list[Subject], feel: str
) -> tuple[Subject, ...]:
    """The subjects, the first one marked as main, the feeling given to the main human one."""
    if subjects and not subjects[0].is_main_subject:
        subjects[0] = replace(subjects[0], is_main_subject=True)
    if feel:
        in_action = acting < len(subjects) and any(
            each.type == "Human" for each in (subjects[acting], *others)
        )
        people = [n for n, each in enumerate(subjects) if each.type == "Human"]
        shown = [n for n, each in enumerate(subjects) if each.appearance]
        felt = [acting] if in_action and acting == 0 else people or shown or [0]
        subjects = subjects or [Subject(is_main_subject=True)]
        subjects[felt[0]] = replace(subjects[felt[0]], expression=feel)
    return tuple(subjects)


def _actors(do: str, cast: _Cast) -> tuple[tuple[str, ...], str]:
    """Whom an opening "he", "she" or "they" stands for, and the action with `@names` instead.

    Only where no doubt is left: one character who can be "he", or all of several who aren't named.
    """
    first, _, rest = do.partition(" ")
    named = {found["name"] for found in cast.find(do)}
    pronoun = first.lower()
    actors: list[str] = []
    if pronoun in {"he", "she"}:
        fitting = [n for n, look in cast.looks.items() if gender(look) in {pronoun, ""}]
        actors = fitting if len(fitting) == 1 and not is_plural(cast.looks[fitting[0]]) else []
    elif pronoun == "they":
        unnamed = [name for name in cast.looks if name not in named]
        several = len(unnamed) > 1 or any(is_plural(cast.looks[name]) for name in unnamed)
        actors = unnamed if several else []
    if not actors or not rest or named.intersection(actors):
        return (), do
    return tuple(actors), f"{listing([f'@{name}' for name in actors])} {rest}"


def _weave(do: str, cast: _Cast, actors: tuple[str, ...]) -> _Woven:
    """The action with looks at first mentions and short names at later ones."""
    shown: list[str] = []
    owners: list[str] = []
    text = ""
    end = 0
    for found in cast.find(do):
        name, possessive = found["name"], found["possessive"]
        text += do[end : found.start()]
        end = found.end()
        if name in shown or name in owners:
            phrase = cast.shorts[name]
        elif possessive or do.startswith("-", end):
            owners.append(name)
            phrase = cast.shorts[name]
        else:
            shown.append(name)
            phrase, comma = described(cast.looks[name])
            if comma and re.match(r"\s+\w", do[end:]):
                phrase += ","
        aged = _AGED.search(text)
        if _OWNED.search(text):
            phrase = without_determiner(phrase)
        elif aged:
            text = text[: aged.start()]
            phrase = with_article(aged.group() + without_determiner(phrase))
        if re.search(r"[.!?]\s+$", text):
            phrase = capital(phrase)
        text += phrase + possessive
    return _Woven(text + do[end:], tuple(shown), tuple(owners))


def _refers_back(do: str, cast: _Cast, carried: Sequence[str]) -> bool:
    """Whether an action speaks of someone before it names anyone: "his hands shake"."""
    mentions = cast.find(do)
    opening = words(do[: mentions[0].start()] if mentions else do)
    things = any(head(cast.looks[name]) not in PEOPLE for name in carried)
    if not _REFERS_BACK.isdisjoint(opening):
        return True
    return things and not _REFERS_TO_THING.isdisjoint(opening)


def _is_predicate(do: str) -> bool:
    """Whether an action lacks its subject: "climbs the stair", "walking home", "looks up"."""
    found = words(do)
    if not found or found[0] in DETERMINERS:
        return False
    if found[0].endswith("ing"):
        return found[0] not in _NOUNS_IN_ING
    verb = found[0].endswith("s") and not found[0].endswith(("ss", "us", "is", "'s"))
    return verb and len(found) > 1 and found[1] in _AFTER_VERB


def _person_in(do: str) -> Subject:
    """A person whom an action opens with, though no cast member: "a young woman sings"."""
    opening = words(re.split(r"[,;.:]", do, maxsplit=1)[0])[:5]
    if opening and opening[0] in DETERMINERS:
        return _kind_of(next((word for word in opening if word in PEOPLE), ""))
    return Subject()


def _kind_of(noun: str) -> Subject:
    """The captioner's type and sub-type of a person; nothing for what isn't known to be one."""
    if noun not in PEOPLE:
        return Subject()
    return Subject(type="Human", sub_type=noun.capitalize())


def _lens(lens: str | None) -> str:
    text = fragment(lens or "")
    first, comma, rest = text.partition(",")
    if not text or not _LENS_CLAUSE_STANDS_ALONE.isdisjoint(words(first)):
        return text
    return f"{first} lens{comma}{rest}"


def _refuse_unknown_names(shot: ResolvedShot, beat: ResolvedBeat, cast: _Cast) -> None:
    known = {found.start() for found in cast.find(beat.do)}
    problems = [
        Problem(
            code="unknown-character",
            what="the beat names someone whose look it doesn't carry",
            value=found.group(),
            cure="add the character to the cast and to the beat's who",
            file=beat.where.file,
            line=beat.where.line,
            column=beat.where.column,
            shot=shot.id,
        )
        for found in _ANY_NAME.finditer(beat.do)
        if found.start() not in known
    ]
    if problems:
        raise StoryboardError(problems)
