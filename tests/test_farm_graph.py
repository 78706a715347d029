from __future__ import annotations

import pytest

from storyflow.farm.graph import Task, TaskGraph


def ranks(*tasks: Task) -> dict[str, float]:
    return {node.task.id: node.rank for node in TaskGraph().add(tasks)}


def test_a_rank_is_the_weight_of_the_heaviest_chain_behind() -> None:
    found = ranks(
        Task("a", (), 1), Task("b", ("a",), 2), Task("c", ("a",), 5), Task("d", ("b", "c"), 1)
    )
    assert found == {"a": 7, "b": 3, "c": 6, "d": 1}


def test_tasks_may_come_in_any_order() -> None:
    assert ranks(Task("b", ("a",)), Task("a")) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ((Task("a"), Task("a")), "there already"),
        ((Task("a", ("b",)),), "unknown 'b'"),
        ((Task("a", ("b",)), Task("b", ("a",))), "circle: a, b"),
        ((Task("a", ("a",)),), "circle"),
    ],
)
def test_wrong_graphs_are_refused(tasks: tuple[Task, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TaskGraph().add(tasks)


def test_what_is_added_to_a_failed_task_has_failed() -> None:
    graph = TaskGraph()
    (a,) = graph.add([Task("a")])
    a.state = "failed"
    assert [node.state for node in graph.add([Task("c", ("b",)), Task("b", ("a",))])] == [
        "failed"
    ] * 2


def test_a_need_that_is_done_is_not_missing() -> None:
    graph = TaskGraph()
    (a,) = graph.add([Task("a")])
    a.state = "done"
    (b,) = graph.add([Task("b", ("a",))])
    assert b.missing == 0
