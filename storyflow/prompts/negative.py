"""What the picture must not show: the profile's negative prompt, then the storyboard's `avoid`."""

from __future__ import annotations

from storyflow.prompts.english import fragment

NEGATIVE = (
    "over-saturated colours, overexposure, a frozen motionless image, blurred detail, subtitles, "
    "written text, painted or drawn style, artwork, a still picture, a grey cast over the image, "
    "worst quality, low quality, JPEG compression artefacts, ugliness, damaged or unfinished "
    "areas, extra fingers, fused fingers, badly drawn hands, badly drawn faces, deformed bodies, "
    "disfigured or misshapen limbs, three legs, a cluttered background, a crowd in the "
    "background, people walking backwards"
)
"""The default for models trained like SkyReels-V2, in our own words.

It covers what the reference's fixed list covers (`generate_video_df.py`, line 98).
"""


def negative(avoid: tuple[str, ...], profile_negative: str) -> str:
    """The negative prompt of a beat; empty where neither profile nor storyboard asks for one.

    `profile_negative` is the profile's `negative:`, where "default" stands for `NEGATIVE`. What
    the storyboard avoids follows it, each item once.
    """
    base = NEGATIVE if profile_negative.strip() == "default" else fragment(profile_negative)
    items: dict[str, str] = {}
    for text in (base, *avoid):
        for item in text.split(","):
            bare = fragment(item)
            if bare:
                items.setdefault(bare.lower(), bare)
    return ", ".join(items.values())
