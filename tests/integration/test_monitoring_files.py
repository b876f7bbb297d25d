"""What is written about the metrics and logs, in docs/monitoring.md and deploy/, against what there is."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics_core import Metric

from orchestrator.base.heartbeats import Heartbeats
from orchestrator.base.logs import LogEvent
from orchestrator.base.states import BatchState, JobState
from orchestrator.operations import following
from orchestrator.operations.gauges import GAUGES
from orchestrator.operations.ledger_watch import LedgerWatch
from orchestrator.operations.metrics import Metrics
from orchestrator.store.database import Database

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
ALERTS = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
SUFFIX = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


@pytest.fixture
def families(database: Database) -> list[Metric]:
    """Every metric of ours that a worker serves which leads."""
    metrics = Metrics(database, Heartbeats(), ledger=LedgerWatch(database))
    metrics.refresh()
    return [metric for metric in metrics.registry.collect() if metric.name.startswith("orchestrator_")]


def rules() -> list[dict[str, str]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"]]


def test_alerts_and_dashboard_name_only_metrics_that_there_are(families: list[Metric]) -> None:
    series = {f"{family.name}{suffix}" for family in families for suffix in SUFFIX[family.type]}
    asked = [rule["expr"] for rule in rules()]
    asked += [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = {name for expression in asked for name in re.findall(r"\borchestrator_\w+", expression)}
    assert named - series == set()


def test_each_alert_fires_when_it_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    command = [promtool, "test", "rules", "alerts_test.yml"]
    tested = subprocess.run(command, cwd=ROOT / "deploy", capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_metric_is_documented_in_its_own_words(families: list[Metric]) -> None:
    told = dict(re.findall(r"^\| `(orchestrator_\w+)` \|.*\| (.+) \|$", DOC, re.MULTILINE))
    there = {family.name + ("_total" if family.type == "counter" else ""): family.documentation for family in families}
    assert told.keys() == there.keys()
    for name, words in there.items():
        assert words.rstrip(".") in told[name], name


def test_the_labels_are_documented_and_none_is_a_batch_or_a_job() -> None:
    for gauge in GAUGES:
        assert f"| `{gauge.name}` | {', '.join(gauge.labels)} |" in DOC
        assert not {"batch", "job", "account", "request_id"} & set(gauge.labels)


def test_every_alert_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules()) >= 9
    for rule in rules():
        assert {"summary", "description"} == set(rule["annotations"])


def test_every_event_of_the_log_is_documented_and_there_is_no_other() -> None:
    (table,) = re.findall(r"\| event \| \|\n\| --- \| --- \|\n((?:\|.*\n)+)", DOC)
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [event.value for event in LogEvent]


def test_every_event_is_told_somewhere_and_every_state_has_one() -> None:
    source = "".join(path.read_text() for room in ("orchestrator", "workers") for path in (ROOT / room).rglob("*.py"))
    assert [event for event in LogEvent if source.count(f"LogEvent.{event.name}") == 0] == []
    assert set(following._OF_JOBS) == set(JobState)
    assert set(following._OF_BATCHES) == set(BatchState)
