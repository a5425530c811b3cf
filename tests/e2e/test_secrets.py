"""No secret is in logs, Events, statuses, ConfigMaps, metrics, error bodies or descriptions after a full run.

Nothing smaller would do: containers, the kubelet's words and two stores that go away all take part. What needs no pods is in
tests/operator/test_secrets.py.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_dev.demo.installation import (
    MODELS_NAMESPACE,
    STORES_CREDENTIALS,
    STORES_NAMESPACE,
    SYSTEM_NAMESPACE,
    Installation,
)
from syntera_dev.demo.kubectl import Kubectl
from syntera_dev.demo.showcase import port_forward
from syntera_dev.models.control import Fault
from syntera_operator.stores.urls import password_in
from tests.support.cluster_texts import add_descriptions, add_objects
from tests.support.e2e import STAND_IN, TenantUnderTest, complete, run_syntera
from tests.support.secret_search import Haystack
from tests.support.stand_in import StandIn

pytestmark = pytest.mark.cluster

MODEL = "stand-in-discreet"
"""No other test's, so that faults hit nobody else."""
OPERATOR_METRICS = 9090


@dataclass
class Run:
    """A tenant that goes through everything, the secrets that take part, and what was said meanwhile."""

    installation: Installation
    tenant: TenantUnderTest
    stand_in: StandIn
    entries: dict[str, str]
    """The tenant's own Secret: the key of its model endpoint and a header's value."""
    secrets: dict[str, str] = field(default_factory=dict)
    haystack: Haystack = field(default_factory=Haystack)

    @property
    def kubectl(self) -> Kubectl:
        """The cluster."""
        return self.installation.kubectl

    def note(self, what: str, response: httpx.Response) -> httpx.Response:
        """Remember an answer of the tenant's API, its headers included."""
        self.haystack.add(f"answer to {what}", f"{response.status_code} {response.headers} {response.text}")
        return response

    def ask(self, client: httpx.Client, what: str, *, stream: bool = False) -> httpx.Response:
        """A completion that may fail."""
        body = {"model": "guide", "stream": stream, "messages": [{"role": "user", "content": "Hello"}]}
        return self.note(what, client.post("/v1/chat/completions", json=body))


@pytest.fixture
def run(installation: Installation, new_tenant: Callable[..., TenantUnderTest]) -> Iterator[Run]:
    tenant = new_tenant("discreet")
    # URL-safe, as vendors' keys are: a header can carry it.
    entries = {name: f"sk-{name}-{secrets.token_urlsafe(24)}" for name in ("api-key", "token")}
    with port_forward(installation.kubectl, MODELS_NAMESPACE, service="stand-in-models", port=8000) as url:
        stand_in = StandIn(url)
        yield Run(installation, tenant, stand_in, entries)
        stand_in.reset()
        stand_in.close()


def test_no_secret_is_found_anywhere_after_a_full_run(run: Run) -> None:
    note_secrets(run)
    give_model_key(run)
    chat(run)
    fail_with_the_key_in_the_vendors_words(run)
    spoil_the_key(run)
    withdraw_the_key(run)
    present_wrong_keys(run)
    edit_wrongly(run)
    restart_stores(run)
    note_secrets(run)

    collect(run)

    assert run.haystack.search(run.secrets) == []


def note_secrets(run: Run) -> None:
    """What the tenant's and the operator's Secrets hold now."""
    stores = run.tenant.secret(names.STORES_SECRET)
    admin = run.tenant.secret(names.ADMIN_SECRET)
    for key in (names.POSTGRESQL_URL_KEY, names.REDIS_URL_KEY):
        password = password_in(stores[key])
        assert password is not None
        run.secrets[f"the tenant's password in {key}, {len(run.secrets)}"] = password
    run.secrets[f"the tenant's first API key, {len(run.secrets)}"] = admin[names.ADMIN_API_KEY_KEY]
    signing = run.tenant.secret(names.SIGNING_SECRET)
    run.secrets[f"the tenant's signing key, {len(run.secrets)}"] = signing[names.SIGNING_KEY_KEY]
    run.secrets |= {f"the model endpoint's {name}": value for name, value in run.entries.items()}
    system = TenantUnderTest(run.kubectl, "", SYSTEM_NAMESPACE)
    run.secrets |= {f"the installation's {key}": value for key, value in system.secret(STORES_CREDENTIALS).items()}


def give_model_key(run: Run) -> None:
    run.tenant.apply_secret("models", run.entries)
    reference = {"name": "X-Token", "secretKeyRef": {"name": "models", "key": "token"}}
    endpoint = STAND_IN | {
        "chat": MODEL,
        "apiKeySecretRef": {"name": "models", "key": "api-key"},
        "headers": [reference],
    }
    run.tenant.apply(models=[endpoint])
    run.tenant.apply_agent("guide")
    run.tenant.wait("agent/guide")


