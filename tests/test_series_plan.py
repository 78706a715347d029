"""What a series plan says: per episode and in all, and what an edit of the bible costs."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from films import SMALL

import storyflow
from storyflow.errors import InputError
from storyflow.series.ledger import Ledger
from storyflow.series.orders import Grounds, Where
from storyflow.series.plan import plan_series

NOW = datetime(2026, 1, 10, 23, tzinfo=UTC)
SERIES = f"""\
series: Shapes
bible:
  pipeline: slate
  settings: [{", ".join(SMALL)}]
  cast: {{ball: a red ball, star: a blue star}}
episodes: [e*.yaml]
rules: {{cluster: cluster.yaml}}
"""
CLUSTER = "address: in-process\nprice: 2\n"
EPISODES = {
    "e1": "film: One\nshots:\n- {id: 1A, dur: 2s, do: '@ball rolls'}\n"
    "- {id: 1B, dur: 2s, do: '@star hops'}\n",
    "e2": "film: Two\nshots:\n- {id: 2A, dur: 2s, do: '@star spins'}\n",
}


def series_in(folder: Path, text: str = SERIES) -> Path:
    """A series of small slate films in this folder."""
    for name, episode in EPISODES.items():
        (folder / f"{name}.yaml").write_text(episode)
    (folder / "cluster.yaml").write_text(CLUSTER)
    (folder / "series.yaml").write_text(text)
    return folder / "series.yaml"


def rows(file: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    plan = plan_series(Grounds(file), NOW)
    return {each.name: (each.state, each.render) for each in plan.episodes}


def test_a_series_renders_into_its_own_folders_wherever_it_is_called_from(tmp_path, monkeypatch):
    file = series_in(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    grounds = Grounds(file)
    assert grounds.folder == tmp_path / "renders/series"
    assert grounds.store == str(tmp_path / ".storyflow/store")
    assert grounds.ledger == tmp_path / ".storyflow/store.ledger.sqlite"
    assert Grounds(file, Where(out="o", store="s3://b/p")).ledger == Path("o/ledger.sqlite")


def test_a_plan_counts_what_each_episode_needs_and_writes_nothing(tmp_path):
    file = series_in(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    plan = plan_series(Grounds(file), NOW)
    assert [(e.name, e.state, e.render) for e in plan.episodes] == [
        ("e1", "render", ("1A/1", "1B/1")),
        ("e2", "render", ("2A/1",)),
    ]
    assert (plan.segments, plan.render, plan.left, plan.nights) == (3, 3, None, None)
    assert plan.as_data()["totals"]["render"] == 3
    assert sorted(tmp_path.rglob("*")) == before


def test_a_broken_episode_stops_no_other(tmp_path):
    file = series_in(tmp_path)
    (tmp_path / "e1.yaml").write_text("film: One\nshots: [{do: '@bell rolls'}]\n")
    (tmp_path / "e3.yaml").write_text("film: Three\nshots: [a dot]\nsho: 1\n")
    plan = plan_series(Grounds(file), NOW)
    states = {each.name: each.state for each in plan.episodes}
    assert states == {"e1": "broken", "e2": "render", "e3": "broken"}
    assert "did you mean 'ball'?" in plan.episodes[0].error


def test_an_edit_of_a_look_touches_only_the_segments_that_show_it(tmp_path):
    file = series_in(tmp_path)
    for name in EPISODES:
        episode = tmp_path / f"{name}.yaml"
        what = Grounds(file)
        result = storyflow.render(
            episode,
            series=file,
            pipeline="slate",
            settings=SMALL,
            cluster=what.cluster,
            store=what.store,
            out=what.folder / name,
        )
        assert result.complete
    assert rows(file) == {"e1": ("cut", ()), "e2": ("cut", ())}
    file.write_text(SERIES.replace("a red ball", "a green ball"))
    assert rows(file) == {"e1": ("render", ("1A/1",)), "e2": ("cut", ())}
    file.write_text(SERIES.replace("a blue star", "a white star"))
    assert rows(file) == {"e1": ("render", ("1B/1",)), "e2": ("render", ("2A/1",))}
    # The film's folder knows its series: it is cut again without naming that.
    file.write_text(SERIES)
    assert storyflow.cut(Grounds(file).folder / "e1").complete


def test_segments_that_two_episodes_share_are_rendered_once(tmp_path):
    file = series_in(tmp_path)
    (tmp_path / "e2.yaml").write_text(EPISODES["e1"].replace("film: One", "film: Two"))
    plan = plan_series(Grounds(file), NOW)
    assert [(each.state, each.render) for each in plan.episodes] == [
        ("render", ("1A/1", "1B/1")),
        ("render", ()),
    ]


def test_a_budget_in_money_needs_a_price(tmp_path):
    file = series_in(tmp_path, SERIES.replace("{cluster", "{budget: {night: {money: 5}}, cluster"))
    plan = plan_series(Grounds(file), NOW)
    assert plan.left == 9000
    (tmp_path / "cluster.yaml").write_text("address: in-process\n")
    with pytest.raises(InputError, match="without a price"):
        plan_series(Grounds(file), NOW)


def test_what_a_night_has_used_is_left_out_of_its_budget(tmp_path):
    text = SERIES.replace("{cluster", "{budget: {night: {gpu_hours: 1}}, cluster")
    grounds = Grounds(series_in(tmp_path, text))
    with Ledger.writing(grounds.ledger) as ledger:
        for night in ("2026-01-09", "2026-01-10", "2026-01-10"):
            run = ledger.begin_run("Shapes", night, "USD")
            ledger.spent(run, 1000, None)
    plan = plan_series(grounds, NOW)
    assert (plan.night, plan.left, plan.nights) == ("2026-01-10", 1600, 1)


def test_planning_a_series_loads_neither_torch_nor_ray(tmp_path):
    file = series_in(tmp_path)
    program = (
        "import sys; from datetime import UTC, datetime\n"
        "from storyflow.series.orders import Grounds\n"
        "from storyflow.series.plan import plan_series\n"
        f"plan = plan_series(Grounds({str(file)!r}), datetime.now(UTC))\n"
        "assert plan.render == 3, plan\n"
        "heavy = 'torch ray vllm diffusers cv2 av pandas opentimelineio'.split()\n"
        "assert not set(heavy) & set(sys.modules), set(heavy) & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_plan_is_printed_as_a_table_and_as_data(tmp_path):
    import json

    from typer.testing import CliRunner

    from storyflow.cli import app

    file = series_in(tmp_path)
    (tmp_path / "e3.yaml").write_text("film: Three\n")
    told = CliRunner().invoke(app, ["series", "plan", str(file)])
    assert told.exit_code == 1
    assert "3 segments to render" in told.stdout and "e3: " in told.stdout
    told = CliRunner().invoke(app, ["series", "plan", str(file), "--json"])
    data = json.loads(told.stdout)
    assert [each["state"] for each in data["episodes"]] == ["render", "render", "broken"]
    told = CliRunner().invoke(app, ["series", "history", str(file)])
    assert (told.exit_code, told.stdout) == (0, "nothing was rendered yet\n")
