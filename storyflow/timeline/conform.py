"""An edit of a film becomes its cut list: what the editor did, in frames of the film's shots.

Clips are recognised by the name of their file (or reel) and their timecode: editing programs drop
everything else. A dissolve that is not centred on its cut shows the same pictures as a centred one
at another cut, so the cut is moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from storyflow.cutlist import CutEvent, CutList
from storyflow.documents import did_you_mean
from storyflow.errors import InputError
from storyflow.planning.legality import count
from storyflow.planning.nodes import Plan
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.edited import Edited, Join, Piece
from storyflow.timeline.media import Media, TakeName
from storyflow.timing import timecode


@dataclass(frozen=True)
class Conformed:
    """The cut list of an edit, and lines about what of it a film can't show."""

    cut: CutList
    notes: tuple[str, ...]


@dataclass
class _Found:
    """One piece on its way into the list, in frames of its shot; its file begins at `first`."""

    piece: Piece
    index: int
    shot: str
    take: int
    first: int
    start: int
    stop: int
    into: Transition = field(default=Transition())
    out: Transition = field(default=Transition())


def conform(
    edited: Edited, plan: Plan, media: Iterable[Media], source: str, *, skip_unknown: bool = False
) -> Conformed:
    """The cut list that shows what the edit shows.

    `plan` is the film's by its storyboard, `media` every file that an edit of it may name, `source`
    the edit's name. With `skip_unknown` clips of other films are left out. Raises InputError: an
    edit of another film, or with other media in it, or with nothing in it.
    """
    made = _Conform(edited, plan, media)
    events = made.events(source, skip_unknown=skip_unknown)
    used = {event.shot for event in events}
    cut = CutList(
        film=plan.title,
        fps=plan.fps,
        events=events,
        left_out=tuple(dict.fromkeys(e.shot for e in plan.cut if e.shot not in used)),
        source=source,
    )
    return Conformed(cut, (*edited.notes, *made.notes))


