"""Tenants' users in Redis, tried with their own credentials on each server that the machine has."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import redis.asyncio
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from syntera_crds.contract.names import redis_key_prefix, tenant_login
from syntera_operator.errors import StoreRefused, StoreUnavailable
from syntera_operator.stores.redis_acl import ALLOWED_COMMANDS, RedisSettings, RedisUsers
from syntera_operator.stores.urls import password_in, with_credentials
from tests.support.postgresql import REPOSITORY
from tests.support.redis_server import RedisServer, redis_binaries

STORES_PAGE = REPOSITORY / "docs" / "stores.md"
REFUSAL = r"[Nn]o permissions|can't run this command|can't access|can't publish|not allowed from script"
"""How servers say so, by version and by place."""


async def run(client: "redis.asyncio.Redis", *words: str) -> None:
    """Any command, word by word."""
    await client.execute_command(*words)  # type: ignore[no-untyped-call]  # so in the library


@pytest_asyncio.fixture
async def users(any_redis: RedisServer) -> AsyncIterator[RedisUsers]:
    made = RedisUsers(RedisSettings(url=any_redis.url))
    yield made
    await made.aclose()


@pytest_asyncio.fixture
async def operator(any_redis: RedisServer) -> AsyncIterator["redis.asyncio.Redis"]:
    """The operator's own client, which may do everything."""
    async with redis.asyncio.Redis.from_url(any_redis.url, decode_responses=True) as client:
        yield client


class Pair:
    """Tenant A with its client; tenant B with a key and a stream."""

    def __init__(self, a: UUID, b: UUID, client: "redis.asyncio.Redis") -> None:
        self.client = client
        self.own = redis_key_prefix(a)
        self.foreign = redis_key_prefix(b)
        self.login_b = tenant_login(b)

    def fill(self, command: str) -> list[str]:
        return [word.format(own=self.own, foreign=self.foreign, login_b=self.login_b) for word in command.split()]


@pytest_asyncio.fixture
async def pair(users: RedisUsers, operator: "redis.asyncio.Redis") -> AsyncIterator[Pair]:
    a, b = uuid4(), uuid4()
    await users.ensure(b, current_url=None)
    await operator.set(f"{redis_key_prefix(b)}secret", "value")
    url = await users.ensure(a, current_url=None)
    async with redis.asyncio.Redis.from_url(url, decode_responses=True, single_connection_client=True) as client:
        yield Pair(a, b, client)


@pytest.mark.parametrize(
    "command",
    [
        "GET {foreign}secret",
        "SET {foreign}secret x",
        "DEL {foreign}secret",
        "EXISTS {foreign}secret",
        "TYPE {foreign}secret",
        "EXPIRE {foreign}secret 1",
        "MGET {own}mine {foreign}secret",
        "LMOVE {own}mine {foreign}stolen LEFT LEFT",
        "ZRANGESTORE {own}copy {foreign}sorted 0 -1",
        "XADD {foreign}stream * a b",
        "XREAD STREAMS {foreign}stream 0",
        "XREADGROUP GROUP g c STREAMS {foreign}stream >",
        "PUBLISH {foreign}events x",
        "SUBSCRIBE {foreign}events",
        "PSUBSCRIBE *",
        "PSUBSCRIBE {foreign}*",
        "PSUBSCRIBE __keyspace@0__:*",
        "GET t:",
        "SET unprefixed x",
        "EVAL return(redis.call('get',KEYS[1])) 1 {foreign}secret",
        "EVAL return(redis.call('get','{foreign}secret')) 0",
        "EVAL return(redis.call('publish','{foreign}events','x')) 0",
        "EVAL return(redis.call('keys','*')) 0",
        "EVAL return(redis.call('scan','0')) 0",
        "EVAL return(redis.call('acl','users')) 0",
    ],
)
async def test_foreign_keys_and_channels_are_refused(pair: Pair, command: str) -> None:
    with pytest.raises((NoPermissionError, ResponseError), match=REFUSAL):
        await run(pair.client, *pair.fill(command))


