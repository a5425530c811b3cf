"""Makers of what runtime tests need, everything defaulted."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from syntera_crds.contract import api_key
from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.chat.completions import Completions
from syntera_runtime.chat.conversations import Conversations
from syntera_runtime.chat.runner import TurnLimits, TurnRunner
from syntera_runtime.identity import Authenticator
from syntera_runtime.ids import new_id
from syntera_runtime.metrics import Metrics
from syntera_runtime.models import (
    ApiKeyId,
    ConversationId,
    Message,
    MessageId,
    MessageState,
    Role,
    StoredApiKey,
    TenantId,
    TurnId,
)
from syntera_runtime.ports import ApiKeyStore, ChatModels, ConversationStore, TurnStore
from syntera_runtime.services import ApiLimits, Lifecycle, Services
from tests.runtime.fakes import FakeCatalogue, FakeChatModels, FakeOperatorTokens

TENANT = TenantId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
CONVERSATION = ConversationId(UUID("01890a5d-ac96-774b-bcce-b302099a8058"))
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def make_candidate(**changes: Any) -> ModelCandidate:
    """A model to ask."""
    fields: dict[str, Any] = {
        "endpoint": "stand-in",
        "base_url": "http://models.example/v1",
        "model": "stand-in-echo",
        "timeout_seconds": 10,
    }
    return ModelCandidate(**{**fields, **changes})


def make_agent(**changes: Any) -> AgentConfig:
    """A published agent."""
    fields: dict[str, Any] = {
        "name": "travel",
        "uid": "5d1f4a52-0000-4000-8000-000000000001",
        "revision": 3,
        "display_name": "Travel assistant",
        "description": "Answers questions on bookings",
        "instructions": "You help travellers.",
        "models": [make_candidate()],
    }
    return AgentConfig(**{**fields, **changes})


def make_message(content: str = "Hi", **changes: Any) -> Message:
    """A message of a conversation, made by a turn unless `turn_id` says otherwise."""
    fields: dict[str, Any] = {
        "id": MessageId(new_id()),
        "conversation_id": CONVERSATION,
        "role": Role.USER,
        "created_at": NOON,
        "state": MessageState.COMPLETE,
        "turn_id": TurnId(CONVERSATION),
    }
    return Message(content=content, **{**fields, **changes})


def make_stored_key(key: ApiKey, **changes: Any) -> StoredApiKey:
    """What is stored of `key`."""
    fields: dict[str, Any] = {
        "id": ApiKeyId(uuid4()),
        "kind": key.kind,
        "lookup": key.lookup,
        "hash": key.hash,
        "scopes": frozenset({Scope.CHAT, Scope.AGENTS_READ}),
    }
    return StoredApiKey(**{**fields, **changes})


def put_key(store: MemoryStore, tenant_id: TenantId = TENANT, **changes: Any) -> str:
    """Store a new key of a tenant and give its text."""
    key = ApiKey.generate(KeyKind.SECRET)
    store.put_api_key(tenant_id, make_stored_key(key, **changes))
    return key.text


def make_services(
    store: Any = None,
    *,
    tenant_id: TenantId = TENANT,
    keys: ApiKeyStore | None = None,
    conversations: ConversationStore | None = None,
    turns: TurnStore | None = None,
    models: ChatModels | None = None,
    agents: FakeCatalogue | None = None,
    body_seconds: float = 5,
    ping_seconds: float = 5,
    turn_seconds: float = 30,
    lease_seconds: float = 30,
) -> Services:
    """The services on top of a store that is all three, or of three stores."""
    store = MemoryStore() if store is None else store
    agents = FakeCatalogue(make_agent()) if agents is None else agents
    models = FakeChatModels() if models is None else models
    conversations, turns = conversations or store, turns or store
    metrics = Metrics()
    limits = TurnLimits(turn_seconds=turn_seconds, lease=timedelta(seconds=lease_seconds))
    runner = TurnRunner(turns, limits=limits, metrics=metrics)
    return Services(
        agents=agents,
        loaded_agents=agents,
        operator_tokens=FakeOperatorTokens(),
        authenticator=Authenticator(keys or store, tenant_id),
        conversations=Conversations(
            agents=agents, conversations=conversations, turns=turns, models=models, runner=runner
        ),
        completions=Completions(agents=agents, turns=turns, models=models, runner=runner),
        runner=runner,
        metrics=metrics,
        limits=ApiLimits(body_bytes=64 * 1024, body_seconds=body_seconds, ping_seconds=ping_seconds),
        lifecycle=Lifecycle(),
    )


def resign(text: str) -> str:
    """A key with its checksum made right again: whoever forges one can do that, the checksum is no secret."""
    start = text[:-6]
    return start + api_key._checksum(start)
