"""The development stores: what the manifests render to, and their start scripts on real servers."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
import yaml

from syntera_crds.contract.names import redis_key_prefix
from syntera_operator.stores.redis_acl import RedisSettings, RedisUsers
from tests.support.postgresql import REPOSITORY, PostgresqlServer, PostgresqlServers
from tests.support.redis_server import RedisServer
from tests.support.servers import free_port

pytestmark = pytest.mark.long

BASE = REPOSITORY / "manifests" / "stores"
DEVELOPMENT = REPOSITORY / "dev" / "manifests" / "stores"

Manifests = dict[tuple[str, str], dict[str, Any]]


def render(folder: Path) -> Manifests:
    """The manifests of a kustomization, by kind and name."""
    kubectl = Path(sys.executable).with_name("kubectl")
    text = subprocess.run(
        [kubectl, "kustomize", folder], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    return {(made["kind"], made["metadata"]["name"]): made for made in yaml.safe_load_all(text)}


@pytest.fixture(scope="module", params=[BASE, DEVELOPMENT], ids=["base", "development"])
def manifests(request: pytest.FixtureRequest) -> Manifests:
    """Both renderings."""
    return render(request.param)


@pytest.mark.parametrize("name", ["postgresql", "redis"])
def test_pods_meet_pod_security_restricted(manifests: Manifests, name: str) -> None:
    pod = manifests["StatefulSet", name]["spec"]["template"]["spec"]

    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]) == {"requests", "limits"}
        assert container["readinessProbe"]
    assert (
        manifests["Namespace", "syntera-stores"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        == "restricted"
    )


def test_passwords_come_from_the_secret_and_none_is_rendered(manifests: Manifests) -> None:
    assert not [kind for kind, _ in manifests if kind == "Secret"]
    for name in ("postgresql", "redis"):
        (container,) = manifests["StatefulSet", name]["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: entry for entry in container["env"] if "PASSWORD" in entry["name"]}
        assert given
        assert all(
            entry["valueFrom"]["secretKeyRef"]["name"] == "syntera-stores-credentials" for entry in given.values()
        )


def test_only_tenants_and_the_operator_reach_the_stores_and_the_stores_nobody(manifests: Manifests) -> None:
    policy = manifests["NetworkPolicy", "stores"]["spec"]

    assert policy["podSelector"] == {}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert "egress" not in policy
    (rule,) = policy["ingress"]
    assert rule["from"] == [
        {"namespaceSelector": {"matchExpressions": [{"key": "syntera.io/tenant", "operator": "Exists"}]}},
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "syntera-system"}}},
    ]


def test_services_have_the_names_and_ports_that_everybody_expects(manifests: Manifests) -> None:
    for name, port in (("postgresql", 5432), ("redis", 6379)):
        service = manifests["Service", name]
        assert service["metadata"]["namespace"] == "syntera-stores"
        assert [entry["port"] for entry in service["spec"]["ports"]] == [port]


def test_images_are_upstream_s_and_pinned_or_the_local_node_s() -> None:
    def images(folder: Path) -> list[str]:
        rendered = render(folder)
        pods = [rendered["StatefulSet", name]["spec"]["template"]["spec"] for name in ("postgresql", "redis")]
        return [pod["containers"][0]["image"] for pod in pods]

    assert images(DEVELOPMENT) == ["localhost/syntera/postgresql:local", "localhost/syntera/redis:local"]
    for image in images(BASE):
        assert any(character.isdigit() for character in image.partition(":")[2])


def test_development_keeps_its_data_in_the_pod() -> None:
    for name in ("postgresql", "redis"):
        kept = render(BASE)["StatefulSet", name]["spec"]
        assert [claim["metadata"]["name"] for claim in kept["volumeClaimTemplates"]] == ["data"]
        passing = render(DEVELOPMENT)["StatefulSet", name]["spec"]
        assert "volumeClaimTemplates" not in passing
        assert {"name": "data", "emptyDir": {}} in passing["template"]["spec"]["volumes"]


def test_start_scripts_are_those_of_the_repository(manifests: Manifests) -> None:
    (data,) = [made["data"] for (kind, name), made in manifests.items() if name.startswith("postgresql-start")]

    assert sorted(data) == ["10-bootstrap.sql", "20-dedicated-server.sql", "30-operator-password.sh"]
    assert data["10-bootstrap.sql"] == (BASE / "postgresql" / "bootstrap.sql").read_text()


class ScriptedRedis:
    """Redis as its start script runs it, with the script's folder elsewhere and a port of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "redis-server").symlink_to(RedisServer.default_binary())
        script = (BASE / "redis" / "start.sh").read_text().replace("/data", str(folder))
        (folder / "start.sh").write_text(f"{script.rstrip()} --bind 127.0.0.1 --port {self.port} --loglevel warning\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, password: str) -> None:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {"PATH": path, "SYNTERA_OPERATOR_PASSWORD": password}
        self.process = subprocess.Popen(["sh", self.folder / "start.sh"], env=environment, cwd=self.folder)
        deadline = time.monotonic() + 30
        while not self.lets_in("syntera_operator", password):
            assert time.monotonic() < deadline
            assert self.process.poll() is None
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=10)
            self.process = None

    def client(self, user: str, password: str) -> redis.Redis:
        return redis.Redis(port=self.port, username=user, password=password, decode_responses=True)

    def lets_in(self, user: str, password: str) -> bool:
        with self.client(user, password) as client:
            try:
                return bool(client.ping())
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
                return False


