"""Roots: what each run needs of the store, kept in the store itself. Garbage collection trusts
nothing else.

    roots/RUN.json

A run stores its root before it looks what the store has. It names the recipes of all segments of
the plan, whether they are rendered yet or not, the keys of prompts and media, and the lock as it
was; when the run is done also the keys that the film was cut from. The same plan has the same root,
however often it is run; an edited film has another one.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from pydantic import TypeAdapter

from storyflow.errors import InputError, StoreError
from storyflow.store.store import Store

FORMAT = 1
"""Version of the file's layout."""


@dataclass(frozen=True)
class Root:
    """What a run needs: artifacts of these `recipes`, and those with these `keys`.

    `when` is UTC in ISO 8601 (for people: nothing is decided by it), `folder` where the film was
    to be written, on `host`. `lock` is the lock file's text. `finished` once the film was cut.
    """

    run: str
    film: str
    when: str
    host: str
    folder: str
    pipeline: str
    recipes: frozenset[str]
    keys: frozenset[str]
    lock: str = ""
    finished: bool = False

    def done(self, keys: Iterable[str]) -> Root:
        """The root of the finished run, with what the film was cut from."""
        return replace(self, keys=self.keys | frozenset(keys), finished=True)


def run_name(film: str, recipes: Iterable[str], keys: Iterable[str]) -> str:
    """`first-light-3f2a9c01bd`: the film, and what is rendered of it."""
    slug = re.sub(r"[^0-9a-z]+", "-", film.lower()).strip("-")[:40].strip("-") or "film"
    text = json.dumps([film, sorted(recipes), sorted(keys)])
    return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def now() -> str:
    """This moment for people, UTC."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")


def add_root(store: Store, root: Root) -> None:
    """Store a root, in place of one of the same run; afterwards nothing that it names is collected.

    Whoever collects announces itself before it reads the roots. So either it sees this one, or the
    announcement is seen here and waited for. Raises StoreError.
    """
    store.prepare()
    data = {"storyflow": FORMAT, **asdict(root)}
    data["recipes"], data["keys"] = sorted(root.recipes), sorted(root.keys)
    store.place.put(f"roots/{root.run}.json", f"{json.dumps(data, indent=1)}\n".encode())
    store.after_gc()


def read_roots(store: Store) -> tuple[Root, ...]:
    """All roots, the one that was written last at the end, by the store's own clock.

    Raises StoreError, also for one that can't be understood.
    """
    listed = [one for one in store.place.list("roots/") if one.name.endswith(".json")]
    listed.sort(key=lambda one: (one.modified or 0.0, one.name))
    found = store.place.read_many([one.name for one in listed])
    return tuple(_parse(store, one.name, found[one.name]) for one in listed if one.name in found)


def forget(store: Store, run: str) -> Root:
    """Drop a run's root: what no other root names may be collected. Returns what it was.

    Raises InputError for an unknown run, StoreError.
    """
    root = known(store, [run])[run]
    store.place.delete([f"roots/{run}.json"])
    return root


def known(store: Store, runs: Iterable[str]) -> Mapping[str, Root]:
    """The roots of the store by run. Raises InputError where one of `runs` is not among them."""
    roots = {root.run: root for root in read_roots(store)}
    for run in runs:
        if run not in roots:
            names = ", ".join(sorted(roots)[:12]) or "none"
            raise InputError(f"the store {store} knows no run {run!r}", cure=f"it knows {names}")
    return roots


def superseded(roots: Iterable[Root]) -> tuple[Root, ...]:
    """Those of `read_roots` whose film was run again since, with another plan into its folder."""
    newest: dict[tuple[str, str, str], Root] = {}
    older = []
    for root in roots:
        place = (root.film, root.host, root.folder)
        if place in newest:
            older.append(newest[place])
        newest[place] = root
    return tuple(older)


def _parse(store: Store, name: str, data: bytes) -> Root:
    try:
        fields = json.loads(data)
        if fields.pop("storyflow") == FORMAT:
            return _ROOT.validate_python(fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    # What it needs is unknown: collecting anything could lose it.
    raise StoreError(
        f"{name} in {store} can't be understood",
        cure="use the storyflow version that wrote it, or delete it",
    )


_ROOT = TypeAdapter(Root)
