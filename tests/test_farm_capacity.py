from __future__ import annotations

import pytest

from storyflow.cluster import WorkersSection
from storyflow.farm.capacity import (
    Machine,
    Need,
    capacity,
    describe,
    in_words,
    needs_of,
    offers,
    places,
)

H100 = Machine(64, 8, frozenset({"H100"}))
LAPTOP = Machine(2)


@pytest.mark.parametrize(
    ("machines", "need", "workers"),
    [
        ([LAPTOP], Need(1), 2),
        ([LAPTOP], Need(3), 0),
        ([LAPTOP, LAPTOP], Need(2), 2),
        ([LAPTOP], Need(1, 1), 0),
        ([H100], Need(1, 1), 8),
        ([H100], Need(16, 1), 4),
        ([H100], Need(1, 3), 2),
        ([H100], Need(1, 0.5), 16),
        ([H100], Need(1, 0.4), 16),
        ([H100, H100], Need(8, 1, "H100"), 16),
        ([H100], Need(1, 1, "A100"), 0),
        ([], Need(1), 0),
    ],
)
def test_workers_fit_machine_by_machine(machines: list[Machine], need: Need, workers: int) -> None:
    assert capacity(machines, need) == workers


def test_needs_and_machines_are_told_in_words() -> None:
    assert str(Need(4, 1, "H100")) == "4 CPUs and 1 GPU of type H100"
    assert str(Need(1, 0.5)) == "1 CPU and 0.5 GPUs"
    assert describe([H100, H100, LAPTOP]) == (
        "2 machines with 64 CPUs and 8 GPUs (H100), 1 machine with 2 CPUs"
    )
    assert describe([]) == "no machine"


@pytest.mark.parametrize(
    ("gpus", "machine", "wants_gpu", "held"),
    [
        (None, LAPTOP, True, 0),
        (None, H100, True, 1),
        (None, H100, False, 0),
        (0, H100, True, 0),
        (2, LAPTOP, False, 2),
    ],
)
def test_a_silent_operator_gets_a_gpu_where_it_helps(
    gpus: float | None, machine: Machine, wants_gpu: bool, held: float
) -> None:
    workers = WorkersSection(gpus=gpus, threads=3)
    assert needs_of(workers, [machine], wants_gpu=wants_gpu) == (Need(3, held),)


A100 = Machine(32, 4, frozenset({"A100"}))


@pytest.mark.parametrize(
    ("machines", "wanted", "types"),
    [
        ([A100, H100], None, ["H100"] * 8 + ["A100"] * 4),
        ([A100, H100], 10, ["H100"] * 8 + ["A100"] * 2),
        ([A100], 3, ["A100"] * 3),
        ([LAPTOP], 3, []),
    ],
)
def test_of_several_types_the_first_that_has_room_is_taken(
    machines: list[Machine], wanted: int | None, types: list[str]
) -> None:
    workers = WorkersSection(gpus=1, accelerator=["H100", "A100"])
    needs = needs_of(workers, machines, wants_gpu=True)
    assert [need.accelerator for need in places(machines, needs, wanted)] == types
    assert in_words(needs) == "1 CPU and 1 GPU of type H100, or 1 CPU and 1 GPU of type A100"


@pytest.mark.parametrize(
    ("machines", "autoscale", "types"),
    [
        ([LAPTOP], False, []),
        ([LAPTOP], True, ["H100"] * 6),
        ([], True, ["H100"] * 6),
        ([A100], True, ["A100"] * 4 + ["H100"] * 2),
        ([H100], True, ["H100"] * 8),
    ],
)
def test_machines_that_come_when_asked_for_are_counted_on(
    machines: list[Machine], autoscale: bool, types: list[str]
) -> None:
    workers = WorkersSection(gpus=1, count=6, accelerator=["H100", "A100"], autoscale=autoscale)
    needs = needs_of(workers, machines, wants_gpu=True)
    assert [need.accelerator for need in offers(machines, needs, workers)] == types


@pytest.mark.parametrize("said", [{}, {"count": 2}, {"gpus": 1}])
def test_a_cluster_that_grows_is_told_what_to_ask_for(said: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="write count"):
        WorkersSection.model_validate({"autoscale": True, **said})
