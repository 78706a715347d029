"""The page: the facts of a film as one HTML file that opens offline and asks for nothing.

Prompts are anybody's text, so everything is escaped by the template, and the page forbids itself
all that isn't its own: only its own style and script, known by their hashes, its pictures, and the
videos beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from storyflow.reporting.facts import FilmFacts

if TYPE_CHECKING:
    from jinja2 import Template

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
    style, script = _text("report.css"), _text("drawing.js") + _text("report.js")
    return _template().render(
        film=facts,
        data=_data(facts),
        style=style,
        script=script,
        policy=_policy(style, script),
        keys=KEYS,
    )


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            "media-src 'self' file:",
            f"style-src 'sha256-{_hash(style)}'",
            f"script-src 'sha256-{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


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


def _text(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
