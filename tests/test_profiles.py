"""Pipeline profiles and cluster files: the shipped ones load, from any folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import ProfileError
from storyflow.kinds import kind_of
from storyflow.pipeline import Profile, load_profile
from storyflow.resources import shipped
from storyflow.settings import names

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_shipped_profiles_are_these() -> None:
    assert names("pipelines") == [
        "skyreels-v2-df-1.3b-540p",
        "skyreels-v2-df-14b-540p",
        "skyreels-v2-df-14b-720p",
        "slate",
        "toybox",
    ]


@pytest.mark.parametrize("name", names("pipelines"))
def test_every_shipped_profile_loads_and_can_be_planned_with(name: str) -> None:
    found, profile = load_profile(name)
    assert found == name
    assert profile.about
    assert kind_of(profile).lattice.new_frames(fresh=True)[-1] == profile.windows.trained


@pytest.mark.parametrize("name", names("cluster"))
def test_every_shipped_cluster_file_loads(name: str) -> None:
    assert load_cluster(name).about


REFERENCE = [
    # The reference code's recommended values: frame, trained window, overlap, steps, guidance,
    # shift, history noise.
    ("skyreels-v2-df-1.3b-540p", "960x544", 97, 17, 30, 6.0, 8.0, 20),
    ("skyreels-v2-df-14b-540p", "960x544", 97, 17, 30, 6.0, 8.0, 20),
    ("skyreels-v2-df-14b-720p", "1280x720", 121, 17, 30, 6.0, 8.0, 20),
]


@pytest.mark.parametrize("row", REFERENCE, ids=[row[0] for row in REFERENCE])
def test_the_real_profiles_hold_the_references_values(row: tuple[object, ...]) -> None:
    _, profile = load_profile(str(row[0]))
    sampler, windows = profile.forcing, profile.windows
    assert row[1:] == (
        str(profile.frame),
        windows.trained,
        windows.overlap,
        sampler.steps,
        sampler.guidance,
        sampler.shift,
        sampler.history_noise,
    )
    assert (sampler.sigmas, sampler.history, profile.negative) == ("reference", "pixels", "default")
    assert profile.model.id.startswith("Skywork/SkyReels-V2-DF-")


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    inner = [f.annotation for f in model.model_fields.values()]
    nested = [a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)]
    return [model, *(s for section in nested for s in sections(section))]


@pytest.mark.parametrize("section", [*sections(Profile), *sections(Cluster)])
def test_every_field_is_documented_where_it_is_defined(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        documented = field.annotation.__doc__ if nested else field.description
        assert documented, f"{section.__name__}.{name}"


def test_a_profile_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    text = (shipped("pipelines") / "slate.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("480x272", "640x368"))
    name, profile = load_profile("mine.yaml")
    assert (name, str(profile.frame)) == ("mine", "640x368")


OVERRIDES = [
    ("forcing.steps=20", lambda p: p.forcing.steps, 20),
    ("forcing.guidance=1", lambda p: p.forcing.guidance, 1.0),
    ("frame=64x48", lambda p: str(p.frame), "64x48"),
    ("windows.policy=balanced", lambda p: p.windows.policy, "balanced"),
    ("slate.fail={1C/2: 1}", lambda p: p.slate.fail, {"1C/2": 1}),
    (" deliver.crf = 23 ", lambda p: p.deliver.crf, 23),
]


@pytest.mark.parametrize(("text", "read", "value"), OVERRIDES)
def test_set_overrides_a_field(text: str, read, value) -> None:
    assert read(load_profile("slate", [text])[1]) == value


BROKEN = [
    ("forcing.steps=0", "forcing.steps=0: "),
    ("forcing.steps=1000000", "less than or equal to 120"),
    ("forcing.speed=11", "unknown key 'speed'"),
    ("frame=big", "WIDTHxHEIGHT"),
    ("model.kind=slat", "did you mean 'slate'?"),
    ("model=slate", "keys and values"),
    ("steps", "section.field=value"),
    ("forcing.steps.more=1", "forcing.steps.more=1: expected a whole number"),
    ("storyflow=2", "storyflow"),
]


@pytest.mark.parametrize(("text", "said"), BROKEN)
def test_a_wrong_override_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ProfileError) as refused:
        load_profile("slate", [text])
    assert said in str(refused.value)


WRONG_TOGETHER = [
    ("windows.overlap=18", "17 or 21"),
    ("windows.trained=96", "93 or 97"),
    ("windows.floor=200", "windows.floor"),
    ("windows.trained=33", "adds fewer than its overlap"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_TOGETHER)
def test_settings_that_can_not_work_together_are_refused(text: str, said: str) -> None:
    with pytest.raises(ProfileError) as refused:
        kind_of(load_profile("slate", [text])[1])
    assert said in str(refused.value)


def test_a_wheel_carries_the_shipped_files_where_they_are_looked_for() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    for folder in ("pipelines", "storyboards", "cluster"):
        assert included[folder] == f"storyflow/shipped/{folder}"
        assert shipped(folder).is_dir()
