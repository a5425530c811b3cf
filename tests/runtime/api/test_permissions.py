"""Who may call what: everybody who can ask, against every operation that there is."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from syntera_crds.contract.agent_config import Access
from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.app import build_public_app
from syntera_runtime.api.permissions import PERMISSIONS
from syntera_runtime.api.routing import ApiRoute, check_guarded
from tests.runtime.builders import make_agent, make_knowledge_base, make_services, put_key, put_publishable_key
from tests.runtime.fakes import FakeCatalogue, FakeKeySets
from tests.runtime.identity.issuer import JWKS_URL, key_set, make_tenant, sign

SOME_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
CALLS: dict[str, tuple[str, str, Any]] = {
    "listAgents": ("GET", "/v1/agents", None),
    "getAgent": ("GET", "/v1/agents/travel", None),
    "startConversation": ("POST", "/v1/agents/travel/conversations", {}),
    "getConversation": ("GET", f"/v1/conversations/{SOME_ID}", None),
    "sendMessage": ("POST", f"/v1/conversations/{SOME_ID}/messages", {"content": "Hi"}),
    "listMessages": ("GET", f"/v1/conversations/{SOME_ID}/messages", None),
    "followConversation": ("GET", f"/v1/conversations/{SOME_ID}/events", None),
    "stopTurn": ("POST", f"/v1/conversations/{SOME_ID}/stop", None),
    "putFeedback": ("PUT", f"/v1/conversations/{SOME_ID}/messages/{SOME_ID}/feedback", {"rating": "up"}),
    "deleteFeedback": ("DELETE", f"/v1/conversations/{SOME_ID}/messages/{SOME_ID}/feedback", None),
    "putMarks": ("PUT", f"/v1/conversations/{SOME_ID}/marks", {}),
    "listConversations": ("GET", "/v1/conversations", None),
    "exportConversation": ("GET", f"/v1/conversations/{SOME_ID}/export", None),
    "changeConversation": ("PATCH", f"/v1/conversations/{SOME_ID}", {"title": "x"}),
    "deleteConversation": ("DELETE", f"/v1/conversations/{SOME_ID}", None),
    "createFile": ("POST", "/v1/files?name=x", "a text"),
    "getFile": ("GET", f"/v1/files/{SOME_ID}", None),
    "getFileContent": ("GET", f"/v1/files/{SOME_ID}/content", None),
    "createFileLink": ("POST", f"/v1/files/{SOME_ID}/links", {}),
    "followFileLink": ("GET", f"/v1/files/{SOME_ID}/linked-content?disposition=inline&expires=1&signature=x", None),
    "deleteFile": ("DELETE", f"/v1/files/{SOME_ID}", None),
    "createChatCompletion": (
        "POST",
        "/v1/chat/completions",
        {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]},
    ),
    "listModels": ("GET", "/v1/models", None),
    "getModel": ("GET", "/v1/models/travel", None),
    "createVisitorToken": ("POST", "/v1/visitor-tokens", {}),
    "getUsage": ("GET", "/v1/usage", None),
    "getConversationUsage": ("GET", f"/v1/conversations/{SOME_ID}/usage", None),
    "createApiKey": ("POST", "/v1/api-keys", {"kind": "sk", "name": "x", "scopes": ["chat"]}),
    "listApiKeys": ("GET", "/v1/api-keys", None),
    "revokeApiKey": ("DELETE", f"/v1/api-keys/{SOME_ID}", None),
    "listActs": ("GET", "/v1/audit-log", None),
    "getIdentitySecret": ("GET", f"/v1/api-keys/{SOME_ID}/identity-secret", None),
    "listKnowledgeBases": ("GET", "/v1/knowledge-bases", None),
    "getKnowledgeBase": ("GET", "/v1/knowledge-bases/handbook", None),
    "listSyncs": ("GET", "/v1/knowledge-bases/handbook/syncs", None),
    "requestSync": ("POST", "/v1/knowledge-bases/handbook/syncs", None),
    "searchKnowledgeBase": ("POST", "/v1/knowledge-bases/handbook/search", {"question": "Hi"}),
    "listDocuments": ("GET", "/v1/knowledge-bases/handbook/documents", None),
    "createDocument": ("POST", "/v1/knowledge-bases/handbook/documents?name=x", "a text"),
    "getDocument": ("GET", f"/v1/knowledge-bases/handbook/documents/{SOME_ID}", None),
    "deleteDocument": ("DELETE", f"/v1/knowledge-bases/handbook/documents/{SOME_ID}", None),
    "reingestDocument": ("POST", f"/v1/knowledge-bases/handbook/documents/{SOME_ID}/reingest", None),
    "listChunks": ("GET", f"/v1/knowledge-bases/handbook/documents/{SOME_ID}/chunks", None),
    "createWebhook": ("POST", "/v1/webhooks", {"url": "https://hooks.example/"}),
    "listWebhooks": ("GET", "/v1/webhooks", None),
    "getWebhook": ("GET", f"/v1/webhooks/{SOME_ID}", None),
    "changeWebhook": ("PATCH", f"/v1/webhooks/{SOME_ID}", {"enabled": False}),
    "deleteWebhook": ("DELETE", f"/v1/webhooks/{SOME_ID}", None),
    "getWebhookSecret": ("GET", f"/v1/webhooks/{SOME_ID}/secret", None),
    "rotateWebhookSecret": ("POST", f"/v1/webhooks/{SOME_ID}/rotate-secret", None),
    "testWebhook": ("POST", f"/v1/webhooks/{SOME_ID}/test", None),
    "listDeliveries": ("GET", f"/v1/webhooks/{SOME_ID}/deliveries", None),
    "redeliver": ("POST", f"/v1/webhooks/{SOME_ID}/deliveries/{SOME_ID}/redeliver", None),
}

AGENTS = {"listAgents", "getAgent"}
READ_FILES = {"getFile", "getFileContent", "createFileLink"}
READ = {"getConversation", "listMessages", "followConversation"} | READ_FILES
SAY = {"startConversation", "sendMessage", "stopTurn", "createFile", "deleteFile"}
TALK = READ | SAY | {"putFeedback", "deleteFeedback", "putMarks"}
FIND = READ | {"listConversations", "exportConversation"}
EDIT = {"changeConversation", "deleteConversation"}
MODELS = {"listModels", "getModel"}
ADMINISTER = {"createApiKey", "listApiKeys", "revokeApiKey", "getIdentitySecret", "listActs"}
USAGE = {"getUsage", "getConversationUsage"}
HOOKS = {"createWebhook", "listWebhooks", "getWebhook", "changeWebhook", "deleteWebhook"}
HOOKS |= {"getWebhookSecret", "rotateWebhookSecret", "testWebhook", "listDeliveries", "redeliver"}
COMPLETIONS = {"createChatCompletion"}
LOOK_UP = {"listKnowledgeBases", "getKnowledgeBase", "listSyncs", "searchKnowledgeBase"}
LOOK_UP |= {"listDocuments", "getDocument", "listChunks"}
FILL = {"requestSync", "createDocument", "deleteDocument", "reingestDocument"}
STAFF = AGENTS | MODELS | TALK | FIND | EDIT | COMPLETIONS | USAGE | LOOK_UP | FILL

OPEN: dict[str, set[str]] = {
    "nobody": set(),
    "secret key: agents:read": AGENTS | MODELS,
    "secret key: chat": AGENTS | MODELS | TALK | COMPLETIONS,
    "secret key: conversations:read": FIND,
    "secret key: conversations:write": EDIT,
    "secret key: usage:read": USAGE,
    "secret key: knowledge:read": LOOK_UP,
    "secret key: knowledge:write": FILL,
    "secret key: admin": STAFF | ADMINISTER | HOOKS,
    "secret key: unknown": set(),
    "publishable key": {"createVisitorToken"},
    "visitor": AGENTS | TALK | FIND,
    "signed-in customer": AGENTS | TALK | FIND,
    "anonymous at the issuer": AGENTS | TALK | FIND,
    "role: member": STAFF,
    "role: admin": STAFF | ADMINISTER | HOOKS,
    "role: owner": STAFF | ADMINISTER | HOOKS,
    "role: superuser": AGENTS | TALK | FIND,
}
"""Whoever asks, and the operations that are open to them."""
SIGNED = {"followFileLink"}
"""Open to nobody by who they are."""
ALL = STAFF | ADMINISTER | HOOKS | SIGNED | {"createVisitorToken"}


@pytest.fixture
async def client(store: MemoryStore) -> AsyncIterator[httpx.AsyncClient]:
    """The API of a tenant that trusts an issuer."""
    key_sets = FakeKeySets()
    key_sets.published[JWKS_URL] = key_set()
    agents = FakeCatalogue(make_agent(access=Access.PUBLIC), tenant=make_tenant())
    agents.knowledge_bases["handbook"] = make_knowledge_base()
    services = make_services(store, agents=agents, key_sets=key_sets)
    transport = httpx.ASGITransport(app=build_public_app(services), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime") as client:
        yield client
    await services.runner.aclose()


async def credentials(who: str, client: httpx.AsyncClient, store: MemoryStore) -> str | None:
    """What `who` presents."""
    kind, _, detail = who.partition(": ")
    if kind == "visitor":
        headers = {"Authorization": f"Bearer {put_publishable_key(store)}"}
        token: str = (await client.post("/v1/visitor-tokens", headers=headers)).json()["visitorToken"]
        return token
    made: dict[str, Callable[[], str | None]] = {
        "nobody": lambda: None,
        "secret key": lambda: put_key(store, scopes=frozenset({detail})),
        "publishable key": lambda: put_publishable_key(store),
        "signed-in customer": sign,
        "anonymous at the issuer": lambda: sign(is_anonymous=True),
        "role": lambda: sign(app_metadata={"role": detail}),
    }
    return made[kind]()


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize("who", OPEN)
async def test_operation_is_open_to_whom_it_is_for(
    client: httpx.AsyncClient, store: MemoryStore, who: str, operation: str
) -> None:
    text = await credentials(who, client, store)
    method, path, body = CALLS[operation]
    headers = {} if text is None else {"Authorization": f"Bearer {text}"}
    answer = await client.request(method, path, json=body, headers=headers)
    is_open = operation in OPEN[who]
    assert (answer.status_code not in (401, 403)) == is_open, answer.text
    assert answer.status_code < 500
    if not is_open:
        assert answer.status_code == (401 if who == "nobody" and operation not in SIGNED else 403)
        # Decided before anything of the request was read.
        again = await client.request(method, path, content=b"not even JSON", headers=headers)
        assert again.status_code == answer.status_code


def test_matrix_knows_every_operation_and_every_scope() -> None:
    assert ALL == set(CALLS) == set(PERMISSIONS)
    assert {f"secret key: {scope}" for scope in Scope} <= OPEN.keys()


def test_every_operation_of_the_api_goes_through_the_table() -> None:
    app = build_public_app(make_services())
    described = {
        operation["operationId"] for methods in app.openapi()["paths"].values() for operation in methods.values()
    }
    assert described == set(PERMISSIONS)


def test_api_is_not_built_when_a_route_passes_the_table_by() -> None:
    router = APIRouter()
    router.add_api_route("/v1/open", lambda: None)
    with pytest.raises(LookupError, match="/v1/open"):
        check_guarded([router])


@pytest.mark.parametrize("operation_id", ["notInTheTable", None])
def test_operation_that_is_not_in_the_table_cannot_be_built(operation_id: str | None) -> None:
    router = APIRouter(route_class=ApiRoute)

    async def answer() -> None: ...

    with pytest.raises(LookupError, match="no entry in PERMISSIONS"):
        router.add_api_route("/v1/secrets", answer, operation_id=operation_id)
