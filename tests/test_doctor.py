"""Broken clusters as values: each fault is found, named, placed, and has a cure."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from storyflow.cli import app
from storyflow.cluster import Cluster, WorkersSection
from storyflow.doctor import cards, examine_cluster, models
from storyflow.doctor.beforehand import examine_before, refusal
from storyflow.doctor.checks import examine
from storyflow.doctor.facts import (
    Card,
    Disk,
    Facts,
    ModelAsked,
    ModelFact,
    NodeFacts,
    Question,
    Seen,
    Silent,
    StoreFact,
    Versions,
)
from storyflow.doctor.findings import Diagnosis, Finding
from storyflow.doctor.probe import look, look_at_disk
from storyflow.doctor.refused import refused
from storyflow.doctor.wishes import Wishes, wishes_of
from storyflow.errors import FarmError, InputError
from storyflow.farm.capacity import Machine
from storyflow.kinds import kind_of
from storyflow.pipeline import load_profile
from storyflow.store.nonce import Nonce
from storyflow.store.place import CacheLimit
from storyflow.store.store import Store

GB, GIB, MIB = 10**9, 1 << 30, 1 << 20
H100 = Card("NVIDIA H100 80GB HBM3", 81559 * MIB, 81079 * MIB)
BIG = "skyreels-v2-df-14b-540p"
MODEL = ModelAsked("/models/skyreels", "renderer")
ALIKE = Versions("3.11.9", "2.60.0", "0.1.0", "2.13.0")


def seen(**changes: Any) -> Seen:
    whole = Seen(
        host="gpu",
        versions=ALIKE,
        cards=(H100,),
        disks=(Disk("store", "/mnt/store", 900 * GB, 1000 * GB),),
        store=StoreFact("ok", seconds=0.02),
        models=(ModelFact(MODEL, "here"),),
        shared_memory=8 * GIB,
    )
    return replace(whole, **changes)


def node(name: str, **changes: Any) -> NodeFacts:
    there = {key: changes.pop(key) for key in tuple(changes) if key in Seen.__dataclass_fields__}
    whole = NodeFacts(
        name=name,
        seen=seen(**there),
        machine=Machine(16, 1, frozenset({"H100"})),
        object_store=4 * GIB,
        auth="token",
        within=0.001,
        loopback=False,
    )
    return replace(whole, **changes)


def facts(**second: Any) -> Facts:
    """Two nodes with a GPU each; what is said changes gpu-2."""
    here = NodeFacts("this machine", seen(models=(), cards=None), auth="token")
    return Facts(here, (node("gpu-1"), node("gpu-2", **second)))


@pytest.fixture(scope="module")
def wishes() -> Wishes:
    _, profile = load_profile(BIG)
    return wishes_of(profile, kind_of(profile), Cluster())


def test_a_whole_cluster_has_no_findings(wishes: Wishes) -> None:
    assert examine(facts(), wishes) == ()


DISK = Disk("store", "/mnt/store", 900 * GB, 1000 * GB)

BROKEN: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "another Ray": (
        {"versions": replace(ALIKE, ray="2.59.1")}, "error", "ray-version", "2.59.1"),
    "another storyflow": (
        {"versions": replace(ALIKE, storyflow="")}, "error", "storyflow-version", "none"),
    "another Python": (
        {"versions": replace(ALIKE, python="3.12.1")}, "error", "python-version", "3.12.1"),
    "another patch of Python": (
        {"versions": replace(ALIKE, python="3.11.2")}, "warning", "python-version", "3.11.2"),
    "another torch": (
        {"versions": replace(ALIKE, torch="2.12.0")}, "warning", "torch-version", "on gpu-2"),
    "no torch": ({"versions": replace(ALIKE, torch="")}, "error", "torch", "no torch"),
    "store read-only": (
        {"store": StoreFact("unwritable", "can't write to /mnt/store", "name a folder")},
        "error", "store-unwritable", "can't write to /mnt/store"),
    "store of another disk": (
        {"store": StoreFact("other", "not here", "name a URL")}, "error", "store-other", "another"),
    "store out of reach": (
        {"store": StoreFact("unreachable", "no route", "")}, "error", "store", "no route"),
    "store slow": ({"store": StoreFact("ok", seconds=9)}, "warning", "store-slow", "9.0 s"),
    "full disk": ({"disks": (replace(DISK, free=GB // 2),)}, "error", "disk", "0.5 GB free"),
    "little room": ({"disks": (replace(DISK, free=9 * GB),)}, "warning", "disk", "9.0 GB free"),
    "no writing to temporary files": (
        {"disks": (Disk("temporary files", "/tmp", GB, GB, "the file system is read-only"),)},
        "error", "disk", "read-only"),
    "small cache disk": (
        {"disks": (Disk("cache", "/c", 30 * GB, 40 * GB),)}, "warning", "cache", "50.0 GB"),
    "small card": (
        {"cards": (Card("RTX 3060", 12 * GIB, 12 * GIB),)}, "error", "gpu-memory", "12.0 GiB"),
    "card in use": (
        {"cards": (replace(H100, free=5 * GIB),)}, "warning", "gpu-in-use", "5.0 of 79.6 GiB"),
    "no driver": ({"cards": None}, "warning", "gpus", "nvidia-smi"),
    "fewer cards than Ray counts": ({"cards": ()}, "error", "gpus", "driver shows fewer: 0"),
    "missing model folder": (
        {"models": (ModelFact(MODEL, "missing", "there is no /models/skyreels"),)},
        "error", "model", "there is no /models/skyreels"),
    "hub unreachable": (
        {"models": (ModelFact(MODEL, "unreachable", "no route to host"),)},
        "error", "hub", "no route to host"),
    "model to be downloaded": (
        {"models": (ModelFact(MODEL, "hub"),)}, "warning", "download", "not there yet"),
    "clock ahead": ({"ahead": 42.0}, "warning", "clock", "+42.0 s"),
    "clock far behind": ({"ahead": -3600.0}, "error", "clock", "object stores refuse"),
    "auth mismatch": ({"auth": "disabled"}, "error", "auth", "disabled on gpu-2"),
    "tiny object store": ({"object_store": 80 * MIB}, "warning", "object-store", "80 MiB"),
    "tiny shared memory": ({"shared_memory": 64 * MIB}, "warning", "shared-memory", "64 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_fault_of_one_node_is_found_and_placed_there(case: str, wishes: Wishes) -> None:
    change, level, code, told = BROKEN[case]
    found = examine(facts(**change), wishes)
    finding = next(each for each in found if each.code == code and each.level == level)
    assert told in f"{finding.what}: {finding.value}", finding
    assert "gpu-2" in f"{finding.where} {finding.value}" and "gpu-1" not in finding.where
    assert finding.cure or case == "store out of reach"
    assert all(each.level == "warning" for each in found) or level == "error"


def test_errors_come_first(wishes: Wishes) -> None:
    found = examine(facts(ahead=60.0, store=StoreFact("other", "", "")), wishes)
    assert [each.level for each in found] == ["error", "warning"]


TEN = {
    "wrong Ray version on a node": "another Ray",
    "another Python on a node": "another Python",
    "another storyflow on a node": "another storyflow",
    "store not writable from one node": "store read-only",
    "store that is another disk on one node": "store of another disk",
    "too little GPU memory for the profile": "small card",
    "missing model folder": "missing model folder",
    "full disk": "full disk",
    "auth mismatch": "auth mismatch",
    "clock that object stores refuse": "clock far behind",
}


@pytest.mark.parametrize("case", TEN.values(), ids=TEN)
def test_ten_broken_set_ups_each_refuse_a_render_in_one_line_with_its_cure(
    case: str, wishes: Wishes
) -> None:
    change, _, code, _ = BROKEN[case]
    found = examine(facts(**change), wishes)
    error = refusal(Diagnosis("auto", BIG, "/mnt/store", (), found))
    assert error is not None and error.exit_code == 5
    (named,) = (each for each in found if each.level == "error")
    assert named.code == code
    assert error.cure == named.cure != "" and "\n" not in str(error) and "gpu-2" in str(error)


def test_a_refusal_tells_how_many_more_there_are(wishes: Wishes) -> None:
    found = examine(facts(ahead=-3600.0, store=StoreFact("other", "here", "name it")), wishes)
    error = refusal(Diagnosis("auto", BIG, "/mnt/store", (), found))
    assert error is not None and "and 1 more; `storyflow cluster doctor` shows all" in error.what
    assert refusal(Diagnosis("auto", BIG, "/mnt/store", (), ())) is None


def test_what_is_known_of_models_is_told_to_the_profile_that_asks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One visit for all: a missing model refuses its profile alone."""
    missing = ModelFact(ModelAsked("a/lora", "lora", None), "missing", "not on the hub")
    visits: list[Question] = []

    def visit(cluster: Cluster, question: Question, here: NodeFacts) -> tuple[Facts, tuple[()]]:
        visits.append(question)
        whole = facts(models=(missing,), machine=Machine(4))
        return replace(whole, nodes=whole.nodes[1:]), ()

    monkeypatch.setattr("storyflow.doctor.visit._ask_cluster", visit)
    plain = load_profile("toybox")[1]
    lora = load_profile("toybox", ["model.loras=[{id: a/lora}]"])[1]
    cluster, store = Cluster(address="auto"), str(tmp_path / "store")
    sound, broken = examine_before(cluster, store, [plain, lora])
    assert "model" not in {each.code for each in sound.findings}
    assert "not on the hub" in str(next(e for e in broken.errors if e.code == "model"))
    (question,) = visits
    assert question.models == (missing.asked,)
    assert examine_before(Cluster(), store, [plain, lora]) == ()


