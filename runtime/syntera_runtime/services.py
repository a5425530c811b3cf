"""What the API works with: the use cases and the few parts that it asks directly. Built by `context.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chat.changes import Changes
from .chat.completions import Completions
from .chat.conversations import Conversations
from .chat.event_writers import EventWriters
from .chat.followers import Followers
from .chat.management import ConversationManagement
from .chat.runner import TurnRunner
from .fair_use.rate_limiter import RateLimiter
from .fair_use.stream_slots import StreamSlots
from .files.links import FileLinks
from .files.service import Files
from .identity.authenticator import Authenticator
from .identity.key_management import KeyManagement
from .identity.origins import Origins
from .identity.session_watch import SessionWatch
from .identity.visitors import Visitors
from .knowledge.management import KnowledgeManagement
from .knowledge.uploads import DocumentUploads
from .metrics import Metrics
from .ports.audit import AuditLog
from .ports.configuration import AgentCatalogue, LoadedAgents
from .ports.identity import OperatorTokens
from .ports.presence import PresenceRegister
from .tracing import NO_TRACER, Tracer
from .usage.reports import UsageReports
from .webhooks.management import WebhookManagement

if TYPE_CHECKING:
    from socketio import AsyncManager


@dataclass(slots=True)
class Lifecycle:
    """Where the process is in its life."""

    is_draining: bool = False
    """The process is about to end: it still answers, but must get no new work."""


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """What a client may ask of the API."""

    body_bytes: int
    body_seconds: float
    ping_seconds: float
    follow_seconds: float = 60.0
    """How long a stream of a conversation's events lasts before its reader has to show credentials again."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the API."""

    agents: AgentCatalogue
    loaded_agents: LoadedAgents
    operator_tokens: OperatorTokens
    authenticator: Authenticator
    session_watch: SessionWatch
    key_management: KeyManagement
    audit: AuditLog
    visitors: Visitors
    origins: Origins
    changes: Changes
    conversations: Conversations
    management: ConversationManagement
    completions: Completions
    usage: UsageReports
    files: Files
    file_links: FileLinks
    knowledge: KnowledgeManagement
    knowledge_uploads: DocumentUploads
    runner: TurnRunner
    writers: EventWriters
    followers: Followers
    rate_limiter: RateLimiter
    stream_slots: StreamSlots
    webhooks: WebhookManagement
    presence: PresenceRegister
    open_socket_manager: "Callable[[], AsyncManager]"
    """Makes what sockets of several processes are told things by, for one Socket.IO server."""
    metrics: Metrics
    limits: ApiLimits
    lifecycle: Lifecycle
    tracer: Tracer = NO_TRACER

    @property
    def is_ready(self) -> bool:
        """Whether the process should get work. Stores that are away do not count: each request says so itself."""
        return self.agents.is_loaded and not self.lifecycle.is_draining
