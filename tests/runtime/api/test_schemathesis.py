"""What the description promises, against made-up requests: schemathesis asks the real app on real stores, as each kind of caller.

The requests are the same in each run: the seeds are fixed, so that a failure is one of the change that was made. To look further,
raise `SYNTERA_FUZZ`, which multiplies the number of requests, or set `SYNTERA_FUZZ_RANDOM` to draw other ones.
"""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import requests
import schemathesis
import structlog
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.examples import PARAMETERS, REQUESTS
from syntera_runtime.api.permissions import PERMISSIONS, Requirement
from syntera_runtime.models.ids import TenantId
from tests.runtime.builders import (
    make_agent,
    make_knowledge_base,
    make_publishable_key,
    make_services,
    make_stored_key,
)
from tests.runtime.conftest import insert_api_key
from tests.runtime.fakes import FakeCatalogue, FakeKeySets
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign
from tests.runtime.pods import make_site, open_pod
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer
from tests.support.serving import serving

pytestmark = [
    pytest.mark.long,
    # schemathesis draws from `random` in its strategies; hypothesis seeds that, too.
    pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"),
]

DESCRIPTION: dict[str, Any] = build_public_app(make_services()).openapi()
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
OPERATIONS: dict[str, Any] = {
    found.ok().definition.raw["operationId"]: found.ok()
    for found in SCHEMA.get_all_operations()
    if isinstance(found, Ok)
}
FACTOR = int(os.environ.get("SYNTERA_FUZZ", "1"))
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
UPLOADS = {"createFile", "createDocument"}
"""Their bodies are bytes."""
FEW, MANY = 1, 8
"""Requests of each kind for each operation: of most callers, and of `THOROUGH` ones who are not sent away."""
MAY_CALL: Mapping[str, Callable[[Requirement], bool]] = {
    "nobody": lambda requirement: requirement.is_signed,
    "reader": lambda requirement: Scope.AGENTS_READ in requirement.scopes,
    "page": lambda requirement: not requirement.scopes,
    "program": lambda requirement: Scope.CHAT in requirement.scopes,
    "visitor": lambda requirement: requirement.is_for_customers,
    "customer": lambda requirement: requirement.is_for_customers,
    "member": lambda requirement: requirement.scopes not in ((), (Scope.ADMIN,)),
    "administrator": lambda requirement: bool(requirement.scopes),
}
"""Who asks, and what they are not sent away from before anything of the request is read."""
THOROUGH = ("program", "visitor", "administrator")


@schemathesis.deserializer("text/event-stream")
def _read_stream(_: Any, answer: Any) -> str:
    """OpenAPI 3.1 describes a stream as one text; schemathesis would check each event."""
    return str(answer.text)


