"""A planned film as an OpenTimelineIO timeline.

Exact in OpenTimelineIO's own form. The others can say less: what one of them has no words for
stands there as a marker or is left out, never as something else.

- Clips show their part of a file that goes on at both ends: the whole take with its handles.
- Dissolves and wipes are transitions. A fade is one in `otio`; FCP7 XML and EDL know none in the
  middle of a track, so there it is a marker.
- A shot that is missing is a gap of its length.
- Every beat is a marker, and each clip's metadata has what it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

from storyflow.planning.nodes import CutEntry, Plan, PlannedTake
from storyflow.qc.verdicts import Quality
from storyflow.storyboard.resolved import Transition
from storyflow.timeline.media import Media, TakeName
from storyflow.timing import Size, timecode

if TYPE_CHECKING:
    import opentimelineio as otio

Form = Literal["otio", "xml", "edl"]

OWN = "storyflow"
"""Where our facts stand in a timeline's metadata."""


@dataclass(frozen=True)
class Contents:
    """What a timeline is made of.

    `media` has a file for every take that exists; `missing` is why others don't. `start` is the
    first frame's timecode, in frames. `keys` are those of finished segments, by recipe. `size`
    is that of the files' pictures.
    """

    plan: Plan
    media: Mapping[TakeName, Media]
    missing: Mapping[str, str]
    start: int
    keys: Mapping[str, str]
    quality: Quality | None = None
    size: Size | None = None


def build(contents: Contents, form: Form) -> otio.schema.Timeline:
    """The timeline, as a form of file can hold it."""
    import opentimelineio as otio

    plan = contents.plan
    track = otio.schema.Track(name="V1", kind=otio.schema.TrackKind.Video)
    lengths = [entry.stop - entry.start for entry in plan.cut]
    places = accumulate(lengths, initial=0)
    for index, (entry, place) in enumerate(zip(plan.cut, places, strict=False)):
        before = plan.cut[index - 1].out if index else Transition()
        _join(track, before, entry.into, reach(entry, form), contents, form)
        track.append(_item(entry, index, place, contents, form))
    _join(track, plan.cut[-1].out, Transition(), (0, 0), contents, form)
    if form == "edl":
        # The adapter counts record times from here.
        track.source_range = _range(-contents.start, sum(lengths), contents)
    timeline = otio.schema.Timeline(name=plan.title)
    timeline.global_start_time = _time(contents.start, contents)
    timeline.metadata[OWN] = {
        "storyflow": 1,
        "film": plan.title,
        "fps": str(plan.fps),
        "pipeline": plan.pipeline,
        "frames": plan.frames,
    }
    if form == "xml":
        size = contents.size or plan.size
        picture = {"width": str(size.width), "height": str(size.height)}
        # Without it a program opens the sequence at a size of its own.
        timeline.metadata["fcp_xml"] = {
            "media": {"video": {"format": {"samplecharacteristics": picture}}}
        }
    timeline.tracks.append(track)
    return timeline


def clip_name(media: Media) -> str:
    """The name of a clip in every form: its file's."""
    return media.stem


def _item(
    entry: CutEntry, index: int, place: int, contents: Contents, form: Form
) -> otio.schema.Clip | otio.schema.Gap:
    import opentimelineio as otio

    take = contents.plan.take(entry.shot, entry.take)
    media = contents.media.get((entry.shot, entry.take))
    length = entry.stop - entry.start
    own = {**_facts(take, contents), "piece": index + 1}
    if media is None:
        own["missing"] = contents.missing.get(entry.shot, "not rendered yet")
        begin = entry.start + take.slip - take.head
        gap = otio.schema.Gap(source_range=_range(begin, length, contents))
        gap.name = f"{entry.shot} missing"
        gap.metadata[OWN] = own
        return gap
    # Where the take's frames lie in the file, and what timecode that is.
    offset = (take.slip - take.head) - media.first
    begin = media.start + entry.start + offset
    reference = otio.schema.ExternalReference(
        target_url=media.url, available_range=_range(media.start, media.frames, contents)
    )
    reference.name = media.stem
    clip = otio.schema.Clip(
        name=clip_name(media),
        media_reference=reference,
        source_range=_range(begin, length, contents),
    )
    clip.metadata[OWN] = own
    clip.metadata["cmx_3600"] = {"reel": media.reel or _plain_reel(media)}
    shift = {"otio": begin, "xml": begin - media.start, "edl": contents.start + place}[form]
    for name, at, frames in _marks(take, entry, form):
        clip.markers.append(
            otio.schema.Marker(
                name=name,
                marked_range=_range(shift + at, frames, contents),
                color=otio.schema.MarkerColor.GREEN,
            )
        )
    return clip


def reach(entry: CutEntry, form: Form) -> tuple[int, int]:
    """Frames of the transition into a piece, before and after the cut.

    Where the piece's first frame is repeated there, its file has no frames for it; only
    OpenTimelineIO can say that. An EDL's transition begins later, and one in FCP7 XML, which is
    centred on its cut, ends earlier, too; without any frames it is a cut.
    """
    before, after = entry.into.before, entry.into.after
    if form == "otio" or not entry.hold:
        return before, after
    if form == "edl":
        return before - entry.hold, after
    return (before - entry.hold, after - entry.hold) if before > entry.hold else (0, 0)


