"""What a person watching a series render sees: a live view on a terminal, plain lines elsewhere.

On a terminal each episode at work has a line, and all together one. Both views are made from a
run's events alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import TaskID

from storyflow.events import (
    CutStarted,
    Event,
    Planned,
    SegmentDone,
    SegmentStarted,
    WorkerLost,
    WorkerReady,
    WorkerReleased,
)
from storyflow.live import bars, count, follow, left, line_of
from storyflow.series.told import (
    EpisodeBegan,
    EpisodeEnded,
    EpisodeResult,
    EpisodeTold,
    SeriesBegan,
    SeriesEvent,
    SeriesNotice,
    SeriesResult,
)

_COLOURS = {"complete": "green", "done": "green", "failed": "red", "broken": "red"}


def watch(events: Iterable[SeriesEvent], console: Console) -> None:
    """Show a run's events until it is over."""
    follow(events, View(console))


class View:
    """The lines and bars for a run, fed with its events by `show`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = bars(console)
        self.rows: dict[str, TaskID] = {}
        self.total: TaskID | None = None
        self.to_render = self.rendered = 0
        self.started: float | None = None
        self.workers: set[str] = set()

    def show(self, event: SeriesEvent) -> None:
        """Take in one event."""
        line = self._line(event)
        if line is not None:
            self.console.print(line, highlight=False, soft_wrap=True)
        if self.console.is_terminal:
            self._advance(event)

    def _line(self, event: SeriesEvent) -> str | None:
        match event:
            case SeriesBegan(title=title, night=night, episodes=episodes):
                due = [each for each in episodes if each.state in ("render", "cut")]
                segments = sum(len(each.render) for each in due)
                return (
                    f"[bold]{escape(title)}[/], night of {night}: {count(len(due), 'episode')} to "
                    f"finish, {count(segments, 'segment')} to render"
                )
            case SeriesNotice(text=text):
                return f"[yellow]{escape(text)}[/]"
            case EpisodeTold(episode=episode, event=told):
                line = self._told(told)
                return None if line is None else f"{escape(episode)}: {line}"
            case EpisodeEnded(result=result) if _came_to_its_turn(result):
                return ended(result)
            case _:
                return None

    def _told(self, event: Event) -> str | None:
        """A film's line. Workers are shared: what happens to one is said once."""
        match event:
            case WorkerReady(worker=worker):
                known = worker in self.workers
                self.workers.add(worker)
                return None if known else line_of(event)
            case WorkerLost(worker=worker, segment=segment):
                known = worker in self.workers
                self.workers.discard(worker)
                return line_of(event) if known or segment else None
            case WorkerReleased(worker=worker):
                self.workers.discard(worker)
                return None
            case SegmentDone(reused=True):
                return None
            case _:
                return line_of(event)

    def _advance(self, event: SeriesEvent) -> None:
        match event:
            case SeriesBegan(episodes=episodes):
                self.to_render = sum(len(each.render) for each in episodes)
                self.total = self.progress.add_task("series", total=self.to_render, note="")
            case EpisodeBegan(episode=episode):
                row = self.progress.add_task(f"  {escape(episode)}", total=None, note="prompts")
                self.rows[episode] = row
            case EpisodeTold(episode=episode, event=told) if episode in self.rows:
                self._film(self.rows[episode], told)
            case EpisodeEnded(result=result) if result.name in self.rows:
                self.progress.remove_task(self.rows.pop(result.name))
            case _:
                pass

    def _film(self, row: TaskID, event: Event) -> None:
        match event:
            case Planned(segments=segments, reusable=reusable):
                self.progress.update(row, total=segments - reusable, note="")
            case SegmentStarted(segment=name):
                self.started = self.started or time.monotonic()
                self.progress.update(row, note=name)
            case SegmentDone(reused=False):
                self.rendered += 1
                self.progress.update(row, advance=1)
                if self.total is not None:
                    self.progress.update(self.total, advance=1, note=self._left())
            case CutStarted():
                self.progress.update(row, note="cut")
            case _:
                pass

    def _left(self) -> str:
        return left(self.started, self.rendered, self.to_render)


def ended(result: EpisodeResult) -> str:
    """How an episode ended, in one line with rich's markup."""
    colour = _COLOURS.get(result.outcome, "yellow")
    made = f" {result.film}" if result.film is not None else ""
    why = f" {result.error}" if result.error else ""
    counts = f" ({result.rendered} rendered, {result.reused} reused)"
    head = f"{escape(result.name)}: [{colour}]{result.outcome}[/]"
    return f"{head}{escape(made)}{counts}{escape(why)}"


def summary(result: SeriesResult, retry: str) -> Iterator[str]:
    """The last lines of a render: how the episodes stand, what was used, what to do.

    `retry` is the command that lets what failed for good be tried again.
    """
    if not result.episodes:
        yield escape(result.error)
        return
    outcomes = [each.outcome for each in result.episodes]
    parts = [f"{outcomes.count(o)} {o}" for o in dict.fromkeys(sorted(outcomes))]
    used = f"{result.gpu_seconds / 3600:.4g} GPU-hours"
    cost = "" if result.money is None else f", {result.money:.2f} spent"
    yield f"{count(len(outcomes), 'episode')}: {', '.join(parts)} ({used}{cost})"
    waiting = [each for each in result.episodes if each.outcome in ("budget", "window")]
    if waiting:
        yield f"[yellow]{escape(waiting[-1].error)}[/]"
    for each in result.episodes:
        if each.outcome in ("broken", "failed", "partial"):
            yield f"[red]{each.outcome}[/] {escape(each.name)}: {escape(each.error)}"
    if "partial" in outcomes:
        yield f"what failed for good is tried again by: {escape(retry)}"
    if result.error:
        yield f"[red]{escape(result.error)}[/]"


def _came_to_its_turn(result: EpisodeResult) -> bool:
    """Not those that wait for the next call: there may be a thousand."""
    waits = result.outcome in ("budget", "window", "stopped")
    return not waits or bool(result.rendered or result.reused)