@dataclass
class Site:
    """A served API, what it knows, and who asks."""

    url: str
    credentials: dict[str, str | None]
    session: requests.Session = field(default_factory=requests.Session)
    turn: Iterator[int] = field(default_factory=itertools.count)
    files: dict[str, str] = field(default_factory=dict)
    """One of each sender, who may have 20 that no message has."""

    def ask(self, who: str, method: str, path: str, **content: Any) -> Any:
        """What the API answers somebody."""
        answer = self.session.request(method, self.url + path, headers=self.headers(who), timeout=20, **content)
        answer.raise_for_status()
        return answer.json()

    def headers(self, who: str) -> dict[str, str]:
        """What somebody presents."""
        text = self.credentials[who]
        return {} if text is None else {"Authorization": f"Bearer {text}"}

    def make_real(self, case: Case[Any], who: str) -> None:
        """Let every other request name things that there are: made-up ids lead nowhere."""
        if next(self.turn) % 2 or ParameterLocation.PATH in wrong_places(case):
            return
        owner = who if who in ("visitor", "customer") else "administrator"
        if "agent" in case.path_parameters:
            case.path_parameters["agent"] = "travel"
        if "model" in case.path_parameters:
            case.path_parameters["model"] = "travel"
        if "apiKeyId" in case.path_parameters:
            made = {"kind": "pk", "name": "x", "agents": ["travel"]}
            case.path_parameters["apiKeyId"] = self.ask("administrator", "POST", "/v1/api-keys", json=made)["id"]
        if "conversationId" in case.path_parameters:
            conversation = self.ask(owner, "POST", "/v1/agents/travel/conversations")["id"]
            case.path_parameters["conversationId"] = conversation
            if "messageId" in case.path_parameters:
                path = f"/v1/conversations/{conversation}/messages"
                reply = self.ask(owner, "POST", path, json={"content": "Hi"})["message"]["id"]
                case.path_parameters["messageId"] = reply
        if "fileId" in case.path_parameters:
            self._name_file(case, owner)
        if "knowledgeBase" in case.path_parameters:
            case.path_parameters["knowledgeBase"] = "handbook"
        if "documentId" in case.path_parameters:
            path = "/v1/knowledge-bases/handbook/documents?name=notes.txt"
            case.path_parameters["documentId"] = self.ask("administrator", "POST", path, data=b"Gate 12")["id"]
        if "webhookId" in case.path_parameters:
            self._name_webhook(case)

    def file_of(self, owner: str) -> str:
        """The file of a sender, or another one where it was deleted."""
        known = self.files.get(owner)
        if known is None or not self.session.get(f"{self.url}/v1/files/{known}", headers=self.headers(owner)).ok:
            self.files[owner] = self.ask(owner, "POST", "/v1/files?name=notes.txt", data=b"Gate 12")["id"]
        return self.files[owner]

    def _name_file(self, case: Case[Any], owner: str) -> None:
        """A file, and where a link is followed one that leads to it."""
        file = self.file_of(owner)
        case.path_parameters["fileId"] = file
        if case.operation.path.endswith("linked-content") and ParameterLocation.QUERY not in wrong_places(case):
            url = self.ask(owner, "POST", f"/v1/files/{file}/links")["url"]
            case.query = dict(parse_qsl(urlsplit(url).query))

    def _name_webhook(self, case: Case[Any]) -> None:
        """A webhook, in the place of those before, of which there can be 20; and something that it was told."""
        for one in self.ask("administrator", "GET", "/v1/webhooks")["items"]:
            self.session.delete(f"{self.url}/v1/webhooks/{one['id']}", headers=self.headers("administrator"))
        made = self.ask("administrator", "POST", "/v1/webhooks", json={"url": "https://hooks.acme.example/"})["id"]
        case.path_parameters["webhookId"] = made
        if "deliveryId" in case.path_parameters:
            told = self.ask("administrator", "POST", f"/v1/webhooks/{made}/test")["id"]
            case.path_parameters["deliveryId"] = told


class Served:
    """The app with what it stands on, which begins and ends on the event loop of the server."""

    def __init__(self, database: Database, redis_server: RedisServer, folder: Path) -> None:
        self._lifespan = Starlette(lifespan=lambda _: self._run(database, redis_server, folder))
        self._app: FastAPI | None = None
        self.tenant_id: TenantId | None = None

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        app = self._lifespan if scope["type"] == "lifespan" else self._app
        assert app is not None
        await app(scope, receive, send)

    @asynccontextmanager
    async def _run(self, database: Database, redis_server: RedisServer, folder: Path) -> AsyncIterator[None]:
        key_sets = FakeKeySets()
        key_sets.published[JWKS_URL] = key_set()
        agents = FakeCatalogue(make_agent(access=Access.PUBLIC, greeting="Hello!"), tenant=make_tenant())
        agents.knowledge_bases["handbook"] = make_knowledge_base()
        site = await make_site(database, redis_server, folder)
        async with open_pod(site.tenant_id, site.stores_dir, agents=agents, key_sets=key_sets) as pod:
            limits = replace(pod.services.limits, follow_seconds=0.05)
            self._app, self.tenant_id = build_public_app(replace(pod.services, limits=limits)), site.tenant_id
            yield


