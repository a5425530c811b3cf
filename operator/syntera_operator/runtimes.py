"""Asks runtime pods what they serve, over their internal port. Signatures first; the body follows."""

from uuid import UUID

from syntera_crds.contract.internal_api import LoadedAgent


class Runtimes:
    """The internal API of all tenants' runtimes."""

    async def loaded(
        self, pod_ip: str, tenant_id: UUID, agent: str, *, digest: str, wait_seconds: float
    ) -> LoadedAgent | None:
        """What a pod serves for an agent, as soon as it is `digest`, else after `wait_seconds`; None: it serves none.

        Raises:
            RuntimeUnreachable: the pod did not answer, or not as agreed.
        """
        raise NotImplementedError
