"""Structured captions become prose by a language model, as the video model's own captions did.

Two forms: for text to video everything is said; where a picture is given only what happens, since
the rest is in the picture. What the camera does never reaches the model: it is appended word for
word. None of the reference's random dropout, which was for training (SkyReels-V2,
skycaptioner_v1/scripts).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal, TypeVar

from storyflow.errors import InputError
from storyflow.prompts.asking import Manner, Trouble, ask_twice, question
from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.english import sentence, tidy
from storyflow.prompts.model import Answer, LanguageModel

Form = Literal["text", "image"]
"""What a prompt is for: a shot made from nothing, or one that begins with a picture."""

Key = TypeVar("Key")

_WITH_FACES = frozenset({"human", "animal"})


def fuse(
    captions: Mapping[Key, ShotCaption],
    forms: Mapping[Key, Form],
    model: LanguageModel,
    manners: Mapping[Form, Manner],
) -> tuple[dict[Key, str], dict[Key, str]]:
    """The prompts by key, and by key why there is none.

    An answer that is empty, cut off or no prose is asked for once more, then given up. A caption
    with nothing for the model to say is its camera motion alone. Raises EngineDied.
    """
    texts: dict[Key, str] = {}
    troubles: dict[Key, str] = {}
    asked: list[Key] = []
    questions = []
    for key, caption in captions.items():
        said = told(in_form(caption, forms[key]))
        if said:
            asked.append(key)
            questions.append(question(manners[forms[key]], said))
        else:
            texts[key] = sentence(caption.camera_motion)
    for key, answer in zip(asked, ask_twice(model, questions, _prose), strict=True):
        if isinstance(answer, Trouble):
            troubles[key] = answer.cause
        else:
            camera = sentence(captions[key].camera_motion)
            texts[key] = f"{answer} {camera}".strip()
    return texts, troubles


def in_form(caption: ShotCaption, form: Form) -> ShotCaption:
    """The caption without what its form leaves out; for pictures all but action, expression,
    spoken words and camera."""
    if form == "text":
        return caption
    subjects = tuple(
        Subject(
            type=each.type,
            sub_type=each.sub_type,
            action=each.action,
            expression=each.expression,
            is_main_subject=each.is_main_subject,
        )
        for each in caption.subjects
        if each.action or each.expression
    )
    return ShotCaption(
        subjects=subjects, camera_motion=caption.camera_motion, dialogue=caption.dialogue
    )


def told(caption: ShotCaption) -> str:
    """The caption as the model reads it: JSON without empty fields and without the camera's motion;
    empty where there is nothing to say."""
    subjects = sorted(caption.subjects, key=lambda each: not each.is_main_subject)
    data: dict[str, object] = {
        "shot_type": _word(caption.shot_type),
        "shot_angle": _word(caption.shot_angle),
        "shot_position": _word(caption.shot_position),
        "subjects": [seen for each in subjects if (seen := _subject(each))],
        "dialogue": caption.dialogue,
        "environment": caption.environment,
        "lighting": caption.lighting,
        "style": caption.style,
    }
    said = {name: value for name, value in data.items() if value}
    return json.dumps(said, ensure_ascii=False) if said else ""


def _subject(subject: Subject) -> dict[str, str]:
    face = subject.expression
    if subject.type and subject.type.lower() not in _WITH_FACES:
        face = ""
    if subject.type.lower() == "human" and subject.sub_type.lower() == "accessory":
        face = ""
    said = {
        "action": subject.action,
        "appearance": subject.appearance,
        "expression": face,
        "position": subject.position,
    }
    named = subject.sub_type or subject.type
    found = {name: text for name, text in said.items() if text}
    return {"name": named} | found if named and found else found


def _word(word: str | None) -> str:
    return "" if word in {None, "other"} else str(word).replace("_", " ")


def _prose(said: Answer) -> str:
    text = tidy(re.split(r"\n\s*\n", said.text.strip())[0])
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = tidy(text[1:-1])
    if not said.finished:
        raise InputError("the answer was cut off before its end")
    if not re.search(r"[^\W\d_]", text):
        raise InputError("the answer holds no words")
    if text[0] in "{[":
        raise InputError("the answer is data, not prose")
    return sentence(text)
