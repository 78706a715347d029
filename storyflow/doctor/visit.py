"""The visit: gather the facts of a cluster, check them, say what was found."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from storyflow.cluster import Cluster, load_cluster
from storyflow.doctor.checks import examine
from storyflow.doctor.facts import HERE, Facts, ModelAsked, NodeFacts, Question, Silent
from storyflow.doctor.findings import Diagnosis, Finding, NodeRow, ordered
from storyflow.doctor.probe import look
from storyflow.doctor.refused import refused
from storyflow.doctor.wishes import Wishes, wishes_of, without_model
from storyflow.errors import FarmError, InputError, ModelError, StoreError
from storyflow.farm.address import IN_PROCESS
from storyflow.farm.capacity import describe
from storyflow.kinds import kind_of
from storyflow.pipeline import Profile, load_profile
from storyflow.store.nonce import Nonce, new_nonce
from storyflow.store.store import Store

ALONE = ("local", IN_PROCESS)
"""Addresses that mean this machine, and no Ray that runs already."""

GIB = 1 << 30


def examine_cluster(
    address: str | None = None,
    *,
    pipeline: str | Path = "toybox",
    settings: Sequence[str] = (),
    cluster: str | Path | Cluster = "local",
    store: str | Path | None = None,
) -> Diagnosis:
    """Examine every node of the cluster at an address (or the cluster file's) for a pipeline.

    `address` is `auto`, HOST:PORT or ray://HOST:PORT; for `local` and `in-process` this machine is
    examined, and no Ray is started. On each node a small process without CPU and GPU looks around;
    it writes a few bytes into the store, and loads nothing.

    What is wrong with the machines is in the diagnosis. Raises InputError (a profile, a cluster
    file or an address that can't be used).
    """
    name, profile = load_profile(pipeline, settings)
    if not isinstance(cluster, Cluster):
        cluster = load_cluster(cluster, [] if address is None else [f"address={address}"])
    elif address is not None:
        raise InputError("the address stands in the Cluster that was given", cure="change it there")
    place = str(store if store is not None else cluster.store)
    (diagnosis,) = examine_for(cluster, place, [(name, profile)])
    return diagnosis


def examine_for(
    cluster: Cluster, store: str, profiles: Sequence[tuple[str, Profile]]
) -> tuple[Diagnosis, ...]:
    """One visit of a cluster for several profiles with their names: a diagnosis for each."""
    wished = [(name, *_wishes(profile, cluster)) for name, profile in profiles]
    models = dict.fromkeys(asked for _, wishes, _ in wished for asked in wishes.models)
    facts, more = gather(cluster, store, tuple(models))
    return tuple(
        Diagnosis(
            address=cluster.address,
            pipeline=name,
            store=store,
            nodes=tuple(map(_row, facts.nodes or (facts.here,))),
            findings=ordered(
                [*found, *more, *examine(facts.of_models(frozenset(wishes.models)), wishes)]
            ),
        )
        for name, wishes, found in wished
    )


def _wishes(profile: Profile, cluster: Cluster) -> tuple[Wishes, tuple[Finding, ...]]:
    """What a profile wants, and what is already wrong with its model here."""
    try:
        return wishes_of(profile, kind_of(profile, threads=cluster.workers.threads), cluster), ()
    except ModelError as error:
        broken = Finding("error", "model", error.what, HERE, cure=error.cure)
        return without_model(profile, cluster), (broken,)


def gather(
    cluster: Cluster, store: str, models: tuple[ModelAsked, ...]
) -> tuple[Facts, tuple[Finding, ...]]:
    """The facts of a cluster, and what already went wrong in gathering them."""
    cache = cluster.cache.limit
    nonce, opened = _leave_nonce(store, cluster)
    # Elsewhere the current folder is another one.
    location = store if opened is None else opened.location
    question = Question(location, cache, nonce, models)
    try:
        if cluster.address in ALONE:
            return Facts(NodeFacts(HERE, look(question))), ()
        # Models are looked for where workers are.
        here = NodeFacts(HERE, look(replace(question, models=())))
        return _ask_cluster(cluster, question, here)
    finally:
        if nonce is not None and opened is not None:
            with suppress(StoreError):
                nonce.remove(opened)


def _leave_nonce(store: str, cluster: Cluster) -> tuple[Nonce | None, Store | None]:
    """What every node looks for; None where the store is broken here, which `look` tells."""
    try:
        opened = Store(store, cluster.cache.limit)
    except StoreError:
        return None, None
    nonce = new_nonce()
    try:
        nonce.leave(opened)
    except StoreError:
        return None, opened
    return nonce, opened


def _ask_cluster(
    cluster: Cluster, question: Question, here: NodeFacts
) -> tuple[Facts, tuple[Finding, ...]]:
    from storyflow.farm.ray_nodes import ask_nodes, auth_here, connected

    try:
        with connected(cluster.address, cluster.workers):
            answers = ask_nodes(look, question)
            auth = auth_here()
    except FarmError as error:
        return Facts(here, reached=False), (refused(cluster.address, error),)
    nodes, silent = [], []
    for answer in answers:
        name = f"{answer.host} ({answer.node[:8]})"
        if answer.answer is None:
            silent.append(Silent(answer.node[:8], answer.host, answer.why))
            continue
        nodes.append(
            NodeFacts(
                name=name,
                seen=answer.answer,
                machine=answer.machine,
                object_store=answer.object_store,
                auth=answer.auth,
                ahead=answer.ahead,
                within=answer.within,
                loopback=answer.loopback,
            )
        )
    return Facts(replace(here, auth=auth), tuple(nodes), tuple(silent)), ()


def _row(node: NodeFacts) -> NodeRow:
    seen = node.seen
    cards = [f"{card.name} {card.total / GIB:.0f} GiB" for card in seen.cards or ()]
    versions = seen.versions
    parts = (
        ("storyflow", versions.storyflow),
        ("python", versions.python),
        ("ray", versions.ray),
        ("torch", versions.torch),
    )
    return NodeRow(
        name=socket.gethostname() if node.name == HERE else node.name,
        host=seen.host,
        has=""
        if node.machine is None
        else describe([node.machine]).removeprefix("1 machine with "),
        cards=", ".join(f"{cards.count(card)} x {card}" for card in dict.fromkeys(cards)),
        versions=", ".join(f"{name} {version}" for name, version in parts if version),
    )
