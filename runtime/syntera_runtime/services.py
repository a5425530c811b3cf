"""What the API works with: the use cases and the few parts that it asks directly. Built by `context.py`."""

from dataclasses import dataclass

from .chat.completions import Completions
from .chat.conversations import Conversations
from .chat.runner import TurnRunner
from .identity import Authenticator
from .metrics import Metrics
from .ports import AgentCatalogue, LoadedAgents, OperatorTokens


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


@dataclass(frozen=True, slots=True)
class Services:
    """Everything behind the API."""

    agents: AgentCatalogue
    loaded_agents: LoadedAgents
    operator_tokens: OperatorTokens
    authenticator: Authenticator
    conversations: Conversations
    completions: Completions
    runner: TurnRunner
    metrics: Metrics
    limits: ApiLimits
    lifecycle: Lifecycle

    @property
    def is_ready(self) -> bool:
        """Whether the process should get work. Stores that are away do not count: each request says so itself."""
        return self.agents.is_loaded and not self.lifecycle.is_draining
