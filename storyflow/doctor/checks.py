"""From the facts of a cluster and a pipeline's wishes to findings: pure functions, one per subject.

Each takes `Facts` and `Wishes`; all are in `CHECKS`. Machines are gathered elsewhere, so that every
broken set-up is a value in a test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from storyflow.doctor.facts import Facts, NodeFacts
from storyflow.doctor.findings import Finding, ordered
from storyflow.doctor.hardware import check_cards, check_places, hosts
from storyflow.doctor.stores import check_disks, check_object_store, check_store
from storyflow.doctor.wishes import Wishes

CLOCK_SECONDS = 5.0
"""Clocks that differ by more make logs and run times of several nodes hard to compare."""

CLOCK_REFUSED = 900.0
"""S3 refuses requests whose time is off by more (RequestTimeTooSkewed)."""

Check = Callable[[Facts, Wishes], Iterator[Finding]]


def examine(facts: Facts, wishes: Wishes) -> tuple[Finding, ...]:
    """All findings, errors first."""
    return ordered(finding for check in CHECKS for finding in check(facts, wishes))


def check_silent(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Nodes on which nothing of ours could be run."""
    for node in facts.silent:
        yield Finding(
            "error",
            "node",
            "it could not be examined",
            f"{node.name} ({node.host})",
            node.why,
            "install the same Python, Ray and storyflow there as on the head, and look at Ray's "
            "logs on that node",
        )


def check_versions(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """What must be alike on all machines: Python, Ray, storyflow; and, among renderers, torch."""
    here = facts.here.seen.versions
    for node in facts.nodes:
        found = node.seen.versions
        for name in ("ray", "storyflow"):
            there, expected = getattr(found, name), getattr(here, name)
            if there != expected:
                yield Finding(
                    "error",
                    f"{name}-version",
                    f"its {name.capitalize() if name == 'ray' else name} is not {expected}, "
                    "this machine's",
                    node.name,
                    there or "none",
                    f"install {name}=={expected} there, or the node's version here",
                )
        if found.python != here.python:
            alike = _minor(found.python) == _minor(here.python)
            yield Finding(
                "warning" if alike else "error",
                "python-version",
                f"its Python is not {here.python}, this machine's",
                node.name,
                found.python,
                "use one image, or one Python, on all machines",
            )
    yield from _check_torch(facts, wishes)


def _check_torch(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    if not wishes.needs_torch:
        return
    used: dict[str, list[str]] = defaultdict(list)
    for node in hosts(facts, wishes):
        used[node.seen.versions.torch].append(node.name)
    for name in used.pop("", []):
        cure = "install storyflow with all that it requires there"
        yield Finding("error", "torch", "it has no torch, workers can't render", name, cure=cure)
    if len(used) > 1:
        value = ", ".join(f"{v} on {', '.join(names)}" for v, names in sorted(used.items()))
        yield Finding(
            "warning",
            "torch-version",
            "nodes have different versions of torch: their segments differ in the last bits",
            value=value,
            cure="install one version, or render with --one-class",
        )


def check_clocks(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Clocks against this machine's, as exactly as that is known."""
    for node in facts.nodes:
        off = abs(node.ahead) - node.within
        if off <= CLOCK_SECONDS:
            continue
        yield Finding(
            "error" if off > CLOCK_REFUSED else "warning",
            "clock",
            "its clock differs from this machine's"
            + (": object stores refuse its requests" if off > CLOCK_REFUSED else ""),
            node.name,
            f"{node.ahead:+.1f} s",
            "run a time service (chrony, systemd-timesyncd) on both",
        )


def check_auth(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Whether all agree about tokens, and whether others could reach the cluster without one."""
    modes: dict[str, list[str]] = defaultdict(list)
    for node in facts.all if facts.nodes else ():
        if node.auth != "unknown":
            modes[node.auth].append(node.name)
    if len(modes) > 1:
        yield Finding(
            "error",
            "auth",
            "tokens are asked for on some machines only",
            value=", ".join(f"{mode} on {', '.join(who)}" for mode, who in sorted(modes.items())),
            cure="set RAY_AUTH_MODE=token and the same RAY_AUTH_TOKEN on every machine, before "
            "`ray start`",
        )
    open_to_all = [n for n in facts.nodes if n.auth == "disabled" and not n.loopback]
    if open_to_all:
        yield Finding(
            "warning",
            "auth",
            "no token is asked for: whoever reaches the cluster can run commands on it",
            value=", ".join(node.name for node in open_to_all),
            cure="set RAY_AUTH_MODE=token and a RAY_AUTH_TOKEN on every machine, before `ray "
            "start`; or see to it that only you reach its ports",
        )


def check_models(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    """Whether whoever renders has the models, or can get them."""
    nodes = hosts(facts, wishes)
    for node in nodes:
        for fact in node.seen.models:
            name, use = fact.asked.name, fact.asked.use
            if fact.state == "missing":
                yield Finding(
                    "error",
                    "model",
                    f"the {use} {name} is not there: {fact.why}",
                    node.name,
                    cure="put it at the same path on every machine, or use a hub id",
                )
            elif fact.state == "unreachable":
                yield Finding(
                    "error",
                    "hub",
                    f"the {use} {name} is not there, and the hub can't be asked",
                    node.name,
                    fact.why,
                    f"let the node reach https://huggingface.co, or run `hf download {name}` "
                    "where it keeps its models",
                )
    for asked in dict.fromkeys(m.asked for n in nodes for m in n.seen.models):
        without = [n.name for n in nodes if _state(n, asked) == "hub"]
        if without:
            yield Finding(
                "warning",
                "download",
                f"the {asked.use} {asked.name} is not there yet: the first worker waits until it "
                "is downloaded",
                ", ".join(without),
                cure=f"run `hf download {asked.name}` there beforehand, or share the hub's cache",
            )


def _state(node: NodeFacts, asked: object) -> str:
    return next((fact.state for fact in node.seen.models if fact.asked == asked), "")


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


CHECKS: tuple[Check, ...] = (
    check_silent,
    check_versions,
    check_auth,
    check_clocks,
    check_store,
    check_disks,
    check_object_store,
    check_places,
    check_cards,
    check_models,
)