def _join(
    track: otio.schema.Track,
    before: Transition,
    after: Transition,
    reach: tuple[int, int],
    contents: Contents,
    form: Form,
) -> None:
    """Append the transition between two pieces, where there is one that the form knows."""
    import opentimelineio as otio

    if after.mixes:
        if not any(reach):
            return
        plain = after.kind == "dissolve"
        made = otio.schema.Transition(
            name="Cross Dissolve" if plain else f"Wipe {after.way}",
            transition_type=(
                otio.schema.TransitionTypes.SMPTE_Dissolve
                if plain or form != "otio"
                else otio.schema.TransitionTypes.Custom
            ),
            in_offset=_time(reach[0], contents),
            out_offset=_time(reach[1], contents),
        )
        made.metadata[OWN] = _joint(after)
        track.append(made)
        return
    fades = [("out", before), ("in", after)]
    fades = [(side, joint) for side, joint in fades if joint.kind == "fade"]
    if not fades or form != "otio":
        return
    made = otio.schema.Transition(
        name=", ".join(f"Fade {side} {joint.color}" for side, joint in fades),
        transition_type=otio.schema.TransitionTypes.Custom,
        in_offset=_time(before.frames if before.kind == "fade" else 0, contents),
        out_offset=_time(after.frames if after.kind == "fade" else 0, contents),
    )
    made.metadata[OWN] = {f"fade_{side}": _joint(joint) for side, joint in fades}
    track.append(made)


def _marks(take: PlannedTake, entry: CutEntry, form: Form) -> list[tuple[str, int, int]]:
    """Beats, and what the form has no transition for: name, place and length within the piece."""
    length = entry.stop - entry.start
    begun: dict[int, int] = {}
    for segment in take.segments:
        begun.setdefault(segment.beat, segment.start)
    # The first beat is the shot's first frame, whatever handle was rendered before it.
    begun[0] = take.head - take.slip
    found: list[tuple[str, int, int]] = []
    for beat, start in sorted(begun.items()):
        stop = begun.get(beat + 1, entry.stop)
        at, until = max(0, start - entry.start), min(length, stop - entry.start)
        if at < until:
            found.append((f"{beat + 1}: {_short(take.shot.beats[beat].do)}", at, until - at))
    if form != "otio":
        if entry.into.kind == "fade":
            found.append((f"fade in {entry.into.color}", 0, entry.into.frames))
        if entry.out.kind == "fade":
            frames = entry.out.frames
            found.append((f"fade out {entry.out.color}", length - frames, frames))
    return found


def _facts(take: PlannedTake, contents: Contents) -> dict[str, Any]:
    first = take.segments[0].inputs
    prompts: dict[int, str] = {}
    for segment in take.segments:
        prompts.setdefault(segment.beat, segment.inputs.prompt)
    keys = [segment.key or contents.keys.get(segment.recipe) for segment in take.segments]
    facts: dict[str, Any] = {
        "shot": take.shot.id,
        "take": take.take,
        "seed": str(take.seed),
        "model": first.model,
        "prompts": [prompts[beat] for beat in sorted(prompts)],
        "keys": [key for key in keys if key is not None],
    }
    quality = contents.quality
    if quality is not None:
        for each in quality.takes:
            if (each.shot, each.take) == (take.shot.id, take.take):
                facts["quality"] = {
                    "level": each.level,
                    "findings": [verdict.text for verdict in each.verdicts],
                }
    return facts


def _joint(joint: Transition) -> dict[str, Any]:
    facts = asdict(replace(joint))
    return {name: value for name, value in facts.items() if value is not None}


def _plain_reel(media: Media) -> str:
    """An EDL's reel of a file that has none of its own."""
    return "".join(c for c in media.stem.upper() if c.isascii() and c.isalnum())[:8] or "AX"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else words[:57] + "..."


def _time(frames: int, contents: Contents) -> otio.opentime.RationalTime:
    import opentimelineio as otio

    return otio.opentime.RationalTime(frames, float(contents.plan.fps))


def _range(start: int, frames: int, contents: Contents) -> otio.opentime.TimeRange:
    import opentimelineio as otio

    return otio.opentime.TimeRange(_time(start, contents), _time(frames, contents))


def lines_left_out(contents: Contents, form: Form) -> Sequence[str]:
    """What a form can't say of this film, for people."""
    if form == "otio":
        return ()
    found = []
    plan, position = contents.plan, contents.start
    for entry in plan.cut:
        at = timecode(position, plan.fps)
        if entry.into.kind == "fade":
            found.append(f"{at} {entry.shot}: the fade in is a marker")
        if entry.out.kind == "fade":
            found.append(f"{at} {entry.shot}: the fade out is a marker")
        lost = entry.into.frames - sum(reach(entry, form)) if entry.into.mixes else 0
        if lost == entry.into.frames > 0:
            found.append(f"{at} {entry.shot}: the {entry.into.kind} is a cut")
        elif lost:
            found.append(f"{at} {entry.shot}: the {entry.into.kind} is {lost} frames shorter")
        if entry.into.kind == "wipe" and form == "edl":
            found.append(f"{at} {entry.shot}: the wipe is a dissolve")
        position += entry.stop - entry.start
    return found
