"""The last step before the lock: a model's prose is held to the facts, and made to fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from storyflow.prompts.caption import ShotCaption, Subject
from storyflow.prompts.compose import compose, framing
from storyflow.prompts.english import sentence, tidy
from storyflow.prompts.fit import everything, fit_composed, fit_prose, within
from storyflow.prompts.merge import Form, Merged
from storyflow.prompts.truth import against, is_prose, unsaid
from storyflow.renderer import Tokens


@dataclass(frozen=True)
class Finished:
    """A prompt as it goes into the lock, and what was left out to make it fit.

    `complaint` says why a model's prose was not taken, None where it was or where there was none.
    """

    text: str
    dropped: tuple[str, ...] = ()
    complaint: str | None = None


def finish(
    merged: Merged, prose: str | None, form: Form, most: int, tokens: Tokens | None = None
) -> Finished:
    """A model's prose, if it says everything that the storyboard states and nothing against it.

    Else the composer's words of the merged caption. Either has at most `most` words, and as many
    tokens as the text encoder reads; only what models added is left out for that.
    """
    stated = compose(merged.stated)
    fits = within(most, stated, lambda text: tokens is None or tokens.fits(text) is not False)
    complaint = None
    if prose is not None:
        text = _with_statics(tidy(prose), merged.stated) if form == "image" else tidy(prose)
        complaint = _complaint(text, merged, stated)
        if complaint is None:
            fitted = fit_prose(text, stated, fits)
            if fitted is not None and not _complaint(fitted.text, merged, stated):
                return Finished(fitted.text, fitted.dropped)
            complaint = "is too long"
    composed = fit_composed(merged, fits)
    if unsaid(composed.text, stated):
        composed = replace(composed, text=stated, dropped=everything(merged))
    return Finished(composed.text, composed.dropped, complaint)


def _complaint(text: str, merged: Merged, stated: str) -> str | None:
    """Why a text can't be the prompt; None where it can."""
    lacking = unsaid(text, stated)
    if lacking:
        return f"does not say {', '.join(lacking[:6])}"
    motion = sentence(merged.stated.camera_motion)
    if motion and motion not in text:
        return f"does not say {motion!r}"
    wrong = against(text, merged.known)
    if wrong:
        return f"says {', '.join(wrong[:6])}, which nobody stated"
    return None if is_prose(text) or not is_prose(stated) else "is no plain text"


def _with_statics(prose: str, stated: ShotCaption) -> str:
    """Prose about what happens, with what the storyboard states about all else around it.

    A model leaves that out where a picture shows it; but what an author wrote is said.
    """
    camera = sentence(stated.camera_motion)
    body = prose.removesuffix(camera).strip() if camera else prose
    looks = [each.appearance for each in stated.subjects]
    unseen = tuple(Subject(appearance=look) for look in looks if look and unsaid(body, look))
    around = ShotCaption(
        environment=stated.environment,
        lighting=stated.lighting,
        style=stated.style,
        camera_motion=stated.camera_motion,
    )
    pieces = (
        framing(stated.shot_type, stated.shot_angle, stated.shot_position),
        compose(ShotCaption(subjects=unseen)),
        body,
        compose(around),
    )
    return " ".join(piece for piece in pieces if piece)
