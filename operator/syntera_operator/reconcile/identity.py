"""A tenant's identity in the stores, and the Secrets that hold it. Each store may fail alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey
from syntera_crds.v1alpha1.common import ConditionType, Reason

from ..cluster import Cluster
from ..conditions import Check, Good, Outlook, Problem
from ..desired.credentials import build_admin_secret, build_stores_secret
from ..desired.metadata import Scope
from ..errors import StoreRefused, StoreUnavailable
from ..manifest import Manifest
from .context import Context

StoreError = StoreUnavailable | StoreRefused


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a tenant in the stores after trying."""

    tenant_id: UUID | None
    secrets: tuple[Manifest, ...]
    """What the cluster should hold; a store that failed keeps what it has."""
    is_complete: bool
    """Whether the tenant has a login in every store, so that a runtime can start."""
    checks: dict[ConditionType, Check]
    error: StoreError | None
    """Why a check failed, the first of several reasons."""


@dataclass(slots=True)
class _Holdings:
    """What a tenant holds, as far as it is known: first from the cluster, then from the stores."""

    tenant_id: UUID | None = None
    postgresql_url: str | None = None
    admin_key: ApiKey | None = None
    redis_url: str | None = None


async def ensure_identity(scope: Scope, *, tenant_uid: str, known_id: UUID | None, context: Context) -> Identity:
    """Make the tenant's identity, logins and first key, as far as the stores answer.

    `known_id` is the identity as the Tenant's status tells it: with it Redis can be looked after while PostgreSQL is away.

    Raises:
        NameTaken: a Secret of one of the operator's names is somebody else's.
        KubeError: the API server did not answer, or refused.
    """
    held = await _read_held(scope.namespace, cluster=context.cluster)
    held.tenant_id = known_id
    database_error = await _ensure_in_postgresql(scope, held, tenant_uid=tenant_uid, context=context)
    cache_error = await _ensure_in_redis(held, context=context)
    return Identity(
        tenant_id=held.tenant_id,
        secrets=tuple(_build_secrets(scope, held)),
        is_complete=held.postgresql_url is not None and held.redis_url is not None,
        checks={
            ConditionType.DATABASE_READY: _check(database_error, "The tenant's PostgreSQL login works."),
            ConditionType.CACHE_READY: _WAITS_FOR_IDENTITY
            if held.tenant_id is None
            else _check(cache_error, "The tenant's Redis user works."),
        },
        error=database_error or cache_error,
    )


def describe_store_error(error: StoreError) -> str:
    """What went wrong, and who has to do something about it."""
    if error.retryable:
        return f"{error}. The operator tries again; if it lasts, look after {error.store}."
    return f"{error}."


_WAITS_FOR_IDENTITY = Problem(
    Reason.PENDING, "Waits for the tenant's identity, which PostgreSQL keeps; see DatabaseReady."
)


async def _read_held(namespace: str, *, cluster: Cluster) -> _Holdings:
    stores = await cluster.own_secret(namespace, names.STORES_SECRET) or {}
    admin = await cluster.own_secret(namespace, names.ADMIN_SECRET) or {}
    return _Holdings(
        postgresql_url=stores.get(names.POSTGRESQL_URL_KEY) or None,
        redis_url=stores.get(names.REDIS_URL_KEY) or None,
        admin_key=ApiKey.parse(admin.get(names.ADMIN_API_KEY_KEY, "")),
    )


async def _ensure_in_postgresql(
    scope: Scope, held: _Holdings, *, tenant_uid: str, context: Context
) -> StoreError | None:
    """Bring `held` up to what PostgreSQL has; what stopped it, if something did."""
    stores, recent = context.stores, context.recent
    if held.postgresql_url and held.admin_key:
        found = recent.find(tenant_uid, held.postgresql_url, held.admin_key)
        if found is not None:
            held.tenant_id = found
            return None
    try:
        held.tenant_id = await stores.identify(scope.tenant)
        held.postgresql_url = await stores.ensure_database(held.tenant_id, current_url=held.postgresql_url)
        held.admin_key = await stores.ensure_admin_key(held.tenant_id, current=held.admin_key)
    except (StoreUnavailable, StoreRefused) as error:
        return error
    recent.remember(tenant_uid, held.postgresql_url, held.admin_key, held.tenant_id)
    return None


async def _ensure_in_redis(held: _Holdings, *, context: Context) -> StoreError | None:
    """The same for Redis, once it is known who the tenant is."""
    if held.tenant_id is None:
        return None
    try:
        held.redis_url = await context.stores.ensure_cache(held.tenant_id, current_url=held.redis_url)
    except (StoreUnavailable, StoreRefused) as error:
        return error
    return None


def _build_secrets(scope: Scope, held: _Holdings) -> Iterator[Manifest]:
    if held.postgresql_url or held.redis_url:
        yield build_stores_secret(scope, postgresql_url=held.postgresql_url, redis_url=held.redis_url)
    if held.admin_key:
        yield build_admin_secret(scope, key=held.admin_key)


def _check(error: StoreError | None, good: str) -> Check:
    if error is None:
        return Good(Reason.UP_TO_DATE, good)
    outlook = Outlook.PASSING if error.retryable else Outlook.STALLED
    return Problem(Reason.UNAVAILABLE, describe_store_error(error), outlook)
