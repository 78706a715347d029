"""The accounts of a call: each fact is in the ledger when it happens, however the call ends."""

from __future__ import annotations

from dataclasses import replace

from storyflow.budget import Purse
from storyflow.events import Event, Result, SegmentDone, ShotFailed
from storyflow.series.ledger import EpisodeRow, Ledger, Outcome, SegmentRow, now
from storyflow.series.orders import Grounds
from storyflow.series.standing import Standing
from storyflow.series.told import EpisodeBegan, EpisodeEnded, EpisodeResult, EpisodeTold, Tell


class Books:
    """Writes the ledger of one run, and tells what it writes.

    A worker holds `gpus`, or counts as one. Raises LedgerError where the ledger can't be
    written, which ends the call: what isn't noted would be paid for and not counted.
    """

    def __init__(
        self, ledger: Ledger, run: int, grounds: Grounds, purse: Purse, tell: Tell
    ) -> None:
        self.ledger, self.run, self.tell = ledger, run, tell
        self._grounds, self._purse = grounds, purse
        self._gpus = grounds.cluster.workers.gpus or 1.0

    def wait(self, each: Standing) -> None:
        """An episode is to be rendered in this run, when its turn comes."""
        self.ledger.write_episode(self._row(each, "waiting"))

    def begin(self, each: Standing) -> None:
        """Its turn has come. Harmless where it came before."""
        if not each.began:
            each.began = now()
            self.ledger.write_episode(self._row(each, "running"))
            self.tell(EpisodeBegan(each.name))

    def note(self, each: Standing, event: Event) -> None:
        """Something happens to its film: its turn has come."""
        self.begin(each)
        match event:
            case SegmentDone(reused=True):
                each.reused += 1
                self._segment(each, event)
            case SegmentDone():
                self._segment(each, event)
                self.spent()
            case ShotFailed(segment=name, shot=shot, error=error):
                self.ledger.write_segment(
                    SegmentRow(
                        run=self.run,
                        episode=each.name,
                        segment=name,
                        shot=shot,
                        key="",
                        outcome="failed",
                        at=now(),
                        seconds=0.0,
                        gpus=self._gpus,
                        money=None,
                        worker="",
                        error=error,
                    )
                )
        self.tell(EpisodeTold(each.name, event))

    def finish(self, each: Standing, result: Result) -> None:
        """It has a film, whole or in part."""
        spent = result.spent
        outcome: Outcome = "complete" if result.complete else "partial"
        error = "; ".join(dict.fromkeys(failure.error for failure in result.failures))
        seconds = spent.worker_seconds * self._gpus
        ended = EpisodeResult(
            name=each.name,
            outcome=outcome,
            rendered=result.rendered,
            reused=result.reused,
            gpu_seconds=seconds + spent.prompt_seconds,
            money=spent.money,
            film=result.film,
            failures=result.failures,
            error=error,
        )
        row = replace(
            self._row(each, outcome),
            rendered=result.rendered,
            reused=result.reused,
            failed=len(result.failures),
            gpu_seconds=seconds,
            useful_seconds=spent.useful_seconds * self._gpus,
            prompt_seconds=spent.prompt_seconds,
            money=spent.money,
            error=error,
        )
        self._end(each, ended, row)

    def end(self, each: Standing, outcome: Outcome, error: str) -> None:
        """It ends without a film; what was rendered of it is in the ledger already."""
        known = self.ledger.rendered(self.run, each.name)
        used = each.purse.used
        money = self._purse.budget.cost(used)
        ended = EpisodeResult(
            name=each.name,
            outcome=outcome,
            rendered=known.rendered,
            reused=each.reused,
            gpu_seconds=used,
            money=money,
            error=error,
        )
        row = replace(
            self._row(each, outcome),
            rendered=known.rendered,
            reused=each.reused,
            failed=known.failed,
            gpu_seconds=max(0.0, used - each.prompts),
            useful_seconds=known.seconds * self._gpus,
            prompt_seconds=each.prompts,
            money=money,
            error=error,
        )
        self._end(each, ended, row)

    def spent(self) -> None:
        """What the run has held until now."""
        seconds = self._purse.used
        self.ledger.spent(self.run, seconds, self._purse.budget.cost(seconds))

    def _end(self, each: Standing, result: EpisodeResult, row: EpisodeRow) -> None:
        each.end(result)
        self.ledger.write_episode(replace(row, ended=now()))
        self.spent()
        self.tell(EpisodeEnded(result))

    def _segment(self, each: Standing, done: SegmentDone) -> None:
        seconds = 0.0 if done.reused else done.seconds
        self.ledger.write_segment(
            SegmentRow(
                run=self.run,
                episode=each.name,
                segment=done.segment,
                shot=done.shot,
                key=done.key,
                outcome="found" if done.reused else "rendered",
                at=now(),
                seconds=seconds,
                gpus=self._gpus,
                money=None if done.reused else self._purse.budget.cost(seconds * self._gpus),
                worker=done.worker,
                error="",
            )
        )

    def _row(self, each: Standing, outcome: Outcome) -> EpisodeRow:
        """What is known of an episode before it ends, or where it never began."""
        row, prepared = each.prepared.row, each.prepared
        order = prepared.order
        folder = self._grounds.folder / each.name if order is None else order.folder
        return EpisodeRow(
            run=self.run,
            episode=each.name,
            title=row.title,
            began=each.began or now(),
            ended=None,
            outcome=outcome,
            planned=len(row.render),
            rendered=0,
            reused=0,
            failed=0,
            frames=row.frames,
            film_seconds=row.seconds,
            estimate_seconds=None if order is None else row.gpu_seconds,
            gpu_seconds=0.0,
            useful_seconds=0.0,
            prompt_seconds=0.0,
            money=None,
            folder=str(folder),
            mark=prepared.mark,
            error="",
        )
