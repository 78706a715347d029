"""What a person watching a render sees: a live view on a terminal, plain lines elsewhere.

Both are made from a run's events alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol, TypeVar

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from storyflow.events import (
    CutStarted,
    Event,
    Finished,
    Notice,
    Planned,
    PromptsWritten,
    Result,
    SegmentDone,
    SegmentStarted,
    ShotFailed,
    Step,
    WorkerLost,
    WorkerReady,
)

E_contra = TypeVar("E_contra", contravariant=True)


class View(Protocol[E_contra]):
    """What shows the events of a kind of run: lines on a console, bars in `progress`."""

    console: Console
    progress: Progress

    def show(self, event: E_contra) -> None:
        """Take in one event."""


def watch(events: Iterable[Event], console: Console) -> None:
    """Show a run's events until it is finished."""
    follow(events, _View(console))


def follow(events: Iterable[E_contra], view: View[E_contra]) -> None:
    """Show events in a view until they end."""
    if view.console.is_terminal:
        with Live(view.progress, console=view.console, refresh_per_second=8, transient=True):
            for event in events:
                view.show(event)
    else:
        for event in events:
            view.show(event)


def bars(console: Console) -> Progress:
    """Bars with counts and a note behind each."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def left(started: float | None, rendered: int, to_render: int) -> str:
    """`about 12 min left`, by what was rendered since `started` (monotonic seconds)."""
    if started is None or not rendered or rendered >= to_render:
        return ""
    seconds = (time.monotonic() - started) / rendered
    return f"about {span(seconds * (to_render - rendered))} left"


class _View:
    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = bars(console)
        self.total: TaskID | None = None
        self.rows: dict[str, TaskID] = {}
        self.started: float | None = None
        self.rendered = 0
        self.to_render = 0

    def show(self, event: Event) -> None:
        line = line_of(event)
        if line is not None:
            self.console.print(line, highlight=False, soft_wrap=True)
        if self.console.is_terminal:
            self._advance(event)

    def _advance(self, event: Event) -> None:
        match event:
            case Planned(segments=n, reusable=reusable):
                self.to_render = n - reusable
                self.total = self.progress.add_task("film", total=n, note="")
            case SegmentStarted(segment=name):
                self.started = self.started or time.monotonic()
                if name not in self.rows:
                    self.rows[name] = self.progress.add_task(f"  {name}", total=1, note="")
            case Step(segment=name, done=done, total=total) if name in self.rows:
                self.progress.update(self.rows[name], completed=done, total=total)
            case SegmentDone(segment=name, reused=reused):
                if not reused:
                    self.rendered += 1
                self._drop(name)
                if self.total is not None:
                    self.progress.update(self.total, advance=1, note=self._left())
            case WorkerLost(segment=str(name)) | ShotFailed(segment=name):
                self._drop(name)
            case Finished():
                for name in list(self.rows):
                    self._drop(name)
            case _:
                pass

    def _drop(self, name: str) -> None:
        if name in self.rows:
            self.progress.remove_task(self.rows.pop(name))

    def _left(self) -> str:
        return left(self.started, self.rendered, self.to_render)


def line_of(event: Event) -> str | None:
    """What an event says to people, with rich's markup; None for what only moves a bar."""
    match event:
        case Planned(film=film, segments=n, reusable=reusable):
            return (
                f"[bold]{escape(film)}[/]: {count(n, 'segment')}, {reusable} in the store, "
                f"{n - reusable} to render"
            )
        case Notice(text=text):
            return f"[yellow]{escape(text)}[/]"
        case PromptsWritten(gpu_seconds=seconds):
            return f"[dim]prompts written in {seconds:.0f} GPU-seconds[/]"
        case WorkerReady(worker=worker, numerics=numerics):
            return f"[dim]{worker} ready ({escape(numerics)})[/]"
        case WorkerLost(worker=worker, segment=segment, cause=cause):
            held = f" while rendering {segment}" if segment else ""
            return f"[yellow]{worker} lost{held}: {escape(cause)}[/]"
        case SegmentDone(segment=name, key=key, reused=True):
            return f"[green]reuse[/]  {name} (key {key[:8]}…)"
        case SegmentDone(segment=name, worker=worker, seconds=seconds):
            return f"[green]render[/] {name} on {worker} … {_took(seconds)}"
        case ShotFailed(segment=name, error=error, missing=missing):
            lost = f"; missing from the film: {', '.join(missing)}" if missing else ""
            return f"[red]failed[/] {name}: {escape(error)}{lost}"
        case CutStarted(frames=frames, missing=missing):
            cards = f", cards for {', '.join(missing)}" if missing else ""
            return f"cut    {count(frames, 'frame')}{cards}"
        case _:
            return None


def count(n: int, noun: str) -> str:
    """`1 shot`, `2 shots`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _took(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def span(seconds: float) -> str:
    """`40 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def summary(result: Result) -> list[str]:
    """The last lines of a render: what came out, where, what it used, what is missing."""
    lines = []
    for failure in result.failures:
        lines.append(f"[red]failed[/] {failure.segment}: {escape(failure.error)}")
    used = f"{result.rendered} rendered, {result.reused} reused, "
    used += f"{result.spent.worker_seconds:.0f} worker-seconds"
    if result.spent.prompt_seconds:
        used += f" and {result.spent.prompt_seconds:.0f} GPU-seconds for the prompts"
    if result.spent.money is not None:
        used += f", {result.spent.money:.2f} spent"
    if result.film is not None:
        state = "[green]film[/]" if result.complete else "[yellow]partial film[/]"
        lines.append(f"{state}   {escape(str(result.film))} ({used})")
    elif result.error:
        lines.append(f"[red]{escape(result.error)}[/] ({used}); the same command goes on from here")
    return lines
