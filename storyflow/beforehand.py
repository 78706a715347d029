"""What a render would do, cost and why, asked of the store before anything is rendered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from storyflow.farm.address import IN_PROCESS
from storyflow.farm.lookup import hold_to_one_class, stored_index
from storyflow.farm.starting import read_start
from storyflow.farm.timings import Past
from storyflow.film import Order, Production, wanted
from storyflow.planning.diff import Diff, Place, Was, diff_plan
from storyflow.planning.estimate import Prediction, predict
from storyflow.planning.finish import Estimate, Timings, estimate
from storyflow.planning.keys import prompt_key
from storyflow.planning.nodes import Plan, Segment
from storyflow.record import Record, read_record
from storyflow.store.store import Store

Index = Mapping[str, Sequence[str]]
"""The keys of every recipe that can be reused, and what else the store's index holds."""


@dataclass(frozen=True)
class Shelf:
    """What a store has, read once for any number of orders. Made by `read_shelf`."""

    store: Store
    index: Index
    past: Past


def read_shelf(store: Store, index: Index | None = None) -> Shelf:
    """What the store has; `index` is what is known of it already. Raises StoreError."""
    known = store.recipes() if index is None else index
    return Shelf(store, known, Past(store, known))


@dataclass(frozen=True)
class Outlook:
    """An order, planned, and what of it is stored.

    `numerics` is the class that its segments are held to, empty where they are held to none.
    """

    order: Order
    made: Production
    shelf: Shelf
    numerics: str = ""

    @property
    def store(self) -> Store:
        """Where it is stored."""
        return self.shelf.store

    @property
    def index(self) -> Index:
        """The keys of every recipe that can be reused."""
        return self.shelf.index

    @property
    def prediction(self) -> Prediction:
        """What would be reused and what rendered."""
        return predict(self.made.plan, self.index)


def look_ahead(order: Order, made: Production, store: Store | Shelf) -> Outlook:
    """What a render of the order would find. Raises StoreError."""
    if not order.one_class:
        return Outlook(order, made, store if isinstance(store, Shelf) else read_shelf(store))
    plan, kind = made.plan, made.kind
    opened = store.store if isinstance(store, Shelf) else store
    one_class = hold_to_one_class(plan, kind, opened)
    index = stored_index(plan, kind, opened, one_class)
    return Outlook(order, made, read_shelf(opened, index), one_class.segment.numerics or "")


def timings_of(ahead: Outlook) -> Timings:
    """How long the film's segments take, as far as the store knows. Raises StoreError."""
    made, threads = ahead.made, ahead.order.cluster.workers.threads
    found = ahead.shelf.past.timings(made.plan.segments, made.kind, threads=threads)
    return replace(found, start=read_start(ahead.store, ahead.order.cluster))


def estimate_of(ahead: Outlook) -> Estimate:
    """What the order would cost from here on. Raises StoreError."""
    order, plan = ahead.order, ahead.made.plan
    only = wanted(plan, order)
    segments = plan.segments if only is None else plan.with_history(only)
    render = ahead.prediction.render
    return estimate(
        [segment for segment in segments if segment.recipe in render],
        _texts_to_encode(ahead.made, segments, ahead.index),
        timings_of(ahead),
        workers=_workers(order),
        gpus=order.cluster.workers.gpus or 1.0,
        price=order.cluster.price,
        currency=order.cluster.currency,
        idle=order.cluster.workers.idle,
    )


def diff_of(ahead: Outlook) -> Diff:
    """What the order would reuse and render, and why. Raises StoreError."""
    plan, render = ahead.made.plan, ahead.prediction.render
    record = read_record(ahead.order.folder) or Record(plan.title, plan.pipeline)
    past = _with_inputs(record, plan, render, ahead.store)
    return diff_plan(plan, render, ahead.index, past, record.when, ahead.numerics)


def _texts_to_encode(made: Production, segments: Sequence[Segment], index: Index) -> int:
    if not made.kind.embeds_prompts:
        return 0
    inputs = [segment.inputs for segment in segments if segment.key is None]
    texts = {text for i in inputs for text in (i.prompt, i.negative)}
    return sum(prompt_key(made.kind.encoder, text) not in index for text in texts)


def _with_inputs(
    record: Record, plan: Plan, render: frozenset[str], store: Store
) -> dict[Place, Was]:
    """The film's past, with the stored inputs of those shots that are rendered again."""
    shots = {segment.shot for segment in plan.segments if segment.recipe in render}
    past = record.past
    keys = {was.key for place, was in past.items() if place[0] in shots}
    found = store.artifacts(sorted(keys))
    for place, was in past.items():
        if (artifact := found.get(was.key)) is not None:
            past[place] = replace(was, inputs=artifact.inputs, numerics=artifact.numerics)
    return past


def _workers(order: Order) -> int | None:
    """How many workers the order has; None where the cluster decides."""
    if order.cluster.address == IN_PROCESS:
        return 1
    wanted, gpus = order.cluster.workers, order.budget.gpus
    workers = wanted.count or None
    if (
        workers is None
        and order.cluster.address == "local"
        and not (wanted.gpus or order.kind.wants_gpu)
    ):
        workers = max(1, (os.cpu_count() or 1) // wanted.threads)
    if gpus is not None:
        most = max(1, int(gpus / (wanted.gpus or 1.0)))
        workers = most if workers is None else min(workers, most)
    return workers
