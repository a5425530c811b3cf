"""No secret is in what the operator writes or says, whatever goes wrong: its log at DEBUG, metrics, objects, Events.

The whole program on a real API server and real stores; tests/e2e/test_secrets.py does the same with pods.
"""

import base64
import secrets
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import kubernetes
import pytest

from syntera_crds.contract import names
from syntera_dev.cluster.control_plane import control_plane
from syntera_dev.demo.kubectl import Kubectl
from syntera_kube.resources import NAMESPACES, SECRETS
from syntera_operator.manifest import AGENTS, TENANTS, Manifest
from syntera_operator.stores.urls import password_in, without_credentials
from tests.support.apiserver import RunningApiServer, unique_name
from tests.support.cluster_texts import add_descriptions, add_objects
from tests.support.make import make_endpoint
from tests.support.operator_process import Audit, OperatorProcess
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer
from tests.support.secret_search import Haystack

pytestmark = [pytest.mark.api, pytest.mark.long]

SYSTEM = "syntera-system"
_MERGE = "application/merge-patch+json"


def make_marker(what: str) -> str:
    """A secret that is found nowhere by chance, with characters that encodings change."""
    return f"sk-{what}/{secrets.token_urlsafe(18)}+=&"


@dataclass
class Run:
    """One run of the operator through everything that goes well and wrong, and every secret that took part."""

    server: RunningApiServer
    folder: Path
    database: Database
    redis: RedisServer
    secrets: dict[str, str] = field(default_factory=dict)
    processes: list[OperatorProcess] = field(default_factory=list)
    haystack: Haystack = field(default_factory=Haystack)

    def __post_init__(self) -> None:
        self.passwords = {"postgresql": password_in(self.database.operator_dsn) or "", "redis": self.redis.password}
        for store, password in self.passwords.items():
            self.secrets[f"the operator's password in {store}"] = password
            self.set_password(store, password)

    @property
    def operator(self) -> OperatorProcess:
        """The one that runs now."""
        return self.processes[-1]

    def start(self) -> None:
        """Start an operator that says all it can, with its passwords in files as the chart mounts them."""
        settings = {
            "KUBECONFIG": str(self.server.kubeconfig),
            "SYNTERA_LOG_LEVEL": "DEBUG",
            "SYNTERA_OPERATOR_NAMESPACE": SYSTEM,
            "SYNTERA_RUNTIME_IMAGE": "runtime:1",
            "SYNTERA_INGESTION_IMAGE": "ingestion:1",
            "SYNTERA_TENANT_CLUSTER_ROLE": "syntera-tenant-namespace",
            "SYNTERA_POSTGRESQL_URL": _with_user(self.database.operator_dsn),
            "SYNTERA_POSTGRESQL_PASSWORD_FILE": str(self.folder / "postgresql"),
            "SYNTERA_REDIS_URL": _with_user(self.redis.url),
            "SYNTERA_REDIS_PASSWORD_FILE": str(self.folder / "redis"),
        }
        self.processes.append(OperatorProcess(self.folder, settings))

    def stop(self) -> None:
        """End the operator, after taking down what it measured."""
        with urllib.request.urlopen(self.operator.metrics_url, timeout=30) as answer:
            self.haystack.add(f"metrics of operator {len(self.processes)}", answer.read().decode())
        self.operator.terminate()

    def set_password(self, store: str, password: str) -> None:
        """Write what the operator reads with its next connection."""
        (self.folder / store).write_text(password)

    def make_tenant(self, name: str) -> None:
        """A Tenant whose endpoint takes its key and a header from a Secret that is not there yet."""
        endpoint = make_endpoint(
            apiKeySecretRef={"name": "models", "key": "api-key"},
            headers=[{"name": "X-Token", "secretKeyRef": {"name": "models", "key": "token"}}],
        )
        spec = {"namespace": name, "models": [endpoint]}
        body = {"apiVersion": names.API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": spec}
        self.server.send("POST", TENANTS.path(), body)
        self.wait(name, DatabaseReady="True", CacheReady="True")
        self.note_credentials(name)

    def edit_tenant(self, name: str, **spec: object) -> None:
        """Change some fields of a Tenant's spec."""
        self.server.send("PATCH", TENANTS.path(name=name), {"spec": spec}, content_type=_MERGE)

    def apply_secret(self, tenant: str, name: str, entries: dict[str, str], *, usable: bool = True) -> None:
        """A Secret of a tenant's namespace."""
        labels = {names.USABLE_LABEL: "true"} if usable else {}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": labels},
            "stringData": entries,
        }
        self.server.apply(SECRETS.path(namespace=tenant, name=name), body)

    def edit_own_secret(self, tenant: str, name: str, entries: dict[str, str], **fields: object) -> None:
        """Change one of the Secrets that the operator made, as somebody may by mistake."""
        body = {"stringData": entries, **fields}
        self.server.send("PATCH", SECRETS.path(namespace=tenant, name=name), body, content_type=_MERGE)

    def note_credentials(self, tenant: str) -> None:
        """Remember what the tenant's own Secrets hold now."""
        stores = self.read_secret(tenant, names.STORES_SECRET)
        for key in (names.POSTGRESQL_URL_KEY, names.REDIS_URL_KEY):
            if password := password_in(stores.get(key, "")):
                self.secrets[f"{tenant}: password {len(self.secrets)} in {key}"] = password
        admin = self.read_secret(tenant, names.ADMIN_SECRET)
        self.secrets[f"{tenant}: API key {len(self.secrets)}"] = admin[names.ADMIN_API_KEY_KEY]
        signing = self.read_secret(tenant, names.SIGNING_SECRET)
        self.secrets[f"{tenant}: signing key {len(self.secrets)}"] = signing[names.SIGNING_KEY_KEY]

    def read_secret(self, tenant: str, name: str) -> dict[str, str]:
        """Its entries, decoded."""
        found = self.server.send("GET", SECRETS.path(namespace=tenant, name=name))
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def wait(self, tenant: str, **wanted: str) -> None:
        """Wait until the Tenant's conditions are so, for its present spec."""

        def are_so() -> bool:
            found = self.server.send("GET", TENANTS.path(name=tenant))
            told = {one["type"]: one for one in found.get("status", {}).get("conditions", ())}
            generation = found["metadata"]["generation"]
            return all(
                told.get(type_, {}).get("status") == status and told[type_].get("observedGeneration") == generation
                for type_, status in wanted.items()
            )

        self.operator.wait_until(are_so, seconds=60)


