"""The page: the facts of a film as one HTML file that opens offline and asks for nothing.

Prompts are anybody's text: see `html.py`. Beside its own pictures it shows the videos beside it.
"""

from __future__ import annotations

import json
from pathlib import Path

from storyflow.reporting.facts import FilmFacts
from storyflow.reporting.html import BASE, policy, template, texts

_HERE = Path(__file__).parent

KEYS = (
    (("Space",), "play, pause"),
    (("←", "→"), "one frame back, on; with Shift one second"),
    (("k", "j"), "shot before, next shot"),
    (("[", "]"), "seam or cut before, next one"),
    (("Home", "End"), "first frame, last frame"),
    (("z",), "plots of this shot, of the whole film"),
    (("f",), "let the list of shots follow the film"),
    (("/",), "find shots"),
    (("t",), "light, dark"),
    (("?",), "this help"),
)
"""Every key of the page with what it does, for its help."""


def page(facts: FilmFacts) -> str:
    """The HTML of a report."""
    style = texts(BASE, _HERE / "report.css")
    script = texts(_HERE / "drawing.js", _HERE / "report.js")
    return template(_HERE / "report.html").render(
        film=facts,
        data=_data(facts),
        style=style,
        script=script,
        policy=policy(style, script, ("media-src 'self' file:",)),
        keys=KEYS,
    )


def _data(facts: FilmFacts) -> str:
    """What the script draws from, as JSON that can't end its block."""
    data = {
        "fps": [facts.fps.numerator, facts.fps.denominator],
        "frames": facts.frames,
        "shots": [
            {
                "id": shot.id,
                "start": shot.start,
                "stop": shot.stop,
                "missing": shot.missing is not None,
                "level": shot.level,
            }
            for shot in facts.shots
        ],
        "beats": [
            beat.frame
            for shot in facts.shots
            for beat in shot.beats[1:]
            if beat.frame is not None and beat.frame > shot.start
        ],
        "seams": [{"frame": seam.frame, "kind": seam.kind} for seam in facts.seams],
        "titles": [[span.start, span.stop, span.text] for span in facts.titles],
        "blends": [[span.start, span.stop, span.text] for span in facts.blends],
        "remarks": [
            [remark.frame, remark.level, remark.text]
            for remarks in (facts.remarks, *(shot.remarks for shot in facts.shots))
            for remark in remarks
            if remark.frame is not None
        ],
        "panels": [
            {
                "name": panel.name,
                "unit": panel.unit,
                "marks": panel.marks,
                "dots": panel.dots,
                "lines": [
                    {"label": line.label, "low": line.low, "high": line.high, "data": line.data}
                    for line in panel.lines
                    if line.data
                ],
            }
            for panel in facts.panels
        ],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
