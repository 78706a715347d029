"""Films that start from pictures and clips, on slate: what is made, what an edit costs."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import Studio
from media_files import clip_file, counting, grey, picture_file, quadrants
from typer.testing import CliRunner

import storyflow
from storyflow import Film, Shot, api, ordering
from storyflow.cli import app
from storyflow.errors import StoryboardError
from storyflow.events import Notice
from storyflow.farm.jobs import SegmentJob, WorkerConfig
from storyflow.farm.workers import SegmentWorker
from storyflow.film import prepare, render_film
from storyflow.pipeline import load_profile
from storyflow.planning.sources import key_of
from storyflow.renderer import EVERY_MODE
from storyflow.run import Run
from storyflow.store.store import Store

MODES = """\
film: Modes
shots:
- {id: A, from: door.png, dur: 5s, do: the door rattles}
- {id: B, from: door.png, to: open.png, dur: 5s, do: the door opens}
- {id: C, from: clip.mp4, dur: 5s, do: it rolls on}
- id: D
  from: hall.png
  to: open.png
  fit: pad
  beats:
  - {dur: 90f, do: it stands}
  - {dur: 90f, do: it falls}
- {id: E, from: A, dur: 2s, do: it stops}
- {id: F, from: C, dur: 2s, do: it stops too}
- {id: G, dur: 2s, do: nothing of the kind}
"""
EVERY = ("A/1", "A/2", "B/1", "B/2", "C/1", "C/2", "D/1", "D/2", "D/3", "E/1", "F/1", "G/1")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    picture_file(tmp_path / "door.png", quadrants())
    picture_file(tmp_path / "open.png", quadrants()[::-1])
    picture_file(tmp_path / "hall.png", quadrants(80, 80))
    clip_file(tmp_path / "clip.mp4", counting(40, 80, 80))
    return Studio(tmp_path, MODES)


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


def test_every_mode_is_rendered_and_lasts_as_long_as_asked(studio: Studio) -> None:
    made = studio.render()
    assert made.result.complete and made.names == EVERY
    film = pictures(made.result.film)
    seconds = 5 + 5 + 5 + 7.5 + 2 + 2 + 2
    assert len(film) == seconds * 24, "of an extended clip only the new frames are shown"
    again = studio.render()
    assert again.names == () and again.sha256 == made.sha256


def test_the_mode_of_every_shot_is_told(studio: Studio) -> None:
    quote = storyflow.quote(studio.file, **studio.options)
    modes = ["image", "first-last", "extend", "first-last", "continue", "continue", "text"]
    assert [row.mode for row in quote.rows] == modes
    shown = storyflow.show(studio.file, resolved=True)
    for word in ("image to video", "first and last frame", "extends a clip", "text to video"):
        assert f"# {word}" in shown
    assert storyflow.parse(shown, root=studio.folder).each_shot()


def test_the_shipped_example_has_every_mode_for_the_embedded_model() -> None:
    shipped = Path(__file__).parent.parent / "storyboards"
    plan = storyflow.plan(shipped / "every-mode.yaml", pipeline="toybox")
    assert {take.mode for take in plan.takes} == EVERY_MODE
    assert plan.frames == 18 * 24
    used = {path for take in plan.takes for path in (take.shot.source, take.shot.end) if path}
    assert sum(path.stat().st_size for path in used) < 20_000


def test_a_film_without_files_imports_nothing_that_reads_them() -> None:
    """A film of pictures imports no video library, and none of them torch or Ray."""
    heavy = ("torch", "ray", "diffusers", "av", "PIL")
    films = ("first-light", "the-keeper", "every-mode")
    code = "import sys, storyflow\n" + "".join(
        f"storyflow.plan('storyboards/{film}.yaml')\n"
        f"print(*(m for m in {heavy} if m in sys.modules))\n"
        for film in films
    )
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          timeout=120, cwd=root)  # fmt: skip
    assert done.stdout.splitlines() == ["", "PIL", "av PIL"]


def test_the_pictures_stand_where_the_author_put_them(studio: Studio) -> None:
    plan = storyflow.plan(studio.file, **studio.options)
    roles = {s.name: [c.role for c in s.inputs.conditions] for s in plan.segments}
    asked = {name: role for name, role in roles.items() if role}
    assert asked == {
        "A/1": ["start"],
        "B/1": ["start"],
        "B/2": ["end"],
        "C/1": ["clip"],
        "D/1": ["start"],
        "D/3": ["end"],
    }
    out = next(e.stop for e in plan.cut if e.shot == "D")
    assert abs(plan.take("D", 1).segments[-1].stop - out) < 4
    made = studio.render()
    film = pictures(made.result.film).astype(int)
    first, last = film[0, 20, 30], film[239, 20, 30]
    assert first[0] > first[2] + 50, "shot A begins on the door, red at the top"
    assert last[2] > last[0] + 50, "shot B ends on the open one, blue at the top"


def test_objects_make_the_same_film(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film of objects looks for its files from the current folder."""
    studio.render()
    monkeypatch.chdir(studio.folder)
    shots = [
        Shot(id="A", from_="door.png", dur="5s", do="the door rattles"),
        Shot(id="B", from_="door.png", to="open.png", dur="5s", do="the door opens"),
        Shot(id="C", from_="clip.mp4", dur="5s", do="it rolls on"),
    ]
    made = storyflow.render(Film(film="Modes", shots=shots),
                            **{**studio.options, "out": studio.folder / "objects"})  # fmt: skip
    assert made.complete and (made.rendered, made.reused) == (0, 6)


