"""Whole films on a real local Ray: the same bytes as in one process, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from films import SMALL, Studio
from local_ray import local_ray
from media_files import clip_file, counting, picture_file

from storyflow.events import SegmentDone, WorkerLost

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """A running Ray, so that each film does not start its own."""
    with local_ray():
        yield


@pytest.fixture
def studio(tmp_path: Path, ray: None) -> Studio:
    studio = Studio(tmp_path)
    studio.options["address"] = "local"
    studio.options["workers"] = 2
    return studio


def test_a_killed_worker_costs_one_segment_and_no_byte(studio: Studio, tmp_path: Path) -> None:
    undisturbed = studio.render(
        address="in-process", workers=1, store=tmp_path / "other", out=tmp_path / "undisturbed"
    )
    disturbed = studio.render(settings=(*SMALL, "slate.die={1B/2: 1}"))
    lost = [e for e in disturbed.events if isinstance(e, WorkerLost)]
    assert [e.segment for e in lost] == ["1B/2"]
    assert disturbed.result.complete
    # 1B/1 may be stored in the moment before its worker dies on 1B/2: then it is found, not made.
    assert {e.segment for e in disturbed.events if isinstance(e, SegmentDone)} == {
        *undisturbed.names
    }
    assert set(undisturbed.names) - set(disturbed.names) <= {"1B/1"}
    assert disturbed.sha256 == undisturbed.sha256


def test_a_worker_that_always_dies_on_a_segment_costs_its_shot_only(studio: Studio) -> None:
    made = studio.render(settings=(*SMALL, "slate.die={1B/2: -1}"))
    assert made.result.exit_code == 3
    # 1B/1 may be stored in the moment before its worker dies on 1B/2: then it is found, not made.
    assert {e.segment for e in made.events if isinstance(e, SegmentDone)} == {"1A/1", "1B/1"}
    assert [failure.segment for failure in made.result.failures] == ["1B/2"]


def test_workers_get_pictures_and_clips_from_the_store(studio: Studio, tmp_path: Path) -> None:
    picture_file(tmp_path / "door.png")
    clip_file(tmp_path / "clip.mp4", counting(20))
    studio.write(
        "film: Sources\nshots:\n- {id: A, from: door.png, to: door.png, dur: 3s, do: a}\n"
        "- {id: B, from: clip.mp4, dur: 3s, do: b}\n"
    )
    here = studio.render(
        address="in-process", workers=1, store=tmp_path / "other", out=tmp_path / "here"
    )
    there = studio.render()
    assert there.result.complete and there.names == here.names == ("A/1", "B/1")
    assert there.sha256 == here.sha256


def test_one_worker_or_two_make_the_same_film_with_the_model(tmp_path: Path, ray: None) -> None:
    """Real networks: every worker has the threads that the cluster file pins."""
    text = """\
film: Two
shots:
- {id: 1A, dur: 1.5s, do: a red circle rolls}
- {id: 1B, dur: 1s, from: prev, do: it rests}
- {id: 1C, dur: 1s, do: a blue star hops}
"""
    films = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        studio = Studio(folder, text)
        studio.options |= {
            "pipeline": "toybox",
            "settings": ("forcing.steps=2", "windows.floor=21"),
            "address": "local",
            "workers": workers,
        }
        films.append(studio.render())
    one, two = films
    assert one.names == two.names == ("1A/1", "1B/1", "1C/1")
    assert one.sha256 == two.sha256
    used = {s["worker"] for shot in two.manifest["shots"] for s in shot["segments"]}
    # A busy machine may start the second worker only when all is done.
    assert used <= {"worker-1", "worker-2"}


def test_a_story_tool_makes_its_film_inside_a_ray_actor(studio: Studio) -> None:
    """In an async actor, whose event loop goes on; its workers are actors of the same Ray."""
    import ray

    @ray.remote(num_cpus=0)
    class Teller:
        async def tell(self, file: Path, options: dict[str, object]) -> tuple[int, list[str]]:
            import storyflow

            run = storyflow.start(file, **options)
            names = [type(event).__name__ async for event in run.events()]
            return (await run.wait()).exit_code, names

    teller = Teller.remote()
    code, names = ray.get(teller.tell.remote(studio.file, dict(studio.options)))
    ray.kill(teller)
    assert (code, names[-1]) == (0, "Finished")
    assert names.count("SegmentDone") == 6
