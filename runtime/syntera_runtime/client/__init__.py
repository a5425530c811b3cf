"""The Python client of a tenant's API: typed, asynchronous, with streams that survive cuts.

It needs the extra `client` alone and imports nothing of the server.
"""

from .calls import Credentials, Location
from .client import Client
from .errors import (
    AgentNotFound,
    ApiError,
    ClientError,
    Conflict,
    ConnectionFailed,
    ConversationBusy,
    ConversationEnded,
    ConversationNotFound,
    Forbidden,
    InvalidRequest,
    MessageNotFound,
    NotFound,
    RateLimited,
    ReplyFailed,
    ReplyLost,
    RevisionMismatch,
    ServerError,
    StoreUnavailable,
    Unauthenticated,
    UnexpectedAnswer,
)
from .events import (
    Event,
    MessageCitation,
    MessageCompleted,
    MessageDelta,
    MessageFailed,
    MessageRetrieval,
    MessageSnapshot,
    MessageStarted,
    MessageStopped,
    TurnUsage,
    UnknownEvent,
)
from .knowledge import KnowledgeBases
from .retries import Retries

__all__ = [
    "AgentNotFound",
    "ApiError",
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionFailed",
    "ConversationBusy",
    "ConversationEnded",
    "ConversationNotFound",
    "Credentials",
    "Event",
    "Forbidden",
    "InvalidRequest",
    "KnowledgeBases",
    "Location",
    "MessageCitation",
    "MessageCompleted",
    "MessageDelta",
    "MessageFailed",
    "MessageNotFound",
    "MessageRetrieval",
    "MessageSnapshot",
    "MessageStarted",
    "MessageStopped",
    "NotFound",
    "RateLimited",
    "ReplyFailed",
    "ReplyLost",
    "Retries",
    "RevisionMismatch",
    "ServerError",
    "StoreUnavailable",
    "TurnUsage",
    "Unauthenticated",
    "UnexpectedAnswer",
    "UnknownEvent",
]
