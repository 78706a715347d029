"""The files for operators in `cluster/`: they load, validate, and keep to what they promise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import promql_parser
import pytest
from cluster_files import (
    CLUSTER,
    RAY_KINDS,
    all_files,
    objects,
    pods,
    ray_clusters,
    ray_schema,
    read,
)
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from storyflow.cluster import load_cluster
from storyflow.metrics.figures import NOTHING
from storyflow.metrics.prometheus import Board
from storyflow.settings import names

KUBERNETES = "1.33"
FARMS = sorted(path.relative_to(CLUSTER).as_posix() for path in CLUSTER.rglob("farm.yaml"))
TEXT = {path.relative_to(CLUSTER).as_posix(): path.read_text() for path in all_files()}
YAML = {name: text for name, text in TEXT.items() if name.endswith(".yaml")}
METRICS = {
    "storyflow_segments",
    "storyflow_segment_seconds",
    "storyflow_queue_depth",
    "storyflow_idle_gpus",
    "storyflow_store_bytes",
}


def tool(name: str) -> str:
    """A program that a Python package brought, or the machine has."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found is not None, f"{name} comes with the extra `test`"
    return found


def test_only_storyflows_own_cluster_files_have_shipped_names() -> None:
    assert names("cluster") == ["local"]


@pytest.mark.parametrize("name", FARMS)
def test_each_farm_is_a_cluster_file(name: str) -> None:
    assert load_cluster(CLUSTER / name).address == "auto"


# The launcher


@pytest.fixture(scope="module")
def launched() -> dict[str, Any]:
    """The launcher's file as `ray up` completes it."""
    from ray.autoscaler._private.util import prepare_config

    completed: dict[str, Any] = prepare_config(read("launcher/aws.yaml"))
    return completed


