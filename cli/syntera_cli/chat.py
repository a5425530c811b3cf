"""The chat at a terminal: a prompt, answers that grow as they come, and a few commands."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.spinner import Spinner
from rich.text import Text

from syntera_runtime.client.models import Agent

from .client import Piece, Restarted, Source, TenantClient, Whole
from .errors import CliError

with contextlib.suppress(ImportError):  # Windows has none
    import readline  # noqa: F401  # gives input() line editing and a history

PROMPT = "you> "
_REFRESHES_PER_SECOND = 10
_MAX_WIDTH = 100
"""Longer lines are hard to read."""
_HELP = """\
/new    begin another conversation
/help   this list
/quit   leave (Ctrl-D does too)
Ctrl-C  stop listening to an answer"""


class _Said:
    """What an agent said, as Markdown. Lines keep off the right margin, where a terminal's echo of Ctrl-C would wrap."""

    def __init__(self, text: str = "") -> None:
        self.text = text

    def lines(self, console: Console, options: ConsoleOptions) -> Iterator[list[Segment]]:
        """Indented lines without the blanks that rich fills them up with."""
        inner = options.update(width=max(10, min(options.max_width - 6, _MAX_WIDTH)), height=None)
        for line in console.render_lines(Markdown(self.text, hyperlinks=False), inner, pad=False):
            yield _trim([Segment("  "), *line])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines(console, options):
            yield from line
            yield Segment.line()


class _GrowingAnswer(_Said):
    """An answer on its way; of one that is longer than the screen, its end."""

    _spinner = Spinner("dots", style="dim")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.text.strip():
            yield Padding(self._spinner, (0, 2), expand=False)
            return
        for line in list(self.lines(console, options))[-max(1, console.height - 3) :]:
            yield from line
            yield Segment.line()


def _trim(line: list[Segment]) -> list[Segment]:
    """Without blanks at the end, unless they have a background, as in code."""
    while line and (line[-1].style is None or line[-1].style.bgcolor is None):
        last = line.pop()
        if last.text.strip():
            return [*line, Segment(last.text.rstrip(), last.style)]
    return line


@dataclass(slots=True)
class Chat:
    """One sitting with one agent."""

    client: TenantClient
    agent: Agent
    console: Console
    read_line: Callable[[str], str] = input
    _conversation: str = field(default="", init=False)

    def run(self) -> None:
        """Talk until the user leaves.

        Raises:
            CliError: No conversation can be begun.
        """
        self.console.print(Rule(Text(self.agent.display_name, style="bold cyan"), style="cyan"))
        if self.agent.description:
            self.console.print(Text(self.agent.description, style="dim"), justify="center")
        self._begin()
        for line in self._lines():
            match line.split():
                case ["/quit" | "/exit"]:
                    return
                case ["/help"]:
                    self.console.print(Padding(Text(_HELP, style="dim"), (0, 2)))
                case ["/new"]:
                    with self._told_failures():
                        self._begin()
                case [word] if word.startswith("/"):
                    self.console.print(Text(f"There is no command {word}; /help lists them.", style="yellow"))
                case _:
                    with self._told_failures():
                        self._ask(self._suggestion(line) or line)

    def _begin(self) -> None:
        conversation = self.client.start(self.agent.name)
        self._conversation = str(conversation.id)
        for greeting in conversation.messages:
            self._print_name()
            self._print_said(greeting.content)
        if not conversation.messages:
            self.console.print()
        for number, suggestion in enumerate(self.agent.suggestions, start=1):
            self.console.print(Text(f"  {number}  {suggestion}", style="dim"))
        hint = "Type a number to ask that, " if self.agent.suggestions else "Type "
        self.console.print(Text(f"  {hint}/help for help, Ctrl-D to leave.\n", style="dim"))

    def _lines(self) -> Iterator[str]:
        """What the user types, without empty lines, until Ctrl-D or two Ctrl-C in a row."""
        was_interrupted = False
        while True:
            try:
                line = self.read_line(PROMPT).strip()
            except EOFError:
                self.console.print()
                return
            except KeyboardInterrupt:
                self.console.print()
                if was_interrupted:
                    return
                was_interrupted = True
                self.console.print(Text("Ctrl-C once more, or Ctrl-D, leaves.", style="dim"))
                continue
            was_interrupted = False
            if line:
                yield line

    def _suggestion(self, line: str) -> str | None:
        """The suggestion whose number was typed."""
        if not line.isascii() or not line.isdigit() or not 1 <= int(line) <= len(self.agent.suggestions):
            return None
        suggestion = self.agent.suggestions[int(line) - 1]
        self.console.print(Text(f"  {suggestion}", style="dim"))
        return suggestion

    def _ask(self, content: str) -> None:
        answer = _GrowingAnswer()
        cited: tuple[Source, ...] = ()
        self._print_name()
        with contextlib.suppress(KeyboardInterrupt):
            try:
                with (
                    Live(answer, console=self.console, transient=True, refresh_per_second=_REFRESHES_PER_SECOND),
                    contextlib.closing(self.client.send(self._conversation, content)) as events,
                ):
                    for told in events:
                        match told:
                            case Piece(text):
                                answer.text += text
                            case Restarted(text):
                                answer.text = text
                            case Whole(text, sources):
                                answer.text, cited = text, sources
            finally:
                self._print_said(answer.text, cited)
            return
        self.console.print(Text("Not listening any more; the agent finishes its answer by itself.", style="dim"))

    def _print_name(self) -> None:
        self.console.print(Text(f"\n{self.agent.display_name}", style="bold cyan"))

    def _print_said(self, text: str, sources: Sequence[Source] = ()) -> None:
        if text.strip():
            self.console.print(_Said(text))
            for source in sources:
                self.console.print(Text(f"  [{source.number}] {source.title}\n      {source.place}", style="dim"))
            self.console.print()

    @contextlib.contextmanager
    def _told_failures(self) -> Iterator[None]:
        """The chat goes on after a failure."""
        try:
            yield
        except CliError as exc:
            self.console.print(Text(str(exc), style="red"))
            self.console.print()
