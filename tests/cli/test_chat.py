"""The chat at a real terminal, against the real API."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from syntera_dev.models.control import Fault
from syntera_dev.models.settings import Behaviour
from tests.cli.conftest import RunningTenant
from tests.cli.terminal import HEIGHT, Terminal, at_terminal

PROMPT = "you> "


@contextmanager
def chatting(tenant: RunningTenant, agent: str = "travel") -> Iterator[Terminal]:
    """A chat that has come to its prompt."""
    command = [sys.executable, "-m", "syntera_cli", "chat", agent, "--url", tenant.url]
    with at_terminal(command, {**os.environ, "SYNTERA_API_KEY": tenant.key}) as terminal:
        yield terminal


def test_chat_greets_answers_and_leaves(tenant: RunningTenant) -> None:
    tenant.stand_in.say("You may take **one** bag.")
    with chatting(tenant) as terminal:
        opening = terminal.expect(PROMPT)
        for shown in ("Travel assistant", "Answers questions on bookings", "Hello, how can I help?"):
            assert shown in opening
        assert "  1  Where is my booking?\n  2  How much baggage may I take?\n" in opening
        terminal.type("What may I take?\r")
        terminal.expect("You may take one bag.\n\nyou> ")
        assert "\x1b[1mone\x1b[0m" in terminal.raw
        terminal.type("/quit\r")
        assert terminal.wait() == 0


def test_sources_of_an_answer_are_listed_below_it(tenant: RunningTenant) -> None:
    tenant.stand_in.say("It opens at nine [1].")
    with chatting(tenant, "learned") as terminal:
        terminal.expect(PROMPT)
        terminal.type("When does the desk open every morning?\r")
        shown = terminal.expect("\n\nyou> ")
        assert "It opens at nine [1].\n  [1] desk.md > Opening hours\n      https://docs.example/desk" in shown


def test_suggestion_is_asked_by_its_number(tenant: RunningTenant) -> None:
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        terminal.type("2\r")
        assert "You asked: How much baggage may I take?" in terminal.expect("\n\nyou> ")
        terminal.type("3\r")
        assert "You asked: 3" in terminal.expect("\n\nyou> ")


def test_agent_without_greeting_waits_until_ctrl_d(tenant: RunningTenant) -> None:
    with chatting(tenant, "quiet") as terminal:
        opening = terminal.expect(PROMPT)
        assert "Quiet one" in opening
        assert "Type /help for help, Ctrl-D to leave." in opening
        terminal.type("\x04")
        assert terminal.wait() == 0


def test_new_begins_another_conversation(tenant: RunningTenant) -> None:
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        terminal.type("My name is Ada.\r")
        terminal.expect("\n\nyou> ")
        terminal.type("Who am I?\r")
        assert "Before this you asked" in terminal.expect("\n\nyou> ")
        terminal.type("/new\r")
        terminal.expect("Hello, how can I help?")
        terminal.expect(PROMPT)
        terminal.type("Who am I?\r")
        assert "Before this you asked" not in terminal.expect("\n\nyou> ")


def test_commands_are_explained(tenant: RunningTenant) -> None:
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        terminal.type("\r  \r/help\r")
        terminal.expect("/new    begin another conversation")
        terminal.expect(PROMPT)
        terminal.type("/nonsense\r")
        terminal.expect("There is no command /nonsense; /help lists them.")
        terminal.type("/exit\r")
        assert terminal.wait() == 0
    assert tenant.stand_in.journal() == []


def test_failure_is_told_and_the_chat_goes_on(tenant: RunningTenant) -> None:
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        tenant.stand_in.fail(Fault(kind="drop", after_words=1))
        terminal.type("Hi\r")
        terminal.expect("Hello!\n\n")
        terminal.expect("The connection to the model endpoint 'stand-in' failed.")
        terminal.expect(PROMPT)
        tenant.stand_in.say("Fine again.")
        terminal.type("And now?\r")
        terminal.expect("Fine again.\n\nyou> ")


def test_ctrl_c_leaves_the_answer_and_not_the_chat(tenant: RunningTenant) -> None:
    tenant.stand_in.behave(Behaviour(word_delay_seconds=0.2))
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        tenant.stand_in.say("One two " + "and on " * 30 + "to the last.")
        terminal.type("Count\r")
        terminal.expect("One two")
        terminal.type("\x03")
        assert "last" not in terminal.expect("Not listening any more")
        terminal.expect(PROMPT)
        terminal.interrupt()
        terminal.expect("Ctrl-C once more, or Ctrl-D, leaves.")
        terminal.expect(PROMPT)
        terminal.interrupt()
        assert terminal.wait() == 0


def test_long_answer_scrolls_and_is_whole_in_the_end(tenant: RunningTenant) -> None:
    lines = [f"Line {number}." for number in range(3 * HEIGHT)]
    tenant.stand_in.behave(Behaviour(word_delay_seconds=0.005))
    tenant.stand_in.say("\n\n".join(lines))
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        terminal.type("Tell me\r")
        shown = terminal.expect(f"{lines[-1]}\n\nyou> ")
        assert "\n\n".join(f"  {line}" for line in lines) in shown


def test_terminal_is_not_driven_by_the_answer(tenant: RunningTenant) -> None:
    tenant.stand_in.say("\x1b]0;owned\x07 [bold]plain[/bold]")
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        terminal.type("Hi\r")
        terminal.expect("]0;owned [bold]plain[/bold]\n\nyou> ")
        assert "\x1b]0;" not in terminal.raw


def test_termination_gives_its_own_exit_code(tenant: RunningTenant) -> None:
    with chatting(tenant) as terminal:
        terminal.expect(PROMPT)
        terminal.interrupt(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("agent", ["nobody"])
def test_chat_with_nobody_ends_at_once(tenant: RunningTenant, agent: str) -> None:
    with chatting(tenant, agent) as terminal:
        terminal.expect("There is no agent 'nobody' here. Agents: learned, quiet, travel.")
        assert terminal.wait() == 1
