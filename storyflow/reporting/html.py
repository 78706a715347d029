"""HTML pages that open offline and ask for nothing: one template, its own style and script.

What a page shows can be anybody's text, so templates escape everything, and a page forbids itself
all that isn't its own: only its style and script run, known by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

BASE = Path(__file__).with_name("base.css")
"""The style that all pages begin with: colours, type, tables, chips."""


def policy(style: str, script: str, more: Sequence[str] = ()) -> str:
    """The content security policy of a page with this style and script; `more` are allowances."""
    return "; ".join(
        (
            "default-src 'none'",
            "img-src data:",
            *more,
            f"style-src 'sha256-{_hash(style)}'",
            f"script-src 'sha256-{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


@cache
def template(file: Path) -> Template:
    """A template that escapes all that it is given, and fails on what it isn't given."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(file.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(file.name)


def texts(*files: Path) -> str:
    """The text of some files, one after the other."""
    return "".join(file.read_text("utf-8") for file in files)


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
