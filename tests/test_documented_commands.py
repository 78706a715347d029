"""Commands that documents and cluster files name: each is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from cluster_files import CLUSTER, objects, read

from storyflow.cli import app

ROOT = Path(__file__).parent.parent
PAGES = ("cluster/README.md", "docs/clusters.md", "docs/series.md")


def commands_in(text: str) -> Iterator[str]:
    """The lines of a document's `sh` and `cron` blocks, with continued ones joined."""
    for block in re.findall(r"^```(?:sh|cron)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield from re.sub(r"\\\n\s*", "", block).splitlines()


BEFORE = re.compile(r"&&|--|[A-Z_]+=.*|.*/storyflow:.*")
"""What may stand before a command: a variable, an image, the end of another command."""


def storyflows(line: str) -> Iterator[list[str]]:
    """The words after `storyflow` wherever a line of a shell calls it, also on another machine."""
    line = re.sub(r"^([\d*,-]+ +){5}", "", line)  # when cron calls it
    words = shlex.split(line, comments=True)
    if words[:1] == ["sbatch"]:
        yield words[2:]
    for place, word in enumerate(words):
        if word.startswith("storyflow "):
            yield from storyflows(word)
        if word == "storyflow" and (place == 0 or BEFORE.fullmatch(words[place - 1])):
            rest = words[place + 1 :]
            yield rest[: rest.index("&&")] if "&&" in rest else rest


def documented() -> Iterator[tuple[str, list[str]]]:
    for page in PAGES:
        for line in commands_in((ROOT / page).read_text()):
            for words in storyflows(line):
                yield f"{page}: {shlex.join(words)}", words
    for name, found in objects():
        for words in _started(found):
            yield f"{name}: {shlex.join(words)}", words
    usage = next(line for line in (CLUSTER / "slurm/storyflow.sbatch").read_text().splitlines()
                 if line.startswith("#   sbatch"))  # fmt: skip
    yield "storyflow.sbatch", shlex.split(usage)[3:]


def _started(value: Any) -> Iterator[list[str]]:
    """What containers and jobs of a Kubernetes object run of storyflow."""
    if isinstance(value, list):
        for each in value:
            yield from _started(each)
    elif isinstance(value, dict):
        if (entry := value.get("entrypoint")) is not None:
            yield from storyflows(entry)
        command = [*value.get("command", ()), *value.get("args", ())]
        if command[:1] == ["storyflow"]:
            yield command[1:]
        for each in value.values():
            yield from _started(each)


COMMANDS = dict(documented())


def parsed(words: list[str]) -> str:
    """The name of the command that these words mean; nothing is run. Raises what click does."""
    command: Any = typer.main.get_command(app)
    context, path = command.context_class(command, info_name="storyflow"), []
    while hasattr(command, "resolve_command"):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        context = found.context_class(found, parent=context, info_name=name)
        command, path = found, [*path, str(name)]
    with command.make_context(path[-1], list(words), parent=context.parent):
        return " ".join(path)


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_each_command_that_is_written_down_is_one_that_the_program_takes(words: list[str]) -> None:
    if words != ["--help"]:
        assert parsed(words)


def test_commands_are_found_where_they_are_written() -> None:
    names = {parsed(words) for words in COMMANDS.values() if words != ["--help"]}
    assert {"submit", "fetch", "render", "cluster doctor", "series submit", "series fetch",
            "series dailies"} <= names  # fmt: skip
    with pytest.raises(Exception, match="No such option: --clustre"):
        parsed(["series", "submit", "series.yaml", "--clustre", "farm.yaml"])


def test_the_nightly_job_submits_a_series() -> None:
    (container,) = read("kubernetes/cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]["containers"]
    assert parsed([*container["command"], *container["args"]][1:]) == "series submit"
