"""A series that is being rendered: events as they happen, cancelling, and the result at the end.

run = storyflow.start_series("series.yaml")
for event in run.events():      # or: async for event in run.events()
    ...
result = run.result()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from storyflow.draining import Draining
from storyflow.events import Step
from storyflow.running import Kind, Running
from storyflow.series.told import EpisodeTold, SeriesEnded, SeriesEvent, SeriesResult, Tell


def _passing(event: SeriesEvent) -> bool:
    return isinstance(event, EpisodeTold) and isinstance(event.event, Step)


SERIES: Kind[SeriesEvent, SeriesResult] = Kind("the series", SeriesEnded, _passing)


class SeriesRun(Running[SeriesEvent, SeriesResult]):
    """A series that is being rendered. Made by `storyflow.start_series`.

    `work` renders and tells; `before` is its result where it was cancelled before it began.
    """

    def __init__(
        self,
        work: Callable[[Tell], Awaitable[SeriesResult]],
        before: Callable[[BaseException], SeriesResult],
        draining: Draining | None = None,
    ) -> None:
        self._told: SeriesResult | None = None

        def listening(emit: Tell) -> Awaitable[SeriesResult]:
            def tell(event: SeriesEvent) -> None:
                if isinstance(event, SeriesEnded):
                    # Told at the very end, after the notices that are still to come.
                    self._told = event.result
                else:
                    emit(event)

            return work(tell)

        super().__init__(SERIES, listening, lambda error: self._told or before(error), draining)
