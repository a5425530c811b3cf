"""The child process that hands documents to readers. `pool` starts it, and nobody else.

It imports everything that reading needs, once, and forks readers: that takes some milliseconds where starting an interpreter takes
a second. A reader gives up all rights before it sees a document. One reads many documents, but only of formats whose parsers are
written in languages that keep to their memory (Markdown, text, CSV, JSON). Any other is read by a reader of its own, which
ends with it: who takes over a parser in C by a hostile PDF has a process that sees that PDF and nothing else. The process that forks
never looks into a document or an answer: it hands bytes on, and says how a reader ended.
"""

import gc
import os
from typing import BinaryIO

from .confinement import Confinement
from .languages import load_identifier
from .messages import ANSWER, REQUEST, SILENT, Implausible, Request, read_exactly
from .readers import Reader

READY = b"\x01"
"""Said once, when everything is imported."""
MOST_DOCUMENTS = 1_000
"""That one reader reads, so that what leaks ends with it."""


def main(*, memory_bytes: int, seconds: int) -> None:
    """Have documents read until there are no more.

    Args:
        memory_bytes: How much more address space a reader may take than this process has.
        seconds: How long it may compute for a document.
    """
    requests, answers = _take_pipes()
    load_identifier()
    readers = _Readers(Confinement(memory_bytes=memory_bytes), seconds=seconds)
    # What is there now is shared with every fork; collecting it would copy its pages.
    gc.freeze()
    answers.write(READY)
    answers.flush()
    while (request := _read_request(requests)) is not None:
        answer, ending = readers.read(request)
        answers.write(ANSWER.pack(len(answer), ending) + answer)
        answers.flush()


class _Readers:
    """One reader for many documents, and one for each document that needs its own."""

    def __init__(self, confinement: Confinement, *, seconds: int) -> None:
        self._confinement = confinement
        self._seconds = seconds
        self._lasting: Reader | None = None

    def read(self, request: Request) -> tuple[bytes, int]:
        """What a reader answers, and the signal that ended it, or 0."""
        answer, ending = self._read_lasting(request)
        if answer or ending:
            return answer, ending
        return self._read_alone(request)

    def _read_lasting(self, request: Request) -> tuple[bytes, int]:
        """Nothing is answered where the document needs a reader of its own."""
        if self._lasting is None or self._lasting.documents >= MOST_DOCUMENTS or self._lasting.has_ended():
            self._end_lasting()
            self._lasting = Reader(self._confinement, seconds=self._seconds, reads_any=False)
        try:
            return self._lasting.ask(request), 0
        except EOFError:
            return b"", self._end_lasting()
        except Implausible:
            self._end_lasting()
            return b"", SILENT

    def _read_alone(self, request: Request) -> tuple[bytes, int]:
        reader = Reader(self._confinement, seconds=self._seconds, reads_any=True)
        try:
            return reader.ask(request), 0
        except EOFError:
            return b"", reader.end()
        except Implausible:
            return b"", SILENT
        finally:
            reader.end()

    def _end_lasting(self) -> int:
        lasting, self._lasting = self._lasting, None
        return 0 if lasting is None else lasting.end()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The two pipes, under numbers that no library writes to by mistake."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def _read_request(requests: BinaryIO) -> Request | None:
    try:
        header, document = REQUEST.unpack(read_exactly(requests, REQUEST.size))
        return Request(read_exactly(requests, header), read_exactly(requests, document))
    except EOFError:
        return None