def chat(run: Run) -> None:
    """A conversation and a completion, with the key on its way to the endpoint."""
    with run.tenant.client() as client:
        started = run.note("a new conversation", client.post("/v1/agents/guide/conversations", json={}))
        path = f"/v1/conversations/{started.raise_for_status().json()['id']}/messages"
        run.note("a message", client.post(path, json={"content": "Hello"})).raise_for_status()
        complete(client, "guide", "Hello")
    sent = [received.headers for received in run.stand_in.journal() if received.model == MODEL]
    assert sent[-1]["authorization"] == f"Bearer {run.entries['api-key']}"
    assert sent[-1]["x-token"] == run.entries["token"]


def fail_with_the_key_in_the_vendors_words(run: Run) -> None:
    """Vendors quote what they were sent."""
    said = f"Incorrect API key provided: {run.entries['api-key']} (X-Token: {run.entries['token']})"
    faults = [
        Fault(kind="status", status=401, message=said, model=MODEL),
        Fault(kind="status", status=400, message=said, model=MODEL),
        Fault(kind="status", status=500, message=said, times=3, model=MODEL),
        Fault(kind="error-event", message=said, after_words=2, model=MODEL),
    ]
    with run.tenant.client() as client:
        for fault in faults:
            run.stand_in.reset()
            run.stand_in.fail(fault)
            run.ask(client, f"a completion that meets {fault.kind} {fault.status}")
            run.stand_in.reset()
            run.stand_in.fail(fault)
            run.ask(client, f"a stream that meets {fault.kind} {fault.status}", stream=True)
            started = client.post("/v1/agents/guide/conversations", json={}).raise_for_status()
            path = f"/v1/conversations/{started.json()['id']}/messages"
            run.stand_in.reset()
            run.stand_in.fail(fault)
            run.note(f"a message that meets {fault.kind} {fault.status}", client.post(path, json={"content": "Hello"}))
            run.note(f"what is stored of {fault.kind} {fault.status}", client.get(path))
    run.stand_in.reset()


def spoil_the_key(run: Run) -> None:
    """A key that no header can carry: HTTP clients quote such a value when they refuse it."""
    spoilt = f"{run.entries['api-key']}\nX-Injected: yes"
    run.tenant.apply_secret("models", {**run.entries, "api-key": spoilt})
    with run.tenant.client() as client:
        for _ in range(100):
            if run.ask(client, "a completion with a spoilt key").status_code != 200:
                break
        else:
            pytest.fail("the spoilt key was never used")
    run.tenant.apply_secret("models", run.entries)


def withdraw_the_key(run: Run) -> None:
    """Without its label, as if its owner wanted it back; then without the entry; then as it was."""
    tenant = f"tenant/{run.tenant.name}"
    run.tenant.apply_secret("models", run.entries, usable=False)
    run.tenant.wait(tenant, "ResolvedRefs", "False")
    run.tenant.apply_secret("models", run.entries)
    run.tenant.wait(tenant, "ResolvedRefs")
    # An entry that is left out of stringData stays, so it is taken away by itself.
    entry = '[{"op": "remove", "path": "/data/api-key"}]'
    run.kubectl("patch", "secret", "models", "-n", run.tenant.namespace, "--type=json", "-p", entry)
    run.tenant.wait("agent/guide", "ResolvedRefs", "False")
    run.haystack.add("the doctor", _doctor(run))
    run.tenant.apply_secret("models", run.entries)
    run.tenant.wait("agent/guide")


def present_wrong_keys(run: Run) -> None:
    """Whole keys of nobody, a publishable one, the right one without its end, the right one where it does not belong."""
    right = run.tenant.secret(names.ADMIN_SECRET)[names.ADMIN_API_KEY_KEY]
    wrong = {f"a {kind.name.lower()} key of nobody": ApiKey.generate(kind).text for kind in KeyKind}
    run.secrets |= wrong
    for what, key in {**wrong, "a key without its end": right[:-3]}.items():
        with run.tenant.client(key=key) as client:
            assert run.note(what, client.get("/v1/agents")).status_code in {401, 403}
    with run.tenant.client() as client:
        assert run.note("a key as user and password", client.get("/v1/agents", auth=("key", right))).status_code == 401
        run.note("a key in the wrong header", client.get("/v1/agents", headers={"X-Api-Key": right}))


def edit_wrongly(run: Run) -> None:
    """Edits that the operator refuses, and one that hands it nonsense where its own words stood."""
    run.tenant.apply_agent("guide", instructions="You are {{nobody}}.")
    run.tenant.wait("agent/guide", "Accepted", "False")
    run.tenant.apply_agent("guide")
    run.tenant.wait("agent/guide")
    secret = secrets.token_urlsafe(24)
    run.secrets["a spoilt URL's password"] = secret
    spoilt = f'{{"stringData": {{"{names.REDIS_URL_KEY}": "redis://t_x:{secret}@[cache:port"}}}}'
    run.kubectl("patch", "secret", names.STORES_SECRET, "-n", run.tenant.namespace, "--type=merge", "-p", spoilt)
    run.tenant.apply(displayName="Spoilt")
    wait_until_judged(run)


