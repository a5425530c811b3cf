"""A stand-in for the internal API of runtime pods, for tests of what a reconcile makes of their answers."""

from uuid import UUID

from syntera_crds.contract.internal_api import LoadedAgent
from syntera_operator.errors import RuntimeUnreachable
from syntera_operator.runtimes import Runtimes


class FakeRuntimes(Runtimes):
    """Pods by their address. A pod loads whatever it is asked for at once, unless it is `stuck` or `away`."""

    def __init__(self) -> None:
        self.stuck: set[str] = set()
        """Pods that keep what they had: nothing."""
        self.away: set[str] = set()
        self.waits: list[float] = []
        """How long each question allowed to wait, in seconds."""
        self.tenants: set[UUID] = set()

    async def loaded(
        self, pod_ip: str, tenant_id: UUID, agent: str, *, digest: str, wait_seconds: float
    ) -> LoadedAgent | None:
        self.waits.append(wait_seconds)
        self.tenants.add(tenant_id)
        if pod_ip in self.away:
            raise RuntimeUnreachable(f"pod {pod_ip} does not answer")
        if pod_ip in self.stuck:
            return None
        return LoadedAgent(name=agent, revision=1, digest=digest)
