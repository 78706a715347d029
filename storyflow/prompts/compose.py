"""A structured caption becomes the prose that SkyReels-V2 was trained on; no model needed.

The order is the fusion captioner's (SkyReels-V2 report, §3.1): shot type, angle, position;
subjects with action, appearance, expression, position, the main one first; environment; lighting;
camera motion last and verbatim. Spoken words follow the subjects, style stands before the camera.
"""

from __future__ import annotations

from collections.abc import Sequence

from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.english import (
    DETERMINERS,
    PEOPLE,
    PLAIN_ADJECTIVES,
    PREPOSITIONS,
    PRONOUNS,
    described,
    fragment,
    head,
    is_name,
    is_plural,
    listed,
    mentions,
    sentence,
    short_names,
    tidy,
    with_article,
    without_mention,
    words,
)

SHOT_TYPE_WORDS = {
    "long_shot": "A long shot",
    "full_shot": "A full shot",
    "medium_shot": "A medium shot",
    "close_up": "A close-up",
    "extreme_close_up": "An extreme close-up",
}
SHOT_ANGLE_WORDS = {
    "eye_level": "at eye level",
    "high_angle": "from a high angle",
    "low_angle": "from a low angle",
}
SHOT_POSITION_WORDS = {
    "front_view": "from the front",
    "back_view": "from behind",
    "side_view": "from the side",
    "over_the_shoulder": "over the shoulder",
    "overhead_view": "in an overhead view",
    "point_of_view": "in point-of-view perspective",
    "aerial_view": "in an aerial view",
    "overlooking_view": "overlooking the scene",
}

FEELINGS = listed(
    "surprise anger disgust fear joy grief sorrow rage terror delight awe wonder shame pride pain "
    "relief despair love hate envy horror dread calm hope doubt shock boredom regret longing panic "
    "curiosity contempt guilt fury bliss"
)
FACES = listed("expression face smile gaze look frown grin eyes lips tears stare")


def compose(caption: ShotCaption) -> str:
    """The prompt for one stretch of a shot: fluent sentences, in the trained order.

    Empty fields and "other" leave no trace. A caption whose only content is one action is that
    action as a sentence. Same caption, same text.
    """
    sentences = [framing(caption.shot_type, caption.shot_angle, caption.shot_position)]
    subjects = sorted(caption.subjects, key=lambda subject: not subject.is_main_subject)
    unspent = ""
    for subject in subjects:
        rest = _already_said(subject, unspent)
        if rest is None:
            others = [other for other in subjects if other is not subject]
            sentences.append(_subject(subject, others))
            rest = f"{unspent} {sentences[-1]}"
            rest = without_mention(rest, subject.appearance) or rest
        unspent = rest
    sentences += [
        _speech(caption.dialogue, subjects),
        _stated("The setting is", caption.environment, noun=True),
        _stated("The lighting is", caption.lighting),
        _stated("The style is", caption.style),
        sentence(caption.camera_motion),
    ]
    return " ".join(text for text in sentences if text)


def framing(shot_type: str | None, angle: str | None, position: str | None) -> str:
    """Size, angle and position of the camera as one sentence; empty where nothing is said.

    Raises KeyError for a word outside the captioner's vocabularies.

    >>> framing("medium_shot", "eye_level", "front_view")
    'A medium shot at eye level from the front.'
    """
    pieces = [_known(angle, SHOT_ANGLE_WORDS), _known(position, SHOT_POSITION_WORDS)]
    name = _known(shot_type, SHOT_TYPE_WORDS)
    if not name and not any(pieces):
        return ""
    return sentence(" ".join([name or "A shot", *(piece for piece in pieces if piece)]))


def _known(value: str | None, vocabulary: dict[str, str]) -> str:
    if value is None or value in {"", "other"}:
        return ""
    return vocabulary[value]


def _already_said(subject: Subject, said: str) -> str | None:
    """What is said without this subject, if all there is to tell of it has been said.

    Each mention counts once, so that of two subjects who look alike neither is lost.
    """
    if subject.action or subject.expression or subject.position:
        return None
    return without_mention(said, subject.appearance)


def _kind(subject: Subject) -> str:
    for name in (subject.sub_type, subject.type):
        if name and name.lower() not in {"other", "human", "scenery", "object", "accessory"}:
            return name.lower()
    return ""


