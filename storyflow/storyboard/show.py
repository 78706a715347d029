"""The resolved film as a storyboard: `storyflow show --resolved`."""

from __future__ import annotations

import re
from pathlib import Path

from storyflow.storyboard.clock import as_time
from storyflow.storyboard.cues import Cue
from storyflow.storyboard.dump import rate_text, to_yaml
from storyflow.storyboard.resolved import Mode, ResolvedBeat, ResolvedFilm, ResolvedShot, Transition
from storyflow.timing import Duration

_SHOT = re.compile(r"\s*- id: ")
_MODES: dict[Mode, str] = {
    "text": "text to video",
    "image": "image to video",
    "first-last": "first and last frame",
    "extend": "extends a clip",
    "continue": "continues a shot",
}


def resolved_yaml(film: ResolvedFilm, root: Path | None = None) -> str:
    """The film with every default written out; it loads again as a storyboard that means the same.
    A comment tells each shot's mode, which is never written.

    Files are named from `root` (the storyboard's folder; without it, the current one).
    """
    base = (root or Path.cwd()).resolve()
    cast: dict[str, object] = {}
    places: dict[str, object] = {}
    for beat in (beat for shot in film.shots for beat in shot.beats):
        for character in beat.who:
            ref = {} if character.ref is None else {"ref": _relative(character.ref, base)}
            cast[character.name] = {"look": character.look, **ref}
        if beat.place is not None:
            places[beat.place.name] = {"look": beat.place.look}
    data: dict[str, object] = {
        "storyflow": 1,
        "film": film.title,
        "length": as_time(film.frames, film.fps),
        "fps": rate_text(film.fps),
        "frame": None if film.size is None else str(film.size),
        "handles": f"{film.handles}f",
        "about": film.about or None,
        "seed": film.seed,
        "cast": cast or None,
        "places": places or None,
    }
    shots = [_shot(shot, film, base) for shot in film.shots]
    if len(film.scenes) == 1 and film.scenes[0].heading is None:
        data["shots"] = shots
    else:
        data["scenes"] = [
            _said(
                scene=scene.heading,
                shots=[
                    written
                    for shot, written in zip(film.shots, shots, strict=True)
                    if shot.scene == number
                ],
            )
            for number, scene in enumerate(film.scenes)
        ]
    return _with_modes(to_yaml(_said(**data)), film)


def _with_modes(text: str, film: ResolvedFilm) -> str:
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _SHOT.match(line)]
    if len(starts) == len(film.shots):  # else a text of the author's looks like a shot
        for number, shot in zip(starts, film.shots, strict=True):
            lines[number] += f"  # {_MODES[shot.mode]}"
    return "\n".join(lines)


def _shot(shot: ResolvedShot, film: ResolvedFilm, base: Path) -> dict[str, object]:
    beats = [_beat(beat, film) for beat in shot.beats]
    only = beats[0] if len(beats) == 1 else {}
    start = shot.follows or (None if shot.source is None else _relative(shot.source, base))
    return {
        "id": shot.id,
        **_said(
            **{
                "from": start,
                "to": None if shot.end is None else _relative(shot.end, base),
                "fit": shot.fit if shot.source is not None else None,
                "in": _cue(shot.into),
                **only,
                "out": _cue(shot.out),
                "takes": shot.takes,
                "take": shot.take,
                "seed": shot.seed,
                "note": shot.note,
                "title": [
                    {
                        "text": title.text,
                        "as": title.style,
                        "at": as_time(title.at, film.fps),
                        "dur": as_time(title.frames, film.fps),
                        **({"ground": title.ground} if title.style == "card" else {}),
                    }
                    for title in shot.titles
                ]
                or None,
                "beats": None if only else beats,
            }
        ),
    }


def _beat(beat: ResolvedBeat, film: ResolvedFilm) -> dict[str, object]:
    return _said(
        dur=as_time(beat.frames, film.fps),
        size=beat.size,
        angle=beat.angle,
        view=beat.view,
        do=beat.do,
        say=beat.say,
        feel=beat.feel,
        who=[character.name for character in beat.who] or None,
        move=beat.move,
        lens=beat.lens,
        light=beat.light,
        place=None if beat.place is None else beat.place.name,
        style=", ".join(beat.style) or None,
        avoid=", ".join(beat.avoid) or None,
    )


def _cue(transition: Transition) -> str | None:
    """Written out only where there is something to see: a cut is what happens without."""
    if transition.kind == "cut":
        return None
    dur = Duration(frames=transition.frames)
    return str(Cue(transition.kind, dur, transition.color, transition.way))


def _said(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _relative(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
