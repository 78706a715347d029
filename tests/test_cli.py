"""The command line: what it prints, where, and the exit code it leaves with."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from films import SMALL, THREE_SHOTS

from storyflow import cli

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs storyflow in a folder of its own; gives exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "film.yaml").write_text(THREE_SHOTS)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["storyflow", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capfd.readouterr()
        code = left.value.code
        return (code if isinstance(code, int) else 1), said.out, said.err

    return call


SMALLER = tuple(word for setting in SMALL for word in ("--set", setting))
SLATE = ("--pipeline", "slate", "--address", "in-process", *SMALLER)


def test_a_render_reads_like_the_algorithm(run) -> None:
    code, out, _ = run("render", "film.yaml", *SLATE)
    assert code == 0
    assert re.search(r"^render 1B/2 on worker-1 … \d+\.\d s$", out, re.MULTILINE)
    assert "film   renders/film/film.mp4 (6 rendered, 0 reused" in out.replace("\n", " ")
    code, out, _ = run("render", "film.yaml", *SLATE)
    assert code == 0
    assert len(re.findall(r"^reuse  ", out, re.MULTILINE)) == 6
    assert "render " not in out.replace("to render", "")


REFUSED = [
    (("render", "none.yaml"), 1, "no such file"),
    (("render", "film.yaml", "--pipeline", "toyboks"), 1, "did you mean 'toybox'?"),
    (("render", "film.yaml", "--set", "forcing.stebs=2"), 1, "did you mean 'steps'?"),
    (("render", "film.yaml", "--set", "forcing.steps=many"), 1, "expected a whole number"),
    (("render", "film.yaml", "--set", "nonsense"), 1, "section.field=value"),
    (("render", "film.yaml", "--cluster", "clowd"), 1, "use one of local"),
    (("render", "film.yaml", "--shots", "1A,7Q", "--pipeline", "slate"), 1, "no shot '7Q'"),
    (("render", "film.yaml", "--set", "model.id=./nowhere"), 1, "nowhere"),
    (("render", "film.yaml", "--address", "locl"), 1, "address=locl: an address is"),
    (("render", "film.yaml", "--workers", "-3"), 1, "workers.count"),
    (("render", "film.yaml", "--frobnicate"), 2, "frobnicate"),
    (("fly", "film.yaml"), 2, "fly"),
    (("take", "film.yaml", "1A", "7", "--pipeline", "slate"), 2, "No such option"),
    (("take", "film.yaml", "1A", "7"), 1, "take 7"),
    (("take", "film.yaml", "9X", "1"), 1, "9X"),
    (("branch", "film.yaml", "1B", "--at", "noon", "--pipeline", "slate"), 1, "noon"),
    (("hold", "film.yaml", "1A", "--pipeline", "slate"), 1, "render it first"),
    (("render", "film.yaml", *SLATE, "--out", "film.yaml/out"), 5, "--out"),
    (("render", "film.yaml", *SLATE, "--store", "film.yaml"), 5, "film.yaml"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSED)
def test_bad_input_is_one_clear_error_without_a_traceback(run, arguments, code, said) -> None:
    left, out, err = run(*arguments)
    assert left == code
    assert said.lower() in " ".join(err.lower().replace("│", " ").split())
    assert "Traceback" not in out + err


def test_check_lists_every_error_at_once_with_its_place(run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "film: Bad\nshots:\n- {id: 1A, siez: CU, do: x}\n- {id: 1A, dur: soon, do: y}\n"
    )
    code, _, err = run("check", "film.yaml", "bad.yaml")
    lines = err.strip().splitlines()
    assert code == 1
    assert lines[0].startswith("bad.yaml:3:12: shot 1A: unknown key 'siez', did you mean 'size'?")
    assert any(line.startswith("bad.yaml:4:") and "'soon'" in line for line in lines)
    code, out, _ = run("check", "bad.yaml", "--json")
    data = json.loads(out)
    assert code == 1
    assert {"code", "what", "path", "value", "cure", "file", "line", "column", "shot", "level"} <= (
        set(data[0])
    )
    code, out, _ = run("check", "film.yaml")
    assert (code, out) == (0, "1 storyboard checked, no errors\n")
    (tmp_path / "film.lock.yaml").write_text("storyflow: 1\nshots: []\n")
    code, out, _ = run("check", "film.lock.yaml", "film.yaml")
    assert (code, out) == (0, "1 storyboard checked, no errors\n")


def test_references_leave_the_folder_only_when_allowed(run, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    picture = (ROOT / "storyboards" / "refs" / "door.png").read_bytes()
    (tmp_path / "door.png").write_bytes(picture)
    board = tmp_path / "inside" / "film.yaml"
    board.write_text("film: F\nshots:\n- {id: 1A, from: ../door.png, do: the door rattles}\n")
    code, _, err = run("check", "inside/film.yaml")
    assert code == 1 and "inside/film.yaml:3:" in err
    assert run("check", "inside/film.yaml", "--allow-outside")[0] == 0
    assert run("plan", "inside/film.yaml")[0] == 1
    assert run("plan", "inside/film.yaml", "--allow-outside")[0] == 0


def test_plan_prints_a_table_and_the_same_as_data(run) -> None:
    code, out, _ = run("plan", "film.yaml", "--pipeline", "slate")
    assert code == 0
    assert re.search(r"^1B +text +9 +216 +217 +4 +render +A blue star hops", out, re.MULTILINE)
    assert "6 segments: 0 reused, 6 to render" in out
    code, out, _ = run("plan", "film.yaml", "--pipeline", "slate", "--json")
    data = json.loads(out)
    assert [row["shot"] for row in data["rows"]] == ["1A", "1B", "1C"]
    assert (data["totals"]["segments"], data["totals"]["render"]) == (6, 6)
    assert not Path(".storyflow").exists() and not Path("renders").exists()


def test_plan_needs_no_model_and_knows_the_compute(run) -> None:
    code, out, _ = run("plan", "film.yaml", "--pipeline", "skyreels-v2-df-14b-540p", "--json")
    assert code == 0
    assert json.loads(out)["totals"]["flops"] > 1e17


def test_show_resolved_is_a_storyboard_again(run, tmp_path: Path) -> None:
    code, out, _ = run("show", "--resolved", "film.yaml")
    assert code == 0
    (tmp_path / "shown.yaml").write_text(out)
    assert run("check", "shown.yaml")[0] == 0


def test_schema_is_json(run) -> None:
    code, out, _ = run("schema")
    assert code == 0
    assert "properties" in json.loads(out) or "$ref" in json.loads(out)


def test_ids_are_written_into_the_file(run, tmp_path: Path) -> None:
    (tmp_path / "film.yaml").write_text("film: Swan   # keep\nshots:\n- a swan crosses a lake\n")
    code, out, _ = run("ids", "film.yaml")
    assert code == 0 and "wrote" in out
    text = (tmp_path / "film.yaml").read_text()
    assert "# keep" in text and "id:" in text
    assert "every shot has an id" in run("ids", "film.yaml")[1]


def test_takes_are_chosen_branched_and_held(run, tmp_path: Path) -> None:
    assert run("render", "film.yaml", *SLATE)[0] == 0
    slate = ("--pipeline", "slate")
    code, out, _ = run("branch", "film.yaml", "1B", "--at", "0:05", *slate)
    assert code == 0 and "take 2 of shot 1B" in out
    assert run("take", "film.yaml", "1B", "2")[0] == 0
    _, out, _ = run("render", "film.yaml", *SLATE)
    rendered = re.findall(r"^render (\S+) ", out, re.MULTILINE)
    # Slate draws the same for any seed: equal history pixels stop the wave before 1C.
    assert sorted(rendered) == ["1B.2/3", "1B.2/4"]
    assert run("hold", "film.yaml", "1A", *slate)[0] == 1  # other settings than were rendered
    assert "chosen: 2" in (tmp_path / "film.lock.yaml").read_text()


def test_a_partial_film_leaves_with_three(run) -> None:
    code, out, _ = run("render", "film.yaml", *SLATE, "--set", "slate.fail={1B/2: -1}")
    assert code == 3
    assert "failed 1B/2" in out and "film.partial.mp4" in out


HELD = """
import itertools, pathlib, time
from storyflow.cli import main
from storyflow.slate import SlateRenderer
draw, count = SlateRenderer.render, itertools.count()
def render(*arguments):
    while next(count) and not pathlib.Path("go on").exists():
        time.sleep(0.01)
    draw(*arguments)
