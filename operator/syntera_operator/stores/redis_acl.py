"""Tenants' users in Redis: an ACL user each, held by the server to the tenant's own keys and channels.

Commands are an explicit allowlist. What it leaves out on purpose: commands that show names of others' keys, channels or
clients (SCAN, KEYS, RANDOMKEY, DBSIZE, PUBSUB, CLIENT LIST, CLIENT TRACKING, MONITOR), other databases (SELECT), the
server's own business (CONFIG, ACL, INFO, SCRIPT beyond LOAD, FUNCTION, …), and whatever nobody here needs.

Needs Redis ≥ 7.0 or Valkey. Where the server has an ACL file, users outlive it; else they are gone after a restart, which
`run_id` tells.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ResponseError

from syntera_crds.contract.names import redis_key_prefix, tenant_login
from syntera_kube import BeforeWrite

from .faults import REDIS, StoreObserver, observed, redis_faults
from .passwords import make_password, password_source, redis_password_hash
from .urls import password_in, with_credentials, without_credentials

log = structlog.get_logger(__name__)

_ALLOWED = """
auth hello ping echo quit client|setname client|getname time
exists type touch del unlink expire pexpire expireat pexpireat persist ttl pttl
get set setnx setex psetex getdel getex mget mset append strlen getrange setrange incr incrby incrbyfloat decr decrby
hget hset hsetnx hmget hmset hgetall hdel hlen hexists hincrby hincrbyfloat hkeys hvals hstrlen hscan
lpush rpush lpop rpop llen lrange lindex lrem ltrim lset lpos lmove blpop brpop blmove
sadd srem smembers sismember smismember scard spop srandmember sscan
zadd zrem zrange zrangestore zrangebyscore zrevrange zrevrangebyscore zremrangebyscore zremrangebyrank zscore zmscore
zcard zcount zincrby zrank zrevrank zpopmin zpopmax zscan
xadd xlen xrange xrevrange xread xtrim xdel xgroup|create xgroup|destroy xgroup|createconsumer xgroup|delconsumer
xgroup|setid xreadgroup xack xpending xclaim xautoclaim xinfo|stream xinfo|groups xinfo|consumers
publish subscribe unsubscribe psubscribe punsubscribe
multi exec discard watch unwatch
eval evalsha script|load
"""
ALLOWED_COMMANDS = tuple(_ALLOWED.split())

_POOL_SIZE = 4
_SCAN_COUNT = 1000
_NO_ACL_FILE = "ACL file"
"""Part of what a server answers to ACL SAVE that was started without an ACL file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where Redis is and where tenants reach it."""

    url: str
    """URL of the operator's user."""
    password_file: Path | None = None
    """Overrules a password in `url`; read anew for each connection."""
    tenant_url: str | None = None
    """Where tenants connect, without user; None: where the operator does."""
    deadline_seconds: float = 10.0
    """For each use of the server."""


@dataclass(frozen=True, slots=True)
class _User:
    """An ACL user, as far as it decides what its holder may do."""

    is_on: bool
    needs_password: bool
    passwords: frozenset[str]
    commands: frozenset[str]
    keys: frozenset[str]
    channels: frozenset[str]
    has_selectors: bool


