"""A process that reads documents, forked from `worker`."""

import contextlib
import math
import os
import resource
import signal
import sys
from typing import BinaryIO, NoReturn

from .confinement import Confinement
from .faults import Fault, Unreadable
from .messages import (
    ANSWER,
    EXHAUSTED,
    MOST_ANSWER,
    REQUEST,
    SILENT,
    Answer,
    Hints,
    Implausible,
    Request,
    build_answer,
    read_exactly,
)
from .reading import NeedsReaderOfItsOwn, read_document

DEEPEST_RECURSION = 2_000
"""Of Python's calls: trees of HTML are up to 256 deep, and some parsers take several calls for a level."""


class Reader:
    """A reader, as the process sees it that forked it."""

    def __init__(self, confinement: Confinement, *, seconds: int, reads_any: bool) -> None:
        """
        Args:
            confinement: What it gives up.
            seconds: How long it may compute for a document.
            reads_any: Whether it takes documents of all formats; else it answers nothing to those that need a reader of their own.
        """
        asked, requests = os.pipe()
        answers, answered = os.pipe()
        self._process: int | None = os.fork()
        if self._process == 0:
            _serve_and_exit(confinement, asked, answered, seconds=seconds, reads_any=reads_any)
        os.close(asked)
        os.close(answered)
        self._requests = os.fdopen(requests, "wb")
        self._answers = os.fdopen(answers, "rb")
        self.documents = 0
        """It was asked to read."""

    def ask(self, request: Request) -> bytes:
        """What it answers.

        Raises:
            EOFError: It ended.
            Implausible: What it says is too long to be an answer.
        """
        self.documents += 1
        try:
            self._requests.write(REQUEST.pack(len(request.hints), len(request.content)))
            self._requests.write(request.hints)
            self._requests.write(request.content)
            self._requests.flush()
        except BrokenPipeError:
            raise EOFError from None
        size, _ = ANSWER.unpack(read_exactly(self._answers, ANSWER.size))
        if size > MOST_ANSWER:
            raise Implausible
        return read_exactly(self._answers, size)

    def has_ended(self) -> bool:
        """Whether it has, as one does that the kernel kills for its memory while it waits."""
        if self._process is None:
            return True
        return os.waitid(os.P_PID, self._process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def end(self) -> int:
        """End it. Returns the signal that had ended it before, or `EXHAUSTED`, or `SILENT`."""
        if self._process is None:
            return SILENT
        process, self._process = self._process, None
        self._answers.close()
        # Of one that is about to end this changes neither when nor how.
        os.kill(process, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            return os.WTERMSIG(status)
        return EXHAUSTED if os.WEXITSTATUS(status) == EXHAUSTED else SILENT


def _serve_and_exit(confinement: Confinement, asked: int, answered: int, *, seconds: int, reads_any: bool) -> NoReturn:
    try:
        confinement.enter(kept=(asked, answered))
        sys.setrecursionlimit(DEEPEST_RECURSION)
        with os.fdopen(asked, "rb") as requests, os.fdopen(answered, "wb") as answers:
            _serve(requests, answers, seconds=seconds, reads_any=reads_any)
    except MemoryError:
        os._exit(EXHAUSTED)
    finally:
        # Whatever happened: this process never returns into the loop of the one that it was forked from.
        os._exit(0)


def _serve(requests: BinaryIO, answers: BinaryIO, *, seconds: int, reads_any: bool) -> None:
    while True:
        hints, content = REQUEST.unpack(read_exactly(requests, REQUEST.size))
        _grant_seconds(seconds)
        answer = _answer(read_exactly(requests, hints), read_exactly(requests, content), reads_any=reads_any)
        answers.write(ANSWER.pack(len(answer), 0) + answer)
        answers.flush()


def _answer(hints: bytes, content: bytes, *, reads_any: bool) -> bytes:
    known = Hints.model_validate_json(hints)
    try:
        return build_answer(read_document(content, name=known.name, media_type=known.media_type, reads_any=reads_any))
    except NeedsReaderOfItsOwn:
        return b""
    except Unreadable as error:
        fault = error.fault
    except MemoryError:
        fault = Fault.MEMORY
    return Answer(fault=fault).model_dump_json(exclude_defaults=True).encode()


def _grant_seconds(seconds: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    granted = used + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (granted if hard == resource.RLIM_INFINITY else min(granted, hard), hard))
