"""Logs: one JSON object a line, and nothing of what users write."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from syntera_runtime.errors import ModelUnavailable
from syntera_runtime.logs import configure_logging

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Logging set up as in the process; gives the lines written so far."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logging("INFO", stream=stream, tenant="acme")
    structlog.configure(cache_logger_on_first_use=False)  # the loggers of our modules would stay as this test has them
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers = handlers
    root.setLevel(level)


def test_event_is_one_line_with_its_context(lines: Lines) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("syntera_runtime.test").info("turn ended", outcome="complete")
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "turn ended",
        "outcome": "complete",
        "request_id": "r1",
        "tenant": "acme",
        "level": "info",
        "logger": "syntera_runtime.test",
    }


def test_libraries_lines_look_the_same(lines: Lines) -> None:
    logging.getLogger("asyncpg").warning("connection %s lost", 7)
    (line,) = lines()
    assert (line["event"], line["level"], line["tenant"]) == ("connection 7 lost", "warning", "acme")


def fail_deeply() -> None:
    try:
        raise ModelUnavailable("the endpoint 'main' is away")
    except ModelUnavailable as error:
        raise ValueError("invalid input: 'what the user wrote'") from error


@pytest.mark.parametrize("logger", [structlog.get_logger("ours"), logging.getLogger("uvicorn.error")])
def test_exception_is_told_by_type_and_place_but_not_by_its_words(lines: Lines, logger: Any) -> None:
    try:
        fail_deeply()
    except ValueError:
        logger.exception("request failed")
    (line,) = lines()
    assert "what the user wrote" not in json.dumps(line)
    assert line["exception"].startswith("builtins.ValueError\n")
    assert "test_logs.py" in line["exception"]
    assert "fail_deeply" in line["exception"]
    assert "caused by syntera_runtime.errors.ModelUnavailable: the endpoint 'main' is away" in line["exception"]


def test_group_of_exceptions_is_told_by_its_first(lines: Lines) -> None:
    structlog.get_logger("ours").error("broke", exc_info=ExceptionGroup("words", [ValueError("more words")]))
    (line,) = lines()
    assert "builtins.ExceptionGroup" in line["exception"]
    assert "caused by builtins.ValueError" in line["exception"]
    assert "words" not in line["exception"]


@pytest.mark.parametrize("name", ["openai._base_client", "httpx", "httpx2", "httpcore", "uvicorn.access", "asyncio"])
def test_libraries_that_log_bodies_are_quiet_at_every_level(lines: Lines, name: str) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger(name).debug("Request options: %s", {"json_data": "what the user wrote"})
    logging.getLogger(name).info("HTTP Request: POST https://secret")
    assert lines() == []


def test_level_is_kept(lines: Lines) -> None:
    structlog.get_logger("ours").debug("details")
    assert lines() == []