@pytest.mark.parametrize(
    "command",
    [
        # Names of others' keys, channels, clients.
        "SCAN 0",
        "SCAN 0 MATCH {own}*",
        "KEYS *",
        "RANDOMKEY",
        "DBSIZE",
        "PUBSUB CHANNELS",
        "PUBSUB NUMSUB {foreign}events",
        "CLIENT LIST",
        "CLIENT INFO",
        "CLIENT TRACKING ON BCAST",
        "CLIENT KILL ID 1",
        "CLIENT PAUSE 1000",
        "CLIENT NO-EVICT ON",
        "MONITOR",
        "SLOWLOG GET",
        "LATENCY LATEST",
        "COMMAND",
        "INFO",
        "MEMORY USAGE {own}mine",
        "OBJECT ENCODING {own}mine",
        # Other databases, other users.
        "SELECT 1",
        "SWAPDB 0 1",
        "MOVE {own}mine 1",
        "ACL LIST",
        "ACL WHOAMI",
        "ACL GETUSER {login_b}",
        "ACL SETUSER {login_b} nopass",
        "ACL DELUSER {login_b}",
        # The server itself.
        "CONFIG GET *",
        "CONFIG SET maxmemory 1",
        "FLUSHALL",
        "FLUSHDB",
        "SHUTDOWN",
        "SAVE",
        "BGSAVE",
        "REPLICAOF NO ONE",
        "SYNC",
        "MODULE LIST",
        "CLUSTER INFO",
        "WAIT 1 0",
        "SCRIPT FLUSH",
        "SCRIPT KILL",
        "SCRIPT EXISTS x",
        "FUNCTION LIST",
        "FUNCTION FLUSH",
        "FCALL x 0",
        "MIGRATE localhost 1 {own}mine 0 1",
        "RESTORE {own}mine 0 x",
        "DUMP {own}mine",
        "SORT {own}mine GET {foreign}*",
        "COPY {own}mine {foreign}stolen",
        "RENAME {own}mine {foreign}stolen",
    ],
)
async def test_command_outside_the_allowlist_is_refused(pair: Pair, command: str) -> None:
    with pytest.raises(NoPermissionError):
        await run(pair.client, *pair.fill(command))


class Command(NamedTuple):
    """A command or subcommand as the server describes it."""

    name: str
    """As an ACL spells it: `get`, `client|list`."""
    arity: int
    """Words, the name's included; negative: at least so many."""
    flags: frozenset[str]
    first_key: int
    last_key: int
    """Negative: counted from the end."""
    step: int
    """From one key to the next."""

    def words(self, first: str, *further: str) -> list[str]:
        """The command with as many arguments as it needs, the last one repeated; none if it takes none."""
        name = self.name.split("|")
        number = abs(self.arity) - len(name)
        if self.arity < 0:
            number = max(number, self.first_key - len(name) + 1, len(further) + 1)
        given = [first, *further]
        return [*name, *given[:number], *given[-1:] * (number - len(given))]


async def list_commands(operator: "redis.asyncio.Redis") -> dict[str, Command]:
    """Everything that the server understands; of commands with subcommands these alone."""
    found = {}
    top = [str(name) for name in await operator.execute_command("COMMAND LIST")]  # type: ignore[no-untyped-call]
    for name in top:
        [described] = await operator.execute_command("COMMAND INFO", name)  # type: ignore[no-untyped-call]
        for entry in described[9] or [described]:
            flags = frozenset(map(str, entry[2]))
            command = Command(str(entry[0]), int(entry[1]), flags, *map(int, entry[3:6]))
            found[command.name] = command
    return found


ALWAYS_ALLOWED = frozenset({"auth", "hello", "quit", "reset"})
"""Commands that no ACL can take from anybody: they begin, end or forget a login."""
KEYS_BY_CONTENT = {
    "eval": ["return 1", "1", "{foreign}secret"],
    "evalsha": ["0" * 40, "1", "{foreign}secret"],
    "xread": ["STREAMS", "{foreign}secret", "0"],
    "xreadgroup": ["GROUP", "group", "consumer", "STREAMS", "{foreign}secret", ">"],
}
"""Allowed commands whose keys are found by reading the other arguments."""


