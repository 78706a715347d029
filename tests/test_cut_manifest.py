"""film.json names everything that the film is made of, and reads back equal."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
from cutting import Sketch, plan_of, render

from storyflow.cutting.cut import cut_film
from storyflow.cutting.manifest import (
    Manifest,
    make_manifest,
    missing_shots,
    read_manifest,
    write_manifest,
)
from storyflow.errors import CutError, InputError
from storyflow.events import ShotFailed
from storyflow.pipeline import DeliverSection
from storyflow.store.store import Store

SHOTS = (Sketch("1A", takes=2), Sketch("1B", (9,), (2, 9)), Sketch("2A", (9, 8, 4), (3, 20)))
FAILED = ShotFailed("1B/1", "1B", "out of memory", ("1B", "2A"))


def made(tmp_path: Path, without: frozenset[str] = frozenset()) -> Manifest:
    plan = plan_of(SHOTS, Fraction(24000, 1001))
    store = Store(tmp_path / "store")
    artifacts = render(store, plan, tmp_path / "scratch", without)
    failures = [FAILED] if without else []
    deliver = DeliverSection(preset="ultrafast")
    report = cut_film(plan, artifacts, store, tmp_path / "out", deliver, missing_shots(failures))
    reused = frozenset(segment.recipe for segment in plan.take("1A", 1).segments)
    return make_manifest(plan, artifacts, reused, failures, report)


def test_a_manifest_places_every_shot_in_the_film(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    assert [(s.id, s.film, s.timecode, s.cut) for s in manifest.shots] == [
        ("1A", (0, 14), ("00:00:00:00", "00:00:00:14"), (0, 14)),
        ("1B", (14, 21), ("00:00:00:14", "00:00:00:21"), (2, 9)),
        ("2A", (21, 38), ("00:00:00:21", "00:00:01:14"), (3, 20)),
    ]
    assert (manifest.fps, manifest.frames, manifest.complete) == ("24000/1001", 38, True)
    assert [(s.id, s.take, s.film) for s in manifest.others] == [("1A", 2, None)]
    assert manifest.film is not None
    assert manifest.film.file == "film.mp4"


def test_a_manifest_tells_rendered_from_reused_segments(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    first, last = manifest.shots[0].segments[0], manifest.shots[2].segments[-1]
    assert (first.name, first.rendered, first.seed, first.window) == ("1A/1", False, 101, 9)
    assert (last.name, last.rendered, last.start, last.stop) == ("2A/3", True, 17, 21)
    assert (last.overlap, last.prompt, last.worker) == (5, "a swan, 2A", "worker-1")
    assert last.key is not None


def test_a_manifest_of_a_partial_film_gives_the_cause_of_every_missing_shot(
    tmp_path: Path,
) -> None:
    manifest = made(tmp_path, frozenset({"1B", "2A"}))
    assert not manifest.complete
    assert [shot.missing for shot in manifest.shots] == [
        None,
        "segment 1B/1: out of memory",
        "continues 1B: segment 1B/1: out of memory",
    ]
    assert manifest.shots[1].segments[0].key is None
    assert manifest.film is not None
    assert manifest.film.file == "film.partial.mp4"


def test_a_manifest_reads_back_equal_and_equal_films_have_equal_manifests(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = made(tmp_path / "a"), made(tmp_path / "b")
    paths = [write_manifest(tmp_path / name, m) for name, m in (("1.json", one), ("2.json", two))]
    assert read_manifest(paths[0]) == one
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert json.loads(paths[0].read_text())["storyflow"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a manifest of this version"),
        ("{}", "is not a manifest of this version: title: Field required"),
        ('{"storyflow": 2}', "is not a manifest of this version: storyflow: Input should be 1"),
        (None, "can't read"),
    ],
    ids=["empty", "no fields", "version", "absent"],
)
def test_a_broken_manifest_is_one_clear_error(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "film.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_manifest(path)


def test_a_manifest_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    manifest = make_manifest(plan_of(SHOTS), {}, frozenset(), (), None)
    assert [shot.missing for shot in manifest.shots] == ["not rendered"] * 3
    with pytest.raises(CutError, match=r"can't write .*film\.json"):
        write_manifest(tmp_path / "out" / "film.json", manifest)
