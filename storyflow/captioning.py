"""The verbs that look at pictures or complete prompts in bulk, as functions.

storyflow.caption_clips("clips/", "captions.csv", pipeline="skyreels-v2-df-1.3b-540p")
storyflow.enhance_prompts("prompts.txt", "prompts.csv", pipeline="mine.yaml")
storyflow.qc_captions("storyboards/first-light.yaml")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from storyflow.cluster import Cluster, load_cluster
from storyflow.errors import InputError
from storyflow.pipeline import load_profile
from storyflow.prompts.asking import Manner
from storyflow.prompts.bulk import Bulk, Progress, caption_all, clips_of, enhance_all
from storyflow.prompts.instructions import Task, instructions
from storyflow.prompts.settings import ModelSettings, PromptsSection

if TYPE_CHECKING:
    from storyflow.ordering import Options, Storyboard
    from storyflow.qc.captions import CaptionReport


def caption_clips(
    source: str | Path,
    out: str | Path,
    *,
    pipeline: str | Path,
    settings: Sequence[str] = (),
    cluster: str | Path | Cluster = "local",
    address: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda done, total: None,
) -> Bulk:
    """Describe the clips of a folder, or of a CSV file with a column `path`, into a CSV file.

    The captioner is the pipeline's. What `out` has already is not asked again. Raises InputError,
    ModelError, InfrastructureError.
    """
    prompts, where = _settings(pipeline, settings, cluster, address)
    if prompts.captioner == "none":
        raise _nobody("captioner", pipeline)
    clips = clips_of(Path(source))
    manner = _manner("captioner", prompts.instructions.captioner, prompts.vision)
    from storyflow.farm.language import ProfileWriters

    with ProfileWriters(prompts, where, notify).vision() as model:
        return caption_all(clips, Path(out), model, manner, progress)


def enhance_prompts(
    source: str | Path,
    out: str | Path,
    *,
    pipeline: str | Path,
    settings: Sequence[str] = (),
    cluster: str | Path | Cluster = "local",
    address: str | None = None,
    notify: Callable[[str], None] = lambda _: None,
    progress: Progress = lambda done, total: None,
) -> Bulk:
    """Complete the lines of a text file, a prompt each, into a CSV file.

    The enhancer is the pipeline's. What `out` has already is not asked again. Raises InputError,
    ModelError, InfrastructureError.
    """
    prompts, where = _settings(pipeline, settings, cluster, address)
    if prompts.enhancer == "none":
        raise _nobody("enhancer", pipeline)
    try:
        text = Path(source).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{source} can't be read: {why}", cure="check the path") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    enhancer = _manner("enhancer", prompts.instructions.enhancer, prompts.language)
    fuser = _manner("fuser-text", prompts.instructions.fuser, prompts.language)
    from storyflow.farm.language import ProfileWriters

    with ProfileWriters(prompts, where, notify).language() as model:
        return enhance_all(lines, Path(out), model, enhancer, fuser, prompts.words, progress)


def qc_captions(
    film: Storyboard, *, notify: Callable[[str], None] = lambda _: None, **options: Unpack[Options]
) -> CaptionReport:
    """Read every rendered shot and compare it with what the storyboard asked for.

    The report is also written beside the film. Raises InputError (nobody who could read the
    shots), ModelError, InfrastructureError.
    """
    from storyflow.film import prepare
    from storyflow.ordering import order
    from storyflow.qc.captions import check_captions

    what = order(film, **options)
    return check_captions(what, prepare(what), notify)


def _settings(
    pipeline: str | Path,
    settings: Sequence[str],
    cluster: str | Path | Cluster,
    address: str | None,
) -> tuple[PromptsSection, Cluster]:
    _, profile = load_profile(pipeline, settings)
    if not isinstance(cluster, Cluster):
        overrides = [f"address={address}"] if address is not None else []
        cluster = load_cluster(cluster, overrides)
    return profile.prompts, cluster


def _nobody(who: str, pipeline: str | Path) -> InputError:
    return InputError(
        f"the pipeline {pipeline} has no {who}",
        cure=f"set prompts.{who} to vllm or to a server's address, with --set or in the profile",
    )


def _manner(task: Task, file: str | None, model: ModelSettings) -> Manner:
    return Manner(
        instructions(task, Path(file).expanduser() if file else None),
        max_tokens=model.max_tokens,
        temperature=model.temperature,
        seed=model.seed,
    )
