"""Which replica of the operator works: the one that holds the Lease.

The holder renews the Lease by a PUT with its resourceVersion, so two cannot both succeed. Every time that matters is
monotonic and local; what stands in the Lease is for people and for the standbys' first look:

* The holder may write until `renew_seconds` after it *began* its last successful renewal, then never again.
* A standby takes over when the Lease has not changed for `lease_seconds` since the standby *saw* it change, or when the
  holder has given it back.

Since the first span begins earlier and is shorter, they never overlap, whatever the clocks say. `before_write` gives each
write the time that is left, so that none can be under way when somebody else takes over.

A process that lost the Lease must end: `hold` returns, and the deadline stays passed.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from syntera_crds.contract import names
from syntera_kube import KubeClient, Manifest
from syntera_kube.errors import Conflict, KubeError, NotFound
from syntera_kube.resources import LEASES

from .errors import LeadershipLost

log = structlog.get_logger(__name__)

_RELEASE_TIMEOUT_SECONDS = 1.0
_RELEASED_DURATION_SECONDS = 1
"""Marks a Lease that its holder gave back, as client-go does. One that was merely emptied by hand has to run out."""


def _clock() -> float:
    """Monotonic seconds that, on Linux, go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """`retry` < `renew` < `lease`, all in seconds."""

    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0


class Leadership:
    """One candidate for the Lease `operator.syntera.io`."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        identity: str,
        times: LeaseTimes = LeaseTimes(),
        clock: Callable[[], float] = _clock,
    ) -> None:
        """Prepare; nothing is asked for before `acquire`.

        Args:
            client: must not be guarded by this very leadership.
            namespace: where the Lease is.
            identity: unique to this process; two processes of one identity would both believe to lead.
            times: how long a Lease lasts and how often it is renewed.
            clock: monotonic seconds.
        """
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._times = times
        self._clock = clock
        self._held: Manifest | None = None
        self._renewed_at = float("-inf")
        self._seen_version = ""
        self._seen_at = float("-inf")

    @property
    def is_leader(self) -> bool:
        """Whether this process may write now."""
        return self._held is not None and self._left() > 0

    def before_write(self) -> float:
        """How many seconds a write that begins now may take.

        Raises:
            LeadershipLost: none; another replica may lead.
        """
        left = self._left() if self._held is not None else 0.0
        if left <= 0:
            raise LeadershipLost("this replica does not hold the Lease; nothing was written")
        return left

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            # Standbys look twice as often as the leader renews, and not in step with one another.
            pause = self._times.retry_seconds / 2 * random.uniform(0.8, 1.0)  # noqa: S311
            try:
                if await self._try_to_acquire():
                    log.info("leadership acquired", identity=self._identity)
                    return
            except Conflict:
                log.debug("another replica was faster", identity=self._identity)
            except KubeError as exc:
                log.warning("lease could not be read or taken", error=str(exc))
                pause = max(pause, exc.retry_after or 0.0)
            await asyncio.sleep(pause)

    async def hold(self) -> None:
        """Renew the Lease until it is lost, then return. Nothing may be written any more."""
        pause = self._times.retry_seconds
        while self.is_leader:
            await asyncio.sleep(pause)
            pause = self._times.retry_seconds
            try:
                await self._renew()
            except LeadershipLost as exc:
                log.error("leadership lost", identity=self._identity, reason=str(exc))
                break
            except KubeError as exc:
                log.warning("lease could not be renewed", error=str(exc), seconds_left=round(self._left(), 1))
                if exc.retry_after:
                    # No longer than the Lease lasts: then there is nothing left to ask for.
                    pause = max(pause, min(exc.retry_after, self._left()))
        self._held = None

    async def release(self) -> None:
        """Give the Lease back, so that a standby need not wait. Nothing may be written from now on."""
        held, self._held = self._held, None
        if held is None:
            return
        try:
            await self._give_back(held)
        except (KubeError, LeadershipLost) as exc:
            log.warning("lease could not be given back; a standby takes over when it runs out", error=str(exc))
        else:
            log.info("leadership given back", identity=self._identity)

    async def _give_back(self, held: Manifest) -> None:
        try:
            await self._put_released(held)
        except Conflict:  # a renewal was cut off after it had arrived
            found = await self._client.get(LEASES, names.LEASE_NAME, namespace=self._namespace)
            self._check_holder(found)
            await self._put_released(found)

    async def _put_released(self, held: Manifest) -> None:
        spec = held["spec"] | {
            "holderIdentity": "",
            "leaseDurationSeconds": _RELEASED_DURATION_SECONDS,
            "renewTime": _timestamp(),
        }
        await self._client.update(LEASES, held | {"spec": spec}, timeout_seconds=_RELEASE_TIMEOUT_SECONDS)

    async def _try_to_acquire(self) -> bool:
        try:
            lease = await self._client.get(LEASES, names.LEASE_NAME, namespace=self._namespace)
        except NotFound:
            if not self._has_run_out():
                return False  # deleted by hand: the holder may not know it yet
            started = self._clock()
            lease = self._lease(transitions=0)
            self._take(await self._client.create(LEASES, lease), started)
            return True
        self._observe(lease)
        if not self._is_free(lease):
            return False
        spec = lease.get("spec") or {}
        started = self._clock()
        wanted = self._lease(transitions=int(spec.get("leaseTransitions") or 0) + 1)
        wanted["metadata"] |= {"resourceVersion": lease["metadata"]["resourceVersion"]}
        self._take(await self._put(wanted), started)
        return True

    async def _renew(self) -> None:
        assert self._held is not None
        if self._left() <= 0:
            raise LeadershipLost("the Lease was not renewed in time")
        started = self._clock()
        spec = self._held["spec"] | {"renewTime": _timestamp()}
        try:
            renewed = await self._put(self._held | {"spec": spec})
        except Conflict:
            # Somebody wrote it meanwhile; perhaps ourselves, by a request whose answer was lost.
            found = await self._client.get(LEASES, names.LEASE_NAME, namespace=self._namespace)
            self._check_holder(found)
            renewed = await self._put(found | {"spec": found["spec"] | {"renewTime": _timestamp()}})
        except NotFound as exc:
            raise LeadershipLost("the Lease was deleted") from exc
        self._take(renewed, started)

    async def _put(self, lease: Manifest) -> Manifest:
        # In time for another attempt before the deadline.
        return await self._client.update(LEASES, lease, timeout_seconds=self._times.renew_seconds / 2)

    def _check_holder(self, lease: Manifest) -> None:
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if holder != self._identity:
            raise LeadershipLost(f"the Lease is held by {holder!r}")

    def _take(self, lease: Manifest, started: float) -> None:
        self._held = lease
        self._renewed_at = started

    def _left(self) -> float:
        return self._renewed_at + self._times.renew_seconds - self._clock()

    def _observe(self, lease: Manifest) -> None:
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version = version
            self._seen_at = self._clock()

    def _is_free(self, lease: Manifest) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity")
        was_released = not holder and spec.get("leaseDurationSeconds") == _RELEASED_DURATION_SECONDS
        is_ours = holder == self._identity  # by a request whose answer was lost
        return was_released or is_ours or self._has_run_out()

    def _has_run_out(self) -> bool:
        return self._clock() - self._seen_at > self._times.lease_seconds

    def _lease(self, *, transitions: int) -> dict[str, Any]:
        now = _timestamp()
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": names.LEASE_NAME, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._times.lease_seconds)),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        }


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