@pytest.fixture(scope="module")
def site(database: Database, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The API."""
    logs_before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    folder = tmp_path_factory.mktemp("stores")
    app = Served(database, redis_server, folder)
    with serving(app, lifespan=True) as url:
        assert app.tenant_id is not None
        made: dict[str, str | None] = {
            "nobody": None,
            "customer": sign(),
            "member": sign(app_metadata={"role": "member"}),
        }
        for who, scopes in (
            ("administrator", {Scope.ADMIN}),
            ("program", {Scope.CHAT}),
            ("reader", {Scope.AGENTS_READ}),
        ):
            key = ApiKey.generate(KeyKind.SECRET)
            stored = make_stored_key(key, scopes=frozenset(scopes))
            asyncio.run(insert_api_key(database, app.tenant_id, stored))
            made[who] = key.text
        key = ApiKey.generate(KeyKind.PUBLISHABLE)
        asyncio.run(insert_api_key(database, app.tenant_id, make_publishable_key(key)))
        made["page"] = key.text
        headers = {"Authorization": f"Bearer {key.text}"}
        made["visitor"] = httpx.post(f"{url}/v1/visitor-tokens", headers=headers, timeout=20).json()["visitorToken"]
        site = Site(url, made)
        for owner in ("visitor", "customer"):
            site.file_of(owner)
        yield site
        site.session.close()
    structlog.configure(**logs_before)


def wrong_places(case: Case[Any]) -> set[ParameterLocation]:
    """Where the request is wrong on purpose."""
    assert case.meta is not None
    return {place for place, made in case.meta.components.items() if made.mode is GenerationMode.NEGATIVE}


def checks_of(case: Case[Any], status: int) -> list[Any]:
    """What is checked of an answer.

    Headers that are wrong on purpose are partly replaced by right ones, and bytes are never wrong. That a body is too large
    is a refusal, too, which schemathesis does not know.
    """
    right = {ParameterLocation.HEADER, ParameterLocation.COOKIE}
    if case.operation.definition.raw["operationId"] in UPLOADS:
        right.add(ParameterLocation.BODY)
    if wrong_places(case) - right and status != 413:
        return [*CHECKED, negative_data_rejection]
    return CHECKED


def check_status_is_described(case: Case[Any], status: int) -> None:
    """`default` stands for statuses that nobody thought of, so it does not count."""
    described = case.operation.definition.raw["responses"]
    assert str(status) in described or (status in (404, 405) and "%2F" in case.formatted_path), (
        f"{status} is not described"
    )


@pytest.mark.parametrize("operation_id", OPERATIONS)
@pytest.mark.parametrize("who", MAY_CALL)
def test_api_keeps_to_its_description(site: Site, who: str, operation_id: str) -> None:
    operation = OPERATIONS[operation_id]
    is_let_in = MAY_CALL[who](PERMISSIONS[operation_id])
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @(seed if os.environ.get("SYNTERA_FUZZ_RANDOM") is None else _no_seed)(7)
        @settings(
            max_examples=(MANY if is_let_in and who in THOROUGH else FEW) * FACTOR,
            database=None,
            phases=[Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            if is_let_in:
                site.make_real(case, who)
            answer = case.call(base_url=site.url, headers=site.headers(who), session=site.session, timeout=20)
            case.validate_response(answer, checks=checks_of(case, answer.status_code))
            check_status_is_described(case, answer.status_code)

        ask()


def _no_seed(_: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return lambda test: test


@pytest.mark.parametrize(
    ("operation_id", "name"), [(operation, name) for operation, named in REQUESTS.items() for name in named]
)
def test_example_of_a_request_is_understood(site: Site, operation_id: str, name: str) -> None:
    """Ids and tokens of examples are made up: what they name may not be there."""
    operation = OPERATIONS[operation_id]
    made = site.ask("administrator", "POST", "/v1/agents/travel/conversations")["id"]
    path = operation.path.format(
        agent="travel",
        conversationId=made,
        messageId=made,
        fileId=made,
        webhookId=made,
        knowledgeBase="handbook",
    )
    who = "page" if operation_id == "createVisitorToken" else "administrator"
    sent: dict[str, Any] = {"json": REQUESTS[operation_id][name]}
    if operation_id in UPLOADS:
        sent = {"data": REQUESTS[operation_id][name].encode(), "params": {"name": PARAMETERS["name"]}}
    answer = site.session.request(operation.method, site.url + path, headers=site.headers(who), timeout=20, **sent)
    assert answer.status_code in (200, 201, 401, 404, 409), answer.text
    assert answer.status_code != 409 or answer.json()["code"] == "knowledge-base-not-ready"
    assert answer.status_code != 401 or operation_id == "createVisitorToken"
