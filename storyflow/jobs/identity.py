"""What a job is called: the film's name, the plan's hash, the attempt."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from storyflow.cutting.label import label_of
from storyflow.errors import InputError
from storyflow.pipeline import DeliverSection
from storyflow.planning.keys import canonical
from storyflow.planning.nodes import CutEntry, Plan
from storyflow.storyboard.model import Film

NAME_LENGTH = 40
"""Longest name of a film in a job's id."""

SERIES = "series-"
"""What the names of series begin with on a cluster, where films have theirs."""


def film_name(film: Film, name: str | None = None) -> str:
    """The film's name on the cluster: `name`, else its file's, else its title's; a slug.

    Raises InputError for a name without a letter or digit.
    """
    if name is not None:
        if not (found := slug(name)):
            raise InputError(f"--name {name!r} has no letter or digit", cure="name the film")
        return found
    file = film.origin.file
    return slug(Path(file).stem if file else film.film) or "film"


def slug(text: str) -> str:
    """Small letters, digits and single hyphens, at most 40; what was cut off leaves its hash.

    Accents are dropped; a text in another script becomes its hash.
    """
    plain = unicodedata.normalize("NFKD", text.strip().lower())
    bare = "".join(c for c in plain if not unicodedata.combining(c))
    made = re.sub(r"[^a-z0-9]+", "-", bare).strip("-")
    letters = sum(c.isalnum() for c in bare)
    kept = sum(c.isalnum() for c in made)
    if letters and (kept < letters or len(made) > NAME_LENGTH):
        tail = hashlib.sha256(text.encode()).hexdigest()[:6]
        made = f"{made[: NAME_LENGTH - 7].strip('-')}-{tail}".strip("-")
    return made


def plan_id(plan: Plan, deliver: DeliverSection, shots: Iterable[str] | None) -> str:
    """12 hex digits: equal where the same frames are rendered and cut into the same film.

    The keys of what is held and the recipes of the rest stand for pixels; cut, titles, delivery and
    what is written on the file for the film that is made of them; `shots` for a run that is limited
    to some.
    """
    takes = [
        [take.shot.id, take.take, [segment.key or segment.recipe for segment in take.segments]]
        for take in plan.takes
    ]
    cut = [[_cut().dump_python(entry, exclude=_TITLES), _titles(entry)] for entry in plan.cut]
    body = {
        "title": plan.title,
        "pipeline": plan.pipeline,
        "fps": str(plan.fps),
        "size": [plan.size.width, plan.size.height],
        "takes": takes,
        "cut": cut,
        "deliver": deliver.model_dump(mode="json"),
        "about": plan.about,
        "chapters": [[c.name, c.start, c.stop] for c in label_of(plan, deliver).chapters],
        "shots": None if shots is None else sorted(shots),
        # Its words are not known yet, only who will write them.
        **({"writer": plan.writer} if plan.writer else {}),
    }
    return hashlib.sha256(canonical(body).encode()).hexdigest()[:12]


def job_id(film: str, plan: str, attempt: int) -> str:
    """`swan-3f9c1a2b4d5e-1`."""
    return f"{film}-{plan}-{attempt}"


_TITLES = {"titles"}


def _titles(entry: CutEntry) -> list[list[object]]:
    """What is seen of titles, without where they are written."""
    return [[t.text, t.at, t.frames, t.style, t.ground] for t in entry.titles]


@cache
def _cut() -> TypeAdapter[CutEntry]:
    return TypeAdapter(CutEntry)
