"""`storyflow qc FILM`: a whole film is measured, judged, and what was measured is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import pytest
from films import Studio
from typer.testing import CliRunner

import storyflow
from storyflow.cli import app
from storyflow.cutting.manifest import read_manifest, write_manifest
from storyflow.errors import InputError
from storyflow.qc import film as whole
from storyflow.qc import measure as measuring
from storyflow.qc.filed import FILE, read_quality, read_series, series_path
from storyflow.qc.limits import Limits
from storyflow.qc.verdicts import Quality
from storyflow.store.hashing import file_hash

FILM = """\
film: Two beats
shots:
- id: 1A
  beats:
  - {dur: 2s, do: a red circle rolls}
  - {dur: 2s, do: it rests}
- {id: 1B, from: prev, dur: 2s, do: it goes on}
- {id: 1C, dur: 2s, do: a blue star hops, title: {text: STAR, dur: 1s}}
- {id: 1D, in: dissolve 12f, dur: 2s, do: it turns}
"""

EASY = [
    f"{name}.{level}=null"
    for name in Limits.model_fields
    if name not in ("storyflow", "about")
    for level in ("warn", "fail")
]
"""No limit at all."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Studio, Quality]:
    studio = Studio(tmp_path_factory.mktemp("film"), FILM)
    rendered = studio.render()
    assert rendered.result.complete
    return studio, storyflow.qc_film(studio.folder / "out", settings=EASY)


def copied(studio: Studio, tmp_path: Path) -> Path:
    return Path(shutil.copytree(studio.folder / "out", tmp_path / "out"))


def test_every_take_seam_and_the_file_are_measured(made: tuple[Studio, Quality]) -> None:
    studio, found = made
    assert [(take.shot, take.take) for take in found.takes] == [
        ("1A", 1), ("1B", 1), ("1C", 1), ("1D", 1),
    ]  # fmt: skip
    seams = {take.shot: [(s.frame, s.kind, s.segment) for s in take.seams] for take in found.takes}
    assert seams["1A"] == [(49, "beat", "1A/2")]
    assert seams["1B"] == [(0, "continuation", "1B/1")]
    assert found.delivery is not None
    assert found.delivery.ssim > 0.99 and found.delivery.vmaf is None
    assert found.delivery.sha256 == file_hash(studio.folder / "out" / "film.mp4")
    assert read_quality(studio.folder / "out" / FILE) == found


