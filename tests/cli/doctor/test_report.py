"""What is printed: for people in 80 columns without colour, for scripts as JSON."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from syntera_cli.doctor.findings import (
    ALL_WELL,
    NOT_ASKED,
    PROBLEM_FOUND,
    Check,
    Finding,
    State,
    exit_code,
    forbidden,
    ok,
    problem,
    skipped,
    warning,
)
from syntera_cli.doctor.report import TextReport, summarize, to_json
from tests.support.golden import Golden

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
LONG = (
    "kubectl -n acme create secret generic openai --from-file=api-key=FILE && kubectl -n acme label secret openai x=y"
)
FINDINGS = [
    ok(Check.CLUSTER, "Kubernetes 1.36.3 answers."),
    forbidden(
        Check.OPERATOR, "list Deployments in all namespaces", do="Name the operator with --operator NAMESPACE/NAME."
    ),
    skipped(Check.LEASE, "Whether an operator is active was not judged, because no operator was seen."),
    Finding(Check.TENANT, State.OK, "The Tenant 'acme' exists, and the operator has judged its spec.", tenant="acme"),
    Finding(
        Check.REFERENCES,
        State.PROBLEM,
        "spec.models[0].apiKeySecretRef: the Secret 'openai' does not exist in 'acme'.",
        "Create it and release it with the label syntera.io/usable=true.",
        LONG,
        "secret/openai",
        "acme",
    ),
    Finding(Check.PODS, State.WARNING, "Pod x: it \x1b[31mended.", tenant="acme"),
]


def render(findings: list[Finding], *, width: int = 80) -> str:
    shown = io.StringIO()
    report = TextReport(Console(file=shown, width=width, highlight=False))
    for finding in findings:
        report.tell(finding)
    report.end(findings, code=exit_code(findings))
    return shown.getvalue()


def test_report_reads_well_in_80_columns(golden: Golden) -> None:
    shown = render(FINDINGS)
    golden.check_text("doctor/report.txt", shown)
    assert all(len(line) < 80 for line in shown.splitlines() if "$" not in line)


def test_command_stays_on_one_line_to_be_copied() -> None:
    assert f"$ {LONG}\n" in render(FINDINGS, width=60)


def test_words_of_others_drive_no_terminal() -> None:
    assert "\x1b" not in render(FINDINGS)
    assert "\\u001b" not in to_json(FINDINGS, code=1)


def test_json_is_what_the_reference_says() -> None:
    told = json.loads(to_json([ok(Check.QUESTION, "Yes.", figures={"seconds": 1.5}), *FINDINGS], code=PROBLEM_FOUND))
    assert (told["exitCode"], told["problems"], told["warnings"]) == (1, 1, 1)
    assert told["findings"][0] == {
        "check": "question",
        "state": "ok",
        "tenant": None,
        "subject": None,
        "says": "Yes.",
        "do": None,
        "command": None,
        "figures": {"seconds": 1.5},
    }
    reference = REFERENCE.read_text()
    for name in (*told, *told["findings"][0], *Check, *State):
        assert f"`{name}`" in reference, name


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok(Check.TENANT, "")], ALL_WELL),
        ([ok(Check.TENANT, ""), warning(Check.PODS, ""), forbidden(Check.KINDS, "look")], ALL_WELL),
        ([problem(Check.OPERATOR, ""), forbidden(Check.TENANT, "look")], PROBLEM_FOUND),
        ([ok(Check.CLUSTER, ""), forbidden(Check.TENANT, "look")], NOT_ASKED),
    ],
)
def test_findings_come_to_an_exit_code(findings: list[Finding], code: int) -> None:
    assert exit_code(findings) == code


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([ok(Check.TENANT, "")], "All is well."),
        ([ok(Check.TENANT, ""), warning(Check.PODS, "")], "It works; 1 warning found."),
        (
            [problem(Check.PODS, ""), problem(Check.PODS, ""), warning(Check.PODS, "")],
            "2 problems and 1 warning found.",
        ),
        ([ok(Check.TENANT, ""), forbidden(Check.KINDS, "look")], "All is well. 1 thing you may not look at."),
        ([forbidden(Check.TENANT, "look")], "Nothing that matters could be looked at."),
    ],
)
def test_findings_come_to_one_line(findings: list[Finding], says: str) -> None:
    assert summarize(findings, code=exit_code(findings)) == says
