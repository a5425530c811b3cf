"""What was published for this runtime."""

from collections.abc import Sequence
from typing import Protocol

from syntera_crds.contract.agent_config import AgentConfig, SecretKey
from syntera_crds.contract.internal_api import LoadedAgent
from syntera_crds.contract.tenant_config import TenantConfig


class AgentCatalogue(Protocol):
    """The agents that this process serves, as last published. No I/O: a snapshot that is swapped atomically."""

    @property
    def is_loaded(self) -> bool:
        """Whether the configuration has been read once, be it empty."""
        ...

    def get(self, name: str) -> AgentConfig | None:
        """The agent of that name, or None if there is none."""
        ...

    def all(self) -> Sequence[AgentConfig]:
        """All agents, by name."""
        ...


class TenantCatalogue(Protocol):
    """What the tenant itself says, as last published: whom to trust, which websites may call. No I/O."""

    def tenant(self) -> TenantConfig | None:
        """The tenant's configuration, or None while there is none: then nobody signs in and no website may call."""
        ...


class LoadedAgents(Protocol):
    """Which revisions are served, for the operator that asks."""

    def loaded(self, agent: str) -> LoadedAgent | None:
        """What is served for an agent now."""
        ...

    async def wait_loaded(self, agent: str, *, digest: str, seconds: float) -> LoadedAgent | None:
        """What is served for an agent as soon as it is `digest`, else what is served after that many seconds."""
        ...


class Secrets(Protocol):
    """Values of the Secrets that agents refer to, as last seen."""

    def value(self, ref: SecretKey) -> str:
        """The value.

        Raises:
            SecretMissing: The Secret or its entry is not there.
        """
        ...
