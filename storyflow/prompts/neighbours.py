"""What the enhancer is told about a beat: what is fixed, and what lies around it.

Neighbours are context and nothing more: they make people, weather and light agree across a scene,
but a prompt is not out of date when one of them changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from storyflow.prompts.caption import ShotCaption, to_json
from storyflow.prompts.compose import compose
from storyflow.prompts.describe import describe
from storyflow.storyboard.resolved import ResolvedBeat, ResolvedFilm, ResolvedShot

BeatKey = tuple[str, int]
"""A shot's id and the number of a beat in it, from 0."""

REACH = 3
"""Shots told of on either side, within the scene."""


@dataclass(frozen=True)
class Context:
    """What is known of a film besides its storyboard.

    `written` are captions of beats that already have their words, `shown` by shot what its start
    picture or clip shows, `looks` by cast member what the reference picture shows, as the captioner
    read them.
    """

    written: Mapping[BeatKey, ShotCaption] = field(default_factory=dict)
    shown: Mapping[str, ShotCaption] = field(default_factory=dict)
    looks: Mapping[str, ShotCaption] = field(default_factory=dict)


class Surroundings:
    """Tells about each beat of one film. `alone` leaves the other shots out: they are strangers."""

    def __init__(self, film: ResolvedFilm, context: Context, *, alone: bool = False) -> None:
        self._film = film
        self._context = context
        self._alone = alone
        self._stated: dict[BeatKey, ShotCaption] = {}
        self._by_id = {shot.id: shot for shot in film.shots}
        self._scenes: dict[int, list[ResolvedShot]] = {}
        for shot in film.shots:
            self._scenes.setdefault(shot.scene, []).append(shot)

    def scene(self, shot: ResolvedShot) -> list[ResolvedShot]:
        """All shots of the same scene, this one alone where they are strangers."""
        return [shot] if self._alone else self._scenes[shot.scene]

    def stated(self, key: BeatKey) -> ShotCaption:
        """What the storyboard says about a beat."""
        if key not in self._stated:
            shot = self._by_id[key[0]]
            self._stated[key] = describe(shot, shot.beats[key[1]])
        return self._stated[key]

    def tell(self, shot: ResolvedShot, number: int, models: Mapping[str, ShotCaption]) -> str:
        """The question about one beat. `models` are captions to agree with, by what they are of."""
        beat = shot.beats[number]
        parts = [
            f"The storyboard states this about the shot; empty fields are yours to fill:\n"
            f"{to_json(self.stated((shot.id, number)))}",
            self._fixed(shot, beat),
            self._moment(shot, number),
            "" if self._alone else self._around(shot),
            *(
                f"Already written, and to agree with in all but what is done, {name}:\n"
                f"{to_json(caption)}"
                for name, caption in models.items()
            ),
            "Write the full description of this shot as one JSON object.",
        ]
        return "\n\n".join(part for part in parts if part)

    def _fixed(self, shot: ResolvedShot, beat: ResolvedBeat) -> str:
        """What stands fast about who is there, where and how it looks, in the author's words."""
        lines = [f"{each.name} looks like this: {each.look}" for each in beat.who if each.look]
        for each in beat.who:
            seen = self._context.looks.get(each.name)
            if seen is not None and seen.subjects:
                lines.append(f"a picture of {each.name} shows: {seen.subjects[0].appearance}")
        if beat.place is not None:
            lines.append(f"the place: {beat.place.look or beat.place.name}")
        if beat.style:
            lines.append(f"the style of the film: {', '.join(beat.style)}")
        heading = self._film.scenes[shot.scene].heading if self._film.scenes else None
        if heading and not self._alone:
            lines.append(f"the scene: {heading}")
        shown = self._context.shown.get(shot.id)
        if shown is not None:
            lines.append(f"the picture that the shot starts from shows: {to_json(shown)}")
        if shot.follows is not None and shot.follows in self._by_id:
            source = self._by_id[shot.follows]
            last = (source.id, len(source.beats) - 1)
            said = self._context.written.get(last) or self.stated(last)
            lines.append(f"the shot goes on, without a cut, from this one: {to_json(said)}")
        return "Fixed:\n" + "\n".join(f"- {line}" for line in lines) if lines else ""

    def _moment(self, shot: ResolvedShot, number: int) -> str:
        """The place of a beat among the others of its shot."""
        if len(shot.beats) == 1:
            return ""
        lines = [
            f"- {each.do}{' (this is what you describe)' if place == number else ''}"
            for place, each in enumerate(shot.beats)
            if abs(place - number) <= REACH
        ]
        return "The shot goes on without a cut through these moments:\n" + "\n".join(lines)

    def _around(self, shot: ResolvedShot) -> str:
        """The shots before and after in the scene, in a sentence or two each."""
        scene = self.scene(shot)
        here = next(place for place, each in enumerate(scene) if each.id == shot.id)
        lines = []
        for place in range(max(0, here - REACH), min(len(scene), here + REACH + 1)):
            each = scene[place]
            said = "this shot" if place == here else compose(self.stated((each.id, 0)))
            lines.append(f"- {said}")
        return "The scene around it, in order:\n" + "\n".join(lines) if len(lines) > 1 else ""
