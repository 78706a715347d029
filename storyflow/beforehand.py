"""What a render would do, cost and why, asked of the store before anything is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from storyflow.farm.address import IN_PROCESS
from storyflow.farm.timings import read_timings
from storyflow.film import Order, Production, wanted
from storyflow.planning.diff import Diff, Place, Was, diff_plan
from storyflow.planning.estimate import predict
from storyflow.planning.finish import Estimate, Timings, estimate
from storyflow.planning.keys import prompt_key
from storyflow.planning.nodes import Segment
from storyflow.record import Record, read_record
from storyflow.store.folder import Store

Index = Mapping[str, Sequence[str]]
"""`Store.recipes()`: the keys of every recipe in the store."""


def timings_of(order: Order, made: Production, store: Store, index: Index) -> Timings:
    """How long the film's segments take, as far as the store knows. Raises StoreError."""
    threads = order.cluster.workers.threads
    return read_timings(store, index, made.plan.segments, made.kind, threads=threads)


def estimate_of(order: Order, made: Production, store: Store, index: Index) -> Estimate:
    """What the order would cost from here on. Raises StoreError."""
    plan = made.plan
    only = wanted(plan, order)
    segments = plan.segments if only is None else plan.with_history(only)
    render = predict(plan, index).render
    return estimate(
        [segment for segment in segments if segment.recipe in render],
        _texts_to_encode(made, segments, index),
        timings_of(order, made, store, index),
        workers=_workers(order),
        gpus=order.cluster.workers.gpus or 1.0,
        price=order.cluster.price,
        currency=order.cluster.currency,
    )


def diff_of(order: Order, made: Production, store: Store, index: Index) -> Diff:
    """What the order would reuse and render, and why. Raises StoreError."""
    record = read_record(order.folder)
    render = predict(made.plan, index).render
    past = {} if record is None else _with_inputs(record, made, render, store)
    return diff_plan(made.plan, render, index, past, record.when if record is not None else "")


def _texts_to_encode(made: Production, segments: Sequence[Segment], index: Index) -> int:
    if not made.kind.embeds_prompts:
        return 0
    inputs = [segment.inputs for segment in segments if segment.key is None]
    texts = {text for i in inputs for text in (i.prompt, i.negative)}
    return sum(prompt_key(made.kind.encoder, text) not in index for text in texts)


def _with_inputs(
    record: Record, made: Production, render: frozenset[str], store: Store
) -> dict[Place, Was]:
    """The film's past, with the stored inputs of those shots that are rendered again."""
    shots = {segment.shot for segment in made.plan.segments if segment.recipe in render}
    past = dict(record.past)
    for place, was in past.items():
        if place[0] in shots and (artifact := store.find(was.key)) is not None:
            past[place] = replace(was, inputs=artifact.inputs)
    return past


def _workers(order: Order) -> int | None:
    """How many workers the order has; None where the cluster decides."""
    if order.cluster.address == IN_PROCESS:
        return 1
    workers, gpus = order.cluster.workers.count or None, order.budget.gpus
    if gpus is not None:
        most = max(1, int(gpus / (order.cluster.workers.gpus or 1.0)))
        workers = most if workers is None else min(workers, most)
    return workers