def test_what_was_measured_is_kept_and_an_edit_measures_what_changed(
    made: tuple[Studio, Quality], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, found = made
    seen: list[int] = []
    measure = measuring.measure

    def watched(frames, check=lambda: None):  # type: ignore[no-untyped-def]
        series = measure(frames, check)
        seen.append(series.frames)
        return series

    monkeypatch.setattr(measuring, "measure", watched)
    monkeypatch.setattr(whole, "measure", watched)
    assert storyflow.qc_film(studio.file, out=studio.folder / "out", settings=EASY) == found
    assert seen == []
    cuts = [*EASY, "cut_ratio.fail=3"]
    storyflow.qc_film(studio.folder / "out", settings=cuts)
    assert seen == [26], "the frames around the one plain cut"
    seen.clear()
    before = {path.name for path in (studio.folder / "out" / "qc").iterdir()}
    studio.edit("a blue star hops", "a green star hops")
    studio.render()
    again = storyflow.qc_film(studio.folder / "out" / "film.mp4", settings=cuts)
    changed = again.of("1C", 1)
    assert changed is not None and seen[0] == changed.frames
    assert len(seen) == 2, "1C itself, and its joint with 1B"
    after = {path.name for path in (studio.folder / "out" / "qc").iterdir()}
    assert len(before - after) == 1 and len(after) == len(before), "the old joint went"
    master = studio.folder / "out" / "shots" / "1C.mov"
    assert read_series(series_path(studio.folder / "out", master), changed.tag) is not None


def test_a_worse_file_is_told(made: tuple[Studio, Quality], tmp_path: Path) -> None:
    folder = copied(made[0], tmp_path)
    film, worse = folder / "film.mp4", tmp_path / "worse.mp4"
    with av.open(str(film)) as source, av.open(str(worse), "w") as target:
        stream = source.streams.video[0]
        coded = target.add_stream("libx264", rate=stream.average_rate)
        coded.width, coded.height, coded.pix_fmt = stream.width, stream.height, "yuv420p"
        coded.codec_context.options = {"crf": "51", "preset": "ultrafast"}
        for frame in source.decode(stream):
            frame.pts = None
            target.mux(coded.encode(frame))
        target.mux(coded.encode(None))
    worse.replace(film)
    with pytest.raises(InputError, match=r"is not the film that film\.json tells of"):
        storyflow.qc_film(folder)
    manifest = read_manifest(folder / "film.json")
    assert manifest.film is not None
    told = replace(manifest, film=replace(manifest.film, sha256=file_hash(film)))
    write_manifest(folder / "film.json", told)
    found = storyflow.qc_film(folder, settings=[*EASY, "ssim.fail=0.98"])
    assert [verdict.measure for verdict in found.verdicts] == ["ssim"]
    assert found.level == "fail"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda out: (out / "shots" / "1A.mov").unlink(), "1A.mov can't be measured: it is not th"),
        (lambda out: (out / "shots" / "1A.mov").write_bytes(b"no film"), "can't be opened"),
        (lambda out: (out / "film.mp4").unlink(), "film.mp4 can't be read: No such file"),
        (lambda out: (out / "film.json").unlink(), "there is no film in"),
        (lambda out: (out / "film.json").write_text("{"), "is not a manifest of this version"),
    ],
)
def test_what_is_missing_or_broken_is_one_error(
    made: tuple[Studio, Quality], tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = copied(made[0], tmp_path)
    spoil(folder)
    with pytest.raises(InputError, match=message) as error:
        storyflow.qc_film(folder)
    assert "\n" not in str(error.value)


def test_a_master_of_another_length_is_refused(
    made: tuple[Studio, Quality], tmp_path: Path
) -> None:
    folder = copied(made[0], tmp_path)
    shutil.copy(folder / "shots" / "1C.mov", folder / "shots" / "1A.mov")
    shutil.rmtree(folder / "qc")
    with pytest.raises(InputError, match=r"1A\.mov can't be measured: it has \d+ frames instead"):
        storyflow.qc_film(folder)


def test_a_missing_shot_fails_the_film(tmp_path: Path) -> None:
    studio = Studio(
        tmp_path, "film: Part\nshots:\n- {id: 1A, dur: 2s, do: a}\n- {id: 1B, dur: 2s, do: b}\n"
    )
    studio.render(shots=["1A"])
    found = storyflow.qc_film(tmp_path / "out", settings=EASY)
    assert [(v.measure, v.level, v.shot) for v in found.verdicts] == [("missing", "fail", "1B")]
    assert [take.shot for take in found.takes] == ["1A"]


@pytest.mark.parametrize(
    ("limits", "code"),
    [(EASY, 0), ([*EASY, "seam_ratio.warn=0"], 6), ([*EASY, "seam_ratio.fail=0"], 7)],
)
def test_the_command_leaves_by_level(
    made: tuple[Studio, Quality], limits: list[str], code: int
) -> None:
    options = [word for text in limits for word in ("--set", text)]
    told = CliRunner().invoke(app, ["qc", str(made[0].folder / "out"), *options])
    assert told.exit_code == code, told.output
    assert ("seam at 1A/2" in told.output) == (code > 0)
    assert "SSIM" in told.output and "4 takes" in told.output


def test_the_command_prints_data(made: tuple[Studio, Quality]) -> None:
    told = CliRunner().invoke(app, ["qc", "--json", str(made[0].folder / "out")])
    data = json.loads(told.output)
    assert data["storyflow"] == 1 and len(data["takes"]) == 4
    assert told.exit_code == {"pass": 0, "warn": 6, "fail": 7}[data["level"]]


def test_measuring_is_light_at_the_door() -> None:
    import subprocess
    import sys

    code = (
        "import sys, storyflow, storyflow.quality, storyflow.qc.limits\n"
        "print(*(m for m in ('torch', 'ray', 'cv2', 'av', 'diffusers') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
