"""Whether a film's titles can be drawn: letters that the font has, texts that fit the picture."""

from __future__ import annotations

from collections.abc import Iterator

from storyflow.cutting.geometry import geometry
from storyflow.errors import Problem
from storyflow.pipeline import Profile
from storyflow.planning.legality import fault
from storyflow.storyboard.resolved import ResolvedFilm


def check_titles(film: ResolvedFilm, profile: Profile) -> Iterator[Problem]:
    """A fault for every title that can't be shown at the size in which the film is delivered."""
    titled = [shot for shot in film.shots if shot.titles]
    if not titled:
        return
    from storyflow.lettering.setting import BadTitle, set_title

    size = geometry(profile.frame, profile.deliver).delivered
    for shot in titled:
        for title in shot.titles:
            try:
                set_title(title.text, title.style, size)
            except BadTitle as error:
                yield fault(shot, error.code, error.what, cure=error.cure, where=title.where)
