"""The cut list, `x.cut.yaml` beside a storyboard: which frames of which takes the film shows.

It is what an editor made of the film, brought back by `storyflow conform`. While it lies there the
film follows it instead of the storyboard's order and durations. Frames count from the shot's first
one, as the storyboard begins it: 0 is that frame, -12 lies in the handle before it. So an entry
means the same frames on every pipeline and after every new render.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from storyflow.documents import Document, Strict, inspect_document, validate
from storyflow.errors import Problem, StoryboardError
from storyflow.storyboard import fields as f
from storyflow.storyboard.cues import Cue
from storyflow.storyboard.resolved import Transition, Where
from storyflow.timing import Duration

HEADER = """\
# Written by storyflow conform; the film follows it while it lies beside its storyboard. `in` and
# `out` are frames of the shot, the first one is 0 and `out` is not shown any more. You may edit it.
"""


@dataclass(frozen=True)
class CutEvent:
    """Frames [start, stop) of a shot, counted from its first, as one piece of the film.

    `take` None follows the storyboard's choice and the lock's. `into` is the transition from the
    piece before (or a fade in), `out` a fade out; a dissolve or wipe stands in `into` only.
    """

    shot: str
    start: int
    stop: int
    take: int | None = None
    into: Transition = field(default=Transition())
    out: Transition = field(default=Transition())
    where: Where = field(default=Where(), compare=False)


@dataclass(frozen=True)
class CutList:
    """The pieces of a film in order.

    `film` is its title and `fps` its rate, `source` the name of the edit that it was made from.
    `left_out` are the shots that the editor had and did not use: others that are missing came into
    the storyboard later. `file` is where it stands, None for one made in Python.
    """

    film: str
    fps: Fraction
    events: tuple[CutEvent, ...]
    left_out: tuple[str, ...] = ()
    source: str = ""
    file: str | None = field(default=None, compare=False)


class _Event(Strict):
    """One piece of the film."""

    shot: f.Id
    take: Annotated[int, Field(ge=1)] | None = None
    in_: Annotated[int, Field(alias="in")]
    out: int
    transition: f.Transition | None = None
    end: f.Transition | None = None


class _File(Strict):
    """A cut list."""

    storyflow: Literal[1] = 1
    film: f.Text
    fps: f.Rate
    edit: f.Text | None = None
    cut: Annotated[tuple[_Event, ...], Field(min_length=1)]
    left_out: tuple[f.Id, ...] = ()


def cut_path(storyboard: Path) -> Path:
    """`x.cut.yaml` beside `x.yaml`."""
    return storyboard.with_name(f"{storyboard.stem}.cut.yaml")


def read_cut(path: Path) -> CutList | None:
    """The cut list in a file; None where there is no file.

    Raises StoryboardError with line and cure for a file that is no cut list.
    """
    if not path.exists():
        return None
    document = inspect_document(path)
    if document.problems:
        raise StoryboardError(document.problems)
    file = validate(_File, document, error=StoryboardError)
    problems: list[Problem] = []
    events = tuple(
        _event(event, file.fps, index, document, problems) for index, event in enumerate(file.cut)
    )
    if problems:
        raise StoryboardError(problems)
    return CutList(file.film, file.fps, events, file.left_out, file.edit or "", str(path))


def cut_schema() -> dict[str, Any]:
    """The JSON Schema of cut lists, draft 2020-12."""
    made = _File.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "storyflow cut list",
    }


def cut_text(cut: CutList) -> str:
    """The content of a cut list's file: the same text for equal lists, a line for each piece."""
    lines = [HEADER + "storyflow: 1", f"film: {_quoted(cut.film)}", f"fps: {_quoted(str(cut.fps))}"]
    if cut.source:
        lines.append(f"edit: {_quoted(cut.source)}")
    lines.append("cut:")
    for event in cut.events:
        words = [f"shot: {_quoted(event.shot)}"]
        if event.take is not None:
            words.append(f"take: {event.take}")
        words += [f"in: {event.start}", f"out: {event.stop}"]
        for name, joint in (("transition", event.into), ("end", event.out)):
            if joint.kind != "cut":
                words.append(f"{name}: {_quoted(_cue_text(joint))}")
        lines.append(f"- {{{', '.join(words)}}}")
    if cut.left_out:
        lines.append(f"left_out: [{', '.join(map(_quoted, cut.left_out))}]")
    return "\n".join(lines) + "\n"


def _event(
    event: _Event, fps: Fraction, index: int, document: Document, problems: list[Problem]
) -> CutEvent:
    def wrong(key: str, what: str, value: object, cure: str) -> None:
        line, column = document.where(("cut", index, key))
        path = f"cut.{index}.{key}"
        problems.append(
            Problem("cut-list", what, path, value, cure, document.file, line, column, event.shot)
        )

    if event.out <= event.in_:
        wrong("out", f"it ends before it begins, at frame {event.in_}", event.out, "raise 'out'")
    joints = {}
    for key, cue in (("transition", event.transition), ("end", event.end)):
        joints[key] = Transition() if cue is None else _transition(cue, fps)
        if joints[key].frames > max(1, event.out - event.in_):
            wrong(key, "it is longer than the piece that it belongs to", str(cue), "shorten it")
    if joints["end"].kind not in ("cut", "fade"):
        what = "a piece ends in a cut or a fade"
        wrong("end", what, str(event.end), "write a dissolve as the next one's 'transition'")
    if index == 0 and joints["transition"].kind not in ("cut", "fade"):
        what = "nothing stands before the first piece to come from"
        wrong("transition", what, str(event.transition), "use a fade")
    line, column = document.where(("cut", index))
    where = Where(document.file, line, column)
    return CutEvent(
        event.shot,
        event.in_,
        event.out,
        event.take,
        joints["transition"],
        joints["end"],
        where,
    )


def _transition(cue: Cue, fps: Fraction) -> Transition:
    frames = 0 if cue.dur is None else max(1, round(cue.dur.to_frames(fps)))
    return Transition(cue.kind, 0 if cue.kind == "cut" else frames, cue.color, cue.way)


def _cue_text(joint: Transition) -> str:
    """As `parse_cue` reads it."""
    return str(Cue(joint.kind, Duration(frames=joint.frames), joint.color, joint.way))


def _quoted(text: str) -> str:
    """As a double-quoted scalar: nothing in it is taken for YAML."""
    import json

    return json.dumps(text, ensure_ascii=False)