def _subject(subject: Subject, others: Sequence[Subject]) -> str:
    action = fragment(subject.action)
    whole_clause = _is_clause(action) or mentions(action, subject.appearance)
    name, comma = _name(subject)
    if action and (whole_clause or not name):
        text = action
        if subject.appearance and not mentions(action, subject.appearance):
            text = f"{_there_is(name)}. {sentence(action)}".rstrip(".")
    elif action:
        verb = action
        if words(action)[:1] and words(action)[0].endswith("ing"):
            verb = f"{'are' if is_plural(name) else 'is'} {action}"
        text = f"{name}{',' if comma else ''} {verb}"
    elif name:
        text = _there_is(name)
    else:
        text = ""
    expression = _expression(subject.expression)
    if expression and (_several(text) or any(mentions(action, o.appearance) for o in others)):
        owner = short_names([each.appearance or _kind(each) for each in (subject, *others)])[0]
        text = f"{sentence(text)} {sentence(_has(owner, expression))}".rstrip(".")
    elif expression:
        text = f"{text}, {expression}" if text else f"someone {expression}"
    position = fragment(subject.position)
    if position:
        joint = " " if not action and not expression and _is_where(position) else ", "
        text = f"{text}{joint}{position}" if text else position
    return sentence(text)


def _name(subject: Subject) -> tuple[str, bool]:
    """The subject as a noun phrase with its looks, and whether a comma must close it."""
    kind, looks = _kind(subject), fragment(subject.appearance)
    if not looks:
        return with_article(kind), False
    if not kind or kind in words(looks):
        return described(looks)
    if all(word in PLAIN_ADJECTIVES for word in words(looks)):
        return with_article(f"{looks} {kind}"), False
    return described(f"{kind}, {looks}")


def _there_is(name: str) -> str:
    return f"there {'are' if is_plural(name) else 'is'} {name}"


def _is_clause(action: str) -> bool:
    """Whether an action names its own subject ("the flame shudders") or not ("climbs")."""
    first = words(action)[:1]
    return bool(first) and (first[0] in DETERMINERS or first[0] in PRONOUNS)


def _several(text: str) -> bool:
    """Whether a text says several things, so that a phrase at its end would be about the last."""
    return any(end in f"{text} " for end in (". ", "! ", "? ", "… ", "; ", ", and ", " while "))


def _has(owner: str, expression: str) -> str:
    """An expression as a sentence about its owner: "the man has a faint smile"."""
    if not owner:
        return f"the expression is {expression.removeprefix('with ')}"
    plural = is_plural(owner)
    if expression.startswith("with "):
        return f"{owner} {'have' if plural else 'has'} {expression.removeprefix('with ')}"
    return f"{owner} {'are' if plural else 'is'} {expression}"


def _is_where(position: str) -> bool:
    return bool(words(position)) and words(position)[0] in PREPOSITIONS


def _expression(text: str) -> str:
    """An expression as a phrase that follows the action."""
    text = fragment(text)
    found = words(text)
    if not found:
        return ""
    if found[0] in PREPOSITIONS or found[0].endswith("ing"):
        return text
    if FACES.intersection(found):
        return f"with {with_article(text)}"
    if found[-1] in FEELINGS or found[-1].endswith(("ness", "ment", "tion", "ity")):
        return f"with an expression of {text}"
    return f"with {with_article(f'{text} expression')}"


def _speech(spoken: str, subjects: list[Subject]) -> str:
    text = tidy(spoken)
    if not text:
        return ""
    speaker = _speaker(subjects)
    verb = "say" if speaker == "they" or is_plural(speaker) else "says"
    quote = '"' if "'" in text else "'"
    return sentence(f"{speaker} {verb}: {quote}{text}{quote}")


def _speaker(subjects: list[Subject]) -> str:
    """The first subject that is a person or an animal, as far as its words tell."""
    looks = [subject.appearance or _kind(subject) for subject in subjects]
    for subject, look, name in zip(subjects, looks, short_names(looks), strict=True):
        alive = subject.type.lower() in {"human", "animal"} or head(look) in PEOPLE or is_name(look)
        if look and alive:
            return name
        first = words(subject.action)[:1]
        if not look and first and first[0] in {"he", "she", "they"}:
            return first[0]
    return "someone"


def _stated(opening: str, text: str, noun: bool = False) -> str:
    """A field as a sentence of its own; one that already is a sentence stays as it is."""
    text = tidy(text)
    if not text or text.endswith((".", "!", "?")):
        return sentence(text)
    text = fragment(text)
    return sentence(f"{opening} {with_article(text) if noun else text}")