def _with_user(url: str) -> str:
    """The URL with the operator's user and without its password, as the chart states it."""
    scheme, _, rest = without_credentials(url).partition("://")
    return f"{scheme}://syntera_operator@{rest}"


@pytest.fixture(scope="module")
def run(database: Database) -> Iterator[Run]:
    redis = RedisServer(RedisServer.default_binary())
    redis.start()
    # A short path: the store's socket stands in it, and the kernel bounds the length of those.
    with (
        tempfile.TemporaryDirectory(prefix="syntera-se-") as path,
        control_plane(Path(path) / "plane", api_server_flags=Audit.flags(Path(path))) as plane,
    ):
        client = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]  # its author left it untyped
            config_file=str(plane.kubeconfig)
        )
        with client:
            server = RunningApiServer(plane, client)
            server.install_crds()
            server.send("POST", NAMESPACES.path(), {"metadata": {"name": SYSTEM}})
            made = Run(server, Path(path), database, redis)
            yield made
            for process in made.processes:
                process.kill()
    redis.remove()


def test_no_secret_is_found_anywhere_after_a_full_run(run: Run) -> None:
    tenant, other = unique_name("acme"), unique_name("other")
    run.start()
    run.make_tenant(tenant)
    give_model_key(run, tenant)
    publish_agent(run, tenant)
    withdraw_and_release_model_key(run, tenant)
    spoil_own_secrets(run, tenant)
    run.make_tenant(other)
    seal_stores_secret(run, other)
    restart_stores_with_wrong_passwords(run, tenant)
    run.stop()
    start_with_wrong_password(run)
    delete_tenant(run, other)
    run.stop()

    collect(run, tenant)

    assert run.haystack.search(run.secrets) == []


def give_model_key(run: Run, tenant: str) -> None:
    entries = {"api-key": make_marker("model"), "token": make_marker("header")}
    run.secrets |= {f"the Secret's {key}": value for key, value in entries.items()}
    run.apply_secret(tenant, "models", entries)
    run.wait(tenant, ResolvedRefs="True")


def publish_agent(run: Run, tenant: str) -> None:
    """One that is sound, then an edit that is not."""
    path = AGENTS.path(namespace=tenant)
    body: Manifest = {"apiVersion": names.API_VERSION, "kind": "Agent", "metadata": {"name": "travel"}}
    run.server.send("POST", path, {**body, "spec": {"instructions": "Be brief."}})
    run.operator.wait_until(lambda: run.server.send("GET", f"{path}/travel").get("status", {}).get("revision") == 1)
    run.server.send("PATCH", f"{path}/travel", {"spec": {"instructions": "{{secret}}"}}, content_type=_MERGE)
    run.operator.wait_until(
        lambda: run.server.send("GET", f"{path}/travel").get("status", {}).get("observedGeneration") == 2
    )


