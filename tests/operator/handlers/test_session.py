"""What kopf reads of a watch: every event but changes that are known already, and no object that is too deep for it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from syntera_kube import ClusterConfig
from syntera_operator.endpoints import serving
from syntera_operator.handlers.session import open_session
from syntera_operator.manifest import Manifest
from tests.support.make import make_agent_manifest


def make_event(type_: str, name: str = "travel", **content: Any) -> bytes:
    return json.dumps({"type": type_, "object": make_agent_manifest(name, **content)}, separators=(",", ":")).encode()


EVENTS = [
    make_event("ADDED", "known"),
    make_event("MODIFIED", "known"),
    make_event("MODIFIED", "new"),
    make_event("DELETED", "known"),
    b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}',
    b'{"type":"ERROR","object":{"kind":"Status","code":410}}',
]


def is_known(item: Manifest) -> bool:
    return str(item["metadata"]["name"]) == "known"


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def watch(_: web.Request) -> web.Response:
        return web.Response(body=b"\n".join(EVENTS) + b"\n")

    app = web.Application()
    app.router.add_get("/watch", watch)
    async with serving(app, 0, host="127.0.0.1") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("size", [1, 50, 100_000])
async def test_known_changes_alone_are_left_out_however_the_stream_is_cut(server: str, size: int) -> None:
    async with (
        open_session(ClusterConfig(server=server), is_known=is_known) as session,
        session.get(f"{server}/watch") as answer,
    ):
        read = b"".join([chunk async for chunk in answer.content.iter_chunked(size)])

    assert read.splitlines() == [event for event in EVENTS if event != make_event("MODIFIED", "known")]
