"""Dashboards, alerts and runbooks speak of metrics that there are, and each alert fires when it should and not before."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import promql_parser
import pytest
import yaml

from syntera_crds.contract import names
from syntera_crds.v1alpha1.tenant import Resources
from syntera_dev.build import ensure_binary
from syntera_operator.desired.deployment import Image, RuntimePods, build_deployment
from syntera_operator.desired.metadata import Scope
from tests.metrics_reference import list_all_series
from tests.support.exposition import TARGET_LABELS

from .chart import ALERTS, CHART, DASHBOARDS, DATA, RELEASE, ROOT, Chart

RUNBOOKS = ROOT / "docs" / "runbooks"
MONITOR = ROOT / "docs" / "how-to" / "monitor.md"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
BOARDS: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in DASHBOARDS.iterdir()}
SERIES = list_all_series()
OF_THE_PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}
FROM_THE_SCRAPE = TARGET_LABELS | {"tenant"}
"""Labels that the chart's ServiceMonitor and PodMonitor bring."""
SECTIONS = ["What it means", "What users notice", "How to look", "What to do"]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Where a query stands, and the query with Grafana's variables filled in."""
    found = [(rule["alert"], rule["expr"]) for rule in RULES]
    for name, board in BOARDS.items():
        for panel in panels(board):
            found += [(f"{name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    for page in [*RUNBOOKS.glob("*.md"), MONITOR]:
        quoted = re.findall(r"`([^`]*\((?:rate|increase)?\(?syntera_[^`]*)`", page.read_text())
        found += [(page.stem, query) for query in quoted]
    fill = {"$__rate_interval": "5m", "$job": "x", "$tenant": "x"}
    for variable, value in fill.items():
        found = [(place, query.replace(variable, value)) for place, query in found]
    return found


def selectors(query: str) -> list[tuple[str, set[str]]]:
    """Each metric that a query names, with the labels that it asks for."""
    found: list[tuple[str, set[str]]] = []
    grouped: set[str] = set()

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name or "", {matcher.name for matcher in node.matchers.matchers}))
        return True

    promql_parser.walk(promql_parser.parse(query), visit)
    return [(name, labels | grouped) for name, labels in found]


def test_queries_are_found() -> None:
    places = {place for place, _ in queries()}

    assert {rule["alert"] for rule in RULES} <= places
    assert {"operator: Leaders", "runtimes: Turns by outcome", "SynteraStoreErrors"} <= places
    assert selectors('sum by (tenant) (rate(a_total{b="c"}[5m])) > 1') == [("a_total", {"b", "tenant"})]


@pytest.mark.parametrize(("place", "query"), queries())
def test_query_asks_for_metrics_and_labels_that_there_are(place: str, query: str) -> None:
    asked = selectors(query)

    assert asked, place
    for metric, labels in asked:
        if metric in OF_THE_PROCESS:
            assert labels <= FROM_THE_SCRAPE, query
            continue
        assert metric in SERIES, f"{place}: {metric}"
        assert labels <= SERIES[metric] | FROM_THE_SCRAPE, f"{place}: {query}"


@pytest.mark.parametrize("page", [*RUNBOOKS.glob("*.md"), MONITOR], ids=lambda page: page.stem)
def test_page_names_metrics_that_there_are(page: Path) -> None:
    named = set(re.findall(r"\bsyntera_[a-z0-9_]+", page.read_text())) - {"syntera_operator"}

    assert {name for name in named if name not in SERIES and f"{name}_bucket" not in SERIES} == set()


def test_every_metric_of_ours_is_on_a_dashboard() -> None:
    """One that nobody looks at is either no use, or missing there."""
    shown = {name for board in BOARDS.values() for panel in panels(board) for target in panel["targets"]
             for name, _ in selectors(target["expr"].replace("$__rate_interval", "5m"))}  # fmt: skip

    missing = {name for name in SERIES if not name.endswith(("_sum", "_count"))} - shown

    assert missing == set()


@pytest.mark.parametrize("name", BOARDS)
def test_dashboard_is_sound(name: str) -> None:
    board = BOARDS[name]
    ids = [panel["id"] for panel in board["panels"]]
    titles = [panel["title"] for panel in panels(board)]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}

    assert len(set(ids)) == len(ids)
    assert len(set(titles)) == len(titles)
    assert board["uid"] == f"syntera-{name}"
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        for target in [panel, *panel["targets"]]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        used = set(re.findall(r"\$\{?(\w+)", "".join(target["expr"] for target in panel["targets"])))
        assert used <= {*variables, "__rate_interval"}


