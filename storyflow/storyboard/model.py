"""The storyboard as its author wrote it: Film > Scene > Shot > Beat.

    film = Film(film="Swan", shots=[Shot(do="a white swan crosses a lake", dur="5s")])

The same checks run whether a film is built here or read from a file. What the words mean together
(defaults, times, names, references) is `resolve.py`'s business. The docstrings of the fields are
what editors show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from storyflow.documents import Strict, problems_of
from storyflow.errors import StoryboardError
from storyflow.storyboard import fields as f
from storyflow.storyboard.resolved import Where
from storyflow.yamltree import Mark


@dataclass(frozen=True)
class Origin:
    """Where something was read from. Two origins are always equal: a film is what it says.

    `placed` are files that lie elsewhere than where the author's texts name them, by these texts.
    """

    file: str | None = field(default=None, compare=False)
    mark: Mark | None = field(default=None, compare=False, repr=False)
    root: Path | None = field(default=None, compare=False)
    placed: Mapping[str, Path] = field(default_factory=dict, compare=False, repr=False)

    def where(self, *path: str | int) -> Where:
        """The place of the value at `path` within this, or of the nearest thing around it."""
        mark = self.mark
        if mark is None:
            return Where(self.file)
        for part in path:
            mark = mark.children.get(part, mark)
        return Where(self.file, mark.line, mark.column)


class Authored(Strict):
    """Base of what an author writes. `bare` is the key that a plain text stands for.

    Authors give plain values ("5s"), so type checkers see constructors that take anything.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)
    bare: ClassVar[str | None] = None
    _origin: Origin = PrivateAttr(default_factory=Origin)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise StoryboardError(problems_of(error, None, type(self))) from None

    # Pydantic calls a custom __init__ also for nested data, which would stop at the first mistake.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @property
    def origin(self) -> Origin:
        """Where this was read from; empty for objects built in Python."""
        return self._origin

    def came_from(self, origin: Origin) -> None:
        """Remember where this was read from; equality does not look at it."""
        self._origin = origin

    @model_validator(mode="before")
    @classmethod
    def _from_bare(cls, data: object) -> object:
        if cls.bare and isinstance(data, str | int | float) and not isinstance(data, bool):
            return {cls.bare: data}
        return data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        made = handler(schema)
        if cls.bare is None:
            return made
        resolved = handler.resolve_ref_schema(made)
        whole = dict(resolved)
        resolved.clear()
        resolved["anyOf"] = [{"type": ["string", "number"]}, whole]
        resolved["title"] = whole.get("title", cls.__name__)
        return made


class Looks(Authored):
    """What every level from film defaults to beat can say; the narrower level wins."""

    size: f.ShotSize | None = None
    """How much of the subject fills the picture: ECU, CU, MS, FS, LS or the captioner's words."""
    angle: f.ShotAngle | None = None
    """The camera's height towards the subject: eye, high, low, dutch."""
    view: f.ShotView | None = None
    """The side from which the subject is seen: front, back, side, OTS, POV, overhead, aerial."""
    move: f.Move | None = None
    """Camera motion: static, pan left, tilt up, push in, pull out, zoom in, crane up, truck right,
    tracking, handheld, orbit, with slow or fast; or your own words."""
    lens: f.Text | None = None
    """The lens and its look: 85mm, anamorphic, shallow focus."""
    light: f.Text | None = None
    """The light: warm lamp light."""
    place: f.Name | None = None
    """The name of one of the film's places."""
    feel: f.Feeling | None = None
    """The expression: neutral, anger, disgust, fear, happiness, sadness, surprise, or words."""
    who: f.Names | None = None
    """Names from the cast that are in the picture, also where the text does not name them."""
    style: f.Text | None = None
    """Style, added to the style of the levels above."""
    avoid: f.Text | None = None
    """What should not be seen, added to the levels above."""


class Defaults(Looks):
    """What shots say when they say nothing."""

    dur: f.Length | None = None
    """How long a shot lasts in the cut. Without any: 4s."""
    fit: f.Fit | None = None
    """How pictures of another shape fill the frame: crop or pad."""
    takes: f.Takes | None = None
    """How many takes of each shot are rendered."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class CastMember(Authored):
    """A character: what prompts say wherever a shot names it."""

    bare: ClassVar[str | None] = "look"
    look: f.Text
    """What the character looks like: man of sixty, navy coat."""
    ref: f.Reference | None = None
    """A picture of the character, in the storyboard's folder."""
    note: f.Lines | None = None
    """A note to people; no part of any prompt."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class PlaceLook(Authored):
    """A place: what prompts say of shots that play there."""

    bare: ClassVar[str | None] = "look"
    look: f.Text
    """What the place looks like: lighthouse stair, oil lamp."""
    note: f.Lines | None = None
    """A note to people; no part of any prompt."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Title(Authored):
    """Text over the picture."""

    bare: ClassVar[str | None] = "text"
    text: f.Lines
    """The words; a line break stays one."""
    as_: Annotated[f.TitleStyle | None, Field(alias="as")] = None
    """center: large, in the middle; lower third: at the bottom left, on a plate, the first line
    larger; card: in the middle of a ground that hides the picture. Without: center."""
    ground: f.Color | None = None
    """What is behind a card: black, white or "#204060". Without: black."""
    at: f.Time | None = None
    """When it appears, counted from the shot's beginning. Without: at once."""
    dur: f.Length | None = None
    """How long it stays. Without: to the next title in its place, or to the end of the shot."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Beat(Looks):
    """A stretch of a shot with its own prompt. A plain text is a beat that does that."""

    bare: ClassVar[str | None] = "do"
    dur: f.Length | None = None
    """How long it lasts. One beat of a shot may leave it out and takes the rest."""
    do: f.Text | None = None
    """What happens; @name names a member of the cast."""
    say: f.Text | None = None
    """What is said."""
    note: f.Lines | None = None
    """A note to people; no part of any prompt."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int | float | Mapping | Title) else value


