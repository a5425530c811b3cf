"""Runs the walk and tells what it finds, as it finds it."""

from rich.console import Console

from ..cluster import load_kubeconfig
from ..errors import ClusterUnusable
from .findings import NOT_ASKED, Check, Finding, exit_code, problem
from .looking import Lookout
from .question import Way
from .report import TextReport, to_json
from .walk import Walk, Wish


def run(wish: Wish, way: Way, *, as_json: bool) -> int:
    """Examine the cluster and print the findings; gives the exit code."""
    told = None if as_json else TextReport(Console(highlight=False))
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if told is not None:
            told.tell(finding)

    try:
        for finding in Walk(Lookout(load_kubeconfig(way.context)), wish, way).findings():
            tell(finding)
        code = exit_code(findings)
    except ClusterUnusable as exc:
        tell(problem(Check.CLUSTER, str(exc)))
        code = NOT_ASKED
    if told is not None:
        told.end(findings, code=code)
    else:
        print(to_json(findings, code=code))
    return code
