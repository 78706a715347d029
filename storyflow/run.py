"""A running film: events as they happen, cancelling, and the result at the end.

run = storyflow.start(film, pipeline="toybox")
for event in run.events():      # or: async for event in run.events()
    ...
result = run.result()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from storyflow.draining import Draining
from storyflow.events import Event, Finished, Result, Step
from storyflow.running import Kind, Running

Work = Callable[[Callable[[Event], None]], Awaitable[Result]]
"""The film's coroutine: takes `emit`, ends with the result or raises StoryflowError."""

Ending = Callable[[BaseException], Result]
"""What to report in `Finished` when the work raised."""

FILM: Kind[Event, Result] = Kind("the film", Finished, lambda event: isinstance(event, Step))


class Run(Running[Event, Result]):
    """A film that is being rendered. Made by `storyflow.start`."""

    def __init__(self, work: Work, ending: Ending, draining: Draining | None = None) -> None:
        super().__init__(FILM, work, ending, draining)
