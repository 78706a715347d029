"""Storyboard, enhancer and captioner joined: storyboard wins over enhancer wins over captioner.

What the storyboard states stays, word for word. What a model proposes is taken clause by clause:
where a field is empty it fills it, where a clause says a stated one and more ("a white lighthouse
on wet rocks") it takes its place, other clauses follow. A clause that speaks against the storyboard
is left out and told.

    merged = merge(describe(shot, beat), enhanced, seen)
    compose(merged.caption())
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.compose import (
    SHOT_ANGLE_WORDS,
    SHOT_POSITION_WORDS,
    SHOT_TYPE_WORDS,
    compose,
)
from storyflow.prompts.english import fragment, head, mentions, parts, tidy
from storyflow.prompts.truth import against, content, is_prose, unsaid

Origin = Literal["enhancer", "captioner"]
Form = Literal["text", "image"]

MOST_CLAUSES = 6
"""Clauses that one proposal may add to one field."""
LONGEST_CLAUSE = 200
"""Letters; a longer one is no description."""

_WORDS = {
    "shot_type": SHOT_TYPE_WORDS,
    "shot_angle": SHOT_ANGLE_WORDS,
    "shot_position": SHOT_POSITION_WORDS,
}
_SCENE = ("environment", "lighting")
_ALIVE = frozenset({"human", "animal"})


@dataclass(frozen=True)
class Addition:
    """Something that a model adds to what the storyboard says.

    `field` is a caption's field, of the subject of this number where it is not None. `instead` is
    the stated clause that `text` says, too, and takes the place of. `silent` keeps it from the
    composer, who could not say it without seeming to speak of a second thing.
    """

    field: str
    text: str
    subject: int | None = None
    instead: str = ""
    silent: bool = False


@dataclass(frozen=True)
class Merged:
    """What the storyboard states, what models add to it, and what they said against it."""

    stated: ShotCaption
    additions: tuple[Addition, ...] = ()
    conflicts: tuple[str, ...] = ()

    def caption(self, without: Collection[Addition] = (), *, spoken: bool = True) -> ShotCaption:
        """The whole caption, without some additions; not `spoken`, with what only prose by a model
        can say."""
        caption = self.stated
        for addition in self.additions:
            if addition not in without and not (spoken and addition.silent):
                caption = _with(caption, addition)
        return caption

    @property
    def known(self) -> str:
        """Everything that is said, as the composer says it, with additions that it leaves out."""
        silent = (addition.text for addition in self.additions if addition.silent)
        return " ".join([compose(self.stated), compose(self.caption()), *silent])


def merge(
    stated: ShotCaption,
    enhanced: ShotCaption | None = None,
    seen: ShotCaption | None = None,
    form: Form = "text",
) -> Merged:
    """One beat's captions as one. `form` "image" is for shots that begin with a picture: of what
    models say only action, expression and camera are taken, the rest is in the picture."""
    merged = Merged(stated)
    sources: tuple[tuple[Origin, ShotCaption | None], ...] = (
        ("enhancer", enhanced),
        ("captioner", seen),
    )
    for origin, proposal in sources:
        if proposal is not None:
            merged = _merge(merged, proposal, origin, form)
    return merged


def _merge(merged: Merged, proposal: ShotCaption, origin: Origin, form: Form) -> Merged:
    joiner = _Joiner(merged, origin)
    base = merged.caption(spoken=False)
    if form == "text":
        for name, vocabulary in _WORDS.items():
            joiner.word(name, getattr(base, name), getattr(proposal, name), vocabulary)
        for name in _SCENE:
            joiner.text(name, getattr(base, name), getattr(proposal, name))
    # What a still picture's captioner says of the camera or of what goes on was guessed.
    if origin == "enhancer":
        joiner.whole("camera_motion", base.camera_motion, proposal.camera_motion)
    named = base.subjects[: len(merged.stated.subjects)]
    matched = _matches(named, proposal.subjects)
    for number, subject in enumerate(named):
        if (other := matched.get(number)) is None:
            continue
        if origin == "enhancer":
            joiner.action(number, subject, other.action, named)
        if subject.type.lower() in _ALIVE or (not subject.type and other.type.lower() in _ALIVE):
            joiner.whole("expression", subject.expression, other.expression, number)
        if form == "text":
            thing = not subject.appearance
            joiner.text("appearance", subject.appearance, other.appearance, number, silent=thing)
            joiner.whole("position", subject.position, other.position, number)
    for other in proposal.subjects if form == "text" else ():
        if all(other is not each for each in matched.values()):
            joiner.newcomer(other, named)
    return joiner.done()


class _Joiner:
    """Takes what can be taken of one proposal."""

    def __init__(self, merged: Merged, origin: Origin) -> None:
        self._merged = merged
        self._origin = origin
        self._known = merged.known
        self._additions: list[Addition] = []
        self._conflicts: list[str] = []

    def done(self) -> Merged:
        return replace(
            self._merged,
            additions=(*self._merged.additions, *self._additions),
            conflicts=(*self._merged.conflicts, *dict.fromkeys(self._conflicts)),
        )

    def word(
        self, field: str, stated: str | None, new: str | None, vocabulary: dict[str, str]
    ) -> None:
        """A word of the captioner's vocabularies."""
        if new is None or new not in vocabulary or new == stated:
            return
        if stated is not None:
            self._clash(field, new, stated)
        elif self._holds(field, vocabulary[new]):
            self._additions.append(Addition(field, new))

    def text(
        self,
        field: str,
        stated: str,
        new: str,
        subject: int | None = None,
        *,
        silent: bool = False,
    ) -> None:
        """A description, clause by clause."""
        old = list(parts(stated))
        taken: set[str] = set()
        for clause in _clauses(new):
            same = next((c for c in old if c not in taken and _tells(clause, c)), None)
            if same is not None and not self._more(clause, same):
                taken.add(same)
            elif not set(content(clause)) <= set(content(stated)):
                rival = None if same is not None else _rival(clause, old)
                if rival is not None:
                    self._clash(field, clause, rival)
                elif self._holds(field, clause):
                    add = Addition(field, clause, subject, instead=same or "", silent=silent)
                    self._additions.append(add)
                    taken.add(same or "")

    def whole(self, field: str, stated: str, new: str, subject: int | None = None) -> None:
        """A text that is one thing: taken where nothing is stated, else left."""
        new = tidy(new)
        if not new or set(content(new)) <= set(content(stated)):
            return
        if stated:
            if _rival(new, parts(stated)) is not None:
                self._clash(field, new, stated)
        elif len(new) <= LONGEST_CLAUSE and is_prose(new) and self._holds(field, new):
            self._additions.append(Addition(field, new, subject))

    def action(self, number: int, subject: Subject, new: str, everybody: Sequence[Subject]) -> None:
        """What somebody does, told in more words, if it has those of the storyboard in order."""
        new = tidy(new)
        if not new or fragment(new) == fragment(subject.action):
            return
        if not subject.action:
            self.whole("action", "", new, number)
            return
        looks = set(content(subject.appearance)) if subject.appearance else set()
        for other in everybody:
            if other is not subject and other.appearance:
                looks |= set(content(other.appearance)) - set(content(head(other.appearance)))
        needed = [word for word in content(subject.action) if word not in looks]
        given = iter(content(new))
        told = bool(needed) and all(word in given for word in needed)
        if told and len(new) <= 2 * LONGEST_CLAUSE and is_prose(new) and self._holds("action", new):
            add = Addition("action", new, number, instead=subject.action)
            self._additions.append(add)
        elif not told:
            self._clash("action", new, subject.action)

    def newcomer(self, subject: Subject, present: Sequence[Subject]) -> None:
        """Somebody or something that the storyboard does not name."""
        alive = subject.type.lower() in _ALIVE
        said = tidy(subject.appearance)
        if not said or not is_prose(said) or len(said) > LONGEST_CLAUSE:
            return
        if alive and self._origin == "enhancer":
            self._conflicts.append(f"the enhancer adds somebody: {said!r}")
        elif not any(mentions(said, each.appearance) for each in present if each.appearance) and (
            self._holds("subjects", said)
        ):
            self._additions.append(Addition("subjects", said))

    def _more(self, clause: str, same: str) -> bool:
        return len(content(clause)) > len(content(same))

    def _holds(self, field: str, text: str) -> bool:
        """Whether a text can be true together with what is known; told where it can't."""
        found = against(text, self._known, closed=False)
        if found:
            self._conflicts.append(
                f"{_shown(field)}: the {self._origin} says {text!r}, and {', '.join(found)} speaks "
                "against the storyboard"
            )
        return not found

    def _clash(self, field: str, new: str, stated: str) -> None:
        self._conflicts.append(
            f"{_shown(field)}: the {self._origin} says {new!r}, the storyboard {stated!r}"
        )