async def test_every_command_outside_the_allowlist_is_refused_also_in_scripts(
    pair: Pair, operator: "redis.asyncio.Redis"
) -> None:
    commands = await list_commands(operator)
    outside = {name: command for name, command in commands.items() if name not in ALLOWED_COMMANDS}
    assert len(outside) > 200
    assert {name for name, command in outside.items() if "no_auth" in command.flags} <= ALWAYS_ALLOWED
    for name in sorted(outside.keys() - ALWAYS_ALLOWED):
        words = outside[name].words(f"{pair.own}mine")
        # Two are shut by the server's configuration, before any ACL is asked.
        said = f"permissions to run the '{re.escape(name)}'|^(DEBUG|MODULE) command not allowed"
        with pytest.raises((NoPermissionError, ResponseError), match=said):
            await run(pair.client, *words)
        with pytest.raises((NoPermissionError, ResponseError), match=REFUSAL):
            await run(pair.client, "EVAL", "return redis.call(unpack(ARGV))", "0", *words)


async def test_every_allowed_command_is_refused_a_foreign_key(pair: Pair, operator: "redis.asyncio.Redis") -> None:
    commands = await list_commands(operator)
    allowed = [commands[name] for name in ALLOWED_COMMANDS if name in commands]
    by_content = {command.name for command in allowed if "movablekeys" in command.flags and command.first_key == 0}
    assert by_content == KEYS_BY_CONTENT.keys()
    with_keys = [command for command in allowed if command.first_key > 0]
    assert len(with_keys) > 90
    attempts = [command.words(f"{pair.foreign}secret") for command in with_keys]
    # The first key one's own, the others not.
    attempts += [
        [*command.words(*[f"{pair.own}mine"] * command.step, f"{pair.foreign}secret"), *["0"] * (-command.last_key - 1)]
        for command in with_keys
        if command.last_key not in (command.first_key, 0)
    ]
    attempts += [
        [name, *(word.format(foreign=pair.foreign) for word in words)] for name, words in KEYS_BY_CONTENT.items()
    ]
    for words in attempts:
        with pytest.raises(NoPermissionError, match=r"access a key|one of the keys"):
            await run(pair.client, *words)


async def test_allowlist_names_commands_that_exist(operator: "redis.asyncio.Redis") -> None:
    assert set(ALLOWED_COMMANDS) <= (await list_commands(operator)).keys()


async def test_login_that_forgets_itself_is_nobody(pair: Pair) -> None:
    """RESET cannot be taken from anybody; it leads to the default user, which is off."""
    await run(pair.client, "RESET")

    with pytest.raises(redis.exceptions.AuthenticationError):
        await run(pair.client, "GET", f"{pair.foreign}secret")


async def test_script_of_another_tenant_runs_for_who_knows_it_but_on_own_keys_alone(
    users: RedisUsers, pair: Pair
) -> None:
    """Redis keeps one table of scripts for all: whether somebody has loaded a given one is no secret."""
    url = await users.ensure(uuid4(), current_url=None)
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as other:
        sha = await other.script_load(f"return redis.call('set', KEYS[1], '{uuid4()}')")

    assert await pair.client.evalsha(sha, 1, f"{pair.own}mine") == "OK"
    with pytest.raises(NoPermissionError):
        await pair.client.evalsha(sha, 1, f"{pair.foreign}secret")


async def test_own_keys_streams_scripts_and_transactions_work(pair: Pair) -> None:
    client, own = pair.client, pair.own
    await client.set(f"{own}a", "1", ex=60)
    await client.xadd(f"{own}stream", {"token": "x"})
    pipeline = client.pipeline(transaction=True)
    pipeline.incr(f"{own}a")
    pipeline.hset(f"{own}h", "field", "1")
    script = client.register_script("return redis.call('incr', KEYS[1])")

    assert await pipeline.execute() == [2, 1]
    assert await script(keys=[f"{own}a"]) == 3
    assert len(await client.xread({f"{own}stream": "0"})) == 1


async def test_lock_of_the_client_library_works(pair: Pair) -> None:
    async with pair.client.lock(f"{pair.own}lock", timeout=60):
        assert await pair.client.exists(f"{pair.own}lock") == 1