SlateRenderer.render = render
main()
"""
"""From the second segment on, rendering waits for a file."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_the_same_command_goes_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "film.yaml").write_text(THREE_SHOTS)
    words = ["render", "film.yaml", *SLATE]
    held = [sys.executable, "-c", HELD, *words]
    slow = subprocess.Popen(held, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert slow.stdout is not None
    said = ""
    for line in slow.stdout:
        said += line
        if line.startswith("render "):
            slow.send_signal(number)
        if line.startswith("stopping when"):
            (tmp_path / "go on").touch()
    assert slow.wait() == 128 + number
    assert "the same command goes on from here" in " ".join(said.split())
    again = subprocess.run(
        [sys.executable, "-m", "storyflow", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert again.returncode == 0
    assert "reuse " in again.stdout


LIGHT = [
    "import storyflow",
    "import storyflow.cli",
    "import storyflow; storyflow.check('film.yaml')",
    "import storyflow; storyflow.plan('film.yaml')",
    "import storyflow; storyflow.quote('film.yaml', pipeline='skyreels-v2-df-1.3b-540p')",
    "import storyflow; storyflow.schema()",
]


@pytest.mark.parametrize("code", LIGHT)
def test_the_door_is_light(tmp_path: Path, code: str) -> None:
    """Neither torch nor ray nor a model library is loaded before something is rendered."""
    (tmp_path / "film.yaml").write_text(THREE_SHOTS)
    heavy = "torch ray vllm diffusers transformers av"
    program = f"{code}; import sys; print(sorted(set('{heavy}'.split()) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_verb_has_help(run) -> None:
    from typer.main import get_command

    for name, command in get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", "x"), (name, parameter.name)


def test_the_public_names_are_all_there() -> None:
    import storyflow

    for name in storyflow.__all__:
        assert getattr(storyflow, name) is not None
    assert set(storyflow._HOME) | {"__version__"} == set(storyflow.__all__)
