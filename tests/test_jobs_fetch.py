"""What the cluster's side checks and makes, and what fetching brings back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from films import SMALL, Studio
from job_server import FakeServer
from media_files import clip_file, counting, picture_file
from test_jobs_submit import cluster, studio, submit
from typer.testing import CliRunner

import storyflow
from storyflow import jobs
from storyflow.cli import app
from storyflow.errors import FarmError, InputError
from storyflow.jobs.merge import Conflict
from storyflow.lockfile import lock_path, read_lock, write_lock
from storyflow.ordering import Options
from storyflow.record import read_record
from storyflow.store.gc import collect
from storyflow.store.roots import forget, read_roots
from storyflow.store.store import Store

__all__ = ["cluster", "studio"]

TWO_TAKES = "film: T\nshots:\n- {id: A, dur: 1s, takes: 3, do: a}\n- {id: B, dur: 1s, do: b}\n"


def sha256(path: Path | None) -> str:
    assert path is not None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_fetched_film_is_what_a_render_here_makes(
    studio: Studio, cluster: FakeServer, tmp_path: Path
) -> None:
    """With files from inside and outside of the storyboard's folder, moved away before it runs."""
    for folder in ("board/refs", "away"):
        (tmp_path / folder).mkdir(parents=True)
    studio.file = tmp_path / "board/film.yaml"
    inside = picture_file(tmp_path / "board/refs/door.png")
    outside = clip_file(tmp_path / "away/clip.mp4", counting(20))
    studio.write("film: Sources\nshots:\n- {id: A, from: refs/door.png, dur: 1s, do: a}\n"
                 f"- {{id: B, from: ../away/clip.mp4, dur: 1s, do: b}}\n"
                 f"- {{id: C, from: {outside}, dur: 1s, do: c}}\n")  # fmt: skip
    here = studio.render(
        allow_outside=True, out=tmp_path / "here", store=tmp_path / "other", address="in-process"
    )
    lock_path(studio.file).unlink()
    job = submit(studio, allow_outside=True)
    inside.unlink()
    outside.unlink()
    result = cluster.run(job.id)
    assert result is not None and result.complete
    got = jobs.fetch(studio.file, out=studio.folder / "out")
    assert got.complete and got.job.id == job.id
    assert sha256(got.film) == here.sha256
    manifest = json.loads((studio.folder / "out/film.json").read_text())
    assert [shot["id"] for shot in manifest["shots"]] == ["A", "B", "C"]


def test_a_bucket_serves_as_the_store(studio: Studio, cluster: FakeServer, tmp_path: Path) -> None:
    """References, film and locks go through a store that is no folder."""
    picture_file(tmp_path / "door.png")
    studio.write("film: D\nshots:\n- {id: A, from: door.png, dur: 1s, do: a}\n")
    job = submit(studio, store=f"memory://{tmp_path.name}")
    assert job.store == f"memory://{tmp_path.name}"
    result = cluster.run(job.id)
    assert result is not None and result.complete
    assert submit(studio, store=job.store).id == job.id
    assert jobs.fetch(job).complete


def test_only_one_copy_of_the_film_stays_on_the_cluster(
    studio: Studio, cluster: FakeServer
) -> None:
    from storyflow.jobs.perform import open_job

    job = submit(studio)
    cluster.run(job.id)
    performance = open_job(cluster.folder / job.id / "job.json")
    assert performance.folder.is_dir()
    performance.clear()
    assert not performance.folder.exists()


