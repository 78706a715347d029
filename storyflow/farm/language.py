"""Where the language models of a profile are to be had: on the cluster, or from a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from storyflow.cluster import Cluster
from storyflow.prompts.engines.openai import OpenAIModel
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.engines.vllm import VllmModel
from storyflow.prompts.model import LanguageModel
from storyflow.prompts.settings import PromptsSection


def language_model(
    settings: EngineSettings, cluster: Cluster, notify: Callable[[str], None] = lambda _: None
) -> LanguageModel:
    """A model that is not set up yet. `notify` is told what the user should know while waiting."""
    if settings.engine == "openai":
        return OpenAIModel(settings)
    if cluster.address == "in-process":
        return VllmModel(settings)
    from storyflow.farm.ray_language import RayModel

    return RayModel(settings, cluster, notify)


@contextmanager
def running(model: LanguageModel) -> Iterator[LanguageModel]:
    """A model, set up; closed at the end, whatever happens. Raises ModelError, EngineDied."""
    try:
        model.setup()
        yield model
    finally:
        model.close()


@dataclass(frozen=True)
class ProfileWriters:
    """Implements `Writers` with the models that a profile names, on a cluster."""

    prompts: PromptsSection
    cluster: Cluster
    notify: Callable[[str], None] = lambda _: None

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        """The enhancer and fuser."""
        engine = self.prompts.language.engine(self.prompts.enhancer)
        with running(language_model(engine, self.cluster, self.notify)) as model:
            yield model

    @contextmanager
    def vision(self) -> Iterator[LanguageModel]:
        """The captioner."""
        engine = self.prompts.vision.engine(self.prompts.captioner)
        with running(language_model(engine, self.cluster, self.notify)) as model:
            yield model