def test_a_card_that_is_too_small_is_told_what_helps() -> None:
    _, profile = load_profile(BIG)
    wishes = wishes_of(profile, kind_of(profile), Cluster())
    (found,) = examine(facts(cards=(Card("RTX 4090", 24 * GIB, 24 * GIB),)), wishes)
    assert found.code == "gpu-memory" and "it fits with --set" in found.cure


def test_a_part_of_a_card_is_measured_as_that(wishes: Wishes) -> None:
    quarters = replace(wishes, workers=WorkersSection(gpus=0.25))
    found = examine(facts(), quarters)
    assert {each.code for each in found} == {"gpu-memory"} and len(found) == 2
    assert "a worker gets 0.25" in found[0].what


@pytest.mark.parametrize(
    ("workers", "level", "told"),
    [
        ({"accelerator": "H200"}, "error", "a worker"),
        ({"gpus": 8}, "error", "8 GPUs"),
        ({"count": 3}, "warning", "there is room for 2"),
    ],
)
def test_a_cluster_without_room_is_told(
    workers: dict[str, Any], level: str, told: str, wishes: Wishes
) -> None:
    found = examine(facts(), replace(wishes, workers=WorkersSection(**workers)))
    (finding,) = (each for each in found if each.code == "workers")
    assert finding.level == level and told in finding.what and "2 machines" in finding.value


