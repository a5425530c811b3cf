import asyncio
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from syntera_runtime.errors import ConfigurationError
from syntera_runtime.ingest.extraction.messages import ANSWER, REQUEST, build_answer
from syntera_runtime.ingest.extraction.pool import Bounds, ExtractorPool
from syntera_runtime.ingest.extraction_port import Extraction, ExtractionFailed
from syntera_runtime.models.knowledge import Extracted, Failing

TEXT = b"Text."


def make_python(path: Path, program: str) -> str:
    """An interpreter that runs this program, whatever it is asked to run."""
    program_file = path / "program.py"
    program_file.write_text(program)
    file = path / "python"
    file.write_text(f"#!/bin/sh\nexec {sys.executable} -I {program_file}\n")
    file.chmod(0o755)
    return str(file)


async def find_failing(pool: ExtractorPool) -> Failing:
    with pytest.raises(ExtractionFailed) as caught:
        await pool.extract(TEXT, name="a.txt")
    return caught.value.reason


def find_children(parent: int) -> set[int]:
    try:
        return {int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()}
    except OSError:  # it has ended meanwhile
        return set()


def find_started(before: set[int]) -> set[int]:
    """Processes that this one has started since, and those they started. Servers of other tests start some at any time."""
    found: set[int] = set()
    new = find_children(os.getpid()) - before
    while new:
        found |= new
        new = {grandchild for child in new for grandchild in find_children(child)} - found
    return found


def is_running(*words: str) -> bool:
    """Whether there is a process with this command line, whoever's child it is by now."""
    wanted = b"".join(word.encode() + b"\0" for word in words)
    return any(read_command(process) == wanted for process in Path("/proc").glob("[0-9]*"))


def read_command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def kill(process: int) -> None:
    """It has ended once this returns."""
    descriptor = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    ended, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    assert ended


def read_environment(process: int) -> bytes:
    return Path(f"/proc/{process}/environ").read_bytes()


async def test_several_documents_are_read_at_once() -> None:
    before = find_children(os.getpid())
    async with ExtractorPool(children=2) as pool:
        texts = [f"Text {number}." for number in range(20)]
        read = await asyncio.gather(*(pool.extract(text.encode(), name="a.txt") for text in texts))
        assert [extraction.extracted.text for extraction in read] == texts
    assert not find_started(before)


async def test_nothing_of_a_long_text_is_lost() -> None:
    text = "\n".join(f"Line {number} with ünïcödé." for number in range(50_000))
    async with ExtractorPool() as pool:
        assert (await pool.extract(text.encode(), name="a.txt")).extracted.text == text


async def test_any_name_and_media_type_is_taken() -> None:
    async with ExtractorPool() as pool:
        for name in ("\udcff.md", "a\0b", "", "x" * 100_000):
            extraction = await pool.extract(TEXT, name=name, media_type=f"\ud800{name}")
            assert extraction.extracted.text == "Text."


async def test_a_child_has_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTERA_SECRET", "hidden")
    before = find_children(os.getpid())
    async with ExtractorPool() as pool:
        await pool.extract(TEXT, name="a.txt")
        started = find_started(before)
        assert len(started) == 2
        for child in started:
            assert b"hidden" not in read_environment(child)


@pytest.mark.parametrize("are_all_killed", [True, False], ids=["with the one that forked it", "alone"])
async def test_a_reader_that_is_killed_while_idle_costs_no_document(are_all_killed: bool) -> None:
    before = find_children(os.getpid())
    async with ExtractorPool() as pool:
        await pool.extract(TEXT, name="a.txt")
        children = find_children(os.getpid()) - before
        for started in find_started(before):
            if are_all_killed or started not in children:
                kill(started)
        assert (await pool.extract(TEXT, name="a.txt")).extracted.text == "Text."