class Shot(Looks):
    """One uncut piece of screen time. A plain text is a shot that shows that."""

    bare: ClassVar[str | None] = "do"
    id: f.Id | None = None
    """The shot's name in messages, files and references: 1A. Without: one is assigned."""
    dur: f.Length | None = None
    """How long it lasts in the cut: 8s, 1:30 or 192f."""
    do: f.Text | None = None
    """What happens; @name names a member of the cast. Not beside beats."""
    say: f.Text | None = None
    """What is said. Not beside beats."""
    beats: tuple[Beat, ...] | None = None
    """The stretches of a shot that changes what happens."""
    from_: Annotated[f.Reference | None, Field(alias="from")] = None
    """What it begins with: a picture, a clip to extend, `prev`, or the id of a shot to continue."""
    to: f.Reference | None = None
    """A picture that it ends with."""
    fit: f.Fit | None = None
    """How pictures of another shape fill the frame: crop or pad."""
    in_: Annotated[f.Transition | None, Field(alias="in")] = None
    """How it begins: cut, dissolve 1s, wipe left 1s, fade black 1s."""
    out: f.Transition | None = None
    """How it ends: cut, dissolve 1s, wipe left 1s, fade black 1s."""
    title: Annotated[
        tuple[Title, ...], BeforeValidator(_as_list, json_schema_input_type=Title | list[Title])
    ] = ()
    """Text over the picture."""
    takes: f.Takes | None = None
    """How many takes are rendered."""
    take: f.Takes | None = None
    """The take that the cut uses."""
    seed: f.Seed | None = None
    """The seed of the first take. Without: made from the film's."""
    note: f.Lines | None = None
    """A note to people; no part of any prompt."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Scene(Authored):
    """Shots in one place and light."""

    scene: f.Text | None = None
    """The heading: INT. LIGHTHOUSE - NIGHT."""
    place: f.Name | None = None
    """The name of one of the film's places, for all shots of the scene."""
    light: f.Text | None = None
    """The light of all shots of the scene."""
    style: f.Text | None = None
    """Style, added to the film's."""
    avoid: f.Text | None = None
    """What should not be seen, added to the film's."""
    defaults: Defaults | None = None
    """What the scene's shots say when they say nothing."""
    in_: Annotated[f.Transition | None, Field(alias="in")] = None
    """How its first shot begins."""
    out: f.Transition | None = None
    """How its last shot ends."""
    note: f.Lines | None = None
    """A note to people; no part of any prompt."""
    shots: tuple[Shot, ...] = ()
    """The scene's shots, in the order of the cut."""
    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...


class Film(Authored):
    """A film: its look, its people and places, its shots or scenes."""

    storyflow: f.Version = 1
    """The version of this format."""
    film: f.Text
    """The film's title."""
    length: f.Length | None = None
    """The length of the film; the durations must sum to it."""
    fps: f.Rate | None = None
    """Frames per second. Without: 24."""
    frame: f.Frame | None = None
    """The picture's size; the pipeline profile's wins."""
    handles: f.Handles | None = None
    """Frames rendered before and after each shot, outside the cut. Without: none."""
    seed: f.Seed | None = None
    """The seed that all others are made from. Without: 0."""
    style: f.Text | None = None
    """The style of the whole film: 35mm film, muted teal."""
    avoid: f.Text | None = None
    """What should not be seen anywhere: text, watermark."""
    light: f.Text | None = None
    """The light, where scenes and shots say nothing."""
    place: f.Name | None = None
    """The place, where scenes and shots say nothing."""
    defaults: Defaults | None = None
    """What shots say when they say nothing."""
    cast: dict[f.Name, CastMember] = Field(default_factory=dict)
    """The characters by name."""
    places: dict[f.Name, PlaceLook] = Field(default_factory=dict)
    """The places by name."""
    note: f.Lines | None = None
    """A note to people; no part of any prompt."""
    about: f.Lines | None = None
    """What the film is about, for viewers: the description in the delivered files."""
    shots: tuple[Shot, ...] = ()
    """The film's shots, in the order of the cut, where it has no scenes."""
    scenes: tuple[Scene, ...] = ()
    """The film's scenes, in the order of the cut."""

    if TYPE_CHECKING:

        def __init__(self, /, **data: Any) -> None: ...

    def each_shot(self) -> Iterator[tuple[int, Scene, Shot]]:
        """Scene number from 0, scene and shot, in the order of the cut.

        A film without scenes is one scene without a heading.
        """
        for number, scene in enumerate(self.scenes or (Scene(shots=self.shots),)):
            for shot in scene.shots:
                yield number, scene, shot
