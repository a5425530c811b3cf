"""Tells the findings: to people as text of 80 columns that needs no colour, to scripts as one JSON document."""

import json
import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from syntera_crds import __version__

from ..text import printable
from .findings import NOT_ASKED, Finding, State
from .manifests import count

_STYLES = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.PROBLEM: "bold red",
    State.SKIPPED: "dim",
    State.FORBIDDEN: "magenta",
}
_WORDS = {State.PROBLEM: "PROBLEM"}
"""A problem is found by eye without colour, too."""
_COLUMN = 12
_WIDTHS = (40, 100)
"""Narrower cannot be read, and neither can wider."""
_WHOLE = "The cluster and the operator"


class TextReport:
    """Findings one by one, under a heading for each Tenant."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._heading: str | None = None

    def tell(self, finding: Finding) -> None:
        """Print one finding."""
        heading = f"Tenant {finding.tenant}" if finding.tenant else _WHOLE
        if heading != self._heading:
            self._print("" if self._heading is None else "\n", heading, style="bold")
            self._heading = heading
        self._tell_column(_WORDS.get(finding.state, finding.state), finding.says, style=_STYLES[finding.state])
        if finding.do:
            self._tell_column("  do", finding.do)
        if finding.command:
            # Not wrapped: a terminal breaks it where it must, and it is copied whole.
            self._print(" " * _COLUMN, f"$ {printable(finding.command)}", style="cyan")

    def end(self, findings: Sequence[Finding], *, code: int) -> None:
        """Print what the findings come to."""
        self._console.print()
        self._print("", summarize(findings, code=code), style="bold")

    def _tell_column(self, word: str, text: str, *, style: str = "") -> None:
        width = min(max(self._console.width, _WIDTHS[0]), _WIDTHS[1]) - _COLUMN - 1
        lines = textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines):
            label = f"  {word}" if number == 0 else ""
            self._console.print(Text.assemble((f"{label:<{_COLUMN}}", style), line), soft_wrap=True)

    def _print(self, before: str, text: str, *, style: str) -> None:
        self._console.print(Text.assemble(before, (text, style)), soft_wrap=True)


def summarize(findings: Sequence[Finding], *, code: int) -> str:
    """One line: what was found, and what was not looked at."""
    if code == NOT_ASKED:
        return "Nothing that matters could be looked at."
    number = {state: sum(finding.state is state for finding in findings) for state in State}
    told = [count(number[state], state) for state in (State.PROBLEM, State.WARNING) if number[state]]
    line = f"{' and '.join(told)} found." if told else "All is well."
    if not number[State.PROBLEM] and number[State.WARNING]:
        line = f"It works; {line}"
    if number[State.FORBIDDEN]:
        line += f" {count(number[State.FORBIDDEN], 'thing')} you may not look at."
    return line


def to_json(findings: Sequence[Finding], *, code: int) -> str:
    """One document for scripts; docs/reference/cli.md describes it."""
    return json.dumps(
        {
            "syntera": __version__,
            "exitCode": code,
            "problems": sum(finding.state is State.PROBLEM for finding in findings),
            "warnings": sum(finding.state is State.WARNING for finding in findings),
            "findings": [_to_entry(finding) for finding in findings],
        },
        indent=2,
        ensure_ascii=False,
    )


def _to_entry(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "state": finding.state,
        "tenant": finding.tenant or None,
        "subject": finding.subject or None,
        "says": printable(finding.says),
        "do": printable(finding.do) or None,
        "command": printable(finding.command) or None,
        "figures": dict(finding.figures),
    }
