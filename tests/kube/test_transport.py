"""Authentication, deadlines, retries and typed errors, against a server that fails as it is told."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from aiohttp import web

from syntera_kube import ClusterConfig, KubeClient, WatchEvent
from syntera_kube.errors import (
    Conflict,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    error_from_status,
)
from syntera_kube.resources import CONFIG_MAPS
from syntera_kube.transport import Request
from tests.kube.faulty_server import (
    Answer,
    FaultyServer,
    dropped,
    event,
    failed,
    make_list,
    make_object,
    ok,
    streamed,
)

ONE = make_object("one", version=5)


async def _drain(events: AsyncGenerator[WatchEvent, None]) -> list[WatchEvent]:
    async with aclosing(events):
        return [event async for event in events]


async def _never(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


@pytest.mark.parametrize("trouble", [dropped(), failed(500), failed(503), failed(504), failed(429, retry_after=0)])
async def test_read_is_repeated_when_the_trouble_may_pass(
    trouble: object, faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [trouble, trouble, ok(ONE)]  # type: ignore[list-item]

    assert (await faulty_client.get(CONFIG_MAPS, "one", namespace="test"))["metadata"]["name"] == "one"
    assert len(faulty.requests) == 3


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (409, Conflict), (410, Gone), (422, Invalid)])
async def test_request_is_not_repeated_when_the_answer_would_be_the_same(
    status: int, error: type[KubeError], faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [failed(status, reason="Some", message="why")]

    with pytest.raises(error, match="why") as caught:
        await faulty_client.get(CONFIG_MAPS, "one", namespace="test")

    assert (caught.value.status, caught.value.reason) == (status, "Some")
    assert len(faulty.requests) == 1


async def test_retries_are_bounded(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [failed(500)]

    with pytest.raises(ServerError):
        await faulty_client.get(CONFIG_MAPS, "one", namespace="test")

    assert len(faulty.requests) == 4


async def test_creation_is_not_repeated_when_it_may_have_happened(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [dropped()]

    with pytest.raises(Unreachable):
        await faulty_client.create(CONFIG_MAPS, ONE)

    assert len(faulty.requests) == 1


async def test_creation_is_repeated_when_it_was_put_off(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [failed(429, retry_after=0), ok(ONE)]

    await faulty_client.create(CONFIG_MAPS, ONE)

    assert len(faulty.requests) == 2


async def test_retry_waits_as_long_as_the_server_asks(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [failed(429, retry_after=1), ok(ONE)]
    started = time.monotonic()

    await faulty_client.get(CONFIG_MAPS, "one", namespace="test")

    assert time.monotonic() - started >= 1


async def test_error_carries_the_wait_when_it_is_longer_than_the_deadline(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [failed(429, retry_after=300)]
    started = time.monotonic()

    with pytest.raises(TooManyRequests) as caught:
        await faulty_client.get(CONFIG_MAPS, "one", namespace="test")

    assert caught.value.retry_after == 300
    assert time.monotonic() - started < 20


async def test_deadline_covers_a_server_that_never_answers(faulty: FaultyServer) -> None:
    faulty.answers = [_never]
    started = time.monotonic()

    async with KubeClient.connect(faulty.config, component="test", timeout_seconds=0.3) as client:
        with pytest.raises(Unreachable):
            await client.get(CONFIG_MAPS, "one", namespace="test")

    assert time.monotonic() - started < 20


async def test_write_gets_no_more_time_than_the_hook_allows(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [_never]
    left = iter([1.0, 1.0, 0.8, 0.8])  # asked twice for each of two attempts

    def before_write() -> float:
        try:
            return next(left)
        except StopIteration:
            raise Invalid("no more") from None

    started = time.monotonic()
    with pytest.raises(Invalid, match="no more"):
        await faulty_client.guarded(before_write).apply(CONFIG_MAPS, ONE, field_manager="one")

    assert time.monotonic() - started < 20  # not as long as the client would wait
    assert len(faulty.requests) == 2


async def test_write_that_is_forbidden_once_it_has_a_connection_is_not_sent(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    """As by a process that stood still between its decision and the wire."""
    allowed = iter([5.0])

    def before_write() -> float:
        try:
            return next(allowed)
        except StopIteration:
            raise Invalid("no more") from None

    with pytest.raises(Invalid, match="no more"):
        await faulty_client.guarded(before_write).apply(CONFIG_MAPS, ONE, field_manager="one")

    assert faulty.requests == []


async def test_answer_that_is_no_json_is_an_error(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    async def nonsense(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    faulty.answers = [nonsense]

    with pytest.raises(ServerError):
        await faulty_client.get(CONFIG_MAPS, "one", namespace="test")


async def test_unreachable_server_is_an_error() -> None:
    config = ClusterConfig(server="http://127.0.0.1:9")
    async with KubeClient.connect(config, component="test", timeout_seconds=0.5) as client:
        with pytest.raises(Unreachable):
            await client.get(CONFIG_MAPS, "one", namespace="test")


async def test_token_file_is_read_again_when_the_token_is_refused(faulty: FaultyServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")

    async def check(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer new":
            return web.json_response(ONE)
        file.write_text("new\n")
        return web.json_response({"message": "who?"}, status=401)

    faulty.answers = [check]
    async with KubeClient.connect(ClusterConfig(server=faulty.url, token_file=file), component="test") as client:
        await client.get(CONFIG_MAPS, "one", namespace="test")

    assert len(faulty.requests) == 2


async def test_refused_token_is_an_error_when_there_is_no_other(faulty: FaultyServer, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    faulty.answers = [failed(401)]

    async with KubeClient.connect(ClusterConfig(server=faulty.url, token_file=file), component="test") as client:
        with pytest.raises(Unauthorized):
            await client.get(CONFIG_MAPS, "one", namespace="test")

    assert len(faulty.requests) == 2


async def test_missing_token_file_is_an_error_that_names_it(faulty: FaultyServer, tmp_path: Path) -> None:
    config = ClusterConfig(server=faulty.url, token_file=tmp_path / "none")

    async with KubeClient.connect(config, component="test", timeout_seconds=0.5) as client:
        with pytest.raises(Unreachable, match="none"):
            await client.get(CONFIG_MAPS, "one", namespace="test")


async def test_requests_say_who_asks(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [ok(ONE)]

    await faulty_client.get(CONFIG_MAPS, "one", namespace="test")

    assert faulty.headers[0]["User-Agent"] == "syntera-tests"


async def test_list_starts_over_when_a_page_is_too_old(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    first = make_list(ONE, version=5, following="next")
    whole = make_list(ONE, make_object("two", version=6), version=7)
    faulty.answers = [ok(first), failed(410), ok(whole)]

    listed = await faulty_client.list(CONFIG_MAPS)

    assert [item["metadata"]["name"] for item in listed.items] == ["one", "two"]
    assert "limit" not in faulty.requests[-1][2]


async def test_watch_reads_lines_however_they_are_cut(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    large = event("ADDED", make_object("large", version=6, data={"text": "x" * 300_000}))
    text = '{"type": "MODIFIED", "object": '
    rest = '{"metadata": {"name": "cut", "namespace": "test", "uid": "u", "resourceVersion": "7"}}}\n'
    faulty.answers = [streamed(large, text, rest)]

    seen = await _drain(faulty_client.watch(CONFIG_MAPS, resource_version="5"))

    assert [(each.type, each.object["metadata"]["name"]) for each in seen] == [("ADDED", "large"), ("MODIFIED", "cut")]


async def test_watch_raises_what_an_error_event_says(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [streamed(event("ERROR", {"kind": "Status", "code": 410, "message": "too old"}))]

    with pytest.raises(Gone, match="too old"):
        await _drain(faulty_client.watch(CONFIG_MAPS, resource_version="5"))


async def test_watch_raises_when_a_line_is_no_json(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [streamed("nonsense\n")]

    with pytest.raises(ServerError):
        await _drain(faulty_client.watch(CONFIG_MAPS, resource_version="5"))


async def test_watch_raises_when_the_server_is_silent(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [streamed(then=lambda: asyncio.sleep(60))]

    with pytest.raises(Unreachable):
        await _drain(faulty_client.watch(CONFIG_MAPS, resource_version="5", inactivity_seconds=0.2))


@pytest.mark.parametrize(("status", "error"), [(418, KubeError), (599, ServerError), (413, Invalid)])
def test_error_from_status_finds_the_nearest_type(status: int, error: type[KubeError]) -> None:
    made = error_from_status(status)

    assert type(made) is error
    assert str(made) == f"HTTP {status}"


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([ok(ONE)], [("GET", 200)]),
        ([failed(503), ok(ONE)], [("GET", 503), ("GET", 200)]),
        # aiohttp itself asks once more where a connection was lost.
        ([dropped(), dropped(), failed(404)], [("GET", 0), ("GET", 404)]),
    ],
)
async def test_observer_is_told_of_each_attempt(
    faulty: FaultyServer, answers: list[Answer], told: list[tuple[str, int]]
) -> None:
    faulty.answers = answers
    seen: list[tuple[str, int]] = []

    def observe(request: Request, status: int, seconds: float) -> None:
        assert 0 <= seconds < 30
        assert request.path.endswith("/configmaps/one")
        seen.append((request.method, status))

    async with KubeClient.connect(faulty.config, component="test", observer=observe) as client:
        with suppress(NotFound):
            await client.get(CONFIG_MAPS, "one", namespace="test")

    assert seen == told


@pytest.mark.parametrize(
    ("answer", "status"), [(streamed(event("ADDED", ONE)), 200), (failed(410), 410), (dropped(), 0)]
)
async def test_observer_is_told_once_of_each_watch(faulty: FaultyServer, answer: Answer, status: int) -> None:
    faulty.answers = [answer]
    seen: list[tuple[bool, int]] = []

    def observe(request: Request, status: int, seconds: float) -> None:
        seen.append((request.is_watch, status))

    async with KubeClient.connect(faulty.config, component="test", observer=observe) as client:
        with suppress(KubeError):
            await _drain(client.watch(CONFIG_MAPS, resource_version="5"))

    assert seen == [(True, status)]
