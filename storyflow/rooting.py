"""What a run tells the store about itself: that it goes on, and what it needs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from storyflow.claim import claimed_run
from storyflow.errors import StoreError
from storyflow.lock import Lock
from storyflow.locktext import lock_text
from storyflow.planning.keys import prompt_key
from storyflow.planning.nodes import Plan
from storyflow.planning.sources import sources
from storyflow.renderer import ModelKind
from storyflow.store.roots import Root, add_root, now, run_name
from storyflow.store.store import Store


@dataclass(frozen=True)
class Rooted:
    """A run that the store knows of. `root` is None where the store can't be written."""

    store: Store
    root: Root | None

    async def finish(self, keys: Iterable[str]) -> None:
        """Note what the film was cut from. Raises StoreError."""
        if self.root is not None:
            await asyncio.to_thread(add_root, self.store, self.root.done(keys))


@asynccontextmanager
async def rooted(
    store: Store, root: Root, tell: Callable[[str], None], *, renders: bool
) -> AsyncIterator[Rooted]:
    """Render under this root: nobody else renders the same, and nothing of it is collected.

    A run that renders nothing may also use a store that can't be written, with a word to `tell`.
    Raises InfrastructureError when somebody else renders the same; StoreError.
    """
    if not renders:
        try:
            await asyncio.to_thread(add_root, store, root)
        except StoreError as error:
            tell(f"{error.what}; what the film needs of it is not protected from collection")
            yield Rooted(store, None)
            return
        yield Rooted(store, root)
        return
    async with claimed_run(store, root.run, tell):
        await asyncio.to_thread(add_root, store, root)
        await asyncio.to_thread(store.prefetch, root.recipes, root.keys)
        if store.notice:
            tell(store.notice)
        yield Rooted(store, root)


def root_of(plan: Plan, kind: ModelKind, lock: Lock, pipeline: str, folder: Path) -> Root:
    """What a plan needs of a store: segments by recipe, prompts, media and held takes by key."""
    recipes = frozenset(segment.recipe for segment in plan.segments)
    keys = {segment.key for segment in plan.segments if segment.key is not None}
    keys |= {source.key for source in sources(plan, plan.segments)}
    if kind.embeds_prompts:
        inputs = [segment.inputs for segment in plan.segments]
        texts = {text for i in inputs for text in (i.prompt, i.negative)}
        keys |= {prompt_key(kind.encoder, text) for text in texts}
    return Root(
        run=run_name(plan.title, recipes, keys),
        film=plan.title,
        when=now(),
        host=socket.gethostname(),
        folder=str(folder.absolute()),
        pipeline=pipeline,
        recipes=recipes,
        keys=frozenset(keys),
        lock=lock_text(lock),
    )