def test_machines_that_are_still_to_be_started_are_no_error(wishes: Wishes) -> None:
    head = node("head", machine=Machine(8), cards=None, models=())
    workers = WorkersSection(count=8, gpus=1, autoscale=True)
    (found,) = examine(replace(facts(), nodes=(head,)), replace(wishes, workers=workers))
    assert (found.level, found.code) == ("information", "workers")
    assert "8 workers are asked for, there is room for 0 now" in found.what
    diagnosis = Diagnosis("auto", "p", "s", (), (found,))
    assert not diagnosis.errors and not diagnosis.warnings and diagnosis.exit_code == 0


def test_a_head_that_gets_no_workers_needs_no_model(wishes: Wishes) -> None:
    head = node(
        "head", machine=Machine(8), cards=None, models=(ModelFact(MODEL, "missing", "none"),)
    )
    whole = facts()
    assert examine(replace(whole, nodes=(head, *whole.nodes)), wishes) == ()


def test_a_cluster_of_cpus_is_said_to_be_slow_for_a_large_model(wishes: Wishes) -> None:
    nodes = (node("cpu-1", machine=Machine(64), cards=None),)
    (found,) = examine(replace(facts(), nodes=nodes), wishes)
    assert (found.code, found.level) == ("gpus", "warning")


def test_a_cluster_without_tokens_is_told_where_others_reach_it(wishes: Wishes) -> None:
    whole = facts()
    open_nodes = tuple(replace(each, auth="disabled") for each in whole.nodes)
    here = replace(whole.here, auth="disabled")
    (found,) = examine(Facts(here, open_nodes), wishes)
    assert found.level == "warning" and "whoever reaches" in found.what
    closed = tuple(replace(each, loopback=True) for each in open_nodes)
    assert examine(Facts(here, closed), wishes) == ()


def test_a_node_that_says_nothing_is_an_error(wishes: Wishes) -> None:
    silent = (Silent("ab12", "gpu-9", "No module named 'storyflow'"),)
    (found,) = examine(replace(facts(), silent=silent), wishes)
    assert found.where == "ab12 (gpu-9)" and "No module" in found.value


MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.59.1
    Python: 3.11.9
This process on node 10.0.0.2 was started with:
    Ray: 2.60.0
    Python: 3.11.9