async def test_own_channel_carries_messages(users: RedisUsers, pair: Pair, any_redis: RedisServer) -> None:
    tenant_id = uuid4()
    url = await users.ensure(tenant_id, current_url=None)
    channel = f"{redis_key_prefix(tenant_id)}events"
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client, client.pubsub() as subscription:
        await subscription.subscribe(channel)
        await subscription.get_message(timeout=30)
        await client.publish(channel, "hello")

        message = await subscription.get_message(timeout=30, ignore_subscribe_messages=True)

    assert message is not None
    assert message["data"] == "hello"


async def acl_calls(operator: "redis.asyncio.Redis") -> int:
    """How often a user was written since the server started."""
    statistics = await operator.info("commandstats")
    return int(statistics.get("cmdstat_acl|setuser", {"calls": 0})["calls"])


async def test_nothing_is_written_when_the_user_is_as_it_should_be(
    users: RedisUsers, operator: "redis.asyncio.Redis"
) -> None:
    tenant_id = uuid4()
    url = await users.ensure(tenant_id, current_url=None)
    calls = await acl_calls(operator)

    assert await users.ensure(tenant_id, current_url=url) == url

    assert await acl_calls(operator) == calls


async def test_user_is_written_once_when_the_operator_is_new(
    any_redis: RedisServer, users: RedisUsers, operator: "redis.asyncio.Redis"
) -> None:
    first, second = uuid4(), uuid4()
    urls = [await users.ensure(tenant_id, current_url=None) for tenant_id in (first, second)]
    calls = await acl_calls(operator)
    fresh = RedisUsers(RedisSettings(url=any_redis.url))

    for tenant_id, url in zip((first, second), urls, strict=True):
        assert await fresh.ensure(tenant_id, current_url=url) == url

    assert await acl_calls(operator) == calls + 1
    await fresh.aclose()


@pytest.mark.parametrize(
    "spoil",
    [
        "off",
        "nopass",
        "resetpass",
        ">second-password",
        "allkeys",
        "~other:*",
        "resetkeys",
        "allchannels",
        "resetchannels",
        "+@all",
        "+scan",
        "+flushall",
        "-get",
        "(+@all ~*)",
    ],
)
async def test_drift_is_repaired(users: RedisUsers, operator: "redis.asyncio.Redis", spoil: str) -> None:
    tenant_id = uuid4()
    url = await users.ensure(tenant_id, current_url=None)
    before = await operator.acl_getuser(tenant_login(tenant_id))
    await run(operator, "ACL", "SETUSER", tenant_login(tenant_id), spoil)
    assert await operator.acl_getuser(tenant_login(tenant_id)) != before

    assert await users.ensure(tenant_id, current_url=url) == url

    assert await operator.acl_getuser(tenant_login(tenant_id)) == before


async def test_new_password_replaces_the_old_one_when_the_credentials_are_lost(users: RedisUsers) -> None:
    tenant_id = uuid4()
    lost = await users.ensure(tenant_id, current_url=None)

    found = await users.ensure(tenant_id, current_url=None)

    async with redis.asyncio.Redis.from_url(found) as client:
        assert await client.ping()
    async with redis.asyncio.Redis.from_url(lost) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


async def test_clear_password_reaches_no_list_of_commands(users: RedisUsers, operator: "redis.asyncio.Redis") -> None:
    await operator.config_set("slowlog-log-slower-than", 0)
    password = password_in(await users.ensure(uuid4(), current_url=None))

    assert password
    assert password not in str(await operator.slowlog_get(1000))
    await operator.config_set("slowlog-log-slower-than", 10000)


async def test_deleting_ends_connections_and_is_the_same_twice(users: RedisUsers) -> None:
    tenant_id = uuid4()
    url = await users.ensure(tenant_id, current_url=None)
    async with redis.asyncio.Redis.from_url(url, single_connection_client=True) as client:
        await client.ping()

        await users.delete(tenant_id)
        await users.delete(tenant_id)

        with pytest.raises((redis.exceptions.ConnectionError, AuthenticationError)):
            await client.ping()


async def test_erasing_deletes_the_tenant_s_keys_and_no_others(
    users: RedisUsers, operator: "redis.asyncio.Redis"
) -> None:
    gone, kept = uuid4(), uuid4()
    for tenant_id, number in ((gone, 2500), (kept, 10)):
        await operator.mset({f"{redis_key_prefix(tenant_id)}{index}": "x" for index in range(number)})

    assert sum([number async for number in users.erase_keys(gone)]) == 2500
    assert sum([number async for number in users.erase_keys(gone)]) == 0
    assert await operator.exists(*(f"{redis_key_prefix(kept)}{index}" for index in range(10))) == 10