async def test_a_document_that_ends_its_reader_is_tried_twice_at_most(tmp_path: Path) -> None:
    answer = build_answer(Extraction(Extracted("Text."), "text/plain"))
    starts = tmp_path / "starts"
    program = f"""import os, pathlib, struct, sys
with pathlib.Path({str(starts)!r}).open("a") as file:
    file.write("x")
requests, answers = sys.stdin.buffer, sys.stdout.buffer
answers.write(b'\1')
answers.flush()
while sizes := requests.read({REQUEST.size}):
    header, document = (requests.read(size) for size in struct.unpack({REQUEST.format!r}, sizes))
    if document == b"poison":
        os.abort()
    answers.write({ANSWER.pack(len(answer), 0) + answer!r})
    answers.flush()
"""
    async with ExtractorPool(python=make_python(tmp_path, program)) as pool:
        await pool.extract(TEXT, name="a.txt")
        for _ in range(2):
            with pytest.raises(ExtractionFailed):
                await pool.extract(b"poison", name="a.txt")
        assert starts.read_text() == "xxx"
        assert (await pool.extract(TEXT, name="a.txt")).extracted.text == "Text."


async def test_a_reader_whose_caller_has_gone_is_not_asked_again() -> None:
    async with ExtractorPool() as pool:
        await pool.extract(TEXT, name="a.txt")
        slow = asyncio.create_task(pool.extract(b"a" + "\u0316\u0300".encode() * 300_000, name="a.txt"))
        await asyncio.sleep(0.05)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert (await pool.extract(TEXT, name="a.txt")).extracted.text == "Text."


async def test_a_document_that_is_too_large_is_not_even_sent() -> None:
    async with ExtractorPool(python="/nonexistent") as pool:
        with pytest.raises(ExtractionFailed) as caught:
            await pool.extract(bytes(64 * 1024 * 1024 + 1), name="a.txt")
        assert caught.value.reason is Failing.TOO_LARGE


async def test_where_no_child_starts_the_sync_is_told(tmp_path: Path) -> None:
    async with ExtractorPool(python=make_python(tmp_path, "raise SystemExit(1)")) as pool:
        with pytest.raises(ConfigurationError, match="does not start"):
            await pool.extract(TEXT, name="a.txt")


@pytest.mark.parametrize(
    "program",
    [
        "",
        "print('no answer', flush=True)",
        "o.write(b'\\xff\\xff\\xff\\xff\\0' + bytes(99)); o.flush(); time.sleep(600)",
        "while True: o.write(b'y' * 65536)",
        "os.close(1); time.sleep(600)",
        "os.abort()",
    ],
)
async def test_a_child_that_answers_nonsense_fails_the_document(tmp_path: Path, program: str) -> None:
    begin = "import os, sys, time\no = sys.stdout.buffer\no.write(b'\\1')\no.flush()\nsys.stdin.buffer.read(8)\n"
    async with ExtractorPool(python=make_python(tmp_path, begin + program), bounds=Bounds(seconds=20)) as pool:
        assert await find_failing(pool) is Failing.BROKEN
        assert await find_failing(pool) is Failing.BROKEN


@pytest.mark.parametrize("answer", ["\\0\\0\\0\\4\\0null", "\\0\\0\\0\\0\\x0b"], ids=["nonsense", "ended by a signal"])
async def test_an_answer_that_is_none_fails_the_document(tmp_path: Path, answer: str) -> None:
    program = f"import sys, time\no = sys.stdout.buffer\no.write(b'\\1{answer}')\no.flush()\ntime.sleep(600)"
    async with ExtractorPool(python=make_python(tmp_path, program)) as pool:
        assert await find_failing(pool) is Failing.BROKEN


async def test_a_child_that_never_answers_is_killed_with_what_it_started(tmp_path: Path) -> None:
    asleep = ("sleep", f"600.{os.getpid()}")
    started = tmp_path / "started"
    program = f"""import pathlib, subprocess, sys
sys.stdout.buffer.write(b'\\1')
sys.stdout.flush()
sleeping = subprocess.Popen({list(asleep)!r})
pathlib.Path({str(started)!r}).touch()
sleeping.wait()
"""
    before = find_children(os.getpid())
    async with ExtractorPool(python=make_python(tmp_path, program), bounds=Bounds(seconds=3)) as pool:
        assert await find_failing(pool) is Failing.TOOK_TOO_LONG
        assert started.exists()
        assert not find_started(before)
        assert not is_running(*asleep)