class RedisUsers:
    """The users of all tenants. Opens no connection before it is used.

    `before_use` is asked before each use: it raises to forbid it, and gives the seconds that it may take at most, or None.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        before_use: BeforeWrite = lambda: None,
        observer: StoreObserver | None = None,
    ) -> None:
        self._settings = settings
        self._before_use = before_use
        self._observer = observer
        self._client = redis.asyncio.Redis.from_pool(
            redis.asyncio.BlockingConnectionPool.from_url(
                without_credentials(settings.url),
                credential_provider=_Credentials(settings),
                max_connections=_POOL_SIZE,
                timeout=settings.deadline_seconds,
                socket_connect_timeout=settings.deadline_seconds,
                socket_timeout=settings.deadline_seconds,
                # Trying again is the business of the reconcile queue alone.
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                decode_responses=True,
                client_name="syntera-operator",
            )
        )
        self._allowed: frozenset[str] | None = None
        """How this server describes the allowlist; Redis 7.0 folds it into categories. Learned from the first user."""

    async def ensure(self, tenant_id: UUID, *, current_url: str | None) -> str:
        """Make sure that the tenant's user is what it should be, with the password of `current_url` if there is one.

        Returns:
            The URL for the tenant.

        Raises:
            StoreUnavailable: Redis does not answer.
            StoreRefused: Redis refused.
        """
        login = tenant_login(tenant_id)
        password = (password_in(current_url) if current_url else None) or make_password()
        async with self._deadline():
            found = await self._read(login)
            if self._allowed is None or found != self._desired(tenant_id, password, self._allowed):
                await self._write(tenant_id, password)
                written = await self._read(login)
                self._allowed = written.commands if written else None
        return with_credentials(self._settings.tenant_url or self._settings.url, user=login, password=password)

    async def delete(self, tenant_id: UUID) -> None:
        """Remove the tenant's user, which ends its connections.

        Raises:
            StoreUnavailable: Redis does not answer.
            StoreRefused: Redis refused.
        """
        async with self._deadline():
            if await self._client.acl_deluser(tenant_login(tenant_id)):
                await self._save()

    async def erase_keys(self, tenant_id: UUID) -> AsyncIterator[int]:
        """Delete the tenant's keys page by page; yields how many each page held. Walks all keys of the database.

        Raises:
            StoreUnavailable: Redis does not answer.
            StoreRefused: Redis refused.
        """
        pattern = f"{redis_key_prefix(tenant_id)}*"
        cursor = 0
        while True:
            async with self._deadline():
                cursor, keys = await self._client.scan(cursor, match=pattern, count=_SCAN_COUNT)
                deleted = int(await self._client.unlink(*keys)) if keys else 0
            if deleted:
                yield deleted
            if cursor == 0:
                return

    async def run_id(self) -> str:
        """What changes when the server restarts.

        Raises:
            StoreUnavailable: Redis does not answer.
            StoreRefused: Redis refused.
        """
        async with self._deadline():
            return str((await self._client.info("server"))["run_id"])

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        allowed = self._before_use()
        deadline = self._settings.deadline_seconds
        with observed(REDIS, self._observer), redis_faults():
            async with asyncio.timeout(deadline if allowed is None else min(deadline, allowed)):
                yield

    async def _read(self, login: str) -> _User | None:
        found: dict[str, Any] | None = await self._client.acl_getuser(login)
        if found is None:
            return None
        return _User(
            is_on="on" in found["flags"],
            needs_password="nopass" not in found["flags"],
            passwords=frozenset(found["passwords"]),
            commands=frozenset((*found["categories"], *found["commands"])),
            keys=frozenset(found["keys"]),
            channels=frozenset(found["channels"]),
            has_selectors=bool(found["selectors"]),
        )

    @staticmethod
    def _desired(tenant_id: UUID, password: str, allowed: frozenset[str]) -> _User:
        prefix = redis_key_prefix(tenant_id)
        return _User(
            is_on=True,
            needs_password=True,
            passwords=frozenset({redis_password_hash(password)}),
            commands=allowed,
            keys=frozenset({f"~{prefix}*"}),
            channels=frozenset({f"&{prefix}*"}),
            has_selectors=False,
        )

    async def _write(self, tenant_id: UUID, password: str) -> None:
        """Replace the user by what it should be, in one command: nobody ever meets it half made."""
        prefix = redis_key_prefix(tenant_id)
        rules = ["reset", "on", f"#{redis_password_hash(password)}", f"~{prefix}*", f"&{prefix}*", "-@all"]
        rules += [f"+{command}" for command in ALLOWED_COMMANDS]
        await self._client.execute_command("ACL", "SETUSER", tenant_login(tenant_id), *rules)  # type: ignore[no-untyped-call]
        await self._save()

    async def _save(self) -> None:
        try:
            await self._client.acl_save()
        except ResponseError as exc:
            # The user works all the same; after a restart the poll of `run_id` brings it back.
            if _NO_ACL_FILE not in str(exc):
                log.warning("redis users not saved", reason=str(exc))


class _Credentials(CredentialProvider):
    """The operator's user, with its password read anew for each connection."""

    def __init__(self, settings: RedisSettings) -> None:
        self._user = unquote(urlsplit(settings.url).username or "default")
        self._read = password_source(settings.password_file) or (lambda: password_in(settings.url) or "")

    def get_credentials(self) -> tuple[str, str]:
        return self._user, self._read()

    async def get_credentials_async(self) -> tuple[str, str]:
        return self.get_credentials()
