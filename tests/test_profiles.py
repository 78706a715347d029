"""Pipeline profiles and cluster files: the shipped ones load, from any folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

import storyflow
from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import ModelError, ProfileError, StoryboardError
from storyflow.kinds import kind_of
from storyflow.ordering import order
from storyflow.pipeline import Profile, load_profile
from storyflow.renderer import EVERY_MODE, ModelKind
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
        "skyreels-v2-i2v-1.3b-540p",
        "skyreels-v2-i2v-14b-540p",
        "skyreels-v2-i2v-14b-720p",
        "skyreels-v2-t2v-14b-540p",
        "skyreels-v2-t2v-14b-720p",
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


SEQUENCE = [
    # Frame, trained window, steps, guidance, shift, and the one mode that the weights render.
    ("skyreels-v2-t2v-14b-540p", "960x544", 97, 30, 6.0, 8.0, "text"),
    ("skyreels-v2-t2v-14b-720p", "1280x720", 121, 30, 6.0, 8.0, "text"),
    ("skyreels-v2-i2v-1.3b-540p", "960x544", 97, 30, 5.0, 5.0, "image"),
    ("skyreels-v2-i2v-14b-540p", "960x544", 97, 30, 5.0, 5.0, "image"),
    ("skyreels-v2-i2v-14b-720p", "1280x720", 121, 30, 5.0, 5.0, "image"),
]


@pytest.mark.parametrize("row", SEQUENCE, ids=[row[0] for row in SEQUENCE])
def test_the_full_sequence_profiles_hold_the_references_values(row: tuple[object, ...]) -> None:
    _, profile = load_profile(str(row[0]))
    kind, sampler = kind_of(profile), profile.forcing
    (mode,) = kind.modes
    assert row[1:] == (
        str(profile.frame),
        profile.windows.trained,
        sampler.steps,
        sampler.guidance,
        sampler.shift,
        mode,
    )
    assert (sampler.sigmas, profile.negative) == ("reference", "default")
    size = str(row[0]).removeprefix("skyreels-v2-").upper()
    assert profile.model.id == f"Skywork/SkyReels-V2-{size}-Diffusers"
    assert kind.wants_gpu and not kind.keeps_latents and not kind.lattice.new_frames(fresh=False)


def test_every_released_checkpoint_has_a_profile() -> None:
    from storyflow.forcing.weights.family import RELEASED

    profiles = [load_profile(name)[1].model for name in names("pipelines")]
    assert {m.id: m.kind for m in profiles if m.id.startswith("Skywork/")} == {
        name: family.kind for name, (family, _) in RELEASED.items()
    }


@pytest.mark.parametrize("row", REFERENCE, ids=[row[0] for row in REFERENCE])
def test_the_keys_of_profiles_stay_what_they_are(row: tuple[object, ...]) -> None:
    """New settings leave the keys alone as long as nobody uses them."""
    kind = kind_of(load_profile(str(row[0]))[1])
    model = f"Skywork/SkyReels-V2-{str(row[0]).removeprefix('skyreels-v2-').upper()}-Diffusers"
    assert (kind.identity, kind.encoder) == (f"{model}@main", f"{model}@main bfloat16")
    assert dict(kind.pixel_fields) == {
        "dtype": "bfloat16",
        "steps": 30,
        "guidance": 6.0,
        "shift": 8.0,
        "sigmas": "reference",
        "history": "pixels",
        "history_noise": 20,
        "fps": "24",
        "solver_aliasing": False,
    }
    assert kind.modes == EVERY_MODE


@pytest.mark.parametrize("name", ["skyreels-v2-df-14b-540p", "skyreels-v2-t2v-14b-540p"])
def test_loras_belong_to_the_identity_of_the_weights(name: str) -> None:
    def kind(*loras: str) -> ModelKind:
        return kind_of(load_profile(name, [f"model.loras=[{', '.join(loras)}]"])[1])

    plain, one = kind(), kind("{id: me/style, revision: v1, scale: 0.5}")
    others = [
        kind("{id: me/style, revision: v2, scale: 0.5}"),
        kind("{id: me/style, revision: v1}"),
        kind("{id: me/style, revision: v1, scale: 0.5}", "{id: me/style, revision: v1}"),
    ]
    assert plain.identity == kind_of(load_profile(name)[1]).identity
    assert one.identity.startswith(plain.identity) and "me/style" in one.identity
    assert len({plain.identity, one.identity, *(k.identity for k in others)}) == 5
    assert {plain.encoder, one.encoder} == {plain.encoder}, "prompts are read by other weights"
    assert one.pixel_fields == plain.pixel_fields


FORCING_ONLY = [
    "forcing.history=latents",
    "forcing.history_noise=0",
    "forcing.ar_step=5",
    "forcing.block=5",
    "forcing.solver_aliasing=true",
    "model.causal=true",
    "windows.overlap=9",
    "windows.policy=balanced",
]


@pytest.mark.parametrize("setting", FORCING_ONLY)
def test_settings_that_a_full_sequence_model_would_pass_over_are_refused(setting: str) -> None:
    with pytest.raises(ProfileError, match="only diffusion forcing reads this") as refused:
        kind_of(load_profile("skyreels-v2-t2v-14b-540p", [setting])[1])
    assert setting.split("=")[0] in str(refused.value)


def test_the_step_cache_is_refused_where_nothing_is_known_of_it() -> None:
    assert kind_of(load_profile("skyreels-v2-t2v-14b-540p", ["forcing.step_cache=0.1"])[1])
    with pytest.raises(ProfileError, match="image-to-video"):
        kind_of(load_profile("skyreels-v2-i2v-14b-540p", ["forcing.step_cache=0.1"])[1])


WRONG_WEIGHTS = [
    ("skyreels-v2-df-14b-540p", "T2V-14B-540P", "text to video", "skyreels-v2 for"),
    ("skyreels-v2-df-1.3b-540p", "I2V-1.3B-540P", "image to video", "skyreels-v2 for"),
    ("skyreels-v2-t2v-14b-540p", "DF-14B-540P", "diffusion forcing", "skyreels-v2-df for"),
    ("skyreels-v2-i2v-14b-720p", "DF-14B-720P", "diffusion forcing", "skyreels-v2-df for"),
]


@pytest.mark.parametrize(("name", "model", "found", "cure"), WRONG_WEIGHTS)
def test_a_model_of_another_kind_is_refused(name: str, model: str, found: str, cure: str) -> None:
    _, profile = load_profile(name, [f"model.id=Skywork/SkyReels-V2-{model}-Diffusers"])
    with pytest.raises(ModelError, match=f"holds weights for {found}.*set model.kind to {cure}"):
        kind_of(profile)


def test_the_toy_model_is_no_full_sequence_model() -> None:
    with pytest.raises(ModelError, match=r"toybox.* is a model of another kind"):
        kind_of(load_profile("skyreels-v2-t2v-14b-540p", ["model.id=toybox"])[1])


COSTS = [
    ("", 97, 0, 60),
    ("forcing.ar_step=5 forcing.block=5", 97, 0, 100),
    ("forcing.ar_step=5 forcing.block=5", 97, 17, 90),
    ("forcing.guidance=1", 97, 0, 30),
    ("forcing.guidance=1 forcing.ar_step=5 forcing.block=5", 97, 17, 45),
    ("forcing.guidance_to=0.5", 97, 0, 45),
    ("forcing.guidance_from=0.2 forcing.guidance_to=0.4 forcing.steps=10", 97, 0, 12),
]


@pytest.mark.parametrize(("settings", "window", "overlap", "passes"), COSTS)
def test_a_segment_costs_its_forward_passes(
    settings: str, window: int, overlap: int, passes: int
) -> None:
    name = "skyreels-v2-df-1.3b-540p"
    kind = kind_of(load_profile(name, settings.split())[1])
    one = kind_of(load_profile(name, ["forcing.steps=1", "forcing.guidance=1"])[1])
    cost, unit = kind.cost(window, overlap).flops, one.cost(window).flops
    assert cost == pytest.approx(passes * unit)


def test_a_guidance_interval_that_holds_no_step_is_refused() -> None:
    settings = ["forcing.steps=4", "forcing.guidance_from=0.9"]
    with pytest.raises(ProfileError, match="none of 4 steps"):
        kind_of(load_profile("skyreels-v2-t2v-14b-540p", settings)[1])


CAN_NOT_BE_PLANNED = {"unsupported-mode", "single-window", "frame-rate", "short-beat"}


@pytest.mark.parametrize("name", names("pipelines"))
@pytest.mark.parametrize("film", [f for f in names("storyboards") if not f.endswith(".lock")])
def test_a_shipped_storyboard_is_planned_or_refused_at_its_lines(film: str, name: str) -> None:
    board = shipped("storyboards") / f"{film}.yaml"
    try:
        plan = storyflow.plan(board, pipeline=name)
    except StoryboardError as refused:
        single = not kind_of(load_profile(name)[1]).lattice.new_frames(fresh=False)
        assert single, "diffusion forcing and slate plan every shipped film"
        for problem in refused.problems:
            assert problem.code in CAN_NOT_BE_PLANNED
            assert problem.line is not None and problem.shot is not None and problem.cure
    else:
        assert plan.segments


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


WRONG_IN_A_FILE = [
    ("guidance_from: 0.9, guidance_to: 0.1", (), "mine.yaml:4:44: ", "guidance from"),
    ("ar_step: 2, step_cache: 0.2", (), "mine.yaml:4:35: ", "step_cache"),
    ("guidance_from: 0.9", ("forcing.guidance_to=0.1",), "forcing.guidance_to=0.1", "guidance"),
]


@pytest.mark.parametrize(("fields", "overrides", "place", "said"), WRONG_IN_A_FILE)
def test_settings_that_can_not_work_together_are_told_where_they_stand(
    tmp_path: Path, fields: str, overrides: tuple[str, ...], place: str, said: str
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "storyflow: 1\nmodel: {kind: skyreels-v2-df, id: toybox}\nframe: 96x64\n"
        f"forcing: {{{fields}}}\n"
    )
    (tmp_path / "film.yaml").write_text(
        "storyflow: 1\nfilm: F\nfps: 24\nshots:\n- {id: A, do: a star, dur: 4s}\n"
    )
    with pytest.raises(ProfileError) as refused:
        order("film.yaml", pipeline="mine.yaml", settings=overrides)
    assert place in str(refused.value) and said in str(refused.value)


def test_a_wheel_carries_the_shipped_files_where_they_are_looked_for() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    for folder in ("pipelines", "storyboards", "cluster"):
        assert included[folder] == f"storyflow/shipped/{folder}"
        assert shipped(folder).is_dir()
