"""Storyboards from files, texts and plain data; every mistake at once, with its place.

film = load("storyboards/first-light.yaml")     # or parse({"film": …, "shots": […]})
for problem in check("storyboards/first-light.yaml"):
    print(problem)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from storyflow.documents import Document, document_from_text, inspect_document, problems_of
from storyflow.errors import Problem, StoryboardError
from storyflow.storyboard.ids import PinnedShot
from storyflow.storyboard.model import Authored, Film, Origin
from storyflow.storyboard.resolve import examine
from storyflow.yamltree import Mark

Loc = tuple[str | int, ...]
Inherit = Callable[[Film], Film]
"""Gives a film what its storyboard leaves to others, such as a series."""

# fmt: off
PROSE = frozenset((
    "film", "scene", "do", "say", "look", "style", "avoid", "light", "feel", "move", "lens",
    "note", "text", "title",
))
"""Keys whose values are written in words, where a ` #` may be meant as text."""

_OF_THE_SHOT = frozenset((
    "missing-do", "beats-differ", "beats-without-dur", "to-without-from", "to-without-picture",
    "fit-without-picture", "take-without-takes", "title-outside-shot", "long-joint",
))
# fmt: on
_OF_THE_FILM = {
    "unknown-character": "cast",
    "unknown-place": "places",
    "unknown-shot": "id",
    "empty-film": "",
    "empty-scene": "",
    "length-differs": "",
}
"""What may only follow from something that could not be read, and the key that it hangs on."""


def load(
    path: Path | str, *, allow_outside: bool = False, inherit: Inherit = lambda film: film
) -> Film:
    """Read a storyboard file. Raises StoryboardError with everything found in it.

    References are looked for in the file's folder; those that lead out of it are refused when the
    film is resolved, unless `allow_outside`. With `inherit` the film is what that makes of it.
    """
    reading = _read_file(path)
    return reading.film_or_raise(allow_outside=allow_outside, inherit=inherit)


def parse(data: object, *, root: Path | str | None = None, allow_outside: bool = False) -> Film:
    """A film from plain data or from YAML text, checked exactly like a file.

    `root` is the folder that references start from; without it, the current one. Raises
    StoryboardError.
    """
    folder = None if root is None else Path(root)
    if isinstance(data, Film):
        film = data.model_copy()
        film.came_from(replace(data.origin, root=folder or data.origin.root))
        return film
    document = document_from_text(data) if isinstance(data, str) else Document(data)
    return _read(document, folder).film_or_raise(allow_outside=allow_outside)


def check(
    storyboard: Path | str | Film,
    pinned: tuple[PinnedShot, ...] = (),
    *,
    allow_outside: bool = False,
    inherit: Inherit = lambda film: film,
) -> tuple[Problem, ...]:
    """All errors and notices of a file or a film, in the order of the file; nothing is raised.

    A file's film is what `inherit` makes of it.
    """
    if isinstance(storyboard, Film):
        return _in_order(examine(storyboard, pinned, allow_outside=allow_outside)[1])
    reading = _read_file(storyboard)
    return reading.all_problems(pinned, allow_outside=allow_outside, inherit=inherit)


@dataclass(frozen=True)
class _Reading:
    """What could be read. `broken` holds the places that had to be left out of `film`."""

    film: Film | None
    problems: tuple[Problem, ...] = ()
    broken: tuple[Loc, ...] = ()

    def film_or_raise(self, *, allow_outside: bool, inherit: Inherit = lambda film: film) -> Film:
        if self.film is None or self.problems:
            found = self.all_problems((), allow_outside=allow_outside, inherit=inherit)
            raise StoryboardError([p for p in found if p.level == "error"])
        return inherit(self.film)

    def all_problems(
        self,
        pinned: tuple[PinnedShot, ...],
        *,
        allow_outside: bool,
        inherit: Inherit = lambda film: film,
    ) -> tuple[Problem, ...]:
        if self.film is None:
            return _in_order(self.problems)
        _, more = examine(inherit(self.film), pinned, allow_outside=allow_outside)
        told = {(p.line, p.column) for p in self.problems if p.line is not None}
        news = [p for p in more if (p.line, p.column) not in told and not self._explains(p)]
        return _in_order([*self.problems, *news])

    def _explains(self, problem: Problem) -> bool:
        """Whether a problem is nothing but the consequence of one that is reported already."""
        if problem.code in _OF_THE_FILM:
            key = _OF_THE_FILM[problem.code]
            return any(not key or key in loc for loc in self.broken)
        if problem.code not in _OF_THE_SHOT:
            return False
        shots = [".".join(map(str, _shot_of(loc))) for loc in self.broken]
        return any(shot and f"{problem.path}.".startswith(f"{shot}.") for shot in shots) or any(
            p.line == problem.line for p in self.problems if p.line is not None
        )


def _shot_of(loc: Loc) -> Loc:
    """The part of a place that leads to its shot, or to its scene; empty outside of both."""
    if "shots" in loc:
        return loc[: loc.index("shots") + 2]
    return loc[:2] if loc[:1] == ("scenes",) else ()


def _in_order(problems: list[Problem] | tuple[Problem, ...]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda p: (p.line or 0, p.column or 0)))


def _read_file(path: Path | str) -> _Reading:
    document = inspect_document(path)
    return _read(document, Path(path).parent)


def _read(document: Document, root: Path | None) -> _Reading:
    data, problems = document.data, list(document.problems)
    if document.mark is not None:
        problems += eaten_by_comments(data, document.mark, document.file)
    if data is None:
        if not problems:
            line, column = document.where(())
            cure = "begin with 'film: TITLE' and 'shots:'"
            problems = [
                Problem(
                    "empty-film",
                    "there is no film in it",
                    cure=cure,
                    file=document.file,
                    line=line,
                    column=column,
                )
            ]
        return _Reading(None, tuple(problems))
    problems = [_with_shot(p, data, document.path_at(p.line or 0, p.column or 0)) for p in problems]
    broken: list[Loc] = []
    film: Film | None = None
    for _ in range(4):
        try:
            film = Film.model_validate(data)
            break
        except ValidationError as error:
            if not broken:
                found = problems_of(error, document, Film)
                version = [p for p in found if p.code == "unknown-version"]
                if version:
                    return _Reading(None, tuple(version))
                told = {(p.line, p.column) for p in problems if p.line is not None}
                news = [p for p in found if (p.line, p.column) not in told]
                problems += [
                    _with_shot(_meant_as_text(p, data), data, p.path.split(".")) for p in news
                ]
            locs = [details["loc"] for details in error.errors(include_url=False)]
            data = _without(data, locs)
            broken += locs
    if film is not None:
        _remember(film, document.mark or Mark(1, 1), document.file, root, document.mark is None)
    return _Reading(film, tuple(problems), tuple(broken))


def _remember(
    film: Film, mark: Mark, file: str | None, root: Path | None, from_python: bool
) -> None:
    """Tell every part of the film where it was read."""

    def place(part: Authored, at: Mark | None) -> None:
        part.came_from(Origin(file, None if from_python else at, root))

    def shots_of(owner: Authored, at: Mark) -> None:
        listed = at.children.get("shots", at)
        for number, shot in enumerate(getattr(owner, "shots", ())):
            shot_at = listed.children.get(number, listed)
            place(shot, shot_at)
            beats_at = shot_at.children.get("beats", shot_at)
            for beat_number, beat in enumerate(shot.beats or ()):
                place(beat, beats_at.children.get(beat_number, beats_at))

    place(film, mark)
    shots_of(film, mark)
    scenes_at = mark.children.get("scenes", mark)
    for number, scene in enumerate(film.scenes):
        scene_at = scenes_at.children.get(number, scenes_at)
        place(scene, scene_at)
        shots_of(scene, scene_at)


def eaten_by_comments(data: object, mark: Mark, file: str | None) -> Iterator[Problem]:
    """Words that YAML took for a comment: a `#` after unquoted prose and a single space."""
    children: list[tuple[str | int, object]] = []
    if isinstance(data, dict):
        children = list(data.items())
    elif isinstance(data, list):
        children = list(enumerate(data))
    for key, value in children:
        at = mark.children.get(key)
        if at is None:
            continue
        if at.hash is not None and (key in PROSE or isinstance(key, int)):
            yield Problem(
                "unquoted-hash",
                "' #' begins a comment: YAML does not read what follows",
                value=value,
                cure="quote the text, or put two spaces before a comment",
                file=file,
                line=at.line,
                column=at.hash,
            )
        if isinstance(value, dict | list):
            yield from eaten_by_comments(value, at, file)


def _meant_as_text(problem: Problem, data: object) -> Problem:
    """`- KEEPER: hm` is a key to YAML and `- [softly]` a list, and words to their author."""
    if problem.code == "wrong-type" and isinstance(_at(data, problem.path.split(".")), list):
        if problem.path.split(".")[-2:-1] in (["shots"], ["beats"]):
            what = "expected text, found a list"
            return replace(problem, code="unquoted-symbol", what=what, cure="quote the text")
        return problem
    if problem.code != "unknown-key" or problem.cure.startswith("did you mean"):
        return problem
    *around, key = problem.path.split(".")
    if key == "<<":
        cure = "YAML 1.2 has no merge keys: use defaults, or write the keys out"
        return replace(problem, cure=cure)
    if key.startswith("-"):
        what, cure = "a space is missing after the dash", f"write '- {key[1:]}: …'"
        return replace(problem, code="missing-space", what=what, cure=cure)
    holder = _at(data, around)
    if not isinstance(holder, dict) or not isinstance(holder.get(key), str | int | float | None):
        return problem
    if len(holder) == 1 or " " in key or key.isupper():
        return replace(
            problem,
            code="unquoted-colon",
            what=f"YAML takes '{key}:' for a key",
            cure="quote the text",
        )
    return problem


def _with_shot(problem: Problem, data: object, path: Sequence[str | int]) -> Problem:
    """The problem with the id of the shot in which `path` lies, if that has one."""
    parts = [str(part) for part in path]
    for end in range(len(parts), 1, -1):
        if parts[end - 2] == "shots" and parts[end - 1].isdigit():
            shot = _at(data, parts[:end])
            name = shot.get("id") if isinstance(shot, dict) else None
            known = isinstance(name, str | int | float) and not isinstance(name, bool)
            return replace(problem, shot=str(name)) if known else problem
    return problem


def _at(data: object, path: list[str]) -> object:
    for part in path:
        if isinstance(data, dict):
            data = data.get(part)
        elif isinstance(data, list | tuple) and part.isdigit() and int(part) < len(data):
            data = data[int(part)]
        else:
            return None
    return data


def _without(data: object, locs: list[Loc]) -> object:
    """The data without the places that could not be read, so that the rest can be checked."""
    whole = copy.deepcopy(data)
    for loc in locs:
        holder: object = whole
        steps: list[tuple[object, str | int]] = []
        for part in loc:
            found = isinstance(holder, dict) and part in holder
            found |= isinstance(holder, list) and isinstance(part, int) and part < len(holder)
            if not found:
                continue
            steps.append((holder, part))
            holder = holder[part]  # type: ignore[index]
        for container, part in reversed(steps):
            if isinstance(container, dict):
                container.pop(part, None)
                break
            owner = steps[steps.index((container, part)) - 1][1] if len(steps) > 1 else None
            if isinstance(container, list) and owner in ("shots", "beats", "scenes"):
                container[part] = {} if owner != "scenes" else {"shots": [{}]}  # type: ignore[index]
                break
    return whole