class _Conform:
    def __init__(self, edited: Edited, plan: Plan, media: Iterable[Media]) -> None:
        self.edited = edited
        self.plan = plan
        self.names: dict[str, Media] = {}
        self.newest: dict[TakeName, Media] = {}
        for each in media:
            self.names[each.stem.lower()] = each
            if each.reel and each.current:
                self.names.setdefault(each.reel.lower(), each)
            if each.current:
                self.newest[each.shot, each.take] = each
        self.firsts = {(t.shot.id, t.take): t.slip - t.head for t in plan.takes}
        self.notes: list[str] = []

    def events(self, source: str, *, skip_unknown: bool) -> tuple[CutEvent, ...]:
        """The pieces of the film, with their transitions."""
        found = self._matched(source, skip_unknown=skip_unknown)
        joins = self.edited.joins
        for before, after in pairwise(found):
            if after.index == before.index + 1:
                _between(before, after, joins[after.index])
            else:
                _end(before, joins[before.index + 1])
                _begin(after, joins[after.index])
        _begin(found[0], joins[found[0].index])
        _end(found[-1], joins[found[-1].index + 1])
        if not self.edited.own:
            self._keep_fades(found)
        return tuple(
            CutEvent(each.shot, each.start, each.stop, each.take, each.into, each.out)
            for each in found
            if self._shows(each)
        )

    def _matched(self, source: str, *, skip_unknown: bool) -> list[_Found]:
        """The pieces that are of this film."""
        found: list[_Found] = []
        unknown: list[Piece] = []
        for index, piece in enumerate(self.edited.pieces):
            made = self._found(piece, index)
            if made is not None:
                found.append(made)
            elif piece.source is not None:
                unknown.append(piece)
            elif piece.frames:
                what = f"{count(piece.frames, 'frame')} of black are left out"
                self._note(piece, f"{what}: the film closes up")
        if unknown and (not skip_unknown or not found):
            self._refuse(unknown, found, source)
        if not found:
            raise InputError(f"there is nothing in {source}", cure="export the film's timeline")
        for piece in unknown:
            self._note(piece, f"{piece.name!r} is not of this film, and left out")
        return found

    def _found(self, piece: Piece, index: int) -> _Found | None:
        if piece.source is None:
            return None
        if piece.stands_for is not None:
            shot, take = piece.stands_for
            if (shot, take) not in self.firsts:
                return None
            start = piece.source.start
            first = self.firsts[shot, take]
            return _Found(piece, index, shot, take, first, start, start + piece.frames)
        media = next(
            (self.names[n.lower()] for n in piece.source.names if n.lower() in self.names), None
        )
        if media is None or (media.shot, media.take) not in self.firsts:
            return None
        place = self._place(piece, media)
        if place < 0:
            what = f"{piece.name!r} begins {count(-place, 'frame')} before its file does"
            self._note(piece, f"{what}: it is that much shorter")
        start, stop = max(0, place), place + piece.frames
        if stop <= start or start >= media.frames:
            raise InputError(
                f"{self._time(piece)}: {piece.name!r} begins {place} frames into a file of "
                f"{media.frames}",
                cure="let it begin within its file",
            )
        newest = self.newest.get((media.shot, media.take))
        if not media.current and newest is not None:
            self._note(piece, f"{media.stem} has been replaced by {newest.stem}, which is shown")
        return _Found(
            piece,
            index,
            media.shot,
            media.take,
            media.first,
            start + media.first,
            stop + media.first,
        )

    def _place(self, piece: Piece, media: Media) -> int:
        """Which frame of its file a piece begins with.

        Programs disagree whether times in media count from its timecode or from nought.
        """
        assert piece.source is not None
        start = piece.source.start
        origins = [o for o in (piece.source.origin, media.start, 0) if o is not None]
        places = [start - origin for origin in origins]
        inside = [place for place in places if 0 <= place < media.frames]
        return inside[0] if inside else min(places, key=lambda place: abs(place))

    def _keep_fades(self, found: Sequence[_Found]) -> None:
        """The storyboard's fades, where the edit left their edges of the shot alone.

        Few programs write fades down; one that the editor took out stands in the list and can be
        removed there.
        """
        for index, each in enumerate(found):
            take = self.plan.take(each.shot, each.take)
            shot, first = take.shot, take.slip
            if shot.into.kind == "fade" and each.start == first and each.into.kind == "cut":
                each.into = shot.into
                self._note(each.piece, f"the storyboard's fade in of {shot.id} is kept")
            then = found[index + 1].into if index + 1 < len(found) else Transition()
            ends = each.stop == first + shot.frames and each.out.kind == "cut" and not then.mixes
            if shot.out.kind == "fade" and ends:
                each.out = shot.out
                self._note(each.piece, f"the storyboard's fade out of {shot.id} is kept")

    def _shows(self, each: _Found) -> bool:
        """Whether anything is left of a piece; its transitions fit into what there is."""
        length = each.stop - each.start
        if length <= 0:
            self._note(each.piece, f"{each.piece.name!r} is all transition, and left out")
            return False
        each.into, each.out = _within(each.into, length), _within(each.out, length)
        return True

    def _refuse(self, unknown: Sequence[Piece], found: Sequence[_Found], source: str) -> None:
        first = unknown[0]
        if not found:
            known = [each.stem for each in self.newest.values()]
            raise InputError(
                f"{source} is an edit of another film: none of its "
                f"{count(len(unknown), 'clip')} is of {self.plan.title!r}, the first is "
                f"{first.name!r}",
                cure=did_you_mean(first.name, known, otherwise="its files are"),
            )
        shown = ", ".join(f"{p.name!r} at {self._time(p)}" for p in unknown[:5])
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise InputError(
            f"{source} has media that are not of this film: {shown}{more}",
            cure="take them out, or leave them out with --skip-unknown",
        )

    def _note(self, piece: Piece, text: str) -> None:
        self.notes.append(f"{self._time(piece)}: {text}")

    def _time(self, piece: Piece) -> str:
        return timecode(self.edited.start + piece.at, self.plan.fps)


def _between(before: _Found, after: _Found, join: Join) -> None:
    """Put a join onto the two pieces beside it."""
    if not join.mixing.mixes:
        before.out, after.into = join.fade_out, join.fade_in
        return
    # Centred, the transition begins this much later; the cut moves there.
    moved = join.mixing.before - join.before
    before.stop += moved
    after.start += moved
    after.into = join.mixing


def _begin(piece: _Found, join: Join) -> None:
    """Nothing stands before: a dissolve is a fade in, under which the piece has begun already."""
    piece.into = join.fade_in
    if join.mixing.mixes:
        piece.start = max(piece.first, piece.start - join.before)
        piece.into = Transition("fade", join.before + join.after)


def _end(piece: _Found, join: Join) -> None:
    """Nothing follows: a dissolve is a fade out, under which the piece goes on."""
    piece.out = join.fade_out
    if join.mixing.mixes:
        piece.stop += join.after
        piece.out = Transition("fade", join.before + join.after)


def _within(joint: Transition, frames: int) -> Transition:
    return (
        replace(joint, frames=frames) if joint.kind == "fade" and joint.frames > frames else joint
    )
