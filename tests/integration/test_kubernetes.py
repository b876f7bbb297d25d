"""The manifests for Kubernetes: whole, closed, and of one mind with the code and the Compose file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.base.urls import split_address
from orchestrator.cli.serving import celery_command
from orchestrator.katana.line import PAY_DEADLINE_SECONDS

from .compose_stack import services

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
DOCUMENTS: list[dict[str, Any]] = [
    document for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())
]
SETTINGS: dict[str, str] = next(one for one in DOCUMENTS if one["kind"] == "ConfigMap")["data"]
WORKERS = {one["metadata"]["name"]: one for one in DOCUMENTS if one["kind"] == "StatefulSet"}
PODS: dict[str, dict[str, Any]] = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in DOCUMENTS
    if one["kind"] in ("StatefulSet", "Job")
}


def container(name: str) -> dict[str, Any]:
    (found,) = PODS[name]["containers"]
    return dict(found)


def test_all_of_it_is_applied_at_once() -> None:
    (listed,) = (one for one in DOCUMENTS if one["kind"] == "Kustomization")
    assert {*listed["resources"], "kustomization.yaml"} == {path.name for path in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_may_do_no_more_than_it_has_to(name: str) -> None:
    pod, one = PODS[name], container(name)
    assert (pod["securityContext"]["runAsNonRoot"], pod["automountServiceAccountToken"]) == (True, False)
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one["image"] == services()["worker"]["image"]
    mounted = {volume["name"] for volume in pod["volumes"]} | ({"data"} if name in WORKERS else set())
    assert {mount["name"] for mount in one["volumeMounts"]} == mounted
    assert all(
        SETTINGS["ORCHESTRATOR_HOME"].startswith(m["mountPath"]) for m in one["volumeMounts"] if m["name"] == "data"
    )


def test_only_those_who_pay_hold_keys() -> None:
    assert {name for name in PODS if "katana" in yaml.safe_dump(PODS[name]["volumes"])} == {"worker-submit"}
    assert "KATANA_API_KEY" not in yaml.safe_dump(container("worker-rest"))
    steps = {name: container(name)["command"][2].removeprefix("--steps=").split(",") for name in WORKERS}
    assert [name for name, done in steps.items() if "submit" in done] == ["worker-submit"]
    assert sorted(step for done in steps.values() for step in done) == ["copy", "poll", "submit"]
    for done in steps.values():
        celery_command(",".join(done), None)  # raises for what is no step


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_asked_where_it_answers_and_has_the_time_to_stop(name: str) -> None:
    one = container(name)
    assert one["ports"] == [
        {"name": "metrics", "containerPort": split_address(SETTINGS["ORCHESTRATOR_METRICS_ADDRESS"])[1]}
    ]
    asked = {probe: one[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {"metrics"}
    assert [get["path"] for get in asked.values()] == ["/livez", "/livez", "/readyz"]
    assert PODS[name]["terminationGracePeriodSeconds"] >= PAY_DEADLINE_SECONDS + 60


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_is_selected_by_its_own_labels_everywhere(name: str) -> None:
    labels = WORKERS[name]["spec"]["template"]["metadata"]["labels"]
    budgets = [
        one["spec"] for one in DOCUMENTS if one["kind"] == "PodDisruptionBudget" and one["metadata"]["name"] == name
    ]
    named = [one["spec"] for one in DOCUMENTS if one["kind"] == "Service" and one["metadata"]["name"] == name]
    assert WORKERS[name]["spec"]["selector"]["matchLabels"] == labels
    assert [(one["maxUnavailable"], one["selector"]["matchLabels"]) for one in budgets] == [(1, labels)]
    assert [one["selector"] for one in named] == [labels]
    assert WORKERS[name]["spec"]["serviceName"] == name
