"""Writes docs/prompts.md: how prompts are made and kept, and the composer's of many shots.

python tests/prompts_page.py > docs/prompts.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storyflow.prompts.describe import prompt_for
from storyflow.storyboard.grammar import move_prose, word_for
from storyflow.storyboard.resolved import Character, Place, ResolvedBeat, ResolvedShot

ABOUT = Path(__file__).with_suffix(".md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Line:
    """One beat as its author writes it. `who` names those who are there without being named."""

    do: str
    who: str = ""
    size: str = ""
    angle: str = ""
    view: str = ""
    move: str = ""
    lens: str = ""
    feel: str = ""
    say: str = ""

    def facts(self) -> str:
        """The fields that the author filled, as they stand in a storyboard."""
        names = ("size", "angle", "view", "lens", "who", "feel", "say", "move")
        stated = [(name, getattr(self, name)) for name in names if getattr(self, name)]
        written = [f"{name}: {_quoted(text)}" for name, text in (*stated, ("do", self.do))]
        return f"{{{', '.join(written)}}}"


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"\w[\w -]*", text) else f'"{text}"'


@dataclass(frozen=True)
class Scene:
    """What some shots of a film have in common."""

    lines: tuple[Line, ...]
    place: str = ""
    light: str = ""
    style: str = ""
    cast: tuple[tuple[str, str], ...] = ()

    def beats(self) -> Iterator[tuple[Line, ResolvedBeat]]:
        """Every line with all defaults applied."""
        looks = {name: Character(name, look) for name, look in self.cast}
        for line in self.lines:
            names = dict.fromkeys([*line.who.split(), *re.findall(r"@(\w+)", line.do)])
            yield (
                line,
                ResolvedBeat(
                    frames=96,
                    do=line.do,
                    say=line.say or None,
                    feel=line.feel or None,
                    size=word_for("size", line.size) if line.size else None,
                    angle=word_for("angle", line.angle) if line.angle else None,
                    view=word_for("view", line.view) if line.view else None,
                    move=move_prose(line.move) if line.move else None,
                    lens=line.lens or None,
                    light=self.light or None,
                    place=Place("place", self.place) if self.place else None,
                    who=tuple(looks[name] for name in names),
                    style=(self.style,) if self.style else (),
                ),
            )


KEEPER_CAST = (("keeper", "man of sixty, navy coat"), ("girl", "girl of ten, yellow raincoat"))
KEEPER_STYLE = "35mm film, muted teal and amber"
FILMS: tuple[tuple[str, tuple[Scene, ...]], ...] = (
    ("Swan", (Scene((Line("a white swan crosses a misty lake at dawn"),)),)),
    (
        "The Keeper",
        (
            Scene(
                (
                    Line("@keeper climbs", size="LS", angle="low", move="crane up"),
                    Line("the flame shudders, dims", size="ECU"),
                    Line("he sets the lamp down", size="MS", who="keeper"),
                    Line("he wipes the lens", size="MS", who="keeper"),
                    Line("he turns, startled", size="CU", who="keeper", feel="surprise"),
                    Line("the door rattles", size="MS"),
                ),
                place="lighthouse stair, oil lamp",
                light="warm lamp light",
                style=KEEPER_STYLE,
                cast=KEEPER_CAST,
            ),
            Scene(
                (
                    Line("waves break", size="LS", view="aerial"),
                    Line("the camera finds @girl", size="MS"),
                    Line("@girl looks up", size="CU", say="Is it out?"),
                    Line("@keeper reaches for @girl", size="MS", view="OTS"),
                    Line("they run", size="LS", who="keeper girl"),
                ),
                place="cliff, white lighthouse",
                light="cold moonlight, rain",
                style=KEEPER_STYLE,
                cast=KEEPER_CAST,
            ),
            Scene(
                (
                    Line("the sea lies flat", size="LS"),
                    Line("@keeper and @girl share bread", size="MS"),
                    Line("@girl sleeps", size="CU"),
                    Line("the beam goes out", size="LS"),
                ),
                place="cliff, white lighthouse",
                light="pale gold mist",
                style=KEEPER_STYLE,
                cast=KEEPER_CAST,
            ),
        ),
    ),
    (
        "Night Shift",
        (
            Scene(
                (
                    Line(
                        "@mara's hands count the till", size="ECU", angle="high", lens="100mm macro"
                    ),
                    Line(
                        "@mara looks at @cop; @cop looks away",
                        size="MS", view="side", say="You're early.", feel="contempt",
                    ),
                    Line("he drops a coin", who="mara cop", size="CU", move="slow push in"),
                    Line("she laughs, and the neon dies", who="mara", feel="a crooked smile"),
                ),
                place="all-night diner, chrome counter, rain on the windows",
                light="green neon from the left, deep shadows",
                style="black and white, high contrast",
                cast=(
                    ("mara", "woman of forty, red hair, white apron, tired eyes"),
                    ("cop", "young policeman, wet uniform"),
                ),
            ),
        ),
    ),
    (
        "The Fox and the Well",
        (
            Scene(
                (
                    Line("@fox trots through the snow", size="FS", view="side", move="track right"),
                    Line("it sniffs the air", who="fox", size="CU", view="front", feel="curious"),
                    Line("the old @owl watches @fox", size="MS", angle="low"),
                    Line("they look into the well", who="fox owl", view="overhead", move="static"),
                ),
                place="a birch forest in deep snow",
                light="blue dusk",
                style="hand-drawn animation, soft pencil lines",
                cast=(
                    ("fox", "small red fox, white-tipped tail"),
                    ("owl", "grey owl, one blind eye"),
                ),
            ),
        ),
    ),
    (
        "Shapes",
        (
            Scene(
                (
                    Line("@ball rolls to the right", move="pan right"),
                    Line("@ball bounces and @square slides left", size="LS"),
                    Line("a yellow star falls slowly", move="zoom in"),
                ),
                place="green meadow",
                light="bright daylight",
                cast=(("ball", "large red ball"), ("square", "small blue square")),
            ),
        ),
    ),
    (
        "Harbour",
        (
            Scene(
                (
                    Line(
                        "fishermen unload crates. A gull lands on a mast",
                        size="LS", view="overlooking", move="handheld",
                    ),
                    Line("@ana mends a net", view="back", angle="eye", lens="50mm, shallow focus"),
                    Line("walking home", who="ana", size="FS", view="front", feel="quiet joy"),
                ),
                place="harbour of a small town",
                light="late sun through haze",
                style="documentary footage",
                cast=(("ana", "Ana, a fisherwoman in oilskins"),),
            ),
        ),
    ),
)  # fmt: skip


def page() -> str:
    """The whole page as markdown."""
    return "\n".join([ABOUT, *(text for film in FILMS for text in _film(*film))])


def shots() -> int:
    """How many shots the page shows."""
    return sum(len(scene.lines) for _, scenes in FILMS for scene in scenes)


def _film(title: str, scenes: tuple[Scene, ...]) -> Iterator[str]:
    yield f"### {title}\n"
    for scene in scenes:
        common = {"style": scene.style, "place": scene.place, "light": scene.light}
        lines = [f"- {name}: {text}" for name, text in common.items() if text]
        lines += [f"- @{name}: {look}" for name, look in scene.cast]
        if lines:
            yield "\n".join(lines) + "\n"
        for line, beat in scene.beats():
            prompt = prompt_for(ResolvedShot("1", "", 0, "text", (beat,)), beat)
            yield f"`{line.facts()}`\n\n> {prompt}\n"


if __name__ == "__main__":
    print(page(), end="")
