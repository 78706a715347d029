"""Draws the pictures and the clip that storyboards/every-mode.yaml starts from.

    python tests/draw_every_mode.py

They are scenes of the toy world, so the embedded model has seen their like.
"""

from __future__ import annotations

from pathlib import Path

from media_files import clip_file, picture_file

from storyflow.toybox.world import Figure, Scene, Turn, draw

REFS = Path(__file__).parent.parent / "storyboards" / "refs"

HEART = Scene(
    seed=3,
    figures=(Figure("heart", "pink", 12.0, 48.0, 40.0),),
    turns=(Turn(0, ("rest",)),),
    place="meadow",
    light="day",
    camera="static",
)
STAR = Scene(
    seed=5,
    figures=(Figure("star", "yellow", 12.0, 48.0, 46.0),),
    turns=(Turn(0, ("up",)),),
    place="snow",
    light="night",
    camera="static",
)
BALL = Scene(
    seed=9,
    figures=(Figure("circle", "red", 12.0, 26.0, 42.0),),
    turns=(Turn(0, ("right",)),),
    place="desert",
    light="day",
    camera="static",
)


def main() -> None:
    """Write the files anew."""
    picture_file(REFS / "heart.png", draw(HEART, 1)[0])
    picture_file(REFS / "star-low.png", draw(STAR, 1)[0])
    picture_file(REFS / "star-high.png", draw(STAR, 1, 72)[0])
    tags = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}
    options = {"crf": "14", "preset": "slow"}
    clip_file(REFS / "ball.mp4", list(draw(BALL, 33)), tags=tags, options=options)


if __name__ == "__main__":
    main()
