"""A tenant's identity in the stores, and the Secrets that hold it. Each store may fail alone."""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar
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
from .context import Context, Stores

T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class _Known:
    """What the cluster holds already."""

    postgresql_url: str | None
    redis_url: str | None
    admin_key: ApiKey | None


@dataclass(frozen=True, slots=True)
class _Attempt(Generic[T]):
    """What a store gave, or why it did not."""

    value: T | None = None
    error: StoreError | None = None


async def ensure_identity(scope: Scope, *, known_id: UUID | None, context: Context) -> Identity:
    """Make the tenant's identity, logins and first key, as far as the stores answer.

    `known_id` is the identity as the Tenant's status tells it: with it Redis can be looked after while PostgreSQL is away.

    Raises:
        NameTaken: a Secret of one of the operator's names is somebody else's.
        KubeError: the API server did not answer, or refused.
    """
    known = await _read_known(scope.namespace, cluster=context.cluster)
    identified = await _attempt(context.stores.identify(scope.tenant))
    tenant_id = identified.value or known_id
    if tenant_id is None:
        return _build_unidentified(scope, known, identified)
    database, cache = await asyncio.gather(
        _ensure_database(tenant_id, known, identified, context.stores),
        _attempt(context.stores.ensure_cache(tenant_id, current_url=known.redis_url)),
    )
    admin_key: _Attempt[ApiKey] = _Attempt(error=database.error)
    if database.error is None:
        admin_key = await _attempt(context.stores.ensure_admin_key(tenant_id, current=known.admin_key))
    errors = [attempt.error for attempt in (database, cache, admin_key) if attempt.error is not None]
    postgresql_url, redis_url = database.value or known.postgresql_url, cache.value or known.redis_url
    return Identity(
        tenant_id=tenant_id,
        secrets=tuple(_build_secrets(scope, _Known(postgresql_url, redis_url, admin_key.value or known.admin_key))),
        is_complete=postgresql_url is not None and redis_url is not None,
        checks={
            ConditionType.DATABASE_READY: _check(admin_key.error, "The tenant's PostgreSQL login works."),
            ConditionType.CACHE_READY: _check(cache.error, "The tenant's Redis user works."),
        },
        error=next(iter(errors), None),
    )


def describe_store_error(error: StoreError) -> str:
    """What went wrong, and who has to do something about it."""
    if error.retryable:
        return f"{error}. The operator tries again; if it lasts, look after {error.store}."
    return f"{error}."


async def _read_known(namespace: str, *, cluster: Cluster) -> _Known:
    stores = await cluster.own_secret(namespace, names.STORES_SECRET) or {}
    admin = await cluster.own_secret(namespace, names.ADMIN_SECRET) or {}
    return _Known(
        postgresql_url=stores.get(names.POSTGRESQL_URL_KEY) or None,
        redis_url=stores.get(names.REDIS_URL_KEY) or None,
        admin_key=ApiKey.parse(admin.get(names.ADMIN_API_KEY_KEY, "")),
    )


async def _attempt(work: Awaitable[T]) -> _Attempt[T]:
    try:
        return _Attempt(value=await work)
    except (StoreUnavailable, StoreRefused) as error:
        return _Attempt(error=error)


async def _ensure_database(tenant_id: UUID, known: _Known, identified: _Attempt[UUID], stores: Stores) -> _Attempt[str]:
    if identified.error is not None:
        # It would only wait for the same server once more.
        return _Attempt(error=identified.error)
    return await _attempt(stores.ensure_database(tenant_id, current_url=known.postgresql_url))


def _build_unidentified(scope: Scope, known: _Known, identified: _Attempt[UUID]) -> Identity:
    return Identity(
        tenant_id=None,
        secrets=tuple(_build_secrets(scope, known)),
        is_complete=False,
        checks={
            ConditionType.DATABASE_READY: _check(identified.error, "The tenant is known in PostgreSQL."),
            ConditionType.CACHE_READY: Problem(
                Reason.PENDING, "Waits for the tenant's identity, which PostgreSQL keeps; see DatabaseReady."
            ),
        },
        error=identified.error,
    )


def _build_secrets(scope: Scope, known: _Known) -> Iterator[Manifest]:
    if known.postgresql_url or known.redis_url:
        yield build_stores_secret(scope, postgresql_url=known.postgresql_url, redis_url=known.redis_url)
    if known.admin_key:
        yield build_admin_secret(scope, key=known.admin_key)


def _check(error: StoreError | None, good: str) -> Check:
    if error is None:
        return Good(Reason.UP_TO_DATE, good)
    outlook = Outlook.PASSING if error.retryable else Outlook.STALLED
    return Problem(Reason.UNAVAILABLE, describe_store_error(error), outlook)
