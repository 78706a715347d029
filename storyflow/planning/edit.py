"""What a cut list asks of the plan: which takes, how much of them, and the entries of the cut.

Rendered segments stay what they are, whatever the edit says: a shot is laid out as its storyboard
lays it out. Then segments are appended for frames that the edit shows beyond them, and those that
nothing shows are left out. A shot that another one continues is kept up to the storyboard's
cut-out, and the follower continues that: trimming a shot never renders another one again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from storyflow.cutlist import CutEvent, CutList
from storyflow.documents import did_you_mean
from storyflow.errors import Problem, StoryboardError
from storyflow.lock import LockedShot
from storyflow.lockfile import chosen_take
from storyflow.planning.layout import Layout, Needs
from storyflow.planning.legality import count, notice, rate_text
from storyflow.planning.nodes import CutEntry, PlannedTake
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot, Title, Transition


@dataclass(frozen=True)
class Demand:
    """What is needed of a shot, in frames counted from its first.

    `head` frames before the first one, all up to `stop`, handles included; up to `seen` without
    them. Another shot continues a `followed` one.
    """

    takes: frozenset[int]
    head: int = 0
    stop: int = 0
    seen: int = 0
    followed: bool = False


class Edit:
    """A cut list, held against its film and lock.

    Raises StoryboardError that lists every fault: another frame rate, shots and takes that don't
    exist, transitions that contradict each other or don't fit.
    """

    def __init__(self, cut: CutList, film: ResolvedFilm, entries: Mapping[str, LockedShot]) -> None:
        self.cut = cut
        self._film = film
        self._shots = {shot.id: shot for shot in film.shots}
        self._entries = entries
        problems = [*self._wrong_rate(), *self._unknown(), *self._contradicting()]
        if problems:
            raise StoryboardError(problems)
        self._demands = self._all_demands()

    def wants(self, shot: str) -> bool:
        """Whether the film needs any frame of a shot."""
        return shot in self._demands

    def beyond(self, shot: str) -> tuple[int, int]:
        """Frames that are seen before the shot's first and after its last."""
        demand = self._demands[shot]
        return demand.head, max(0, demand.seen - self._shots[shot].frames)

    def takes(self, shot: str) -> frozenset[int]:
        """The takes that are shown, or continued by what is."""
        return self._demands[shot].takes

    def planned(self, shot: str) -> tuple[int, ...]:
        """`takes`, and those that they branch off."""
        parents = {t.take: t.branch.take for t in self._entries[shot].takes if t.branch is not None}
        found: set[int] = set()
        pending = set(self.takes(shot))
        while pending:
            found |= pending
            pending = {parents[take] for take in pending if take in parents} - found
        return tuple(sorted(found))

    def widened(
        self, shot: ResolvedShot, needs: Needs, *, rendered: bool
    ) -> tuple[Needs, tuple[Problem, ...]]:
        """What a shot asks of its frames, with what the edit shows beyond that; a word about it.

        The head of a rendered shot stays: where a transition needs more, its first frame is held.
        """
        demand = self._demands[shot.id]
        head, tail = needs.head, max(needs.tail, demand.stop - needs.frames)
        if needs.free_head and not rendered:
            head = max(head, demand.head)
        told: tuple[Problem, ...] = ()
        if demand.seen > needs.frames + needs.tail:
            what = (
                f"the cut list shows it up to frame {demand.seen}, the storyboard gives it "
                f"{needs.frames} and {needs.tail} more: what is missing is appended"
            )
            told = (notice(shot, "extended", what),)
        return replace(needs, head=head, tail=tail), told

    def shortened(self, shot: str, layout: Layout) -> Layout:
        """The layout without the segments at its end of which nothing is needed."""
        demand = self._demands[shot]
        stop = layout.head - layout.slip + demand.stop
        if demand.followed:
            stop = max(stop, layout.head + layout.frames)
        start = 0
        beats: list[tuple[int, ...]] = []
        for lengths in layout.beats:
            kept: list[int] = []
            for length in lengths:
                if start < stop:
                    kept.append(length)
                start += length
            beats.append(tuple(kept))
        return replace(layout, beats=tuple(beats))

    def entries(
        self, takes: Mapping[str, Sequence[PlannedTake]], problems: list[Problem]
    ) -> Iterator[CutEntry]:
        """The pieces as the film shows them; frames that no take has are faults."""
        events = self.cut.events
        for index, event in enumerate(events):
            number = self._take(event)
            take = next(t for t in takes[event.shot] if t.take == number)
            first = take.head - take.slip
            start, stop = first + event.start, first + event.stop
            out = events[index + 1].into if index + 1 < len(events) else Transition()
            out = out if out.mixes else event.out
            problems += self._outside(event, take, start, stop + out.after)
            yield CutEntry(
                shot=event.shot,
                take=number,
                start=start,
                stop=stop,
                hold=max(0, event.into.before - max(0, start)),
                into=event.into,
                out=out,
                titles=_visible(self._shots[event.shot].titles, event),
            )

    def notices(self) -> Iterator[Problem]:
        """What its author should know: that it is followed, and what is not in it."""
        cut = self.cut
        origin = f", made from {cut.source}" if cut.source else ""
        what = f"the film follows this cut list of {count(len(cut.events), 'piece')}{origin}"
        cure = "with --no-edit it follows the storyboard"
        yield self._told("cut-list", what, cure)
        shown = {event.shot for event in cut.events}
        absent = [shot.id for shot in self._film.shots if shot.id not in shown]
        dropped = [shot for shot in absent if shot in cut.left_out]
        added = [shot for shot in absent if shot not in cut.left_out]
        if dropped:
            yield self._told("not-in-cut", f"not in cut, left out by the edit: {_some(dropped)}")
        if added:
            what = f"not in cut, added to the storyboard after the edit: {_some(added)}"
            yield self._told("not-in-cut", what, "add them here, or hand the film over again")
        for event in cut.events:
            chosen = self._chosen(event.shot)
            if self._take(event) != chosen and self._shots[event.shot].takes >= chosen:
                what = f"take {self._take(event)} is shown; take {chosen} is the chosen one"
                yield replace(
                    self._told("other-take", what, "remove 'take' here to follow the choice"),
                    line=event.where.line,
                    column=event.where.column,
                    shot=event.shot,
                )

    def _all_demands(self) -> dict[str, Demand]:
        events, handles = self.cut.events, self._film.handles
        found: dict[str, Demand] = {}
        afters = [b.into.after for _, b in pairwise(events)] + [0]
        for event, after in zip(events, afters, strict=True):
            before = event.into.before
            made = Demand(
                takes=frozenset([self._take(event)]),
                head=max(0, before - event.start),
                stop=event.stop + max(handles, after),
                seen=event.stop + after,
            )
            found[event.shot] = _both(found.get(event.shot), made)
        # A source is needed up to its cut-out, and its own source in turn.
        for shot in [self._shots[event.shot] for event in events]:
            link: ResolvedShot | None = shot
            seen: set[str] = set()
            while link is not None and link.follows is not None and link.id not in seen:
                seen.add(link.id)
                link = self._shots.get(link.follows)
                if link is not None:
                    chosen = frozenset([self._chosen(link.id)])
                    found[link.id] = _both(found.get(link.id), Demand(chosen, followed=True))
        return found

    def _take(self, event: CutEvent) -> int:
        return event.take if event.take is not None else self._chosen(event.shot)

    def _chosen(self, shot: str) -> int:
        return chosen_take(self._shots[shot], self._entries.get(shot))

    def _wrong_rate(self) -> Iterator[Problem]:
        if self.cut.fps != self._film.fps:
            what = (
                f"it counts {rate_text(self.cut.fps)} frames a second, the film has "
                f"{rate_text(self._film.fps)}"
            )
            cure = "conform an edit at the film's rate, or remove this file"
            yield replace(self._told("cut-list-rate", what, cure), level="error")

    def _unknown(self) -> Iterator[Problem]:
        for event in self.cut.events:
            if event.shot not in self._shots:
                what = f"the storyboard has no shot {event.shot}"
                cure = did_you_mean(event.shot, self._shots)
                yield self._fault(event, "cut-list-shot", what, cure)
                continue
            known = sorted(take.take for take in self._entries[event.shot].takes)
            if self._take(event) not in known:
                what = f"the shot has no take {event.take}"
                cure = f"it has {', '.join(map(str, known))}; raise 'takes:' for more"
                yield self._fault(event, "cut-list-take", what, cure)

    def _contradicting(self) -> Iterator[Problem]:
        events = self.cut.events
        for before, event in pairwise(events):
            if event.into.mixes and before.out.kind == "fade":
                what = f"a {event.into.kind} can't follow the fade that the piece before ends in"
                yield self._fault(event, "cut-list-joint", what, "remove one of them")
        nexts = [*(event.into for event in events[1:]), Transition()]
        for event, then in zip(events, nexts, strict=True):
            into = event.into.after if event.into.mixes else event.into.frames
            out = then.before if then.mixes else event.out.frames
            frames = event.stop - event.start
            if into + out > frames:
                what = f"its transitions take {into + out} frames, the piece has {frames}"
                yield self._fault(event, "cut-list-joint", what, "shorten them")

    def _outside(
        self, event: CutEvent, take: PlannedTake, start: int, stop: int
    ) -> Iterator[Problem]:
        if start < 0:
            what = f"it begins {count(-start, 'frame')} before the first frame that is rendered"
            yield self._fault(
                event, "cut-list-frames", what, f"raise 'in' to {event.start - start}"
            )
        if stop > take.generated:
            held = " of the held take" if take.held is not None else ""
            what = f"it needs {count(stop - take.generated, 'frame')} after the last one{held}"
            cure = f"lower 'out' by {stop - take.generated}"
            if take.held is not None:
                cure += f", or release the take: storyflow hold {event.shot} --release"
            yield self._fault(event, "cut-list-frames", what, cure)

    def _fault(self, event: CutEvent, code: str, what: str, cure: str) -> Problem:
        place = event.where
        return Problem(
            code,
            what,
            cure=cure,
            file=self.cut.file,
            line=place.line,
            column=place.column,
            shot=event.shot,
        )

    def _told(self, code: str, what: str, cure: str = "") -> Problem:
        return Problem(code, what, cure=cure, file=self.cut.file, level="notice")


def _both(one: Demand | None, other: Demand) -> Demand:
    if one is None:
        return other
    return Demand(
        one.takes | other.takes,
        max(one.head, other.head),
        max(one.stop, other.stop),
        max(one.seen, other.seen),
        one.followed or other.followed,
    )


def _visible(titles: Sequence[Title], event: CutEvent) -> tuple[Title, ...]:
    """Titles stay on their shot's frames: what lies in the piece, counted from its start."""
    shown = []
    for title in titles:
        start, stop = max(title.at, event.start), min(title.at + title.frames, event.stop)
        if start < stop:
            shown.append(replace(title, at=start - event.start, frames=stop - start))
    return tuple(shown)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(names[:12]) + more
