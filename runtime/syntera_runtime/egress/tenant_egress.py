"""Where the tenant's runtime may connect to, as its Tenant was last published."""

from syntera_crds.contract.tenant_config import TenantConfig

from ..ports.configuration import TenantCatalogue
from .targets import EgressPolicy


class TenantEgress:
    """Gives the policy of the moment."""

    def __init__(self, catalogue: TenantCatalogue) -> None:
        self._catalogue = catalogue
        self._read: tuple[TenantConfig | None, EgressPolicy] = (None, EgressPolicy())

    def policy(self) -> EgressPolicy:
        """What is allowed now; without a published Tenant public hosts alone."""
        tenant = self._catalogue.tenant()
        if tenant is not self._read[0]:
            made = EgressPolicy() if tenant is None else EgressPolicy.of(tenant.egress.hosts, tenant.egress.networks)
            self._read = (tenant, made)
        return self._read[1]