"""


@pytest.mark.parametrize(
    ("cause", "code", "told"),
    [
        (RuntimeError(MISMATCH), "ray-version", "Ray 2.59.1 and Python 3.11.9 there"),
        (RuntimeError(MISMATCH.replace("2.59.1", "2.60.0").replace("3.11.9", "3.12.1", 1)),
         "python-version", "Python 3.12.1 there"),
        (type("AuthenticationError", (Exception,), {})("Invalid token"), "auth", "Invalid token"),
        (ConnectionError("no route"), "address", "can't reach"),
    ],
)  # fmt: skip
def test_a_cluster_that_lets_nobody_in_is_told_why(cause: Exception, code: str, told: str) -> None:
    error = FarmError("can't reach Ray at 'h:1'", cure="check it")
    error.__cause__ = cause
    found = refused("h:1", error)
    assert found.code == code and told in f"{found.what} {found.value}" and found.cure


# What a machine finds out about itself.


def test_a_machine_looks_at_its_store(tmp_path: Path) -> None:
    nonce = Nonce("tmp/nonce-1/nonce", "text")
    nonce.leave(Store(tmp_path / "store"))
    found = look(Question(str(tmp_path / "store"), CacheLimit(), nonce))
    assert found.store.state == "ok" and found.versions.storyflow
    assert {disk.use for disk in found.disks} == {"temporary files", "store"}
    assert all(disk.total >= disk.free > 0 and not disk.fault for disk in found.disks)


def test_a_store_that_is_another_or_none_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storyflow.store.nonce.WAITS", ())
    nonce = Nonce("tmp/nonce-1/nonce", "text")
    other = look(Question(str(tmp_path / "elsewhere"), CacheLimit(), nonce)).store
    assert other.state == "other" and "another store" in other.why
    (tmp_path / "file").write_text("")
    none = look(Question(str(tmp_path / "file"), CacheLimit())).store
    assert none.state == "unreachable" and none.cure == "name a folder"
    under = look(Question(str(tmp_path / "file" / "store"), CacheLimit())).store
    assert under.state == "unwritable" and under.why


def test_a_disk_that_takes_nothing_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = look_at_disk("cache", tmp_path / "file" / "cache")
    assert found.fault and found.total > 0


def test_cards_are_read_as_the_driver_lists_them(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "NVIDIA H100 80GB HBM3, 81559, 81079\nGRID A100, 4C, [N/A], [N/A]\n"
    assert cards.read_cards(text) == (H100, Card("GRID A100, 4C", 0, 0))
    monkeypatch.setattr(subprocess, "run", _absent)
    assert cards.cards_here() is None


def _absent(*_: object, **__: object) -> None:
    raise FileNotFoundError("nvidia-smi")


def test_models_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(models, "_kept", lambda asked: None)
    (tmp_path / "empty").mkdir()
    (tmp_path / "lora.safetensors").write_bytes(b"")
    expected = {
        str(tmp_path / "none"): "missing",
        str(tmp_path / "empty"): "missing",
        str(tmp_path / "lora.safetensors"): "here",
        "no such name": "missing",
        "owner/name": "unreachable",
    }
    for name, state in expected.items():
        assert models.look_for(ModelAsked(name, "lora"))[0] == state, name
    state, why = models.look_for(ModelAsked(str(tmp_path / "empty"), "renderer"))
    assert state == "missing" and "model_index.json" in why


# The verb.


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["cluster", "doctor", *map(str, arguments)])


def test_this_machine_is_examined_without_ray(tmp_path: Path) -> None:
    done = call("--store", tmp_path / "store", "--json")
    data = json.loads(done.stdout)
    assert done.exit_code == data["exit_code"] == 0, done.output
    assert data["pipeline"] == "toybox" and len(data["nodes"]) == 1
    assert not [each for each in data["findings"] if each["level"] == "error"]
    shown = call("--store", tmp_path / "store")
    assert shown.exit_code == 0 and "pipeline toybox" in shown.output
    assert not list((tmp_path / "store" / "tmp").iterdir())


def test_a_broken_machine_ends_with_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = call("--store", tmp_path / "file")
    assert done.exit_code == 5 and "name a folder" in done.output


def test_a_model_that_is_not_here_is_a_finding(tmp_path: Path) -> None:
    found = examine_cluster(
        pipeline=BIG, settings=[f"model.id={tmp_path / 'none'}"], store=tmp_path / "store"
    )
    assert found.exit_code == 5
    assert [each.where for each in found.errors if each.code == "model"]


def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(InputError, match="address"):
        examine_cluster("nowhere at all")


def test_findings_read_as_one_line() -> None:
    finding = Finding("error", "disk", "no room", "gpu-7", "0 B", "free some")
    assert str(finding) == "error: gpu-7: no room, got 0 B; free some"