@pytest.fixture
def scripted_redis(tmp_path: Path) -> Iterator[ScriptedRedis]:
    """Not started yet."""
    server = ScriptedRedis(tmp_path)
    yield server
    server.stop()


def test_redis_keeps_tenants_and_takes_a_new_operator_s_password_when_it_restarts(
    scripted_redis: ScriptedRedis,
) -> None:
    scripted_redis.start("first")
    with scripted_redis.client("syntera_operator", "first") as operator:
        operator.acl_setuser("t_tenant", enabled=True, passwords=["+tenant"], commands=["+ping"])
        operator.acl_setuser("reader", enabled=True, passwords=["+reader"], keys=["*"], commands=["+get", "+set"])
        operator.acl_save()
    with scripted_redis.client("reader", "reader") as reader:
        reader.set("key", "value")
    scripted_redis.stop()

    scripted_redis.start("second")

    assert scripted_redis.lets_in("t_tenant", "tenant")
    assert not scripted_redis.lets_in("syntera_operator", "first")
    assert not scripted_redis.lets_in("default", "")
    with scripted_redis.client("reader", "reader") as reader:
        assert reader.get("key") == "value"
    with scripted_redis.client("syntera_operator", "second") as operator:
        assert "off" in operator.acl_getuser("default")["flags"]


async def test_redis_gives_the_operator_the_documented_rights_and_no_more(scripted_redis: ScriptedRedis) -> None:
    scripted_redis.start("operator")
    url = f"redis://syntera_operator:operator@127.0.0.1:{scripted_redis.port}/0"
    tenant_id = uuid4()

    users = RedisUsers(RedisSettings(url=url))
    try:
        assert await users.run_id()
        tenant_url = await users.ensure(tenant_id, current_url=None)
        with redis.Redis.from_url(tenant_url) as tenant:
            tenant.set(f"{redis_key_prefix(tenant_id)}key", "value")
        assert [count async for count in users.erase_keys(tenant_id)] == [1]
        await users.delete(tenant_id)
    finally:
        await users.aclose()
    with scripted_redis.client("syntera_operator", "operator") as operator:
        for refused in ("CONFIG GET *", "FLUSHALL", "KEYS *", "GET key", "SET t:key value", "PUBLISH t:channel hi"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                operator.execute_command(*refused.split())


def test_redis_shows_the_operator_s_password_to_nobody(scripted_redis: ScriptedRedis, tmp_path: Path) -> None:
    scripted_redis.start("a-very-secret-password")
    assert scripted_redis.process is not None
    process = Path(f"/proc/{scripted_redis.process.pid}")

    if process.exists():
        assert b"a-very-secret-password" not in (process / "cmdline").read_bytes()
        assert b"a-very-secret-password" not in (process / "environ").read_bytes()
    assert "a-very-secret-password" not in (tmp_path / "users.acl").read_text()


async def test_operator_s_password_is_set_whatever_characters_it_has(postgresql_servers: PostgresqlServers) -> None:
    server: PostgresqlServer = postgresql_servers.get(18)
    database = await server.create_database()
    await database.bootstrap()
    password = f"it's \\ $1 :x {secrets.token_hex(4)}"
    psql = server.programs / "psql"
    environment = {
        "PATH": f"{psql.parent}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.superuser_password,
        "SYNTERA_OPERATOR_PASSWORD": password,
    }
    script = BASE / "postgresql" / "operator-password.sh"
    shell = shutil.which("sh")
    assert shell
    try:
        subprocess.run([shell, script], env=environment, check=True, timeout=30)  # noqa: ASYNC221

        assert await database.lets_in("syntera_operator", password)
        assert password not in server.log
    finally:
        await database.bootstrap()
