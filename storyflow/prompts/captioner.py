"""The captioner looks at pictures and clips and says what they show, as structured captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from storyflow.errors import InputError
from storyflow.media.reading import BadMedia
from storyflow.media.spread import Sight, Spread, read_spread, read_still
from storyflow.prompts.asking import Manner, Trouble, ask_twice, question, read_caption
from storyflow.prompts.caption import ShotCaption
from storyflow.prompts.model import Clip, LanguageModel
from storyflow.prompts.schema import caption_schema

SIGHT = Sight(frames=16, area=360 * 420, grid=28)
"""As many frames and pixels as the reference shows its captioner, in the grid of Qwen2.5-VL; but
the last frames, too, and nothing squeezed."""

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
CLIPS = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi"})


def caption_clips(
    clips: Sequence[Clip], model: LanguageModel, manner: Manner
) -> list[ShotCaption | Trouble]:
    """What each clip shows, in their order, all asked in one batch.

    An answer that can't be used is asked for once more, then a Trouble. Raises EngineDied.
    """
    schema = caption_schema()
    asked = [replace(question(manner, ASK, schema), clip=clip) for clip in clips]
    return ask_twice(model, asked, read_caption, schema)


ASK = "What does this show? Answer with the JSON object alone."


def look_at(path: Path) -> Clip:
    """A picture or a clip as the captioner sees it.

    Raises InputError: neither of them, broken, or a file that can't be read.
    """
    suffix = path.suffix.lower()
    if suffix not in PICTURES | CLIPS:
        known = ", ".join(sorted(PICTURES | CLIPS))
        raise InputError(f"{path} is no picture or clip by its name", cure=f"known are {known}")
    try:
        return seen(read_still(path, SIGHT) if suffix in PICTURES else read_spread(path, SIGHT))
    except BadMedia as error:
        raise InputError(f"{path}: {error.what}", cure=error.cure) from None
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", cure="check the path") from None


def seen(spread: Spread) -> Clip:
    """Frames that were read as the clip that a question carries."""
    return Clip(spread.frames, spread.fps, spread.seconds)
