"""A resolved film, its lock and a pipeline become a plan: reads no store, loads no model. Of the
film's pictures and clips it reads what tells whether they can be used.

plan = make_plan(film, lock, profile, "toybox", kind_of(profile))
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from storyflow.cutlist import CutList
from storyflow.errors import Problem, StoryboardError
from storyflow.lock import Lock, LockedShot
from storyflow.lockfile import chosen_take, pin
from storyflow.pipeline import Profile
from storyflow.planning.ability import inability, single_window, within_window
from storyflow.planning.edit import Edit
from storyflow.planning.footage import Footage
from storyflow.planning.layout import BeatTooShort, Layout, Needs, Rendered, lay_out
from storyflow.planning.legality import check_pipeline, count, fault, notice
from storyflow.planning.nodes import Condition, CutEntry, Plan, PlannedTake, Span
from storyflow.planning.sources import Sources
from storyflow.planning.takes import Script, ShotPlan, Takes
from storyflow.planning.titles import check_titles
from storyflow.planning.windows import Windows
from storyflow.prompts.describe import prompt_for
from storyflow.prompts.negative import negative
from storyflow.prompts.settle import standing_of
from storyflow.prompts.standing import Standing
from storyflow.renderer import ModelKind
from storyflow.storyboard.resolved import ResolvedFilm, ResolvedShot
from storyflow.timing import nominal


def make_plan(
    film: ResolvedFilm,
    lock: Lock,
    profile: Profile,
    pipeline: str,
    kind: ModelKind,
    cut: CutList | None = None,
    words: Iterable[Standing] | None = None,
) -> Plan:
    """The film as a graph of segments, and what the cut takes from them.

    What the lock doesn't pin yet is planned as `lockfile.pin` would pin it. With a cut list the
    film is what it says, and no more is planned than that needs. `words` are all beats as `settle`
    found them; without, the lock is asked. Raises StoryboardError that lists every fault,
    ProfileError for a frame size off the model's grid.
    """
    notices = [*film.notices, *check_pipeline(film, profile), *kind.notices]
    planner = _Planner(film, pin(lock, film), profile, pipeline, kind, cut, words)
    planner.run()
    planner.problems += check_titles(film, profile)
    _refuse(planner.problems)
    entries = tuple(planner.cut())
    _refuse(planner.problems)
    if planner.edit is not None:
        notices += planner.edit.notices()
    return Plan(
        title=film.title,
        pipeline=pipeline,
        fps=film.fps,
        size=profile.frame,
        takes=tuple(take for shot in film.shots for take in planner.takes.get(shot.id, ())),
        cut=entries,
        keeps_latents=kind.keeps_latents,
        embeds_prompts=kind.embeds_prompts,
        history=profile.forcing.history,
        rate=profile.fps,
        writer=planner.writer,
        scenes=tuple(scene.heading for scene in film.scenes),
        about=film.about,
        notices=(*notices, *planner.problems, *planner.unwritten_notice()),
    )


def _refuse(problems: Sequence[Problem]) -> None:
    faults = [problem for problem in problems if problem.level == "error"]
    if faults:
        raise StoryboardError(faults)


class _Planner:
    def __init__(
        self,
        film: ResolvedFilm,
        lock: Lock,
        profile: Profile,
        pipeline: str,
        kind: ModelKind,
        cut: CutList | None,
        words: Iterable[Standing] | None,
    ) -> None:
        self.film = film
        self.profile = profile
        self.pipeline = pipeline
        self.kind = kind
        self.entries = {entry.id: entry for entry in lock.shots}
        self.edit = None if cut is None else Edit(cut, film, self.entries)
        self.shots = {shot.id: shot for shot in film.shots}
        self.followed = {shot.follows for shot in film.shots if shot.follows is not None}
        self.windows = Windows(
            lattice=kind.lattice,
            floor=profile.windows.floor,
            policy=profile.windows.policy,
            cost=lru_cache(maxsize=None)(lambda window: kind.cost(window).flops),
        )
        # Many shots of a long film have the same beats.
        self.lay_out = lru_cache(maxsize=1000)(lay_out)
        self.sources = Sources(profile.frame, kind.lattice.overlap, profile.fps)
        self.makes = Takes(kind, profile.frame, pipeline)
        if words is None and kind.embeds_prompts:
            words = standing_of(film, lock, profile.prompts)
        self.words: dict[str, list[Standing]] = {}
        for row in words or ():
            self.words.setdefault(row.shot.id, []).append(row)
        self.takes: dict[str, list[PlannedTake]] = {}
        self.histories: dict[str, tuple[Span, ...]] = {}
        self.problems: list[Problem] = []
        self.unwritten: list[ResolvedShot] = []

    def run(self) -> None:
        """Plan every shot, sources before those that continue them."""
        for shot in self.film.shots:
            if self.edit is not None and not self.edit.wants(shot.id):
                continue
            chain: dict[str, ResolvedShot] = {}
            link: ResolvedShot | None = shot
            while link is not None and link.id not in self.takes and link.id not in chain:
                chain[link.id] = link
                link = self.shots.get(link.follows or "")
            for link in reversed(chain.values()):
                self.takes[link.id] = []
                self._shot(link)

    def cut(self) -> Iterator[CutEntry]:
        """The shots as the film shows them."""
        if self.edit is not None:
            yield from self.edit.entries(self.takes, self.problems)
            return
        for shot in self.film.shots:
            take = self._chosen(shot)
            assert take is not None
            yield CutEntry(
                shot=shot.id,
                take=take.take,
                start=take.head,
                stop=take.head + take.frames,
                hold=max(0, shot.into.before - take.head),
                into=shot.into,
                out=shot.out,
                titles=shot.titles,
            )

    def _shot(self, shot: ResolvedShot) -> None:
        if (cannot := inability(shot, self.kind)) is not None:
            self.problems.append(cannot)
            return
        history: tuple[Span, ...] = ()
        if shot.mode == "continue":
            found = self._source_tail(shot)
            if found is None:
                return
            history = found
        needs = self._needs(shot)
        if needs is None:
            return
        entry = self.entries[shot.id]
        rendered = _rendered(entry, self.pipeline)
        try:
            layout = self.lay_out(needs, self.windows, rendered)
        except BeatTooShort as error:
            self.problems.append(self._too_short(shot, error))
            return
        if rendered is not None and rendered.beats[0][:1] != layout.beats[0][:1]:
            what = "the segments that it was rendered in don't fit any more; it is divided anew"
            self.problems.append(notice(shot, "divided-anew", what))
        self._tell(shot, needs, layout)
        conditions = self._conditions(shot, layout)
        if conditions is None:
            return
        if self.edit is not None:
            layout = self.edit.shortened(shot.id, layout)
        scripts = tuple(
            Script(
                prompt,
                negative(beat.avoid, self.profile.negative) if self.kind.reads_negative else "",
            )
            for beat, prompt in zip(shot.beats, self._prompts(shot), strict=True)
        )
        numbers = self.edit.planned(shot.id) if self.edit is not None else None
        plan = ShotPlan(shot, entry, needs, layout, scripts, history, conditions, numbers)
        self.histories[shot.id] = history
        takes, problems = self.makes.plan(plan)
        if self.edit is not None:
            takes = [take for take in takes if take.take in self.edit.takes(shot.id)]
        self.takes[shot.id] = takes
        self.problems += problems

    def _prompts(self, shot: ResolvedShot) -> list[str]:
        """The words of every beat: the lock's where they hold, else the composer's."""
        rows = self.words.get(shot.id, ())
        if not (rows and all(row.valid for row in rows)):
            self.unwritten.append(shot)
        if not rows:
            return [prompt_for(shot, beat) for beat in shot.beats]
        return [
            row.text if row.usable else prompt_for(shot, beat)
            for row, beat in zip(rows, shot.beats, strict=True)
        ]

    @property
    def writer(self) -> str:
        """Who has yet to write some of the prompts, empty where nobody has."""
        settings = self.profile.prompts
        waits = bool(self.unwritten) and self.kind.embeds_prompts and not settings.composed
        return settings.source if waits else ""

    def unwritten_notice(self) -> Iterator[Problem]:
        """Whose words are the composer's only until a model has written them."""
        if not self.writer:
            return
        ids = [shot.id for shot in self.unwritten]
        names = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        what = (
            f"the prompts of {names} are not written yet by {self.profile.prompts.profile}, "
            "this plan has the composer's"
        )
        cure = "`storyflow prompts` or a render writes them"
        yield notice(self.unwritten[0], "unwritten-prompts", what, cure=cure)

    def _needs(self, shot: ResolvedShot) -> Needs | None:
        """What a shot asks of its frames; None, and a problem told, if no window holds it."""
        before, after = shot.into.before, shot.out.after
        free = shot.mode == "text"
        needs = Needs(
            beats=tuple(beat.frames for beat in shot.beats),
            fresh=shot.mode in ("text", "image", "first-last"),
            head=max(self.film.handles, before) if free else 0,
            tail=max(self.film.handles, after),
            free_head=free,
            marked_end=shot.id in self.followed,
            border_at_end=shot.mode == "first-last",
        )
        if self.edit is not None:
            needs, told = self.edit.widened(shot, needs, rendered=self._is_rendered(shot))
            self.problems += told
            before, after = self.edit.beyond(shot.id)
        if not single_window(self.kind.lattice):
            return needs
        needs, problem = within_window(shot, needs, self.kind.lattice, (before, after))
        if problem is not None:
            self.problems.append(problem)
        return None if problem is not None and problem.level == "error" else needs

    def _is_rendered(self, shot: ResolvedShot) -> bool:
        return _rendered(self.entries[shot.id], self.pipeline) is not None

    def _chosen(self, shot: ResolvedShot) -> PlannedTake | None:
        number = chosen_take(shot, self.entries[shot.id])
        return next((take for take in self.takes[shot.id] if take.take == number), None)

    def _source_tail(self, shot: ResolvedShot) -> tuple[Span, ...] | None:
        """The frames that a continuation continues; None, and a problem told, if there are none."""
        source = self.shots.get(shot.follows or "")
        if source is None:
            what = f"it continues shot {shot.follows}, which the film does not have"
            self.problems.append(fault(shot, "no-source", what, cure="name a shot of this film"))
            return None
        take = self._chosen(source)
        if take is None:
            if not any(problem.level == "error" for problem in self.problems):
                what = f"it continues shot {source.id}, which continues it"
                cure = "begin one of them afresh: remove 'from:'"
                self.problems.append(fault(shot, "circle", what, cure=cure))
            return None
        out = take.head + take.frames
        first = take.segments[0].inputs.spec.new
        end = first + (out - first) // self.kind.lattice.grid * self.kind.lattice.grid
        if end != out:
            what = (
                f"it continues {count(out - end, 'frame')} before the end of shot {source.id}: "
                f"the model's grid is {self.kind.lattice.grid} frames"
            )
            self.problems.append(notice(shot, "rounded-source", what))
        overlap = self.kind.lattice.overlap
        try:
            return Footage(take.segments, self.histories[source.id]).last(overlap, end)
        except ValueError:
            what = f"shot {source.id} is too short to be continued: {overlap} frames are read"
            least = first - (first - overlap) // self.kind.lattice.grid * self.kind.lattice.grid
            cure = f"make shot {source.id} at least {self._time(least - take.head)} long"
            self.problems.append(fault(shot, "short-source", what, cure=cure))
            return None

    def _conditions(
        self, shot: ResolvedShot, layout: Layout
    ) -> tuple[tuple[int, Condition], ...] | None:
        """Pictures and clips by the number of the segment that reads them; None if unusable."""
        wanted = [(0, False)] if shot.source is not None else []
        wanted += [(_segment_ending_at(layout), True)] if shot.end is not None else []
        conditions: list[tuple[int, Condition]] = []
        for number, end in wanted:
            condition, told = self.sources.condition(shot, end=end)
            self.problems += told
            if condition is not None:
                conditions.append((number, condition))
        return tuple(conditions) if len(conditions) == len(wanted) else None

    def _too_short(self, shot: ResolvedShot, error: BeatTooShort) -> Problem:
        beats = len(shot.beats)
        name = f"beat {error.beat + 1} of {beats}" if beats > 1 else "the shot"
        least = f"{self._time(error.least)} ({error.least} frames)"
        return fault(
            shot,
            "short-beat",
            f"{name} is shorter than the model's shortest segment, {least}",
            cure="make it longer, or join it with its neighbour",
            where=shot.beats[error.beat].where,
        )

    def _tell(self, shot: ResolvedShot, needs: Needs, layout: Layout) -> None:
        """Say where a beat starts elsewhere than asked, and where a picture is not met exactly."""
        grid = self.kind.lattice.grid
        for index, late in enumerate(layout.late(needs)):
            if late:
                how = "late" if late > 0 else "early"
                why = f"the model's grid is {grid} frames"
                if layout.slip:
                    why = "its shot was rendered before, with a shorter head"
                name = f"beat {index + 1} of {len(shot.beats)}"
                what = f"{name} starts {count(abs(late), 'frame')} {how}: {why}"
                where = shot.beats[index].where
                self.problems.append(notice(shot, "moved-beat", what, where=where))
        for index, least in enumerate(self._below_floor(needs, layout)):
            if least:
                name = f"beat {index + 1} of {len(shot.beats)}"
                what = (
                    f"{name} is so short that a segment sees {count(least, 'frame')} at once, "
                    f"fewer than the pipeline's floor of {self.windows.floor}"
                )
                where = shot.beats[index].where
                self.problems.append(notice(shot, "below-floor", what, where=where))
        off = layout.end - layout.head - layout.frames
        if needs.border_at_end and off:
            how = "after" if off > 0 else "before"
            what = (
                f"the 'to:' picture falls {count(abs(off), 'frame')} {how} the cut-out: "
                f"the model's grid is {grid} frames"
            )
            self.problems.append(notice(shot, "moved-picture", what))

    def _below_floor(self, needs: Needs, layout: Layout) -> Iterator[int]:
        """Per beat the shortest window, history included, that is below the floor; 0 if none is."""
        for index, lengths in enumerate(layout.beats):
            fresh = needs.fresh and index == 0
            first = lengths[0] + (0 if fresh else self.kind.lattice.overlap)
            least = min([first, *(n + self.kind.lattice.overlap for n in lengths[1:])])
            yield least if least < self.windows.floor else 0

    def _time(self, frames: int) -> str:
        """Seconds, rounded up to hundredths."""
        hundredths = -(-100 * frames // nominal(self.film.fps))
        return f"{hundredths // 100}.{hundredths % 100:02}s"


def _rendered(entry: LockedShot, pipeline: str) -> Rendered | None:
    for windows in entry.windows:
        if windows.pipeline == pipeline and windows.beats:
            return Rendered(windows.head, windows.beats)
    return None


def _segment_ending_at(layout: Layout) -> int:
    """The number of the segment that ends at the layout's end."""
    stop = 0
    lengths = [length for beat in layout.beats for length in beat]
    for number, length in enumerate(lengths):
        stop += length
        if stop >= layout.end:
            return number
    return len(lengths) - 1
