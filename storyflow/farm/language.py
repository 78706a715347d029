"""Where the language models of a profile are to be had: on the cluster, or from a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

from storyflow.cluster import Cluster
from storyflow.farm.held import Held
from storyflow.prompts.engines.openai import OpenAIModel
from storyflow.prompts.engines.settings import EngineSettings
from storyflow.prompts.engines.vllm import VllmModel
from storyflow.prompts.model import LanguageModel
from storyflow.prompts.settings import PromptsSection
from storyflow.stopping import Check, go_on


def language_model(
    settings: EngineSettings,
    cluster: Cluster,
    notify: Callable[[str], None] = lambda _: None,
    check: Check = go_on,
    held: Held | None = None,
) -> LanguageModel:
    """A model that is not set up yet.

    `notify` is told what the user should know while waiting. A model on Ray calls `check` while it
    waits, which may end the work by raising, and tells `held` what it holds.
    """
    if settings.engine == "openai":
        return OpenAIModel(settings)
    if cluster.address == "in-process":
        return VllmModel(settings)
    from storyflow.farm.ray_language import RayModel

    return RayModel(settings, cluster, notify, check, held)


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
    """Implements `Writers` with the models that a profile names, on a cluster.

    `check` and `held` are as in `language_model`; what a model in this process holds counts, too.
    """

    prompts: PromptsSection
    cluster: Cluster
    notify: Callable[[str], None] = lambda _: None
    check: Check = go_on
    held: Held = field(default_factory=Held)

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        """The enhancer and fuser."""
        with self._running(self.prompts.language.engine(self.prompts.enhancer)) as model:
            yield model

    @contextmanager
    def vision(self) -> Iterator[LanguageModel]:
        """The captioner."""
        with self._running(self.prompts.vision.engine(self.prompts.captioner)) as model:
            yield model

    @contextmanager
    def _running(self, engine: EngineSettings) -> Iterator[LanguageModel]:
        model = language_model(engine, self.cluster, self.notify, self.check, self.held)
        here = isinstance(model, VllmModel)
        holding = self.held.during(engine.tensor_parallel) if here else nullcontext()
        with holding, running(model):
            yield model


class KeptWriters:
    """Implements `Writers` with those of others, each started once and kept for the next film.

    A model that breaks is closed; the next film gets a new one.
    """

    def __init__(
        self,
        prompts: PromptsSection,
        cluster: Cluster,
        notify: Callable[[str], None],
        held: Held,
    ) -> None:
        self._check = go_on
        self._writers = ProfileWriters(prompts, cluster, notify, lambda: self._check(), held)
        self._kept: dict[str, tuple[LanguageModel, ExitStack]] = {}

    def during(self, check: Check) -> KeptWriters:
        """Itself, for the film whose work this ends; until the next film's."""
        self._check = check
        return self

    @contextmanager
    def language(self) -> Iterator[LanguageModel]:
        """The enhancer and fuser."""
        with self._lent("language", self._writers.language) as model:
            yield model

    @contextmanager
    def vision(self) -> Iterator[LanguageModel]:
        """The captioner."""
        with self._lent("vision", self._writers.vision) as model:
            yield model

    def close(self) -> None:
        """Let all models go."""
        while self._kept:
            self._kept.popitem()[1][1].close()

    @contextmanager
    def _lent(
        self, name: str, start: Callable[[], AbstractContextManager[LanguageModel]]
    ) -> Iterator[LanguageModel]:
        if name not in self._kept:
            stack = ExitStack()
            self._kept[name] = stack.enter_context(start()), stack
        try:
            yield self._kept[name][0]
        except BaseException:
            if name in self._kept:
                self._kept.pop(name)[1].close()
            raise