REFUSED = {
    "another version": ("job.json", '"version": "', '"version": "9.', "submitted by storyflow 9."),
    "another store": ("cluster.yaml", "store: ", "store: /nowhere", "is not the one"),
    "another submission": ("job.json", '"nonce": "', '"nonce": "f', "is not the one"),
    "another plan": ("film/film.yaml", "do: a", "do: z", "plans another film"),
    "an unknown field": ("job.json", '"job": "', '"new": 1, "job": "', "not a ticket"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_that_is_not_the_same_film_there_is_refused(
    case: str, studio: Studio, cluster: FakeServer
) -> None:
    name, old, new, words = REFUSED[case]
    job = submit(studio)
    sent = cluster.folder / job.id / name
    sent.write_text(sent.read_text().replace(old, new))
    assert cluster.run(job.id) is None
    now = jobs.status(job)
    assert now.state == "failed" and words in now.message
    assert now.exit_code == (1 if case == "an unknown field" else FarmError.exit_code)
    assert not (cluster.folder / job.id / job.id / "out").exists()


def test_what_a_job_needs_is_not_garbage(
    studio: Studio, cluster: FakeServer, tmp_path: Path
) -> None:
    picture_file(tmp_path / "door.png")
    studio.write("film: D\nshots:\n- {id: A, from: door.png, dur: 1s, do: a}\n")
    job = submit(studio)
    store = Store(job.store)
    collect(store, older_than=0)
    assert cluster.run(job.id) is not None
    collect(store, older_than=0)
    assert jobs.fetch(job).complete
    root = next(root for root in read_roots(store) if root.run.endswith("-job"))
    assert root.finished and root.film == "D"
    forget(store, root.run)
    kinds = {artifact.kind for artifact in collect(store, older_than=0).artifacts}
    assert kinds == {"file", "film", "job"}


def test_there_is_nothing_to_fetch_before_the_end(studio: Studio, cluster: FakeServer) -> None:
    job = submit(studio)
    with pytest.raises(InputError, match="waiting; `storyflow wait film`"):
        jobs.fetch(job)
    cluster.set(job.id, "failed", 5, "no disk")
    with pytest.raises(InputError, match=r"failed \(no disk\); submit it again"):
        jobs.fetch(job)
    cluster.jobs.clear()
    with pytest.raises(InputError, match="left no film"):
        jobs.fetch(job)


def test_a_partial_film_is_fetched_and_says_so(studio: Studio, cluster: FakeServer) -> None:
    studio.write(TWO_TAKES)
    job = submit(studio, settings=(*SMALL, "slate.fail={B/1: -1}"), out=None)
    cluster.run(job.id)
    got = jobs.fetch(job)
    assert got.film is not None and got.film.name == "film.partial.mp4" and not got.complete
    assert CliRunner().invoke(app, ["fetch", "film"]).exit_code == 3
    storyflow.retry(studio.file, out="renders/film", pipeline="slate")
    second = submit(studio, out=None)
    cluster.run(second.id)
    got = jobs.fetch(second)
    assert got.complete and not (got.job.folder / "film.partial.mp4").exists()


@pytest.mark.parametrize("seen", ["", "waited for", "fetched"])
def test_what_failed_for_good_is_not_paid_for_again_until_retry(
    seen: str, studio: Studio, cluster: FakeServer
) -> None:
    studio.write(TWO_TAKES)
    job = submit(studio, settings=(*SMALL, "slate.fail={B/1: -1}"))
    cluster.run(job.id)
    if seen == "waited for":
        assert jobs.wait(job).exit_code == 3
    if seen == "fetched":
        jobs.fetch(job)
    second = submit(studio)
    again = cluster.run(second.id)
    assert again is not None and again.exit_code == 3
    assert "skipped" in again.failures[0].error or "before" in again.failures[0].error
    assert jobs.wait(second).exit_code == 3
    (gone,) = storyflow.retry(studio.file, out=studio.options["out"], pipeline="slate")
    assert gone.name == "B/1"
    jobs.fetch(job)
    third = submit(studio)
    whole = cluster.run(third.id)
    assert whole is not None and whole.complete and third.attempt == 3


def test_a_cluster_that_is_gone_leaves_the_film_in_the_store(
    studio: Studio, cluster: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(studio, out=None)
    cluster.run(job.id)

    def gone(address: str) -> FakeServer:
        raise FarmError("no answer")

    monkeypatch.setattr("storyflow.jobs.on_ray.RayJobs", gone)
    got = jobs.fetch("film")
    assert got.complete and got.film == Path("renders/film/film.mp4") and got.film.is_file()
    with pytest.raises(FarmError):
        jobs.status("film")


def test_the_lock_comes_back_with_what_was_pinned_there(
    studio: Studio, cluster: FakeServer
) -> None:
    studio.write(TWO_TAKES)
    job = submit(studio)
    cluster.run(job.id)
    here = lock_path(studio.file)
    assert not any(shot.windows for shot in read_lock(here).shots)
    storyflow.choose_take(studio.file, "A", 2, pipeline="slate")
    got = jobs.fetch(job)
    assert (got.lock, got.conflicts) == (here, ())
    joined = read_lock(here)
    assert all(shot.windows for shot in joined.shots)
    assert joined.shots[0].chosen == 2
    assert jobs.fetch(job).conflicts == () and read_lock(here) == joined


@pytest.mark.parametrize("settle", [None, "mine", "theirs"])
def test_a_lock_that_changed_on_both_sides_is_never_written_over_in_silence(
    settle: str | None, studio: Studio, cluster: FakeServer
) -> None:
    studio.write(TWO_TAKES)
    job = submit(studio, out=None)
    sent = cluster.folder / job.id / "film/film.lock.yaml"
    cluster.run(job.id)
    # What the job pinned, changed here too: windows of A by a render with another film length.
    mine = read_lock(sent)
    windows = replace(read_lock(jobs.fetch(job).film_lock).shots[0].windows[0], beats=((57,),))
    changed = replace(mine, shots=(replace(mine.shots[0], windows=(windows,)), mine.shots[1]))
    write_lock(lock_path(studio.file), changed)
    arguments = ["fetch", "film"] + (["--lock", settle] if settle else [])
    ran = CliRunner().invoke(app, arguments)
    after = read_lock(lock_path(studio.file))
    if settle is None:
        assert ran.exit_code == 1 and after == changed
        assert "shot A: windows on slate is 57 here" in ran.output and "--lock mine" in ran.output
        assert "shot B" not in ran.output
        (conflict,) = jobs.fetch(job).conflicts
        assert isinstance(conflict, Conflict) and conflict.shot == "A"
    else:
        assert ran.exit_code == 0
        assert (after.shots[0].windows[0] == windows) == (settle == "mine")
        assert after.shots[1].windows
    assert Path("renders/film/film.mp4").is_file()


def test_a_word_that_settles_nothing_is_refused(studio: Studio, cluster: FakeServer) -> None:
    with pytest.raises(InputError, match="--lock yours"):
        CliRunner().invoke(app, ["fetch", "film", "--lock", "yours"], catch_exceptions=False)


def test_the_command_that_a_cluster_runs_ends_as_a_render(
    studio: Studio, cluster: FakeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    job = submit(studio)
    file = cluster.folder / job.id / "cluster.yaml"
    file.write_text(file.read_text().replace("address: auto", "address: in-process"))
    ran = CliRunner().invoke(app, ["perform", str(file.with_name("job.json"))])
    assert ran.exit_code == 0, ran.output
    assert "storyflow fetch film" in ran.output
    cluster.set(job.id, "succeeded", 0)
    assert jobs.fetch(job).complete


def test_a_fetched_film_knows_its_past(studio: Studio, cluster: FakeServer) -> None:
    """`plan --diff` says what has changed since the job did it."""
    job = submit(studio)
    assert cluster.run(job.id) is not None
    folder = jobs.fetch(job).film_lock.parent
    record = read_record(folder)
    assert record is not None and record.last is not None
    assert len(record.segments) == record.last.rendered > 0
    studio.edit("do: a", "do: z")
    options = Options(pipeline="slate", settings=SMALL, store=job.store)
    found = storyflow.diff(studio.file, **options, out=folder)
    assert found.since == record.when
    changes = [{change.what for change in row.why} for row in found.segments if row.why]
    assert changes and all(what & {"label", "prompt"} for what in changes)
