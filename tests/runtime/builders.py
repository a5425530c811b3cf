"""Makers of what runtime tests need, everything defaulted."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from socketio import AsyncManager

from syntera_crds.contract import api_key
from syntera_crds.contract.agent_config import AgentConfig, ModelCandidate
from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_crds.contract.knowledge_config import (
    EmbeddingModel,
    InlineSource,
    KnowledgeBaseConfig,
    Source,
    UploadSource,
)
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_audit import MemoryAuditLog
from syntera_runtime.adapters.memory_events import MemoryEventLog, MemoryTurnRegister
from syntera_runtime.adapters.memory_files import MemoryBlobs
from syntera_runtime.adapters.memory_presence import MemoryPresence
from syntera_runtime.adapters.memory_rate_limits import MemoryRateLimits
from syntera_runtime.adapters.memory_webhooks import MemoryWebhooks
from syntera_runtime.chat.attachments import AttachmentReader
from syntera_runtime.chat.changes import Changes
from syntera_runtime.chat.completions import Completions
from syntera_runtime.chat.conversations import Conversations
from syntera_runtime.chat.event_writers import EventWriters
from syntera_runtime.chat.followers import Followers
from syntera_runtime.chat.grounding import Groundings
from syntera_runtime.chat.management import ConversationManagement
from syntera_runtime.chat.runner import TurnLimits, TurnRunner
from syntera_runtime.chat.sweeper import Sweeper
from syntera_runtime.egress.tenant_egress import TenantEgress
from syntera_runtime.fair_use.rate_limiter import RateLimiter
from syntera_runtime.fair_use.stream_slots import StreamSlots
from syntera_runtime.files.links import FileLinks
from syntera_runtime.files.service import Files
from syntera_runtime.identity.parts import Identity, build_identity
from syntera_runtime.identity.session_watch import SessionWatch
from syntera_runtime.ids import new_id
from syntera_runtime.knowledge.holdings import Holdings
from syntera_runtime.knowledge.lookup import Lookup
from syntera_runtime.knowledge.management import KnowledgeManagement, Searches
from syntera_runtime.knowledge.search import Searcher
from syntera_runtime.knowledge.uploads import DocumentUploads
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.conversations import Message, MessageState, Role
from syntera_runtime.models.files import Storage
from syntera_runtime.models.identity import KeyMaker, Principal, StoredApiKey
from syntera_runtime.models.ids import ApiKeyId, ConversationId, DocumentId, MessageId, TenantId, TurnId
from syntera_runtime.models.knowledge import Citation, KnowledgeSearch, Retrieval
from syntera_runtime.ports.audit import AuditLog
from syntera_runtime.ports.chat_models import ChatModels
from syntera_runtime.ports.configuration import Secrets
from syntera_runtime.ports.conversations import ConversationDirectory, ConversationEditor, ConversationStore
from syntera_runtime.ports.files import BlobStore, FileStore
from syntera_runtime.ports.identity import ChallengeVerifier, KeySets, SigningKey
from syntera_runtime.ports.knowledge import KnowledgeEditor, KnowledgeReader
from syntera_runtime.ports.limits import RateLimits
from syntera_runtime.ports.live_events import EventLog
from syntera_runtime.ports.presence import PresenceRegister
from syntera_runtime.ports.turns import TurnRegister, TurnStore
from syntera_runtime.ports.usage import UsageStore
from syntera_runtime.ports.webhooks import DeliveryStore, WebhookStore
from syntera_runtime.services import ApiLimits, Lifecycle, Services
from syntera_runtime.tracing import NO_TRACER, Tracer
from syntera_runtime.usage.budgets import Budgets
from syntera_runtime.usage.reports import UsageReports
from syntera_runtime.webhooks.management import WebhookManagement
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.fakes import (
    FakeCatalogue,
    FakeChallenges,
    FakeChatModels,
    FakeKeySets,
    FakeOperatorTokens,
    FakeSigningKey,
)
from tests.runtime.knowledge_fakes import make_site

TENANT = TenantId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
CONVERSATION = ConversationId(UUID("01890a5d-ac96-774b-bcce-b302099a8058"))
ASKER = Principal(
    tenant_id=TENANT, subject=f"key:{CONVERSATION}", scopes=frozenset({"chat"}), key_id=ApiKeyId(CONVERSATION)
)
"""Holds a secret key that may chat."""
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


def make_knowledge_base(**changes: Any) -> KnowledgeBaseConfig:
    """A published knowledge base with a text of its own, and uploads."""
    fields: dict[str, Any] = {
        "name": "handbook",
        "uid": "5d1f4a52-0000-4000-8000-000000000002",
        "revision": 4,
        "sources": [
            Source(name="docs", inline=InlineSource(title="Baggage", text="One cabin bag of 8 kg.")),
            Source(name="uploads", tags=["manual"], upload=UploadSource(max_file_megabytes=1)),
        ],
        "embedding": EmbeddingModel(
            endpoint="stand-in",
            base_url="http://models.example/v1",
            model="stand-in-embed",
            timeout_seconds=10,
            dimensions=4,
        ),
    }
    return KnowledgeBaseConfig(**{**fields, **changes})


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


def make_citation(number: int = 1, **changes: Any) -> Citation:
    """What a number in an answer stands for."""
    fields: dict[str, Any] = {
        "knowledge_base": "handbook",
        "document_id": DocumentId(CONVERSATION),
        "title": "The desk",
        "source": "docs",
        "path": "desk.md",
        "url": "https://docs.example/desk",
        "headings": ("Hours", "Sundays"),
        "page": 3,
        "last_page": 4,
        "start": 120,
        "end": 260,
        "quote": "On Sundays the desk opens at ten.",
    }
    return Citation(number, **{**fields, **changes})


def make_retrieval(**changes: Any) -> Retrieval:
    """What was looked up: one knowledge base answered, the other did not in time."""
    searches = (KnowledgeSearch("a", 2, 0.25), KnowledgeSearch("b", 0, 5.0, "search-timed-out"))
    return replace(Retrieval(searches, passages=2, seconds=5.0), **changes)


def make_stored_key(key: ApiKey, **changes: Any) -> StoredApiKey:
    """What is stored of `key`."""
    fields: dict[str, Any] = {
        "id": ApiKeyId(new_id()),
        "kind": key.kind,
        "lookup": key.lookup,
        "hash": key.hash,
        "scopes": frozenset({Scope.CHAT, Scope.AGENTS_READ}),
    }
    return StoredApiKey(**{**fields, **changes})


def make_publishable_key(key: ApiKey, **changes: Any) -> StoredApiKey:
    """What is stored of the publishable `key`, for the agent `travel`."""
    return make_stored_key(key, **{"scopes": frozenset(), "agents": frozenset({"travel"}), **changes})


def put_key(store: MemoryStore, tenant_id: TenantId = TENANT, **changes: Any) -> str:
    """Store a new key of a tenant and give its text."""
    key = ApiKey.generate(KeyKind.SECRET)
    store.put_api_key(tenant_id, make_stored_key(key, **changes))
    return key.text


def put_publishable_key(store: MemoryStore, tenant_id: TenantId = TENANT, **changes: Any) -> str:
    """The same for a publishable key."""
    key = ApiKey.generate(KeyKind.PUBLISHABLE)
    store.put_api_key(tenant_id, make_publishable_key(key, **changes), made_by=KeyMaker.TENANT)
    return key.text


def make_identity(
    store: Any,
    tenant_id: TenantId = TENANT,
    *,
    catalogue: FakeCatalogue | None = None,
    contacts: Any = None,
    signing_key: SigningKey | None = None,
    key_sets: KeySets | None = None,
    secrets: Secrets | None = None,
    challenge_verifier: ChallengeVerifier | None = None,
    metrics: Metrics | None = None,
) -> Identity:
    """What tells who asks, on a store that has keys and contacts, or on two stores."""
    return build_identity(
        tenant_id,
        catalogue=catalogue or FakeCatalogue(),
        keys=store,
        register=store,
        contacts=contacts or store,
        signing_key=signing_key or FakeSigningKey(),
        key_sets=key_sets or FakeKeySets(),
        secrets=secrets or FixedSecrets({}),
        challenge_verifier=challenge_verifier or FakeChallenges(),
        metrics=metrics or Metrics(),
    )


def make_services(
    store: Any = None,
    *,
    tenant_id: TenantId = TENANT,
    keys: Any = None,
    contacts: Any = None,
    conversations: ConversationStore | None = None,
    turns: TurnStore | None = None,
    directory: ConversationDirectory | None = None,
    editor: ConversationEditor | None = None,
    usage: UsageStore | None = None,
    events: EventLog | None = None,
    register: TurnRegister | None = None,
    rate_limits: RateLimits | None = None,
    audit: AuditLog | None = None,
    file_store: FileStore | None = None,
    blobs: Mapping[Storage, BlobStore] | None = None,
    knowledge_reader: KnowledgeReader | None = None,
    knowledge_editor: KnowledgeEditor | None = None,
    searches: Searches | None = None,
    models: ChatModels | None = None,
    agents: FakeCatalogue | None = None,
    body_seconds: float = 5,
    ping_seconds: float = 5,
    turn_seconds: float = 30,
    lease_seconds: float = 15,
    signing_key: SigningKey | None = None,
    key_sets: KeySets | None = None,
    secrets: Secrets | None = None,
    challenge_verifier: ChallengeVerifier | None = None,
    webhooks: WebhookStore | None = None,
    deliveries: DeliveryStore | None = None,
    tracer: Tracer = NO_TRACER,
    presence: PresenceRegister | None = None,
    open_socket_manager: Callable[[], AsyncManager] = AsyncManager,
    searcher: Searcher | None = None,
    search_seconds: float = 5,
) -> Services:
    """The services on top of a store that is all of them, or of several stores."""
    store = MemoryStore() if store is None else store
    agents = FakeCatalogue(make_agent()) if agents is None else agents
    models = FakeChatModels() if models is None else models
    conversations, turns = conversations or store, turns or store
    metrics = Metrics()
    identity = make_identity(
        keys or store,
        tenant_id,
        catalogue=agents,
        contacts=contacts or store,
        signing_key=signing_key,
        key_sets=key_sets,
        secrets=secrets,
        challenge_verifier=challenge_verifier,
        metrics=metrics,
    )
    budgets = Budgets(agents, metrics=metrics)
    kept_webhooks = store.webhooks if isinstance(store, MemoryStore) else MemoryWebhooks()
    egress = TenantEgress(agents)
    limits = TurnLimits(turn_seconds=turn_seconds, lease=timedelta(seconds=lease_seconds))
    events = MemoryEventLog() if events is None else events
    register = MemoryTurnRegister() if register is None else register
    runner = TurnRunner(turns, register, limits=limits, metrics=metrics, tracer=tracer)
    rate_limits = MemoryRateLimits() if rate_limits is None else rate_limits
    writers = EventWriters(events)
    sweeper = Sweeper(turns, register, events, metrics=metrics)
    changes = Changes()
    followers = Followers(tenant_id, events=events, conversations=conversations, turns=turns, on_stop=runner.stop)
    if searcher is None:
        site = make_site(tenant_id, metrics=metrics)
        site.configs.configs = agents.knowledge_bases
        searcher = site.searcher
    groundings = Groundings(Lookup(searcher), metrics=metrics, seconds=search_seconds)
    stored_files = file_store or store.files
    kept = blobs or {storage: MemoryBlobs() for storage in Storage}
    files = Files(stored_files, kept, agents)
    kept_knowledge = store.knowledge if isinstance(store, MemoryStore) else MemoryStore().knowledge
    editor_of_knowledge = knowledge_editor or kept_knowledge.editor
    holdings = Holdings(agents, knowledge_reader or kept_knowledge.reader)
    return Services(
        agents=agents,
        loaded_agents=agents,
        operator_tokens=FakeOperatorTokens(),
        authenticator=identity.authenticator,
        session_watch=SessionWatch(identity.authenticator),
        key_management=identity.key_management,
        audit=audit or MemoryAuditLog(),
        visitors=identity.visitors,
        origins=identity.origins,
        changes=changes,
        conversations=Conversations(
            agents=agents,
            conversations=conversations,
            turns=turns,
            models=models,
            runner=runner,
            events=events,
            writers=writers,
            followers=followers,
            sweeper=sweeper,
            budgets=budgets,
            groundings=groundings,
            attachments=AttachmentReader(stored_files, files),
            changes=changes,
        ),
        management=ConversationManagement(
            conversations=conversations,
            directory=directory or store,
            editor=editor or store,
            sweeper=sweeper,
            events=events,
            changes=changes,
        ),
        completions=Completions(
            agents=agents, turns=turns, models=models, runner=runner, budgets=budgets, groundings=groundings
        ),
        usage=UsageReports(usage or store, conversations, agents=agents, budgets=budgets),
        files=files,
        file_links=FileLinks(tenant_id, identity.derived_keys.of_file_links),
        knowledge=KnowledgeManagement(holdings, editor_of_knowledge, searches or searcher),
        knowledge_uploads=DocumentUploads(holdings, editor_of_knowledge, files),
        runner=runner,
        writers=writers,
        followers=followers,
        rate_limiter=RateLimiter(rate_limits, agents, tenant_id, metrics=metrics),
        stream_slots=StreamSlots(rate_limits, agents, tenant_id, metrics=metrics),
        webhooks=WebhookManagement(
            webhooks or kept_webhooks, deliveries or kept_webhooks, identity.derived_keys, policy=egress.policy
        ),
        presence=presence or MemoryPresence(),
        open_socket_manager=open_socket_manager,
        metrics=metrics,
        limits=ApiLimits(body_bytes=64 * 1024, body_seconds=body_seconds, ping_seconds=ping_seconds),
        lifecycle=Lifecycle(),
        tracer=tracer,
    )


def resign(text: str) -> str:
    """A key with its checksum made right again: whoever forges one can do that, the checksum is no secret."""
    start = text[:-6]
    return start + api_key._checksum(start)
