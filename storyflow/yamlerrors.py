"""What a YAML parser's complaint means to the person who wrote the file.

Most of them come from text that should have been quoted: a colon, a comma, a `#`, a leading `@`.
"""

from __future__ import annotations

import re

import yaml

from storyflow.errors import Problem


def syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str | None) -> Problem:
    """libyaml's complaint in words that say what to change."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem, context = error.problem or "", error.context or ""
    lines = text.split("\n")
    code, what, cure = "yaml-syntax", f"this is not YAML ({problem})", "check the lines before it"
    value: object = None

    def line_at(number: int) -> str:
        return lines[number - 1] if 0 < number <= len(lines) else ""

    symbol = line_at(line)[column - 1 : column]
    opened = error.context_mark.line + 1 if error.context_mark else line
    if (tabbed := _tabbed_line(lines, line)) is not None:
        line, column = tabbed
        code, what, cure = "tab", "a tab can't indent YAML", "indent with spaces"
    elif "quoted scalar" in context and error.context_mark:
        line, column = error.context_mark.line + 1, error.context_mark.column + 1
        code, what = "unclosed-quote", "a quotation mark opens here and is not closed"
        cure = 'close it, or quote the text with "…"'
    elif "cannot start any token" in problem or "scanning an a" in context:
        code, value = "unquoted-symbol", symbol
        what = "unquoted text can't begin with this character"
        cure = "quote the text"
        if "scanning an a" in context and error.context_mark:
            column = error.context_mark.column + 1
            value = line_at(line)[column - 1 : column]
    elif "mapping values are not allowed" in problem:
        code, what = "unquoted-colon", "unquoted text can't contain a colon and a space"
        value, cure = line_at(line).strip(), "quote the text"
        if ":" not in line_at(line)[: column - 1]:
            cure = "indent it like the keys around it, or quote the text"
    elif (hidden := _hidden_by_hash(lines, opened, line)) is not None:
        line, column = hidden
        code, what = "unquoted-hash", "' #' begins a comment: YAML does not read what follows"
        value, cure = line_at(line)[column - 1 :].strip(), "quote the text"
    elif "expected ':'" in problem and "flow" not in context and error.context_mark:
        line, column = opened, error.context_mark.column + 1
        code, what = "missing-colon", "this is neither a key nor the text of one"
        value, cure = line_at(line)[column - 1 :].strip(), "write 'key: value', or quote the text"
    elif "flow" in context or "expected <document start>" in problem or "block" in context:
        what = "the text goes on where YAML expects it to end"
        if "flow" in context:
            what = "a bracket is not closed, or a comma or quote is missing, before this place"
        value = line_at(line)[column - 1 :].strip() or None
        cure = "quote the text, or check brackets and indentation"
    return Problem(code, what, value=value, cure=cure, file=file, line=line, column=column)


def _tabbed_line(lines: list[str], last: int) -> tuple[int, int] | None:
    for number in range(max(1, last - 1), min(last, len(lines)) + 1):
        line = lines[number - 1]
        indent = line[: len(line) - len(line.lstrip())]
        if "\t" in indent and line.strip():
            return number, indent.index("\t") + 1
    return None


def _hidden_by_hash(lines: list[str], first: int, last: int) -> tuple[int, int] | None:
    if last > 1 and last <= len(lines) and lines[last - 2].lstrip().startswith("#"):
        return last - 1, lines[last - 2].index("#") + 1
    for number in range(first, min(last, first + 50, len(lines)) + 1):
        line = lines[number - 1]
        if (at := re.search(r"[^\s,{\[] #", line)) and line[: at.start()].count('"') % 2 == 0:
            return number, at.start() + 3
    return None
