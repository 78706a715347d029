"""make for films: a storyboard goes in, Ray renders it, a film comes out.

    import storyflow

    result = storyflow.render("storyboards/first-light.yaml")
    print(result.film)

Importing storyflow is light: neither torch nor ray is loaded before something is rendered.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    from storyflow.api import (
        branch,
        check,
        choose_take,
        cut,
        diff,
        hold,
        load,
        parse,
        plan,
        quote,
        release,
        render,
        replay,
        retry,
        schema,
        show,
        start,
        write_ids,
        write_prompts,
    )
    from storyflow.captioning import caption_clips, enhance_prompts, qc_captions
    from storyflow.doctor import examine_cluster
    from storyflow.edits import conform, handover
    from storyflow.errors import (
        BudgetError,
        Cancelled,
        CutError,
        FarmError,
        InfrastructureError,
        InputError,
        ModelError,
        Problem,
        ProfileError,
        SegmentError,
        StoreError,
        StoryboardError,
        StoryflowError,
    )
    from storyflow.quality import qc_film
    from storyflow.reports import report
    from storyflow.run import Run
    from storyflow.serial import (
        plan_series,
        render_series,
        retry_series,
        series_dailies,
        series_history,
        series_status,
        start_series,
    )
    from storyflow.stores import collect_garbage, forget_runs, store_inventory, verify_store
    from storyflow.storyboard.dump import dump
    from storyflow.storyboard.model import Beat, Film, Scene, Shot, Title

_HOMES = {
    "storyflow.api": "branch check choose_take cut diff quote hold load parse plan release render "
    "replay retry schema show start write_ids write_prompts",
    "storyflow.captioning": "caption_clips enhance_prompts qc_captions",
    "storyflow.doctor": "examine_cluster",
    "storyflow.edits": "conform handover",
    "storyflow.errors": "BudgetError Cancelled CutError FarmError InfrastructureError InputError "
    "ModelError Problem ProfileError SegmentError StoreError StoryboardError StoryflowError",
    "storyflow.quality": "qc_film",
    "storyflow.reports": "report",
    "storyflow.run": "Run",
    "storyflow.serial": "plan_series render_series retry_series series_dailies series_history "
    "series_status start_series",
    "storyflow.stores": "collect_garbage forget_runs store_inventory verify_store",
    "storyflow.storyboard.dump": "dump",
    "storyflow.storyboard.model": "Beat Film Scene Shot Title",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "Beat",
    "BudgetError",
    "Cancelled",
    "CutError",
    "FarmError",
    "Film",
    "InfrastructureError",
    "InputError",
    "ModelError",
    "Problem",
    "ProfileError",
    "Run",
    "Scene",
    "SegmentError",
    "Shot",
    "StoreError",
    "StoryboardError",
    "StoryflowError",
    "Title",
    "__version__",
    "branch",
    "caption_clips",
    "check",
    "choose_take",
    "collect_garbage",
    "conform",
    "cut",
    "diff",
    "dump",
    "enhance_prompts",
    "examine_cluster",
    "forget_runs",
    "handover",
    "hold",
    "load",
    "parse",
    "plan",
    "plan_series",
    "qc_captions",
    "qc_film",
    "quote",
    "release",
    "render",
    "render_series",
    "replay",
    "report",
    "retry",
    "retry_series",
    "schema",
    "series_dailies",
    "series_history",
    "series_status",
    "show",
    "start",
    "start_series",
    "store_inventory",
    "verify_store",
    "write_ids",
    "write_prompts",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        # Reading the package's metadata costs more than everything else here.
        return import_module("importlib.metadata").version("storyflow")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'storyflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