def test_the_launchers_file_passes_rays_own_checks(launched: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(launched)


def test_the_launcher_installs_nothing_but_the_images(launched: dict[str, Any]) -> None:
    assert not [key for key in launched if key.endswith("setup_commands") and launched[key]]


def test_launched_gpu_machines_come_from_none_on_spot_and_outlast_a_models_load(
    launched: dict[str, Any],
) -> None:
    head, gpu = (launched["available_node_types"][name] for name in ("head", "gpu"))
    assert "GPU" not in head["resources"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert launched["idle_timeout_minutes"] >= 15


def test_launched_machines_share_a_token_and_have_no_public_address(
    launched: dict[str, Any],
) -> None:
    assert "--env RAY_AUTH_MODE=token" in launched["docker"]["run_options"]
    assert launched["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert launched["provider"]["use_internal_ips"] is True
    assert "--dashboard-host=127.0.0.1" in launched["head_start_ray_commands"][-1]


def test_the_launchers_farm_asks_for_what_its_machines_have(launched: dict[str, Any]) -> None:
    workers = load_cluster(CLUSTER / "launcher/farm.yaml").workers
    gpu = launched["available_node_types"]["gpu"]
    assert workers.autoscale
    assert f"accelerator_type:{workers.accelerator}" in gpu["resources"]
    assert workers.threads <= gpu["resources"]["CPU"]
    assert workers.count <= gpu["max_workers"] * gpu["resources"]["GPU"]


# Kubernetes


@pytest.mark.parametrize(
    ("name", "found"), objects(), ids=[f"{name}:{found['kind']}" for name, found in objects()]
)
def test_each_object_is_what_kubernetes_and_kuberay_accept(
    name: str, found: dict[str, Any]
) -> None:
    if found["kind"] in RAY_KINDS:
        assert found["apiVersion"] == "ray.io/v1"
        jsonschema.validate(found, ray_schema(found["kind"]))
    else:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)
    assert found["metadata"].get("namespace", found["metadata"]["name"]) == "storyflow"


@pytest.mark.parametrize(("name", "template"), list(pods()))
def test_each_pod_is_a_pod_that_a_restricted_namespace_admits(
    name: str, template: dict[str, Any]
) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in spec["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= {
            volume["name"] for volume in spec["volumes"]
        }
    assert template["metadata"]["labels"] == {"app.kubernetes.io/part-of": "storyflow"}


def test_every_kind_of_ray_cluster_on_kubernetes_is_the_same() -> None:
    clusters = ray_clusters()
    assert clusters["RayCluster"] == clusters["RayJob"] == clusters["RayCronJob"]


def test_a_ray_cluster_on_kubernetes_asks_for_a_token_and_has_gpus_from_none() -> None:
    cluster = ray_clusters()["RayCluster"]
    (gpu,) = cluster["workerGroupSpecs"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert "nvidia.com/gpu" not in str(cluster["headGroupSpec"])
    assert (gpu["minReplicas"], gpu["replicas"]) == (0, 0)
    assert cluster["autoscalerOptions"]["idleTimeoutSeconds"] >= 900
    workers = load_cluster(CLUSTER / "kubernetes/farm.yaml").workers
    assert workers.autoscale and workers.count <= gpu["maxReplicas"]


def test_the_nightly_job_has_the_token_that_the_operator_makes_for_the_cluster() -> None:
    (cron,) = (found for _, found in objects() if found["kind"] == "CronJob")
    (cluster,) = (found for _, found in objects() if found["kind"] == "RayCluster")
    pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    variables = {each["name"]: each for each in pod["containers"][0]["env"]}
    assert variables["RAY_AUTH_MODE"]["value"] == "token"
    assert variables["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"] == {
        "name": cluster["metadata"]["name"],
        "key": "auth_token",
    }
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"


def test_kustomize_names_files_that_exist() -> None:
    stated = read("kubernetes/kustomization.yaml")
    (farm,) = stated["configMapGenerator"]
    for name in (*stated["resources"], *farm["files"]):
        assert (CLUSTER / "kubernetes" / name).is_file()
    mounted = {
        volume["configMap"]["name"]
        for _, template in pods()
        for volume in template["spec"]["volumes"]
        if "configMap" in volume
    }
    assert mounted == {farm["name"]}


# All


@pytest.mark.parametrize("name", [name for name in TEXT if not name.endswith(".md")])
def test_nothing_listens_on_a_public_address(name: str) -> None:
    public = r"0\.0\.0\.0|\[::\]|LoadBalancer|NodePort|hostPort|hostNetwork|kind: Ingress"
    assert not re.findall(public, TEXT[name])


@pytest.mark.parametrize("name", TEXT)
def test_no_token_or_password_stands_in_a_file(name: str) -> None:
    secret = (
        r"(?i)(token|password|secret_?key)['\"]?\s*[:=]\s*['\"]?[0-9a-f]{16,}|hf_[A-Za-z0-9]{20}"
    )
    assert not re.findall(secret, TEXT[name])


def test_images_and_ray_have_the_version_of_this_storyflow() -> None:
    images = {tag for text in TEXT.values() for tag in re.findall(r"/storyflow:(\S+)-[cg]pu", text)}
    assert images == {version("storyflow")}
    assert {each["rayVersion"] for each in ray_clusters().values()} == {pins()["ray"]}


def test_every_word_to_fill_in_is_explained() -> None:
    readme = TEXT["README.md"]
    explained = {
        word
        for line in re.findall(r"^\|([^|]+)\| [a-z]", readme.split("## ")[0], re.MULTILINE)
        for word in re.findall(r"`([A-Z_]+)`", line)
    }
    values = " ".join(re.sub(r"(?m)(^|\s)#.*$", "", text) for text in YAML.values())
    shapes = (
        r"REGISTRY|BUCKET|MODEL\b|FILM\b|SERIES\b|SHARED\b|[A-Z]+(?:_[A-Z]+)*_(?:ID|ARN|CLASS)\b"
    )
    used = set(re.findall(rf"(?<![A-Z_])(?:{shapes})(?![A-Z_])", values))
    assert used == explained


def test_the_readme_names_every_file() -> None:
    readme = TEXT["README.md"]
    for name in TEXT.keys() - {"README.md"}:
        folder, _, file = name.rpartition("/")
        assert file in readme or f"`{folder}/`" in readme
    for named in re.findall(r"cluster/[\w./-]+[\w]", readme):
        assert (CLUSTER.parent / named).exists()


# Images


def pins() -> dict[str, str]:
    lines = [line for line in TEXT["docker/constraints.txt"].splitlines() if line[:1] != "#"]
    return {
        canonicalize_name(name): pin for name, _, pin in (line.partition("==") for line in lines)
    }


def test_the_images_packages_are_pinned_within_what_storyflow_asks_for() -> None:
    project = tomllib.loads((CLUSTER.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *extras["s3"], *extras["vllm"]):
        asked = Requirement(text)
        assert pins()[canonicalize_name(asked.name)] in asked.specifier, text


def test_the_dockerfile_passes_hadolint() -> None:
    found = subprocess.run(
        [tool("hadolint"), CLUSTER / "docker/Dockerfile"], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_images_run_as_a_user_with_a_token_and_without_weights() -> None:
    text = TEXT["docker/Dockerfile"]
    base, *images = re.split(r"(?m)^FROM base AS .*$", text)
    assert "RAY_AUTH_MODE=token" in base and 'VOLUME ["/models", "/scratch"]' in base
    assert len(images) == 2
    for image in images:
        assert re.findall(r"(?m)^USER (.+)$", image) == ["1000:1000"]
        assert not re.search(r"(?m)^(ADD|COPY) |\bhf download|from_pretrained", image)
    assert f"torch=={pins()['torch']}+cpu" in images[0]


# Scripts


SCRIPTS = sorted(CLUSTER.rglob("*.sbatch"))


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
def test_scripts_pass_shellcheck(script: Path) -> None:
    found = subprocess.run([tool("shellcheck"), script], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


# Metrics


def metrics_of(query: str) -> set[str]:
    """The metrics that a query reads, a histogram's parts under its own name."""
    promql_parser.parse(query)
    return {
        re.sub(r"_(sum|count|bucket)$", "", found)
        for found in re.findall(r"\b(storyflow_\w+)", query)
    }


def test_the_dashboard_asks_for_storyflows_metrics_and_no_others() -> None:
    dashboard = read("monitoring/grafana-dashboard.json")
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    asked: set[str] = set()
    for panel in panels:
        assert panel["description"]
        for target in panel["targets"]:
            asked |= metrics_of(target["expr"])
            assert target["datasource"]["uid"] == "${datasource}"
    assert asked == METRICS
    assert set(re.findall(r"^\| `(storyflow_\w+)", TEXT["README.md"], re.MULTILINE)) == METRICS


def test_no_two_panels_of_the_dashboard_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read("monitoring/grafana-dashboard.json")["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells


SCRAPED = {job["job_name"]: job for job in read("monitoring/prometheus.yaml")["scrape_configs"]}


def test_prometheus_asks_a_run_on_a_ray_of_its_own_where_the_cluster_file_says(
    tmp_path: Path,
) -> None:
    ((target,),) = (each["targets"] for each in SCRAPED["storyflow-local"]["static_configs"])
    assert f"metrics: {{listen:\n{target}}}" in TEXT["README.md"]
    (tmp_path / "farm.yaml").write_text(f"metrics: {{listen: {target}}}\n")
    assert load_cluster(tmp_path / "farm.yaml").metrics.listen == target


def test_the_metrics_that_are_named_are_those_that_a_run_exports() -> None:
    board = Board()
    board.show("film", NOTHING)
    board.took("film", 1.0)
    board.stored("store", 1)
    told = re.findall(r"^# TYPE (\w+)", board.text().decode(), re.MULTILINE)
    assert {name for name in told if not name.endswith("_created")} == METRICS


@pytest.mark.parametrize("job", [job for name, job in SCRAPED.items() if "local" not in name])
def test_prometheus_takes_away_what_ray_writes_before_names(job: dict[str, Any]) -> None:
    (rule,) = job["metric_relabel_configs"]
    plain = rule["replacement"].replace("$1", r"\1")
    told = ["ray_storyflow_segments", "storyflow_segments", "ray_node_cpu"]
    renamed = [re.sub(f"^(?:{rule['regex']})$", plain, each) for each in told]
    assert renamed == ["storyflow_segments", "storyflow_segments", "ray_node_cpu"]
