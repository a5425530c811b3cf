"""Keeps each tenant to its `spec.retention`: quietly, one tenant after the other, while this process leads.

A look every hour finds the tenants that are due, which each is some hours after its last success. What was done is in memory
alone: after a change of leader all are due again, which costs some queries and deletes nothing twice. Suspended tenants
count as all others; a Tenant that is being deleted is its deletion's business.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NoReturn, Protocol

import structlog
from pydantic import ValidationError

from syntera_crds.v1alpha1.retention import Retention

from .errors import LeadershipLost, OperatorError, StoreUnavailable, code_of
from .manifest import Manifest, is_being_deleted, name_of, uid_of
from .stores.retention import Kept

log = structlog.get_logger(__name__)

_FIRST_LOOK_SECONDS = (60.0, 600.0)
"""Between these; a process that has just begun to lead has better things to do."""
_LOOK_SECONDS = 3600.0
_REST_SECONDS = 6 * 3600.0
"""How long after a success a tenant is due again. Periods are days, so this is soon enough to keep the promise."""
_PAUSE_SECONDS = 0.1
"""After each batch that deleted something: runtimes and autovacuum come first."""
_PATIENCE_SECONDS = 24 * 3600.0
"""How long a tenant's retention may fail before its Tenant is told, and how long until it is told again."""


class Tenants(Protocol):
    """The part of the cluster that is needed here."""

    def tenant(self, name: str) -> Manifest | None:
        """The Tenant of that name."""

    def tenants(self) -> Iterable[Manifest]:
        """All Tenants."""

    async def event(self, obj: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell people of it."""


class Expiry(Protocol):
    """The part of the stores that is needed here."""

    def expire(
        self, name: str, periods: Mapping[Kept, timedelta], *, now: datetime
    ) -> AsyncGenerator[Mapping[str, int], None]:
        """Delete what is older than its period; gives the rows of each table, batch by batch."""


class RetentionObserver(Protocol):
    """Told of what was done."""

    def expired(self, rows: Mapping[str, int]) -> None:
        """A batch was deleted: so many rows of each table."""

    def kept_retention(self, code: str | None, seconds: float) -> None:
        """A tenant was gone through; `code` is the error's."""


@dataclass(slots=True)
class _Record:
    """What is remembered of a tenant."""

    waits_since: float
    """Its last success, else when it was first seen."""
    is_done: bool = False
    """There was a success."""
    told_at: float = float("-inf")


class RetentionRounds:
    """Looks for tenants that are due, and has their old rows deleted."""

    def __init__(
        self,
        cluster: Tenants,
        stores: Expiry,
        *,
        observer: RetentionObserver,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; nothing is looked at before `run`."""
        self._cluster = cluster
        self._stores = stores
        self._observer = observer
        self._now = now
        self._records: dict[str, _Record] = {}

    def longest_wait_seconds(self) -> float:
        """For how long the tenant that waits longest has seen no success; 0 where no tenant asks for any."""
        if not self._records:
            return 0.0
        return _time() - min(record.waits_since for record in self._records.values())

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        await asyncio.sleep(random.uniform(*_FIRST_LOOK_SECONDS))  # noqa: S311 - jitter is no secret
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311

    async def look(self) -> None:
        """Go once through the tenants that are due, in no certain order; the first that finds PostgreSQL away ends it."""
        self._take_note()
        due = [name_of(tenant) for tenant in self._asking() if self._is_due(tenant)]
        random.shuffle(due)
        for name in due:
            try:
                await self._keep(name)
            except (LeadershipLost, StoreUnavailable) as error:
                log.info("round of retention ended early", reason=error.code)
                return

    def _asking(self) -> list[Manifest]:
        return [tenant for tenant in self._cluster.tenants() if periods_of(tenant)]

    def _take_note(self) -> None:
        """Remember the tenants that ask for retention, and forget those that do no more."""
        known, now = self._records, _time()
        self._records = {uid: known.get(uid) or _Record(now) for uid in map(uid_of, self._asking())}

    def _is_due(self, tenant: Manifest) -> bool:
        record = self._records[uid_of(tenant)]
        return not record.is_done or _time() - record.waits_since >= _REST_SECONDS

    async def _keep(self, name: str) -> None:
        """Go through one tenant, as its Tenant is by now.

        Raises:
            LeadershipLost: this process may touch nothing more.
            StoreUnavailable: PostgreSQL does not answer.
        """
        tenant = self._cluster.tenant(name)
        periods = periods_of(tenant)
        record = None if tenant is None else self._records.get(uid_of(tenant))
        if tenant is None or record is None or not periods:
            return
        started = _time()
        try:
            is_complete = await self._delete(name, periods)
        except LeadershipLost:
            raise
        except Exception as error:  # the front door of this work
            self._observer.kept_retention(code_of(error), _time() - started)
            await self._failed(tenant, record, error)
            if isinstance(error, StoreUnavailable):
                raise
        else:
            self._observer.kept_retention(None, _time() - started)
            if is_complete:
                record.waits_since, record.is_done = _time(), True

    async def _delete(self, name: str, periods: Mapping[Kept, timedelta]) -> bool:
        """Batch by batch, for as long as the Tenant asks for just this; False if it does no more."""
        total: Counter[str] = Counter()
        try:
            async with aclosing(self._stores.expire(name, periods, now=self._now())) as batches:
                async for rows in batches:
                    if rows:
                        total.update(rows)
                        self._observer.expired(rows)
                        await asyncio.sleep(_PAUSE_SECONDS)
                    if periods_of(self._cluster.tenant(name)) != periods:
                        return False
        finally:
            if total:
                log.info("old rows deleted", tenant=name, **total)
        return True

    async def _failed(self, tenant: Manifest, record: _Record, error: Exception) -> None:
        """Say so: in the log, and on the Tenant where it has lasted for a day, once a day."""
        is_known = isinstance(error, OperatorError)
        log.warning("retention failed", tenant=name_of(tenant), error=str(error), exc_info=None if is_known else error)
        now = _time()
        if now - max(record.waits_since, record.told_at) < _PATIENCE_SECONDS:
            return
        record.told_at = now
        hours = round((now - record.waits_since) / 3600)
        message = (
            f"For {hours} hours what is older than spec.retention says could not be deleted ({code_of(error)})."
            " The operator's log says more."
        )
        await self._cluster.event(tenant, type="Warning", reason="RetentionFailing", message=message)


def periods_of(tenant: Manifest | None) -> Mapping[Kept, timedelta]:
    """What the Tenant wants deleted after how long. Empty where it wants nothing, is on its way out, or cannot be read:
    a spec that is not sound keeps everything."""
    if tenant is None or is_being_deleted(tenant):
        return {}
    try:
        retention = Retention.model_validate((tenant.get("spec") or {}).get("retention") or {})
    except ValidationError:
        return {}
    days = {kept: getattr(retention, kept) for kept in Kept}
    return {kept: timedelta(days=number) for kept, number in days.items() if number is not None}


def _time() -> float:
    return asyncio.get_running_loop().time()
