"""How a model is reached at one of the Tenant's endpoints, for whoever asks one: agents, knowledge bases, syncs."""

from collections.abc import Mapping
from dataclasses import dataclass

from syntera_crds.contract.agent_config import EndpointAccess, HeaderFromSecret, ModelAccess, ModelPrice, SecretKey
from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import ConfigMapKeyRef, SecretKeyRef
from syntera_crds.v1alpha1.tenant import ModelEndpoint


class EndpointMissing(LookupError):
    """A spec names a model endpoint that the Tenant does not have; the message says which and how to mend it."""


class ModelMissing(LookupError):
    """Neither a spec nor the endpoint names a model for what is wanted; the message says how to mend it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One model to ask, at one of the Tenant's endpoints."""

    endpoint: ModelEndpoint
    model: str


def find_endpoint(tenant: Tenant, name: str, *, field: str) -> ModelEndpoint:
    """The endpoint of that name, which stands in `field`.

    Raises:
        EndpointMissing: there is none.
    """
    require_endpoints(tenant)
    found = next((endpoint for endpoint in tenant.spec.models if endpoint.name == name), None)
    if found is None:
        known = ", ".join(repr(endpoint.name) for endpoint in tenant.spec.models)
        raise EndpointMissing(
            f"{field}: Tenant {tenant.metadata.name!r} has no model endpoint {name!r}; name one of {known}, or add it to"
            " the Tenant's spec.models"
        )
    return found


def require_endpoints(tenant: Tenant) -> None:
    """Do nothing if the Tenant has an endpoint.

    Raises:
        EndpointMissing: it has none.
    """
    if not tenant.spec.models:
        raise EndpointMissing(f"Tenant {tenant.metadata.name!r} has no model endpoint; add one to its spec.models")


def build_access(choice: Choice, tenant: Tenant, bundles: Mapping[ConfigMapKeyRef, str]) -> ModelAccess:
    """How the chosen model is reached; `bundles` holds the CA certificates of the endpoints that have some."""
    return ModelAccess(
        **dict(build_endpoint_access(choice.endpoint, bundles)),
        model=choice.model,
        price=_build_price(tenant, choice),
    )


def build_endpoint_access(endpoint: ModelEndpoint, bundles: Mapping[ConfigMapKeyRef, str]) -> EndpointAccess:
    """How an endpoint is reached; `bundles` holds the CA certificates of the endpoints that have some."""
    bundle = endpoint.ca_bundle_config_map_ref
    return EndpointAccess(
        endpoint=endpoint.name,
        base_url=endpoint.base_url,
        timeout_seconds=endpoint.timeout_seconds,
        api_key=None if endpoint.api_key_secret_ref is None else build_secret_key(endpoint.api_key_secret_ref),
        headers={header.name: header.value for header in endpoint.headers if header.value is not None},
        headers_from=[
            HeaderFromSecret(name=header.name, secret=build_secret_key(header.secret_key_ref))
            for header in endpoint.headers
            if header.secret_key_ref is not None
        ],
        ca_bundle=None if bundle is None else bundles[bundle],
        proxy_url=endpoint.proxy_url,
    )


def build_secret_key(ref: SecretKeyRef) -> SecretKey:
    """The published form of a reference."""
    return SecretKey(name=ref.name, key=ref.key)


def _build_price(tenant: Tenant, choice: Choice) -> ModelPrice | None:
    stated = next((price for price in choice.endpoint.prices if price.model == choice.model), None)
    if stated is None or tenant.spec.currency is None:
        return None
    return ModelPrice(
        currency=tenant.spec.currency,
        input_per_million_tokens=stated.input_per_million_tokens,
        output_per_million_tokens=stated.output_per_million_tokens,
    )
