"""What a storyboard means: one test for each rule, on the resolved film."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from storyflow.errors import Problem, StoryboardError
from storyflow.storyboard.load import check, load, parse
from storyflow.storyboard.model import Film
from storyflow.storyboard.resolve import resolve
from storyflow.storyboard.resolved import ResolvedBeat, ResolvedFilm, ResolvedShot, Transition
from storyflow.timing import Size

SHIPPED = Path(__file__).parent.parent / "storyboards"


def _film(*shots: object, root: Path | None = None, **keys: object) -> ResolvedFilm:
    return resolve(parse({"film": "Swan", "shots": list(shots), **keys}, root=root))


def _shot(root: Path | None = None, /, **keys: object) -> ResolvedShot:
    return _film({"do": "x", **{k.rstrip("_"): v for k, v in keys.items()}}, root=root).shots[0]


def _beat(**keys: object) -> ResolvedBeat:
    return _shot(None, **keys).beats[0]


def _codes(film: object) -> list[str]:
    with pytest.raises(StoryboardError) as caught:
        resolve(parse(film))
    return [problem.code for problem in caught.value.problems]


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder with two pictures and a clip."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(24))
    (tmp_path / "c.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(16))
    return tmp_path


# The shortest form and the typical one.


def test_three_lines_are_a_film() -> None:
    film = resolve(parse("film: Swan\nshots:\n- a white swan crosses a misty lake at dawn\n"))
    (shot,) = film.shots
    assert (film.title, int(film.fps), film.handles, film.seed) == ("Swan", 24, 0, 0)
    assert (shot.id, shot.mode, shot.frames, shot.takes) == ("1", "text", 96, 1)
    assert shot.beats[0].do == "a white swan crosses a misty lake at dawn"


def test_the_typical_film_has_fourteen_shots_and_lasts_two_minutes() -> None:
    film = resolve(load(SHIPPED / "the-keeper.yaml"))
    assert film.frames == 2880
    assert [shot.id for shot in film.shots] == (
        ["1A", "1B", "1C", "1D", "1E", "2A", "2B", "2C", "2D", "2E", "3A", "3B", "3C", "3D"]
    )
    assert [scene.heading for scene in film.scenes][1] == "EXT. CLIFF - STORM"
    assert film.size == Size(960, 544)
    modes = {shot.id: shot.mode for shot in film.shots if shot.mode != "text"}
    assert modes == {"1D": "image", "1E": "first-last", "2B": "continue"}
    assert film.notices == ()


BOARDS = sorted(p for p in SHIPPED.glob("*.yaml") if not p.name.endswith(".lock.yaml"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_shipped_storyboard_is_without_fault(path: Path) -> None:
    assert check(path) == ()


def test_the_first_film_has_beats_a_long_shot_and_a_continuation() -> None:
    film = resolve(load(SHIPPED / "first-light.yaml"))
    assert film.frames >= 12 * 24
    assert len(film.shots) >= 3
    assert any(shot.frames > 177 and len(shot.beats) == 2 for shot in film.shots)
    assert any(shot.mode == "continue" for shot in film.shots)


def test_the_full_example_uses_every_option() -> None:
    text = (SHIPPED / "example-full.yaml").read_text()
    film = load(SHIPPED / "example-full.yaml")
    for model in (film, film.scenes[0], film.scenes[0].shots[0], film.scenes[0].shots[1]):
        for name, field in type(model).model_fields.items():
            assert f"{field.alias or name}:" in text


def test_a_format_version_other_than_1_is_refused() -> None:
    assert resolve(parse({"storyflow": 1, "film": "a", "shots": ["b"]})).title == "a"
    assert _codes({"storyflow": 2, "film": "a", "shots": ["b"]}) == ["unknown-version"]


# Mode.


def test_nothing_means_text_to_video() -> None:
    assert _shot().mode == "text"


def test_from_a_picture_means_image_to_video(media: Path) -> None:
    shot = _shot(media, from_="a.png")
    assert (shot.mode, shot.source) == ("image", media / "a.png")


def test_from_and_to_pictures_mean_first_and_last_frame(media: Path) -> None:
    shot = _shot(media, from_="a.png", to="b.png")
    assert (shot.mode, shot.source, shot.end) == ("first-last", media / "a.png", media / "b.png")


def test_from_a_clip_means_extending_it(media: Path) -> None:
    shot = _shot(media, from_="c.mp4")
    assert (shot.mode, shot.source) == ("extend", media / "c.mp4")


def test_from_prev_continues_the_shot_before() -> None:
    shots = _film("x", {"id": "K", "do": "y"}, {"do": "z", "from": "prev"}).shots
    assert (shots[2].mode, shots[2].follows) == ("continue", "K")


def test_from_prev_reaches_across_scenes() -> None:
    scenes = [{"shots": [{"id": "1A", "do": "x"}]}, {"shots": [{"do": "y", "from": "prev"}]}]
    assert resolve(parse({"film": "a", "scenes": scenes})).shots[1].follows == "1A"


def test_from_an_id_continues_that_shot() -> None:
    shots = _film({"id": "1C", "do": "x"}, "y", {"do": "z", "from": "1C"}).shots
    assert (shots[2].mode, shots[2].follows) == ("continue", "1C")


def test_a_shot_may_continue_a_later_one() -> None:
    shots = _film({"do": "x", "from": "E"}, {"id": "E", "do": "y"}).shots
    assert shots[0].follows == "E"


# Cascade.


def test_scalars_of_the_narrower_level_replace() -> None:
    film = {
        "film": "a",
        "defaults": {"size": "LS", "angle": "low", "view": "back", "lens": "35mm"},
        "scenes": [
            {
                "defaults": {"angle": "high", "view": "side", "lens": "50mm"},
                "shots": [{"view": "front", "beats": [{"do": "x", "lens": "85mm"}]}],
            }
        ],
    }
    beat = resolve(parse(film)).shots[0].beats[0]
    assert (beat.size, beat.angle, beat.view) == ("long_shot", "high_angle", "front_view")
    assert beat.lens == "85mm"


def test_light_and_place_of_the_narrower_level_replace() -> None:
    film = {
        "film": "a",
        "light": "day",
        "place": "sea",
        "places": {"sea": "waves", "hill": "grass"},
        "scenes": [
            {"light": "dusk", "shots": ["x", {"do": "y", "light": "night"}]},
            {"place": "hill", "shots": [{"beats": [{"do": "z", "light": "dawn"}]}]},
        ],
    }
    beats = [shot.beats[0] for shot in resolve(parse(film)).shots]
    assert [b.light for b in beats] == ["dusk", "night", "dawn"]
    assert [b.place and b.place.look for b in beats] == ["waves", "waves", "grass"]


def test_style_and_avoid_of_all_levels_append() -> None:
    film = {
        "film": "a",
        "style": "film grain",
        "avoid": "text",
        "defaults": {"style": "soft"},
        "scenes": [
            {
                "style": "teal",
                "avoid": "smoke",
                "shots": [{"style": "slow", "beats": [{"do": "x", "style": "sharp"}]}],
            }
        ],
    }
    beat = resolve(parse(film)).shots[0].beats[0]
    assert beat.style == ("soft", "film grain", "teal", "slow", "sharp")
    assert beat.avoid == ("text", "smoke")


def test_a_shot_lasts_its_defaults_else_four_seconds() -> None:
    assert _film("x").shots[0].frames == 96
    assert _film("x", defaults={"dur": "5s"}).shots[0].frames == 120
    scene = {"defaults": {"dur": "2s"}, "shots": ["x", {"do": "y", "dur": "3s"}]}
    film = resolve(parse({"film": "a", "defaults": {"dur": "5s"}, "scenes": [scene]}))
    assert [shot.frames for shot in film.shots] == [48, 72]


def test_the_duration_of_a_shot_does_not_cascade_into_its_beats() -> None:
    beats = [{"do": "x", "dur": "2s"}, {"do": "y", "dur": "7s"}]
    assert [b.frames for b in _film({"dur": "9s", "beats": beats}).shots[0].beats] == [48, 168]


@pytest.mark.parametrize("key", ["id", "seed", "take", "takes", "from", "to", "in", "out"])
def test_what_belongs_to_shots_cannot_stand_in_beats(key: str) -> None:
    film = {"film": "a", "shots": [{"beats": [{"do": "x", key: "1"}]}]}
    assert _codes(film) == ["unknown-key"]


def test_a_shot_lasts_as_long_as_its_beats() -> None:
    shot = _film({"beats": [{"do": "x", "dur": "8s"}, {"do": "y", "dur": "12s"}]}).shots[0]
    assert shot.frames == 480


def test_one_beat_without_a_time_takes_the_rest() -> None:
    beats = [{"do": "x", "dur": "3s"}, "y", {"do": "z", "dur": "2s"}]
    shot = _film({"dur": "10s", "beats": beats}).shots[0]
    assert [beat.frames for beat in shot.beats] == [72, 120, 48]


def test_an_only_beat_takes_all_of_the_shot() -> None:
    assert _film({"beats": ["x"]}).shots[0].frames == 96
    assert _film({"dur": "2s", "beats": ["x"]}).shots[0].frames == 48


def test_do_beside_beats_is_an_error() -> None:
    film = {"film": "a", "shots": [{"do": "x", "beats": ["y"]}]}
    assert _codes(film) == ["do-beside-beats"]


# Who is in the picture.

CAST = {"keeper": {"look": "old man"}, "girl": "girl of ten", "girl-scout": "a scout"}


def _names(shot: object) -> list[list[str]]:
    beats = _film(shot, cast=CAST).shots[0].beats
    return [[character.name for character in beat.who] for beat in beats]


def test_every_beat_carries_who_and_everyone_named_so_far() -> None:
    beats = [
        {"do": "he sets the lamp down", "dur": 1},
        {"do": "@girl enters", "dur": 1},
        {"do": "he wipes the lens", "dur": 1},
    ]
    assert _names({"who": ["keeper"], "beats": beats}) == [["keeper"]] + [["keeper", "girl"]] * 2


def test_a_beats_own_who_joins_those_named_before() -> None:
    beats = [{"do": "@keeper climbs", "dur": 1}, {"do": "she waits", "who": "girl", "dur": 1}]
    assert _names({"beats": beats}) == [["keeper"], ["keeper", "girl"]]


def test_a_name_is_followed_by_anything() -> None:
    assert _names("@keeper's hand, (@girl)!") == [["keeper", "girl"]]
    assert _names("@girl-scout and @keeper-like figures") == [["girl-scout", "keeper"]]


def test_an_unknown_name_gives_the_nearest_match() -> None:
    film = parse({"film": "a", "cast": CAST, "shots": ["@keper climbs"]})
    (problem,) = check(film)
    assert (problem.code, problem.cure) == ("unknown-character", "did you mean 'keeper'?")


def test_known_capitals_are_names_and_unknown_capitals_are_text() -> None:
    beat = _film("KEEPER climbs, USA 1920, GIRL-SCOUT waves", cast=CAST).shots[0].beats[0]
    assert beat.do == "@keeper climbs, USA 1920, @girl-scout waves"
    assert [character.name for character in beat.who] == ["keeper", "girl-scout"]


def test_an_address_in_text_is_no_name() -> None:
    assert _names("a sign reads info@keeper") == [[]]


def test_names_need_no_at_sign_in_who_but_may_have_one() -> None:
    assert _names({"do": "x", "who": "keeper, @girl"}) == [["keeper", "girl"]]


# Time.


@pytest.mark.parametrize(
    ("written", "frames"),
    [(8, 192), ("8s", 192), ("1:30", 2160), ("192f", 192), (2.5, 60), ("0:08.5", 204)],
)
def test_times_are_seconds_minutes_or_frames(written: object, frames: int) -> None:
    film = resolve(parse(f"film: a\nshots:\n- {{do: x, dur: {written}}}\n"))
    assert film.shots[0].frames == frames


def test_the_durations_must_sum_to_the_length() -> None:
    assert _film("x", {"do": "y", "dur": "6s"}, length="0:10").frames == 240
    assert _codes({"film": "a", "length": "2:00", "shots": ["x"]}) == ["length-differs"]


def test_seconds_are_counted_at_the_nominal_rate() -> None:
    film = _film({"do": "x", "dur": "1:00"}, fps=23.976)
    assert (film.fps, film.frames) == (Fraction(24000, 1001), 1440)
    assert _film({"do": "x", "dur": "1:00"}, fps=25).frames == 1500


def test_a_time_between_two_frames_is_rounded_with_a_notice() -> None:
    film = _film({"do": "x", "dur": "1.03s"})
    assert film.frames == 25
    (notice,) = film.notices
    assert (notice.code, notice.level, notice.shot) == ("rounded-duration", "notice", "1")
    assert notice.cure == "write 25f"


def test_handles_are_frames_outside_the_cut() -> None:
    assert _film("x", handles="12f").handles == 12
    assert _film("x", handles="0.5s").handles == 12
    assert _film("x", handles="12f").frames == 96


def test_a_scenes_in_is_its_first_shots_and_its_out_the_last_ones() -> None:
    scene = {"in": "fade 1s", "out": "fade white 2s", "shots": ["x", "y"]}
    shots = resolve(parse({"film": "a", "scenes": [scene]})).shots
    assert (shots[0].into, shots[0].out) == (Transition("fade", 24), Transition())
    assert (shots[1].into, shots[1].out) == (Transition(), Transition("fade", 48, "white"))


def test_a_dissolve_stands_on_both_sides_of_its_cut() -> None:
    dissolve = Transition("dissolve", 24)
    for shots in (["x", {"do": "y", "in": "dissolve 1s"}], [{"do": "x", "out": "dissolve"}, "y"]):
        first, second = _film(*shots).shots
        assert (first.into, first.out) == (Transition(), dissolve)
        assert (second.into, second.out) == (dissolve, Transition())


def test_a_dissolve_said_on_both_sides_must_be_the_same() -> None:
    first = {"do": "x", "out": "dissolve 1s"}
    assert _film(first, {"do": "y", "in": "dissolve 24f"}).shots[0].out.frames == 24
    for other in ("dissolve 2s", "cut", "fade 1s"):
        film = {"film": "a", "shots": [first, {"do": "y", "in": other}]}
        assert _codes(film) == ["contradicting-joint"]


def test_a_fade_out_and_a_fade_in_may_meet() -> None:
    first, second = _film({"do": "x", "out": "fade 1s"}, {"do": "y", "in": "fade white 1s"}).shots
    assert (first.out.color, second.into.color) == ("black", "white")


def test_a_dissolve_into_a_continuation_is_an_error() -> None:
    film = {"film": "a", "shots": ["x", {"do": "y", "from": "prev", "in": "dissolve 1s"}]}
    assert _codes(film) == ["dissolve-into-continuation"]
    film = {"film": "a", "shots": [{"do": "x", "out": "dissolve"}, {"do": "y", "from": "prev"}]}
    assert _codes(film) == ["dissolve-into-continuation"]


def test_a_fade_into_a_continuation_is_allowed() -> None:
    assert _film("x", {"do": "y", "from": "prev", "in": "fade 1s"}).shots[1].into.kind == "fade"


def test_fades_lie_inside_the_shot() -> None:
    assert _film({"do": "x", "in": "fade 2s", "out": "fade 2s"}).frames == 96
    film = {"film": "a", "shots": [{"do": "x", "in": "fade 2s", "out": "fade 3s"}]}
    assert _codes(film) == ["long-joint"]


def test_half_of_a_dissolve_lies_in_each_shot() -> None:
    shots = [{"do": "x", "dur": "2s"}, {"do": "y", "dur": "2s", "in": "dissolve 2s"}, "z"]
    assert _film(*shots).shots[1].into.frames == 48
    shots[1]["out"] = "dissolve 2s"  # type: ignore[index]
    assert _film(*shots).shots[1].out.frames == 48
    shots[1]["out"] = "fade 2s"  # type: ignore[index]
    assert _codes({"film": "a", "shots": shots}) == ["long-joint"]


def test_a_wipe_stands_on_both_sides_of_its_cut() -> None:
    first, second = _film("x", {"do": "y", "in": "wipe up 1s"}).shots
    assert first.out == second.into == Transition("wipe", 24, way="up")
    for other in ("wipe down 1s", "dissolve 1s", "wipe up 2s"):
        film = {"film": "a", "shots": [{"do": "x", "out": other}, {"do": "y", "in": "wipe up 1s"}]}
        assert _codes(film) == ["contradicting-joint"]
    film = {"film": "a", "shots": ["x", {"do": "y", "from": "prev", "in": "wipe left"}]}
    assert _codes(film) == ["dissolve-into-continuation"]


@pytest.mark.parametrize(
    ("frames", "into", "out", "fits"),
    [
        (24, "dissolve 24f", "dissolve 24f", True),
        (23, "dissolve 23f", "dissolve 23f", True),
        (23, "dissolve 23f", "wipe up 23f", True),
        (24, "dissolve 25f", "cut", False),
        (23, "dissolve 23f", "fade 11f", True),
        (23, "dissolve 23f", "fade 12f", False),
        (23, "fade 13f", "dissolve 23f", False),
        (23, "fade 12f", "dissolve 22f", True),
    ],
)
def test_two_transitions_of_a_shot_may_meet_but_not_overlap(
    frames: int, into: str, out: str, fits: bool
) -> None:
    shot = {"do": "y", "dur": f"{frames}f", "in": into, "out": out}
    if fits:
        assert _film("x", shot, "z").shots[1].frames == frames
    else:
        assert set(_codes({"film": "a", "shots": ["x", shot, "z"]})) == {"long-joint"}


def test_a_title_is_shown_as_its_author_says() -> None:
    assert _shot(title="SWAN").titles[0].style == "center"
    told = [("centre", "center"), ("Lower Third", "lower-third"), ("lower-third", "lower-third")]
    for written, style in told:
        assert _shot(title={"text": "SWAN", "as": written}).titles[0].style == style
    card = _shot(title={"text": "SWAN", "as": "card", "ground": "#204060"}).titles[0]
    assert (card.style, card.ground) == ("card", "#204060")
    assert _shot(title={"text": "SWAN", "as": "card"}).titles[0].ground == "black"


def test_a_title_without_a_time_gives_way_to_the_next_one_in_its_place() -> None:
    titles = [
        "ONE",
        {"text": "Ada", "as": "lower third", "at": "1s"},
        {"text": "TWO", "at": "3s", "as": "card"},
    ]
    one, ada, two = _shot(title=titles).titles
    assert (one.at, one.frames, ada.frames, two.frames) == (0, 72, 72, 24)


def test_two_titles_can_not_stand_in_one_place_at_once() -> None:
    titles = [{"text": "ONE", "dur": "2s"}, {"text": "TWO", "as": "card", "at": "1s"}]
    assert _codes({"film": "a", "shots": [{"do": "x", "title": titles}]}) == ["titles-collide"]
    titles[1]["as"] = "lower third"
    assert len(_shot(title=titles).titles) == 2
    assert _codes({"film": "a", "shots": [{"do": "x", "title": ["A", "B"]}]}) == ["titles-collide"]


def test_a_title_counts_within_its_shot() -> None:
    title = _shot(title={"text": "SWAN", "at": "2s", "dur": "1s"}).titles[0]
    assert (title.text, title.at, title.frames) == ("SWAN", 48, 24)
    whole = _shot(title="SWAN").titles[0]
    assert (whole.at, whole.frames) == (0, 96)
    assert len(_shot(title=["ONE", {"text": "TWO", "at": "3s"}]).titles) == 2


# Ids, takes, YAML, pictures.


@pytest.mark.parametrize("name", ["1E2", "007", "1.0", "no", "12:30", "1_0", "0x1F", "1.50", "yes"])
def test_an_id_is_source_text(name: str) -> None:
    film = resolve(parse(f"film: a\nshots:\n- {{id: {name}, do: x}}\n- {{from: {name}, do: y}}\n"))
    assert film.shots[0].id == name
    assert film.shots[1].follows == name


@pytest.mark.parametrize("name", ["007", "1E2", "no"])
def test_a_name_is_source_text(name: str) -> None:
    text = f"film: 2001\ncast: {{{name}: a spy}}\nshots:\n- {{who: [{name}], do: x}}\n"
    film = resolve(parse(text))
    assert film.title == "2001"
    assert [character.name for character in film.shots[0].beats[0].who] == [name]


def test_the_storyboards_take_is_the_cuts() -> None:
    shot = _shot(takes=3, take=2)
    assert (shot.takes, shot.take) == (3, 2)
    assert (_shot().takes, _shot().take) == (1, None)
    assert _film("x", defaults={"takes": 2}).shots[0].takes == 2


def test_a_take_that_is_not_rendered_cannot_be_chosen() -> None:
    assert _codes({"film": "a", "shots": [{"do": "x", "take": 2}]}) == ["take-without-takes"]


MEANT_AS_TEXT = [
    "a swan # white", "*keeper climbs", "&keeper climbs", "@keeper climbs", "%half",
    "KEEPER: hm", "[softly]", "[softly] he goes",
]  # fmt: skip


@pytest.mark.parametrize("do", MEANT_AS_TEXT)
def test_where_yaml_changes_what_was_meant_the_cure_is_to_quote(do: str, tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    for text in (f"film: a\nshots:\n- do: {do}\n", f"film: a\nshots:\n- {do}\n"):
        path.write_text(text)
        problem = check(path)[0]
        assert "quote the text" in problem.cure
        assert (problem.file, problem.line) == (str(path), 3)
        assert problem.column is not None
        path.write_text(text.replace(do, f'"{do}"'))
        assert {p.code for p in check(path)} <= {"unknown-character"}


def test_pictures_are_cropped_unless_they_are_to_be_padded(media: Path) -> None:
    assert _shot(media, from_="a.png").fit == "crop"
    assert _shot(media, from_="a.png", fit="pad").fit == "pad"
    film = _film({"do": "x", "from": "a.png"}, root=media, defaults={"fit": "pad"})
    assert film.shots[0].fit == "pad"


def test_fit_without_a_picture_is_noticed() -> None:
    film = _film({"do": "x", "fit": "pad"})
    assert [notice.code for notice in film.notices] == ["fit-without-picture"]


def test_references_start_from_the_storyboards_folder(media: Path) -> None:
    (media / "film.yaml").write_text("film: a\nshots:\n- {do: x, from: a.png}\n")
    assert resolve(load(media / "film.yaml")).shots[0].source == media / "a.png"


def test_a_dutch_angle_is_said_in_words_as_the_captioner_has_none() -> None:
    beat = _beat(angle="dutch", style="grain")
    assert (beat.angle, beat.style) == ("other", ("grain", "dutch angle"))


def test_models_and_samplers_never_stand_in_a_storyboard() -> None:
    for key in ("model", "steps", "guidance", "pipeline", "gen"):
        assert _codes({"film": "a", key: 1, "shots": ["x"]}) == ["unknown-key"]


def test_notices_come_with_the_film_and_in_check() -> None:
    film = parse({"film": "a", "shots": [{"do": "x", "dur": "1.03s"}]})
    notices: tuple[Problem, ...] = resolve(film).notices
    assert notices == check(film)


def test_resolving_reads_nothing_but_what_is_named(tmp_path: Path) -> None:
    film = Film(film="Swan", shots=["a swan"])
    assert resolve(film, root=tmp_path / "nowhere").frames == 96


def test_places_in_the_file_come_with_the_resolved_film(tmp_path: Path) -> None:
    path = tmp_path / "film.yaml"
    path.write_text("film: a\nshots:\n- x\n- beats:\n  - {do: y, dur: 1s}\n  - {do: z, dur: 1s}\n")
    first, second = resolve(load(path)).shots
    assert (first.where.file, first.where.line) == (str(path), 3)
    assert [beat.where.line for beat in second.beats] == [5, 6]
