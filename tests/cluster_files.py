"""The files in `cluster/`, as tests read them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from storyflow.resources import shipped

CLUSTER = shipped("cluster")

_OPEN: dict[str, Any] = {"type": "object"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_COUNT = {"type": "integer", "minimum": 0}


def _closed(required: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": fields,
        "additionalProperties": False,
    }


# Fields of ray.io/v1 in KubeRay 1.7 that the files use, by its API reference; pod templates are
# Kubernetes' own and are checked as pods. `STORYFLOW_KUBERAY_CRDS` names a folder with the
# published definitions (`helm-chart/kuberay-operator/crds` of KubeRay's repository), which are then
# checked against instead.
_GROUP: dict[str, Any] = {"rayStartParams": _TEXTS, "template": _OPEN}
_RAY_CLUSTER = _closed(
    ("headGroupSpec",),
    rayVersion={"type": "string"},
    authOptions=_closed(
        ("mode",),
        mode={"enum": ["disabled", "token"]},
        secretName={"type": "string"},
        enableK8sTokenAuth={"type": "boolean"},
    ),
    enableInTreeAutoscaling={"type": "boolean"},
    autoscalerOptions=_closed(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=_COUNT,
        securityContext=_OPEN,
        resources=_OPEN,
    ),
    headGroupSpec=_closed(
        ("template",), serviceType={"enum": ["ClusterIP", "NodePort", "LoadBalancer"]}, **_GROUP
    ),
    workerGroupSpecs={
        "type": "array",
        "items": _closed(
            ("groupName", "template"),
            groupName={"type": "string"},
            replicas=_COUNT,
            minReplicas=_COUNT,
            maxReplicas=_COUNT,
            **_GROUP,
        ),
    },
)
_RAY_JOB = _closed(
    entrypoint={"type": "string"},
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    backoffLimit=_COUNT,
    activeDeadlineSeconds=_COUNT,
    shutdownAfterJobFinishes={"type": "boolean"},
    ttlSecondsAfterFinished=_COUNT,
    rayClusterSpec=_RAY_CLUSTER,
)
_SPECS = {
    "RayCluster": _RAY_CLUSTER,
    "RayJob": _RAY_JOB,
    "RayCronJob": _closed(
        ("schedule", "jobTemplate"),
        schedule={"type": "string"},
        timeZone={"type": "string"},
        suspend={"type": "boolean"},
        jobTemplate=_RAY_JOB,
    ),
}
RAY_KINDS = tuple(_SPECS)


def ray_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a KubeRay object; unknown fields are refused."""
    published = os.environ.get("STORYFLOW_KUBERAY_CRDS")
    if published is None:
        return {"type": "object", "properties": {"spec": _SPECS[kind]}, "required": ["spec"]}
    text = (Path(published) / f"ray.io_{kind.lower()}s.yaml").read_text()
    versions = yaml.load(text, yaml.CSafeLoader)["spec"]["versions"]
    found = next(each for each in versions if each["name"] == "v1")["schema"]["openAPIV3Schema"]
    found["properties"]["metadata"] = _OPEN
    return _refusing(found)


def _refusing(schema: Any) -> Any:
    """As the API server prunes: what a schema does not name is not there."""
    if isinstance(schema, list):
        return [_refusing(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    open_ended = (
        "additionalProperties" in schema or "x-kubernetes-preserve-unknown-fields" in schema
    )
    closing = {} if open_ended or "properties" not in schema else {"additionalProperties": False}
    return {key: _refusing(value) for key, value in schema.items()} | closing


def read(name: str) -> Any:
    """The one document of a YAML or JSON file in `cluster/`."""
    text = (CLUSTER / name).read_text()
    return json.loads(text) if name.endswith(".json") else yaml.safe_load(text)


def all_files() -> list[Path]:
    """Every file in `cluster/`."""
    return sorted(path for path in CLUSTER.rglob("*") if path.is_file())


def objects() -> list[tuple[str, dict[str, Any]]]:
    """Every Kubernetes object with its file's name, but for kustomize's own."""
    return [
        (path.name, each)
        for path in sorted((CLUSTER / "kubernetes").glob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text())
        if "kind" in each and each["kind"] != "Kustomization"
    ]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template with its file's name, however deep it stands."""
    for name, found in objects():
        for template in _templates(found.get("spec", {})):
            yield name, template


def ray_clusters() -> dict[str, dict[str, Any]]:
    """What every KubeRay kind makes, by kind."""
    found = {each["kind"]: each["spec"] for _, each in objects() if each["kind"] in RAY_KINDS}
    return {
        "RayCluster": found["RayCluster"],
        "RayJob": found["RayJob"]["rayClusterSpec"],
        "RayCronJob": found["RayCronJob"]["jobTemplate"]["rayClusterSpec"],
    }


def _templates(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for each in value:
            yield from _templates(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "template" and "containers" in each.get("spec", {}):
                yield each
            else:
                yield from _templates(each)
