"""Reads documents in child processes, each within its time and memory; the way in for the sync.

A child gets no environment of ours, no open files but two pipes, and a directory of its own. One that takes too long, says
what is no answer or ends is killed with everything that it started, and a fresh one takes its place; the document fails alone.
Only where a child ended that had been waiting for it, the document is tried once more: the kernel may have killed the child before,
when the machine ran out of memory.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

import syntera_crds
import syntera_runtime

from ...errors import ConfigurationError
from ..extraction_port import Extraction, ExtractionFailed
from .faults import EXPLANATIONS, MOST_BYTES, Fault
from .messages import ANSWER, EXHAUSTED, MOST_ANSWER, REQUEST, Hints, Implausible, read_answer

VERSION = "1"
"""Of what is made of a document's bytes: grows with every change that reads a document of some format in another way, so that syncs
take such documents in anew."""
START_SECONDS = 60.0
"""A child that has not imported its parsers by then never will; on a busy machine it takes some seconds."""
END_SECONDS = 10.0
"""A killed child that has not ended by then hangs in the kernel; nobody waits for it."""
LARGE_ANSWER = 256 * 1024
"""Bytes from which on an answer is checked in a thread: that takes a second for the longest ones."""

_BOOT = """
import sys
memory, seconds, *roots = sys.argv[1:]
sys.path[:0] = roots
from syntera_runtime.ingest.extraction.worker import main
main(memory_bytes=int(memory), seconds=int(seconds))
"""
_READY_BYTES = 1
_ENDED = (asyncio.IncompleteReadError, OSError)
"""What shows that a child has ended: its pipes are broken."""
_ENDINGS: dict[int, Fault] = {signal.SIGXCPU: Fault.TIME, signal.SIGKILL: Fault.MEMORY, EXHAUSTED: Fault.MEMORY}
"""What else kills a reader than its bound on computing: the kernel, when the machine or the pod has no memory left."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What reading one document may take."""

    seconds: float = 120.0
    """By the clock, from the request to the answer."""
    processor_seconds: int = 60
    """Of computing. Measured on a busy core, a Word document of 30,000 paragraphs takes 30, a PDF of 1,000 full pages 8."""
    memory_bytes: int = 384 * 1024 * 1024
    """Of address space, beyond what the parsers take when they are loaded. What that Word document needs; two readers and their
    parents stay within a sync's pod with it, which the kernel would end as a whole."""


class ExtractorPool:
    """Reads as many documents at once as it has children; more wait their turn."""

    def __init__(self, *, children: int = 1, bounds: Bounds = Bounds(), python: str = sys.executable) -> None:
        """
        Args:
            children: Processes that read at once. They are started when they are first needed.
            bounds: For each document.
            python: The interpreter of the children.
        """
        self._bounds = bounds
        self._python = python
        self._turns = asyncio.Semaphore(children)
        self._idle: list[_Child] = []
        self._directory = tempfile.TemporaryDirectory(prefix="syntera-reader-")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End all children. Nobody may be reading."""
        for child in self._idle:
            await child.end()
        self._idle.clear()
        self._directory.cleanup()

    async def extract(self, content: bytes, *, name: str, media_type: str | None = None) -> Extraction:
        """The text of a document.

        Raises:
            ExtractionFailed: There is none to be had.
            ConfigurationError: No child can be started here.
        """
        if len(content) > MOST_BYTES:
            raise _build_failure(Fault.MANY_BYTES)
        hints = Hints(name=_make_sendable(name[-512:]), media_type=_make_sendable((media_type or "")[:256]) or None)
        async with self._turns:
            answered = await self._ask(hints, content)
        if isinstance(answered, Fault):
            raise _build_failure(answered)
        return answered

    async def _ask(self, hints: Hints, content: bytes) -> Extraction | Fault:
        if self._idle:
            try:
                return await self._ask_child(self._idle.pop(), hints, content)
            except _ENDED:
                log.warning("idle reader ended, document tried again")
        child = await self._start()
        try:
            return await self._ask_child(child, hints, content)
        except _ENDED:
            return Fault.CRASHED

    async def _ask_child(self, child: "_Child", hints: Hints, content: bytes) -> Extraction | Fault:
        """What it answers. Raises one of `_ENDED` where it ended."""
        answered: Extraction | Fault | None = None
        try:
            async with asyncio.timeout(self._bounds.seconds):
                answered = await child.ask(hints, content)
        except TimeoutError:
            return Fault.TIME
        except Implausible:
            return Fault.CRASHED
        finally:
            # Also where the caller was cancelled: what the child says then would be taken for the next answer.
            if answered is None:
                await child.end()
            else:
                self._idle.append(child)
        return answered

    async def _start(self) -> "_Child":
        roots = {Path(path).parent for module in (syntera_runtime, syntera_crds) for path in module.__path__}
        process = await asyncio.create_subprocess_exec(
            self._python,
            "-I",
            "-c",
            _BOOT,
            str(self._bounds.memory_bytes),
            str(self._bounds.processor_seconds),
            *(str(root) for root in sorted(roots)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd=self._directory.name,
            start_new_session=True,
        )
        child = _Child(process)
        is_ready = False
        try:
            async with asyncio.timeout(START_SECONDS):
                await child.wait_until_ready()
            is_ready = True
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            message = "The process that reads documents does not start: the image may lack a package of `ingestion`."
            raise ConfigurationError(message) from error
        finally:
            if not is_ready:
                await child.end()
        return child


_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    # Threads of the library under numpy would be a process each for the bound on processes, and address space for nothing.
    "OPENBLAS_NUM_THREADS": "1",
}


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._requests = process.stdin
        self._answers = process.stdout

    async def wait_until_ready(self) -> None:
        await self._answers.readexactly(_READY_BYTES)

    async def ask(self, hints: Hints, content: bytes) -> Extraction | Fault:
        header = hints.model_dump_json(exclude_defaults=True).encode()
        self._requests.write(REQUEST.pack(len(header), len(content)) + header)
        self._requests.write(content)
        await self._requests.drain()
        size, ending = ANSWER.unpack(await self._answers.readexactly(ANSWER.size))
        if size > MOST_ANSWER:
            raise Implausible
        answer = await self._answers.readexactly(size)
        if ending:
            return _ENDINGS.get(ending, Fault.CRASHED)
        if size < LARGE_ANSWER:
            return _read(answer)
        return await asyncio.to_thread(_read, answer)

    async def end(self) -> None:
        """Kill it, with every process that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._requests.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                # asyncio takes a process for ended when its pipes are, and reads no pipe of which enough is waiting to be taken.
                while await self._answers.read(LARGE_ANSWER):
                    continue
                await self._process.wait()


def _read(answer: bytes) -> Extraction | Fault:
    try:
        return read_answer(answer)
    except Implausible:
        # The process that gave it has ended; the one that it was forked from has not seen the document.
        return Fault.CRASHED


def _make_sendable(text: str) -> str:
    """Names of files may hold halves of pairs of surrogates, which JSON cannot."""
    return text.encode("utf-8", "replace").decode()


def _build_failure(fault: Fault) -> ExtractionFailed:
    return ExtractionFailed(*EXPLANATIONS[fault])
