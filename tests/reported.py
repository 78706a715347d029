"""A small film with all that a report tells of: beats, seams, takes, a missing shot, titles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from films import SMALL, Studio

from storyflow.reporting.facts import FilmFacts

HOSTILE = "</script><img src=x onerror=alert(1)> & \"quotes\" 'too'"

TEXT = f"""\
film: A <b>report</b>
scenes:
- scene: EXT. SHORE - DUSK
  shots:
  - {{id: 1A, dur: 3s, do: a red circle rolls, in: fade black 1s, title: {{text: ONE, at: 1s, dur: 1s}}}}
  - id: 1B
    in: dissolve 1s
    takes: 2
    beats:
    - {{dur: 4s, do: a blue star hops}}
    - {{dur: 5s, do: it turns left, say: Is it out?}}
- scene: INT. TOWER - NIGHT
  shots:
  - {{id: 2A, dur: 2s, do: '{HOSTILE.replace("'", "''")}'}}
  - {{id: 2B, dur: 2s, do: it fails}}
"""  # noqa: E501

SETTINGS = (*SMALL, "frame=192x112", "deliver.report=true", "slate.fail={2B/1: -1}")


def reported(factory: pytest.TempPathFactory) -> Path:
    """The film's folder, rendered once for all tests; they must not change it."""
    folder = factory.getbasetemp() / "reported"
    if not folder.exists():
        folder.mkdir()
        Studio(folder, TEXT).render(settings=SETTINGS)
    return folder / "out"


def long_film(facts: FilmFacts, shots: int) -> FilmFacts:
    """A film of so many shots, the same ones over and over."""
    made = []
    at = 0
    for index in range(shots):
        shot = facts.shots[index % len(facts.shots)]
        length = shot.stop - shot.start
        made.append(replace(shot, id=f"{index + 1}", start=at, stop=at + length, takes=()))
        at += length
    return replace(facts, shots=tuple(made), frames=at, panels=(), video=None)
