"""What a film may ask of a pipeline: frame rate, frame size, and how faults are told."""

from __future__ import annotations

from fractions import Fraction

from storyflow.errors import Problem, ProfileError, StoryboardError
from storyflow.pipeline import Profile
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot, Where

SIDE = 16
"""Pixels: a latent is 8 wide and the transformer looks at patches of two by two."""

REPLAYED = {Fraction(24): (Fraction(24000, 1001), Fraction(25))}
"""Film rates at which a model's frames are shown one for one, by the model's rate."""


def check_pipeline(film: ResolvedFilm, profile: Profile) -> list[Problem]:
    """Whether this pipeline can make this film at all; the notices on the way.

    Raises ProfileError for a frame size off the model's grid, StoryboardError for a frame rate
    that would need frames invented or dropped.
    """
    size = profile.frame
    if size.width % SIDE or size.height % SIDE:
        fitting = (max(SIDE, round(side / SIDE) * SIDE) for side in (size.width, size.height))
        raise ProfileError(
            [
                Problem(
                    "frame-size",
                    f"width and height must be multiples of {SIDE}",
                    path="frame",
                    value=str(size),
                    cure="use {}x{}".format(*fitting),
                )
            ]
        )
    file = film.shots[0].where.file if film.shots else None
    notices = []
    if film.fps != profile.fps:
        allowed = REPLAYED.get(profile.fps, ())
        if film.fps not in allowed:
            rates = ", ".join(map(rate_text, (profile.fps, *allowed)))
            what = f"this pipeline makes films of {rates} frames a second"
            raise StoryboardError(
                [
                    Problem(
                        "frame-rate",
                        what,
                        path="fps",
                        value=rate_text(film.fps),
                        cure=f"write 'fps: {rate_text(profile.fps)}'",
                        file=file,
                    )
                ]
            )
        what = (
            f"the model's {rate_text(profile.fps)} frames a second are shown at "
            f"{rate_text(film.fps)}, none is added or dropped"
        )
        notices.append(Problem("frame-rate", what, path="fps", file=file, level="notice"))
    if film.size is not None and film.size != size:
        what = f"the film asks for {film.size}, this pipeline renders {size}"
        cure = "set the pipeline's 'frame:' for another size"
        notices.append(
            Problem("frame-size", what, path="frame", cure=cure, file=file, level="notice")
        )
    return notices


def rate_text(rate: Fraction) -> str:
    """23.976 for 24000/1001, 24 for 24."""
    return str(rate.numerator) if rate.denominator == 1 else f"{float(rate):.5g}"


def fault(
    shot: ResolvedShot, code: str, what: str, *, cure: str = "", where: Where | None = None
) -> Problem:
    """An error of a shot, with its place in the author's file."""
    return _at(shot, where, Problem(code, what, cure=cure))


def notice(
    shot: ResolvedShot, code: str, what: str, *, cure: str = "", where: Where | None = None
) -> Problem:
    """Something that planning adjusted, with its place in the author's file."""
    return _at(shot, where, Problem(code, what, cure=cure, level="notice"))


def _at(shot: ResolvedShot, where: Where | None, problem: Problem) -> Problem:
    place = shot.where if where is None or where.line is None else where
    return Problem(
        problem.code,
        problem.what,
        cure=problem.cure,
        file=place.file,
        line=place.line,
        column=place.column,
        shot=shot.id,
        level=problem.level,
    )


def count(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
