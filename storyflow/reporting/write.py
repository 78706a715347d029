"""Writing a film's report: `report.html` and the contact sheet, beside the film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storyflow.cutting.aside import written_aside
from storyflow.errors import Cancelled, StoryflowError
from storyflow.stopping import Check, go_on

PAGE = "report.html"
SHEETS = ("contact.png", "contact.jpg")

LARGEST_PNG = 12_000_000
"""Pixels: larger sheets get a palette of 256 colours in their PNG, or it would not open in mail."""


@dataclass(frozen=True)
class Report:
    """What was written: the page, and the contact sheet as PNG and as JPEG."""

    page: Path
    sheets: tuple[Path, ...]
    shots: int


def write_report(folder: Path, check: Check = go_on) -> Report:
    """Write the report of the film in a folder; what was there is replaced, file by file.

    Masters that have not changed since the last report are not read again. `check` is called
    between shots. Raises InputError for a folder without a film, CutError when the disk refuses.
    """
    from PIL import Image

    from storyflow.reporting.gather import gather
    from storyflow.reporting.page import page
    from storyflow.reporting.sheet import contact_sheet

    facts = gather(folder, check)
    with written_aside(folder / PAGE) as target:
        target.write_text(page(facts), "utf-8")
    check()
    sheet = contact_sheet(facts)
    small = sheet
    if sheet.width * sheet.height > LARGEST_PNG:
        small = sheet.quantize(256, method=Image.Quantize.FASTOCTREE)
    for name, image, kind, options in (
        (SHEETS[0], small, "PNG", {"optimize": False}),
        (SHEETS[1], sheet, "JPEG", {"quality": 88}),
    ):
        with written_aside(folder / name) as target:
            image.save(target, kind, **options)
    return Report(folder / PAGE, tuple(folder / name for name in SHEETS), len(facts.shots))


def report_or_tell(folder: Path, tell: Callable[[str], None], check: Check = go_on) -> None:
    """Write the report; what goes wrong is told in one line, as a film is a film without it.

    Raises what `check` raises.
    """
    try:
        write_report(folder, check)
    except Cancelled:
        raise
    except StoryflowError as error:
        tell(f"no report was written: {error}")
    except Exception as error:
        # A flaw in the report must not look like one in the film, which is whole.
        tell(f"no report was written: {type(error).__name__}: {error}")