def _shown(field: str) -> str:
    return field.replace("_", " ")


def _clauses(text: str) -> Iterator[str]:
    """The clauses of a proposal that may be said at all."""
    found = [clause for clause in parts(text) if is_prose(clause) and content(clause)]
    yield from [clause for clause in found if len(clause) <= LONGEST_CLAUSE][:MOST_CLAUSES]


def _tells(clause: str, stated: str) -> bool:
    """Whether a clause says a stated one, perhaps with more words in between."""
    if mentions(clause, stated):
        return True
    found, needed = iter(content(clause)), content(stated)
    return bool(needed) and all(word in found for word in needed) and not unsaid(clause, stated)


def _rival(clause: str, stated: Sequence[str]) -> str | None:
    """The stated clause about the same thing, of which this one says something else."""
    about = content(head(clause))
    return next((each for each in stated if about and content(head(each)) == about), None)


def _matches(stated: Sequence[Subject], proposed: Sequence[Subject]) -> dict[int, Subject]:
    """Which of the proposed subjects is which of the stated ones, by number."""
    found: dict[int, Subject] = {}
    for number, subject in enumerate(stated):
        fitting = [other for other in proposed if _same(subject, other)]
        if len(fitting) == 1 and sum(_same(each, fitting[0]) for each in stated) == 1:
            found[number] = fitting[0]
    if not found and len(stated) == 1 and not stated[0].appearance:
        mains = [other for other in proposed if other.is_main_subject] or list(proposed)
        if len(mains) == 1:
            found[0] = mains[0]
    return found


def _same(one: Subject, other: Subject) -> bool:
    names = {head(one.appearance).lower(), one.sub_type.lower()} - {""}
    others = {head(other.appearance).lower(), other.sub_type.lower()} - {""}
    return not names.isdisjoint(others)


def _with(caption: ShotCaption, addition: Addition) -> ShotCaption:
    """The caption with one addition."""
    field, text = addition.field, addition.text
    if field == "subjects":
        return replace(caption, subjects=(*caption.subjects, Subject(appearance=text)))
    changes: dict[str, Any] = {field: text}
    if addition.subject is None:
        if field in _SCENE:
            changes[field] = _joined(getattr(caption, field), addition)
        return replace(caption, **changes)
    subjects = list(caption.subjects)
    subject = subjects[addition.subject]
    if field == "appearance":
        changes[field] = _joined(subject.appearance, addition)
    subjects[addition.subject] = replace(subject, **changes)
    return replace(caption, subjects=tuple(subjects))


def _joined(old: str, addition: Addition) -> str:
    if not addition.instead:
        return ", ".join(text for text in (fragment(old), addition.text) if text)
    clauses = [addition.text if c == addition.instead else c for c in parts(old)]
    return ", ".join(clauses)