def test_an_extension_reads_the_clips_last_frames(studio: Studio) -> None:
    studio.render()
    store = Store(studio.folder / "store")
    kinds = [json.loads(p.read_text()) for p in store.root.glob("artifacts/*/*/done.json")]
    media = {json.loads(a["inputs"])["name"]: a for a in kinds if a["kind"] == "media"}
    assert sorted(media) == ["clip.mp4", "door.png", "hall.png", "open.png", "open.png"][:4]
    assert len([a for a in kinds if a["kind"] == "media"]) == 5, "open.png in two fits"
    assert len(media["clip.mp4"]["frames"]) == 17 and len(media["door.png"]["frames"]) == 1


EDITS = [
    ("door.png", lambda p: picture_file(p, grey(90)), ("A/1", "A/2", "B/1", "B/2", "E/1")),
    ("open.png", lambda p: picture_file(p, grey(90)), ("B/2", "D/3")),
    ("clip.mp4", lambda p: clip_file(p, counting(50, 80, 80)), ("C/1", "C/2", "F/1")),
]


@pytest.mark.parametrize(("name", "change", "rendered"), EDITS)
def test_new_bytes_render_what_reads_them_and_nothing_else(
    studio: Studio, name: str, change: object, rendered: tuple[str, ...]
) -> None:
    studio.render()
    change(studio.folder / name)  # type: ignore[operator]
    assert storyflow.quote(studio.file, **studio.options).totals.render == len(rendered)
    assert studio.render().names == rendered


def test_another_fit_renders_the_shot_again(studio: Studio) -> None:
    studio.render()
    studio.edit("fit: pad", "fit: crop")
    assert studio.render().names == ("D/1", "D/2", "D/3")
    studio.edit("from: clip.mp4,", "from: clip.mp4, fit: pad,")
    assert studio.render().names == ("C/1", "C/2", "F/1")


def test_renaming_a_file_renders_nothing(studio: Studio) -> None:
    studio.render()
    for old, new in (("door.png", "gate.png"), ("clip.mp4", "ball.mp4")):
        (studio.folder / old).rename(studio.folder / new)
        studio.edit(old, new)
    assert studio.render().names == ()


def test_a_longer_extension_appends(studio: Studio) -> None:
    studio.render()
    studio.edit("clip.mp4, dur: 5s", "clip.mp4, dur: 9s")
    assert studio.render().names == ("C/3", "C/4", "F/1")


def test_workers_read_no_file_of_the_author(studio: Studio) -> None:
    """The store has what was read: a segment lost from it is made again without the files."""
    studio.render()
    plan = storyflow.plan(studio.file, **studio.options)
    store = Store(studio.folder / "store")
    segment = next(s for s in plan.segments if s.name == "C/1")
    (key,) = store.recipes()[segment.recipe]
    before = store.find(key)
    store.discard(key)
    for file in ("door.png", "open.png", "hall.png", "clip.mp4"):
        (studio.folder / file).unlink()
    (clip,) = segment.inputs.conditions
    job = SegmentJob(
        name="C/1",
        key=key,
        recipe=segment.recipe,
        spec=segment.inputs.spec,
        fps=Fraction(24),
        inputs="{}",
        clip_key=key_of(plan, segment, clip),
    )
    profile = load_profile("slate", studio.options["settings"])[1]
    worker = SegmentWorker(WorkerConfig(profile, str(store.root)), "w", own_process=False)
    worker.setup()
    assert before is not None and worker.run(job, 1).artifact.frames == before.frames