def withdraw_and_release_model_key(run: Run, tenant: str) -> None:
    """Without its label, then without one of its entries, then as it was."""
    entries = run.read_secret(tenant, "models")
    run.apply_secret(tenant, "models", entries, usable=False)
    run.wait(tenant, ResolvedRefs="False")
    run.apply_secret(tenant, "models", entries)
    run.wait(tenant, ResolvedRefs="True")
    run.server.send(
        "PATCH", SECRETS.path(namespace=tenant, name="models"), {"data": {"token": None}}, content_type=_MERGE
    )
    run.wait(tenant, ResolvedRefs="False")
    run.apply_secret(tenant, "models", {**entries, "token": entries["token"]})


_SPOILT_URLS = (
    "postgresql://t_x:{secret}@[db:5432/syntera",
    "postgresql://t_x:{secret}/x@db:port/syntera",
    "postgresql://t_x:%00{secret}%ff@db/syntera",
    "{secret}",
)
"""Store URLs as hands spoil them: no address, no port, characters that no server takes, no URL at all."""


def spoil_own_secrets(run: Run, tenant: str) -> None:
    """Write nonsense with a secret in it where the operator looks for its own words."""
    for number, url in enumerate(_SPOILT_URLS):
        secret = secrets.token_urlsafe(24)
        run.secrets[f"{tenant}: spoilt URL {number}"] = secret
        spoilt = url.format(secret=secret)
        run.edit_own_secret(
            tenant,
            names.STORES_SECRET,
            {names.POSTGRESQL_URL_KEY: spoilt, names.REDIS_URL_KEY: spoilt.replace("postgresql:", "redis:")},
        )
        run.edit_own_secret(tenant, names.ADMIN_SECRET, {names.ADMIN_API_KEY_KEY: f"syn_sk_{secret}"})
        run.edit_own_secret(tenant, names.SIGNING_SECRET, {names.SIGNING_KEY_KEY: secret})
        run.edit_tenant(tenant, displayName=f"Spoilt {number}")
        run.wait(tenant, DatabaseReady="True", CacheReady="True")
        run.note_credentials(tenant)


def seal_stores_secret(run: Run, tenant: str) -> None:
    """A Secret that the operator has to change and the API server will not let it."""
    secret = secrets.token_urlsafe(24)
    run.secrets[f"{tenant}: sealed URL"] = secret
    run.edit_own_secret(tenant, names.STORES_SECRET, {names.REDIS_URL_KEY: f"redis://[{secret}"}, immutable=True)
    run.edit_tenant(tenant, displayName="Sealed")
    run.wait(tenant, RuntimeReady="False", CacheReady="True")


def restart_stores_with_wrong_passwords(run: Run, tenant: str) -> None:
    """Redis away, then up and refusing, then all well again; PostgreSQL refusing whoever comes anew."""
    run.redis.stop()
    run.edit_tenant(tenant, displayName="Redis is away")
    run.wait(tenant, CacheReady="False")
    for store in run.passwords:
        wrong = secrets.token_urlsafe(24)
        run.secrets[f"a wrong password for {store}"] = wrong
        run.set_password(store, wrong)
    run.redis.start()
    run.edit_tenant(tenant, displayName="Redis refuses")
    run.wait(tenant, CacheReady="False")
    run.operator.wait_until(lambda: "refused the operator's user" in run.operator.log, seconds=60)


def start_with_wrong_password(run: Run) -> None:
    """Another operator, whose migration PostgreSQL refuses at first."""
    run.start()
    run.operator.wait_until(lambda: "database could not be migrated" in run.operator.log)
    for store, password in run.passwords.items():
        run.set_password(store, password)
    run.operator.wait_until(lambda: "database schema is current" in run.operator.log, seconds=60)
    run.operator.wait_until(run.operator.is_leader)


def delete_tenant(run: Run, tenant: str) -> None:
    run.edit_tenant(tenant, deletionPolicy="Delete")
    run.server.send("DELETE", TENANTS.path(name=tenant))
    listed = TENANTS.path()
    run.operator.wait_until(
        lambda: tenant not in [one["metadata"]["name"] for one in run.server.send("GET", listed)["items"]], seconds=60
    )


def collect(run: Run, tenant: str) -> None:
    """Put everything that was written and said into the haystack, and see that it is really there."""
    kubectl = Kubectl(str(run.server.kubeconfig))
    for number, process in enumerate(run.processes):
        run.haystack.add(f"log of operator {number}", process.log)
    run.haystack.add("the API server's audit log", (run.folder / "audit.log").read_text())
    add_objects(run.haystack, kubectl)
    add_descriptions(run.haystack, kubectl, [tenant, SYSTEM])
    texts = run.haystack.texts
    assert "SecretNotUsable" in texts["kubectl get events"]
    assert "reconcile failed" in texts["log of operator 0"]
    assert "password authentication failed" in texts["log of operator 1"]
    assert "agent.json" in texts["kubectl get configmaps"]
    assert names.ADMIN_SECRET in texts[f"kubectl describe, namespace {tenant}"]
    assert "syntera_reconcile_total" in texts["metrics of operator 1"]
