"""Logging: one JSON object a line on standard output, our own events and the libraries' alike.

Tracebacks show where, not what: messages of foreign exceptions are left out, because they may quote what a user wrote
(a database driver's do), and libraries that log bodies are quiet at every level.
"""

import logging
import sys
from types import TracebackType
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .errors import SynteraError

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_QUIET = ("asyncio", "httpcore", "httpcore2", "httpx", "httpx2", "openai", "uvicorn", "urllib3")
"""They log addresses, headers or bodies below WARNING."""


def configure_logging(level: str, *, stream: TextIO = sys.stdout, **fields: str) -> None:
    """Set logging up for the process. `fields` stand in every line."""

    def add_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**fields, **event}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_fields,
        render_exception,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def render_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put the exception of an event into words: types and places; of messages only our own."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if info and info[1] is not None:
        event["exception"] = _describe(info[1])
    return event


def _describe(error: BaseException) -> str:
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 10:
        said = f": {current}" if isinstance(current, SynteraError) else ""
        chain.append(f"{type(current).__module__}.{type(current).__qualname__}{said}{_describe_places(current)}")
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        else:
            current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\ncaused by ".join(chain)


def _describe_places(error: BaseException) -> str:
    places = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"\n  {code.co_filename}:{traceback.tb_lineno} {code.co_qualname}")
        traceback = traceback.tb_next
    return "".join(places[-20:])