def test_a_picture_damaged_in_the_store_is_read_again(studio: Studio) -> None:
    first = studio.render()
    store = Store(studio.folder / "store")
    for done in store.root.glob("artifacts/*/*/done.json"):
        artifact = json.loads(done.read_text())
        blob = store.root / "blobs" / artifact["blobs"][0]["sha256"][:2]
        if artifact["kind"] == "media":
            path = blob / artifact["blobs"][0]["sha256"]
            path.chmod(0o644)
            path.write_bytes(bytes(path.stat().st_size))
    again = studio.render()
    assert again.names == () and again.sha256 == first.sha256
    notices = [e.text for e in again.events if isinstance(e, Notice)]
    assert sum("is damaged and was set aside" in text for text in notices) == 4


def test_takes_and_branches_share_what_they_start_from(studio: Studio) -> None:
    studio.edit("{id: A, from", "{id: A, takes: 2, from")
    studio.render()
    take = storyflow.branch(studio.file, "C", "4s", **studio.options)
    plan = storyflow.plan(studio.file, **studio.options)
    first, second = plan.take("A", 1).segments[0], plan.take("A", 2).segments[0]
    assert first.inputs.conditions == second.inputs.conditions
    shared, branched = plan.take("C", 1).segments, plan.take("C", take).segments
    assert shared[0] is branched[0] or shared[0] == branched[0]
    assert branched[0].recipe == shared[0].recipe and branched[1].recipe != shared[1].recipe
    assert studio.render().names == (f"C.{take}/2",)


def test_a_held_shot_outlives_its_picture_and_says_so(studio: Studio) -> None:
    before = studio.render()
    storyflow.hold(studio.file, "B", **studio.options)
    picture_file(studio.folder / "open.png", grey(90))
    row = next(r for r in storyflow.quote(studio.file, **studio.options).rows if r.shot == "B")
    assert row.action == "held, stale: end picture"
    assert studio.render().names == ("D/3",)
    assert before.result.complete


BROKEN = [
    ("door.png", b"not a picture at all, but long enough", "wrong-kind", 3),
    ("door.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "broken-media", 3),
    ("clip.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "broken-media", 5),
    ("hall.png", b"\x89PNG\r\n\x1a\n", "broken-media", 7),
    ("clip.mp4", None, "short-clip", 5),
]


@pytest.mark.parametrize(("name", "content", "code", "line"), BROKEN)
def test_a_file_that_can_not_be_used_is_refused_at_its_line(
    studio: Studio, name: str, content: bytes | None, code: str, line: int
) -> None:
    if content is None:
        clip_file(studio.folder / name, counting(9))
    else:
        (studio.folder / name).write_bytes(content)
    for verb in (storyflow.plan, storyflow.start):
        with pytest.raises(StoryboardError) as refused:
            verb(studio.file, **studio.options)
        found = {(p.code, p.line, bool(p.shot), bool(p.cure)) for p in refused.value.problems}
        assert (code, line, True, True) in found
    assert (code, line) in {(p.code, p.line) for p in storyflow.check(studio.file)}
    assert not (studio.folder / "store").exists(), "nothing was rendered"


def test_a_file_that_changes_between_plan_and_run_is_refused(studio: Studio) -> None:
    what = ordering.order(studio.file, **studio.options)
    made = prepare(what)
    picture_file(studio.folder / "door.png", grey(3))
    run = Run(lambda emit: render_film(what, made, emit), api._Tally(what, made).ending)
    with pytest.raises(StoryboardError, match=r"film\.yaml:3:\d+: shot A: .*has changed"):
        run.result()


def test_what_reading_adjusts_is_told_once_with_its_place(studio: Studio) -> None:
    clip_file(studio.folder / "clip.mp4", counting(60), Fraction(30))
    told = [n for n in storyflow.quote(studio.file, **studio.options).notices if "clip.mp4" in n]
    assert len(told) == 1
    assert "film.yaml:5:" in told[0] and "shot C: clip.mp4: the clip plays at 30" in told[0]


def test_the_plan_is_printed_with_the_modes(studio: Studio) -> None:
    done = CliRunner().invoke(app, ["plan", str(studio.file), "--pipeline", "slate"])
    assert done.exit_code == 0
    assert "first-last" in done.stdout and "extend" in done.stdout and "image" in done.stdout