@pytest.mark.parametrize("name", BOARDS)
def test_panels_do_not_overlap_nor_leave_the_page(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_has_a_runbook_with_everything_in_it(rule: dict[str, Any]) -> None:
    page = (RUNBOOKS / f"{rule['alert']}.md").read_text()
    title, *sections = re.findall(r"^#+ (.+)$", page, re.MULTILINE)

    assert title == rule["alert"]
    assert sections == SECTIONS
    assert f"| [{title}]({title}.md) | {rule['labels']['severity']} |" in (RUNBOOKS / "README.md").read_text()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alert_waits_and_says_what_is_wrong(rule: dict[str, Any]) -> None:
    assert rule["for"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert all(text.endswith(".") for text in rule["annotations"].values())


def test_every_runbook_has_an_alert() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in RULES} | {"README"}


def promtool(*words: str | Path, folder: Path) -> tuple[int, str]:
    ended = subprocess.run([ensure_binary("promtool"), *words], cwd=folder, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def run_rule_tests(folder: Path, rules: dict[str, Any]) -> tuple[int, str]:
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    (folder / "alerts.test.yaml").write_text((DATA / "alerts.test.yaml").read_text())
    return promtool("test", "rules", "alerts.test.yaml", folder=folder)


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS, folder=tmp_path)

    assert code == 0, said
    assert f"{len(RULES)} rules found" in said


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    code, said = run_rule_tests(tmp_path, yaml.safe_load(ALERTS.read_text()))

    assert code == 0, said


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_alert_is_tested(alert: str, tmp_path: Path) -> None:
    """Else the test above would say nothing of it."""
    rules = yaml.safe_load(ALERTS.read_text())
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule["alert"] != alert]

    assert run_rule_tests(tmp_path, rules)[0] == 1


def test_rule_object_holds_the_rules_and_links_to_the_runbooks(chart: Chart) -> None:
    made = chart.one("PrometheusRule", RELEASE, {"metrics": {"alerts": {"enabled": True}}})

    rules = [rule for group in made["spec"]["groups"] for rule in group["rules"]]
    links = [rule["annotations"].pop("runbook_url") for rule in rules]
    assert rules == RULES
    assert all((ROOT / link).is_file() for link in links), "by default they are paths in the repository"


@pytest.mark.parametrize("name", ["operator", "runtimes"])
def test_config_map_holds_the_dashboard(name: str, chart: Chart) -> None:
    made = chart.one("ConfigMap", f"{RELEASE}-dashboard-{name}", {"metrics": {"dashboards": {"enabled": True}}})

    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(made["data"][f"syntera-{name}.json"]) == BOARDS[name]


def test_pod_monitor_finds_what_the_operator_makes(chart: Chart) -> None:
    made = chart.one("PodMonitor", f"{RELEASE}-runtimes", {"metrics": {"podMonitor": {"enabled": True}}})
    [endpoint] = made["spec"]["podMetricsEndpoints"]
    [relabeling] = endpoint["relabelings"]
    pods = RuntimePods(
        tenant_id=UUID(int=1),
        image=Image("runtime:1", "Always"),
        operator_subject="operator",
        replicas=1,
        resources=Resources(),
    )
    template = build_deployment(Scope(tenant="acme", namespace="acme"), pods)["spec"]["template"]

    assert made["spec"]["namespaceSelector"] == {"any": True}
    assert made["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    [container] = template["spec"]["containers"]
    assert {port["name"]: port["containerPort"] for port in container["ports"]}[endpoint["port"]] == names.INTERNAL_PORT
    label = names.TENANT_LABEL.translate({ord(sign): "_" for sign in "./-"})
    assert relabeling == {"sourceLabels": [f"__meta_kubernetes_pod_label_{label}"], "targetLabel": "tenant"}


def test_nothing_of_it_is_there_by_default(chart: Chart) -> None:
    kinds = {manifest["kind"] for manifest in chart.manifests()}

    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    assert "OTEL_" not in chart.render()


def test_chart_has_no_file_that_nobody_renders() -> None:
    templates = "".join(file.read_text() for file in (CHART / "templates").iterdir() if file.is_file())

    for name in BOARDS:
        assert f'"{name}"' in templates
    assert "files/alerts.yaml" in templates