def wait_until_judged(run: Run) -> None:
    """Until the operator has brought the Tenant to its present spec, as far as it goes."""
    generation = run.kubectl.get("tenant", run.tenant.name)["metadata"]["generation"]
    run.kubectl(
        "wait", f"--for=jsonpath={{.status.observedGeneration}}={generation}", f"tenant/{run.tenant.name}", "--timeout=60s",
        timeout_seconds=70,
    )  # fmt: skip


def restart_stores(run: Run) -> None:
    """PostgreSQL ends and starts with its data; Redis comes back without its users."""
    postgresql = run.kubectl.get("pod", "postgresql-0", "-n", STORES_NAMESPACE)
    restarts = postgresql["status"]["containerStatuses"][0]["restartCount"]
    with run.tenant.client() as client:
        # A fast shutdown; the container, which takes this very command with it, is started again and keeps its data.
        run.kubectl.works("exec", "postgresql-0", "-n", STORES_NAMESPACE, "--", "sh", "-c", "kill -INT 1")
        run.tenant.apply(displayName="Without PostgreSQL")
        for _ in range(10):
            if run.ask(client, "a completion while PostgreSQL restarts").status_code == 503:
                break
    run.kubectl(
        "wait", f"--for=jsonpath={{.status.containerStatuses[0].restartCount}}={restarts + 1}", "pod/postgresql-0",
        "-n", STORES_NAMESPACE, "--timeout=60s", timeout_seconds=70,
    )  # fmt: skip
    run.kubectl("delete", "pod", "redis-0", "-n", STORES_NAMESPACE, timeout_seconds=90)
    run.installation.wait_rolled_out(STORES_NAMESPACE, ["statefulset/postgresql", "statefulset/redis"])
    run.tenant.wait(f"tenant/{run.tenant.name}", seconds=120)
    run.tenant.wait("agent/guide", seconds=120)
    with run.tenant.client() as client:
        # Pods find the stores again a moment after these are back.
        end = time.monotonic() + 60
        while run.ask(client, "a completion after the restarts").status_code != 200:
            assert time.monotonic() < end, "nobody answers"
            time.sleep(0.5)


def collect(run: Run) -> None:
    """Put everything that was written and said into the haystack, and see that it is really there."""
    for namespace in (SYSTEM_NAMESPACE, run.tenant.namespace):
        add_logs(run, namespace)
    add_metrics(run)
    add_objects(run.haystack, run.kubectl)
    add_descriptions(run.haystack, run.kubectl, [SYSTEM_NAMESPACE, run.tenant.namespace])
    run.haystack.add("the doctor at the end", _doctor(run))
    everything = "".join(run.haystack.texts.values())
    for expected in (
        "model did not answer",  # the runtime's log tells of the endpoint's failures
        "status written",  # the operator's log was had at all
        "SecretNotUsable",  # Events tell of the Secret
        "model_refused",
        "agent.json",
        "syntera_leader",
        f"Name:         {names.ADMIN_SECRET}",
    ):
        assert expected in everything, expected


def add_logs(run: Run, namespace: str) -> None:
    """Of all containers of all pods, those of containers that ended before included."""
    for pod in run.kubectl.get("pods", "-n", namespace)["items"]:
        name = pod["metadata"]["name"]
        command = ["logs", name, "-n", namespace, "--all-containers"]
        run.haystack.add(f"log of {name}", run.kubectl(*command))
        if any(one["restartCount"] for one in pod["status"].get("containerStatuses", ())):
            run.haystack.add_if_any(f"earlier log of {name}", run.kubectl(*command, "--previous"))


def add_metrics(run: Run) -> None:
    """Of every pod of operator and runtime."""
    ports = {SYSTEM_NAMESPACE: OPERATOR_METRICS, run.tenant.namespace: names.INTERNAL_PORT}
    for namespace, port in ports.items():
        for pod in run.kubectl.get("pods", "-n", namespace)["items"]:
            name = pod["metadata"]["name"]
            if pod["status"]["phase"] != "Running" or "deletionTimestamp" in pod["metadata"]:
                continue
            with port_forward(run.kubectl, namespace, pod=name, port=port) as url:
                answer = httpx.get(f"{url}/metrics", timeout=10, trust_env=False).raise_for_status()
            run.haystack.add(f"metrics of {name}", answer.text)


def _doctor(run: Run) -> str:
    return run_syntera(run.kubectl, "doctor", run.tenant.name).stdout