async def test_url_leads_tenants_elsewhere_when_settings_say_so(any_redis: RedisServer) -> None:
    elsewhere = "rediss://cache.example:6380/0?ssl_ca_certs=/ca.crt"
    users = RedisUsers(RedisSettings(url=any_redis.url, tenant_url=elsewhere))
    tenant_id = uuid4()

    url = await users.ensure(tenant_id, current_url=None)

    assert url == with_credentials(elsewhere, user=tenant_login(tenant_id), password=password_in(url) or "")
    await users.aclose()


@pytest.mark.parametrize("name", sorted(redis_binaries()))
@pytest.mark.parametrize("with_acl_file", [True, False], ids=["acl-file", "no-acl-file"])
async def test_users_after_a_restart(name: str, with_acl_file: bool) -> None:
    server = RedisServer(redis_binaries()[name], with_acl_file=with_acl_file)
    server.start()
    users = RedisUsers(RedisSettings(url=server.url))
    try:
        tenant_id = uuid4()
        url = await users.ensure(tenant_id, current_url=None)
        run_id = await users.run_id()

        server.stop()
        with pytest.raises(StoreUnavailable, match="Redis is not available"):
            await users.ensure(tenant_id, current_url=url)
        server.start()

        assert await users.run_id() != run_id
        async with redis.asyncio.Redis.from_url(url) as client:
            if with_acl_file:
                assert await client.ping()
            else:
                with pytest.raises(AuthenticationError):
                    await client.ping()
        assert await users.ensure(tenant_id, current_url=url) == url
        async with redis.asyncio.Redis.from_url(url) as client:
            assert await client.ping()
    finally:
        await users.aclose()
        server.remove()


async def test_unavailable_within_the_deadline_when_the_server_never_answers() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        users = RedisUsers(RedisSettings(url=f"redis://x:y@127.0.0.1:{port}/0", deadline_seconds=0.3))

        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable, match="in time"):
                await users.run_id()
        await users.aclose()


async def test_refused_when_the_operator_s_password_is_wrong(any_redis: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    users = RedisUsers(RedisSettings(url=any_redis.url, password_file=file))
    with pytest.raises(StoreRefused, match="operator's user"):
        await users.run_id()

    file.write_text(any_redis.password + "\n")

    assert await users.run_id()
    await users.aclose()


async def test_refused_when_the_operator_may_not_make_users(users: RedisUsers, any_redis: RedisServer) -> None:
    plain = RedisUsers(RedisSettings(url=await users.ensure(uuid4(), current_url=None)))

    with pytest.raises(StoreRefused, match="Redis refused"):
        await plain.ensure(uuid4(), current_url=None)
    await plain.aclose()


def test_allowlist_names_each_command_once() -> None:
    assert len(set(ALLOWED_COMMANDS)) == len(ALLOWED_COMMANDS)


async def test_operator_needs_no_more_than_the_documented_rights(
    any_redis: RedisServer, operator: "redis.asyncio.Redis"
) -> None:
    documented = re.search(r"ACL SETUSER syntera_operator reset on '>…' ((?:.|\n)*?)\n\$", STORES_PAGE.read_text())
    assert documented is not None
    rights = documented[1].replace("\\\n", " ").replace("\\|", "|").replace("'", "").split()
    await run(operator, "ACL", "SETUSER", "least", "reset", "on", ">least", *rights)
    url = with_credentials(any_redis.url, user="least", password="least")
    least = RedisUsers(RedisSettings(url=url))
    tenant_id = uuid4()
    await operator.set(f"{redis_key_prefix(tenant_id)}key", "value")

    await least.ensure(tenant_id, current_url=await least.ensure(tenant_id, current_url=None))
    assert await least.run_id()
    await least.delete(tenant_id)
    assert [number async for number in least.erase_keys(tenant_id)] == [1]

    denied = [entry for entry in await operator.acl_log() if entry["username"] == "least"]
    assert {entry["object"] for entry in denied} <= {"client|setinfo"}
    await least.aclose()
    await operator.acl_deluser("least")
